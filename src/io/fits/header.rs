//! The header of one HDU: its cards, with their oddities made harmless.

use fitsio_pure::header::{Card as RawCard, parse_header_blocks};
use fitsio_pure::{BLOCK_SIZE, CARD_SIZE};

use super::value::Value;
use crate::wcs::Unsupported;
use crate::{Error, Result};

/// One parsed header.
#[derive(Debug, Clone)]
pub(super) struct Header {
    /// Cards as the library parsed them, for the library's readers of pixels.
    pub(super) raw: Vec<RawCard>,
    /// The cards as text, 80 ASCII characters each, in file order.
    text: String,
    /// Length in the file, bytes: whole blocks.
    pub(super) length: usize,
    /// Number of bytes that were no printable ASCII and became question marks.
    pub(super) replaced: usize,
}

impl Header {
    /// Parses the header at the start of `bytes`; `None` where it has no END card.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let end = find_end(bytes)?;
        let mut replaced = 0;
        let mut text: String = bytes
            .iter()
            .take(end)
            .map(|&b| {
                if (b' '..=b'~').contains(&b) {
                    char::from(b)
                } else {
                    replaced += 1;
                    '?'
                }
            })
            .collect();
        let cards = text.len();
        let length = end.saturating_add(CARD_SIZE).next_multiple_of(BLOCK_SIZE);
        text.push_str("END");
        // The rest of the block after END has no meaning, and is not always blank.
        text.extend(std::iter::repeat_n(' ', length - text.len()));
        let raw = parse_header_blocks(text.as_bytes()).ok()?;
        text.truncate(cards);
        Some(Self {
            raw,
            text,
            length,
            replaced,
        })
    }

    /// Keywords and values in file order; comments and cards without a readable value are left
    /// out.
    pub(super) fn cards(&self) -> impl Iterator<Item = (&str, Value)> {
        self.raw.iter().filter_map(|card| {
            let value = Value::from_raw(card.value.as_ref()?)?;
            Some((card.keyword_str(), value))
        })
    }

    /// The first value of a keyword.
    pub(super) fn get(&self, keyword: &str) -> Option<Value> {
        self.raw
            .iter()
            .filter(|card| card.keyword_str() == keyword)
            .find_map(|card| Value::from_raw(card.value.as_ref()?))
    }

    /// The first string of a keyword.
    pub(super) fn string(&self, keyword: &str) -> Option<String> {
        match self.get(keyword)? {
            Value::Text(s) => Some(s),
            _ => None,
        }
    }

    pub(super) fn is_true(&self, keyword: &str) -> bool {
        self.get(keyword) == Some(Value::Logical(true))
    }

    /// The value of a keyword that is there once, or always with the same value; a value that cannot be
    /// read is text.
    ///
    /// # Errors
    /// [`Unsupported`] for contradictions.
    pub(super) fn certain(&self, keyword: &str) -> Result<Option<Value>, Unsupported> {
        if self.is_contradicted(keyword) {
            let what = format!("{keyword}: there more than once with different values");
            return Err(Unsupported(what));
        }
        let unread = || {
            Some(Value::Text(
                before_comment(self.written(keyword)?).to_owned(),
            ))
        };
        Ok(self.get(keyword).or_else(unread))
    }

    /// The text after the equals sign on the first card of a keyword, comment included.
    pub(super) fn written(&self, keyword: &str) -> Option<&str> {
        let (_, value) = self.fields().find(|(name, _)| *name == keyword)?;
        Some(value)
    }

    /// Whether a keyword comes again with another value: only the first one counts.
    pub(super) fn is_contradicted(&self, keyword: &str) -> bool {
        let mut values = self
            .raw
            .iter()
            .filter(|card| card.keyword_str() == keyword)
            .map(|card| &card.value);
        let first = values.next();
        values.any(|value| Some(value) != first)
    }

    /// Whether a whole number ends in column 30, as the standard wants of mandatory keywords.
    pub(super) fn is_fixed_format(&self, keyword: &str) -> bool {
        self.written(keyword).is_none_or(|value| {
            let field = value.get(1..21).unwrap_or(value);
            field.ends_with(|c: char| !c.is_ascii_whitespace())
        })
    }

    /// The value of a keyword as a number, where the keyword is there.
    ///
    /// # Errors
    /// [`Error::Malformed`] where its value is anything else.
    pub(super) fn number(&self, file: &str, keyword: &str) -> Result<Option<f64>> {
        match self.get(keyword).as_ref().map(Value::number) {
            Some(Some(number)) => Ok(Some(number)),
            None if self
                .written(keyword)
                .is_none_or(|v| before_comment(v).is_empty()) =>
            {
                Ok(None)
            }
            _ => Err(self.unexpected(file, keyword, "a number")),
        }
    }

    /// A whole number of 0 or more.
    ///
    /// # Errors
    /// [`Error::Malformed`] where it is missing or anything else.
    pub(super) fn count(&self, file: &str, keyword: &str) -> Result<usize> {
        match self.get(keyword) {
            Some(Value::Integer(n)) => usize::try_from(n).ok(),
            _ => None,
        }
        .ok_or_else(|| self.unexpected(file, keyword, "a whole number of 0 or more"))
    }

    /// The error that a keyword is missing or has a useless value.
    pub(super) fn unexpected(&self, file: &str, keyword: &str, expected: &str) -> Error {
        let found = match self.written(keyword) {
            None => "no such card".to_owned(),
            Some(field) => match before_comment(field) {
                "" => "no value".to_owned(),
                value => value.to_owned(),
            },
        };
        Error::Malformed {
            file: file.into(),
            field: keyword.into(),
            expected: expected.into(),
            found,
            hint: None,
        }
    }

    /// The cards as they are written.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        let cards = self.text.len() / CARD_SIZE;
        (0..cards).filter_map(|i| self.text.get(i * CARD_SIZE..(i + 1) * CARD_SIZE))
    }

    /// Keyword and value field of every card that has an equals sign.
    fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines().filter_map(|card| {
            let (keyword, value) = card.split_at_checked(8)?;
            Some((keyword.trim_end(), value.strip_prefix('=')?))
        })
    }
}

fn before_comment(field: &str) -> &str {
    field.split('/').next().unwrap_or_default().trim()
}

/// Offset of the END card. The search ends where another header begins.
fn find_end(bytes: &[u8]) -> Option<usize> {
    for (i, card) in bytes.chunks_exact(CARD_SIZE).enumerate() {
        let at = i * CARD_SIZE;
        if card.starts_with(b"END     ") {
            return Some(at);
        }
        if at > 0 && at.is_multiple_of(BLOCK_SIZE) && card.starts_with(b"XTENSION=") {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cards: &[&str]) -> Header {
        let mut bytes = Vec::new();
        for card in cards.iter().chain(&["END"]) {
            let mut card = card.as_bytes().to_vec();
            card.resize(CARD_SIZE, b' ');
            bytes.extend(card);
        }
        Header::parse(&bytes).unwrap()
    }

    #[test]
    fn values_of_every_kind() {
        let header = header(&[
            "SIMPLE  =                    T / comment",
            "BSCALE  = 1.0D0",
            "BZERO   = +.5D+2",
            "OBJECT  = 'Bob''s star  ' / with / slashes",
            "GAIN    = NaN",
            "EXPTIME =",
            "COMMENT = 5",
            "NAXIS   = -3",
            "LONG    = 'one &'",
            "CONTINUE  'two'",
        ]);
        assert!(header.is_true("SIMPLE"));
        assert_eq!(header.number("f", "BSCALE").unwrap(), Some(1.0));
        assert_eq!(header.number("f", "BZERO").unwrap(), Some(50.0));
        assert_eq!(header.string("OBJECT").unwrap(), "Bob's star");
        assert_eq!(header.string("LONG").unwrap(), "one two");
        assert!(header.number("f", "GAIN").is_err());
        assert!(header.number("f", "OBJECT").is_err());
        assert_eq!(header.number("f", "MISSING").unwrap(), None);
        assert_eq!(
            header.count("a.fits", "NAXIS").unwrap_err().to_string(),
            "a.fits: NAXIS: expected a whole number of 0 or more, found -3"
        );
        assert_eq!(
            header.count("a.fits", "NAXIS1").unwrap_err().to_string(),
            "a.fits: NAXIS1: expected a whole number of 0 or more, found no such card"
        );
        assert_eq!(header.length, BLOCK_SIZE);
    }

    #[test]
    fn fixed_format_and_contradictions() {
        let header = header(&[
            "BITPIX  =                   16 / fixed",
            "NAXIS   = 2 / free",
            "GAIN    = 1.5",
            "EXPTIME = 30",
            "GAIN    = 1.50",
            "EXPTIME = 60",
        ]);
        assert!(header.is_fixed_format("BITPIX"));
        assert!(!header.is_fixed_format("NAXIS"));
        assert!(!header.is_contradicted("GAIN"));
        assert!(header.is_contradicted("EXPTIME"));
        assert_eq!(header.get("EXPTIME"), Some(Value::Integer(30)));
    }

    #[test]
    fn what_is_certain() {
        let header = header(&[
            "CRVAL1  = 1.5",
            "CRVAL2  = NaN / not one",
            "CRPIX1  =",
            "CD1_1   = 1E-4",
            "CD1_1   = 0.0001",
            "CD2_2   = 1E-4",
            "CD2_2   = 2E-4",
        ]);
        let text = |text: &str| Ok(Some(Value::Text(text.into())));
        assert_eq!(header.certain("CRVAL1"), Ok(Some(Value::Float(1.5))));
        assert_eq!(header.certain("CRVAL2"), text("NaN"));
        assert_eq!(header.certain("CRPIX1"), text(""));
        assert_eq!(header.certain("CRPIX2"), Ok(None));
        assert_eq!(header.certain("CD1_1"), Ok(Some(Value::Float(1e-4))));
        assert!(header.certain("CD2_2").is_err());
    }

    #[test]
    fn no_end_or_bytes_that_are_no_text() {
        assert!(Header::parse(&[b' '; 5760]).is_none());
        let mut bytes = b"SIMPLE  =                    T / \xff\n\xc3\xa9".to_vec();
        bytes.resize(80, b' ');
        bytes.extend(b"END     ");
        bytes.resize(160, b' ');
        let header = Header::parse(&bytes).unwrap();
        assert!(header.is_true("SIMPLE"));
        assert_eq!(header.replaced, 4);
    }
}
