//! HTML, in which every text is escaped by being text.

use std::fmt::Write as _;

use crate::report::stars::numbers::printable;
use crate::xml::escaped;

/// Longest text from a file that is shown, characters.
const LONGEST: usize = 1_000;

/// A part of the page.
#[derive(Debug, Clone, Default)]
pub(in crate::report) struct Html(String);

impl Html {
    /// Opens an element; names of attributes are our own words, values may be any text.
    pub(in crate::report) fn open(&mut self, name: &str, attributes: &[(&str, &str)]) -> &mut Self {
        let _ = write!(self.0, "<{name}");
        for (attribute, value) in attributes {
            let _ = write!(self.0, " {attribute}=\"{}\"", escaped(value));
        }
        self.0.push('>');
        self
    }

    pub(in crate::report) fn close(&mut self, name: &str) -> &mut Self {
        let _ = writeln!(self.0, "</{name}>");
        self
    }

    /// Adds words of our own, or numbers.
    pub(in crate::report) fn text(&mut self, text: &str) -> &mut Self {
        self.0.push_str(&escaped(text));
        self
    }

    /// Adds words of a file: cut where they are too long, without letters that would turn the direction
    /// of writing.
    pub(in crate::report) fn name(&mut self, text: &str) -> &mut Self {
        self.open("bdi", &[]).text(&printable(text, LONGEST));
        self.0.push_str("</bdi>");
        self
    }

    /// Adds an element with words of our own.
    pub(in crate::report) fn element(
        &mut self,
        name: &str,
        attributes: &[(&str, &str)],
        text: &str,
    ) -> &mut Self {
        self.open(name, attributes).text(text).close(name)
    }

    /// Adds markup.
    pub(in crate::report) fn push(&mut self, markup: &str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Number of bytes so far.
    pub(in crate::report) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::report) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use crate::report::page::html::*;

    #[test]
    fn texts_are_texts() {
        let hostile = "</p><script>alert('\u{202e}1')</script>\" onclick=\"x\u{0}";
        let mut html = Html::default();
        html.open("p", &[("title", hostile)])
            .text(hostile)
            .name(hostile)
            .close("p");
        let html = html.into_string();
        assert!(
            !html.contains("<script") && !html.contains("\" onclick"),
            "{html}"
        );
        assert_eq!(html.matches('<').count(), 4, "{html}");
        let mut long = Html::default();
        long.name(&"&".repeat(10_000));
        assert!(long.into_string().len() < 5_100);
    }
}
