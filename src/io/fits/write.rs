//! Writes images and stacks as plain FITS.

use std::io::Write;
use std::path::Path;

use fitsio_pure::header::Card as RawCard;
use fitsio_pure::image_writer::ImageWriter;
use fitsio_pure::value::Value as RawValue;
use ndarray::{Array2, Array3};

use super::Value;
use crate::io::replace_file;
use crate::{Error, Result};

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelType {
    /// BITPIX -32.
    F32,
    /// BITPIX 16 with BZERO 32768, as cameras write: values are rounded and end at 0 and 65535.
    U16,
}

/// A header card to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// At most 8 capitals, digits, hyphens and underscores.
    pub keyword: String,
    /// Value; text must be ASCII.
    pub value: Value,
    /// Comment, cut where the card ends; may be empty.
    pub comment: String,
}

impl Card {
    /// A card.
    pub fn new(keyword: impl Into<String>, value: Value, comment: impl Into<String>) -> Self {
        Self {
            keyword: keyword.into(),
            value,
            comment: comment.into(),
        }
    }

    fn to_raw(&self) -> Result<RawCard> {
        let bad = |expected: &str, found: String| Error::Option {
            option: format!("header card {}", self.keyword),
            expected: expected.into(),
            found,
            hint: None,
        };
        let printable = |s: &str| s.bytes().all(|b| (b' '..=b'~').contains(&b));
        let value = match &self.value {
            Value::Logical(b) => RawValue::Logical(*b),
            Value::Integer(n) => RawValue::Integer(*n),
            Value::Float(x) if x.is_finite() => RawValue::Float(*x),
            Value::Float(x) => return Err(bad("a finite number", x.to_string())),
            Value::Text(s) if printable(s) => RawValue::String(s.clone()),
            Value::Text(s) => return Err(bad("ASCII text", s.clone())),
        };
        if !printable(&self.comment) {
            return Err(bad("an ASCII comment", self.comment.clone()));
        }
        let mut card = RawCard::new(&self.keyword, value)
            .map_err(|_| bad("1 to 8 of A-Z, 0-9, - and _", self.keyword.clone()))?;
        card.comment = (!self.comment.is_empty()).then(|| self.comment.clone());
        Ok(card)
    }
}

/// Writes an image, `pixels[[y, x]]`, as the primary HDU, through a temporary file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Option`] for an empty image, a card that FITS cannot hold, or pixels
/// without a finite value where integers are wanted.
pub fn write_image(
    path: impl AsRef<Path>,
    pixels: &Array2<f64>,
    pixel_type: PixelType,
    cards: &[Card],
) -> Result<()> {
    let (height, width) = pixels.dim();
    let axes = [width, height];
    let mut raw = raw_cards(cards)?;
    match pixel_type {
        PixelType::F32 => write(path.as_ref(), -32, &axes, &raw, |writer| {
            writer.write_iter(pixels.iter().map(|&v| v as f32))
        }),
        PixelType::U16 => {
            if let Some(((y, x), value)) = pixels.indexed_iter().find(|(_, v)| !v.is_finite()) {
                return Err(Error::Option {
                    option: "pixels".into(),
                    expected: "finite values for 16-bit integers".into(),
                    found: format!("{value} at x = {x}, y = {y}"),
                    hint: None,
                });
            }
            raw.extend(raw_cards(&[
                Card::new("BSCALE", Value::Integer(1), ""),
                Card::new("BZERO", Value::Integer(32768), "unsigned 16-bit integers"),
            ])?);
            let stored = |&v: &f64| (v.round().clamp(0.0, 65535.0) - 32768.0) as i16;
            write(path.as_ref(), 16, &axes, &raw, |writer| {
                writer.write_iter(pixels.iter().map(stored))
            })
        }
    }
}

/// Writes a stack of cutouts, (n, height, width), as a cube of 32-bit floats.
///
/// # Errors
/// As [`write_image`].
pub fn write_stack(path: impl AsRef<Path>, stack: &Array3<f32>, cards: &[Card]) -> Result<()> {
    let (n, height, width) = stack.dim();
    let axes = [width, height, n];
    write(path.as_ref(), -32, &axes, &raw_cards(cards)?, |writer| {
        writer.write_iter(stack.iter().copied())
    })
}

fn raw_cards(cards: &[Card]) -> Result<Vec<RawCard>> {
    cards.iter().map(Card::to_raw).collect()
}

fn write(
    path: &Path,
    bitpix: i64,
    axes: &[usize],
    cards: &[RawCard],
    pixels: impl FnOnce(&mut ImageWriter<&mut dyn Write>) -> fitsio_pure::Result<()>,
) -> Result<()> {
    if axes.contains(&0) {
        return Err(Error::Option {
            option: "pixels".into(),
            expected: "at least one".into(),
            found: "none".into(),
            hint: None,
        });
    }
    replace_file(path, |out| {
        let written = ImageWriter::primary(out, bitpix, axes, cards).and_then(|mut writer| {
            pixels(&mut writer)?;
            writer.finish().map(drop)
        });
        written.map_err(|e| match e {
            fitsio_pure::Error::Io(e) => Error::io(path, e),
            e => Error::io(path, std::io::Error::other(e.to_string())),
        })
    })
}
