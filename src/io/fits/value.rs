//! Values of header cards.

use fitsio_pure::value::Value as RawValue;

/// The value of a header card.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `T` or `F`.
    Logical(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number; always finite.
    Float(f64),
    /// A string, without its quotes and trailing blanks.
    Text(String),
}

impl Value {
    /// The number, if the value is one.
    pub fn number(&self) -> Option<f64> {
        match *self {
            Self::Integer(n) => Some(n as f64),
            Self::Float(x) => Some(x),
            Self::Logical(_) | Self::Text(_) => None,
        }
    }

    /// The string, if the value is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(s) => Some(s),
            _ => None,
        }
    }

    pub(super) fn from_raw(raw: &RawValue) -> Option<Self> {
        match raw {
            RawValue::Logical(b) => Some(Self::Logical(*b)),
            RawValue::Integer(n) => Some(Self::Integer(*n)),
            // `inf` and `nan` are words in FITS, not numbers.
            RawValue::Float(x) => x.is_finite().then_some(Self::Float(*x)),
            RawValue::String(s) => Some(Self::Text(s.trim_end().to_owned())),
            _ => None,
        }
    }
}
