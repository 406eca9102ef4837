//! Text in XML, SVG and HTML.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Text as XML and HTML have it, in an element or in double quotes; a character that XML cannot write is
/// U+FFFD.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| {
        !matches!(
            c,
            '&' | '<' | '>' | '"' | '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}'
        )
    };
    if text.chars().all(is_plain) {
        return text.into();
    }
    let mut xml = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                // Writing to a text cannot fail.
                let _ = write!(xml, "&#{};", u32::from(c));
            }
            c if is_plain(c) => xml.push(c),
            _ => xml.push('\u{fffd}'),
        }
    }
    xml.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        assert_eq!(escaped("a [b] 'c' \u{fc}"), "a [b] 'c' \u{fc}");
        assert_eq!(escaped("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
        assert_eq!(escaped("1\n2\u{1}"), "1&#10;2\u{fffd}");
    }
}
