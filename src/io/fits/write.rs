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

    pub(super) fn to_raw(&self) -> Result<RawCard> {
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
/// The errors of [`write_image`].
pub fn write_stack(path: impl AsRef<Path>, stack: &Array3<f32>, cards: &[Card]) -> Result<()> {
    let (n, height, width) = stack.dim();
    let axes = [width, height, n];
    write(path.as_ref(), -32, &axes, &raw_cards(cards)?, |writer| {
        writer.write_iter(stack.iter().copied())
    })
}

pub(super) fn raw_cards(cards: &[Card]) -> Result<Vec<RawCard>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::fits::{FitsFile, FitsPath};

    fn image() -> Array2<f64> {
        Array2::from_shape_fn((5, 7), |(y, x)| 10_000.0 * y as f64 + x as f64 + 0.25)
    }

    #[test]
    fn images_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("é 1.fits");
        let text = "it's a 'long' text ".repeat(8);
        let cards = [
            Card::new("GAIN", Value::Float(1.5), "electrons for each adu"),
            Card::new("EXPTIME", Value::Integer(30), ""),
            Card::new("OBJECT", Value::Text(text.trim_end().into()), "where"),
            Card::new("SIMULATE", Value::Logical(true), ""),
            Card::new("CD1_1", Value::Float(-1.234_567_890_123_4e-5), "deg"),
        ];
        write_image(&path, &image(), PixelType::F32, &cards).unwrap();
        let file = FitsFile::open(&FitsPath::from(path.clone())).unwrap();
        let read = file.image(0).unwrap();
        assert_eq!(read.pixels, image());
        assert_eq!(read.name, "é 1.fits[0]");
        assert_eq!(read.header.gain(), Some(1.5));
        assert_eq!(read.header.exposure, Some(30.0));
        for card in cards {
            assert!(
                file.cards()
                    .any(|(keyword, value)| keyword == card.keyword && value == card.value),
                "{card:?}"
            );
        }

        // Over the older file; counts are rounded and end where 16 bits do.
        let counts = image() * 2.0 - 10.0;
        write_image(&path, &counts, PixelType::U16, &[]).unwrap();
        let read = FitsFile::open(&FitsPath::from(path)).unwrap();
        let wanted = counts.mapv(|v| v.round().clamp(0.0, 65535.0));
        assert_eq!(read.image(0).unwrap().pixels, wanted);
        assert_ne!(wanted, counts);
        assert_eq!(wanted[[0, 0]], 0.0);
        assert_eq!(wanted[[4, 6]], 65535.0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn stacks_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stack.fits");
        let stack = Array3::from_shape_fn((3, 4, 5), |(n, y, x)| (100 * n + 10 * y + x) as f32);
        // The order in memory is of no meaning.
        let turned = stack
            .view()
            .reversed_axes()
            .as_standard_layout()
            .into_owned();
        for stack in [&stack, &turned.reversed_axes()] {
            write_stack(&path, stack, &[]).unwrap();
            let file = FitsFile::open(&FitsPath::from(path.clone())).unwrap();
            assert!(file.is_cube());
            let read = file.stack().unwrap();
            assert_eq!(read, stack.mapv(f64::from));
            assert_eq!(read[[2, 3, 4]], 234.0);
        }
    }

    #[test]
    fn what_fits_cannot_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        let write = |pixels: &Array2<f64>, kind, keyword: &str, value| {
            write_image(&path, pixels, kind, &[Card::new(keyword, value, "")])
        };
        let good = Value::Integer(1);
        assert!(write(&image(), PixelType::F32, "lower", good.clone()).is_err());
        assert!(write(&image(), PixelType::F32, "TOOLONGKEY", good.clone()).is_err());
        assert!(write(&image(), PixelType::F32, "A", Value::Float(f64::NAN)).is_err());
        assert!(write(&image(), PixelType::F32, "A", Value::Text("é".into())).is_err());
        assert!(write(&Array2::zeros((0, 3)), PixelType::F32, "A", good.clone()).is_err());
        let mut hole = image();
        hole[[1, 2]] = f64::NAN;
        let e = write(&hole, PixelType::U16, "A", good.clone()).unwrap_err();
        assert!(e.to_string().contains("x = 2, y = 1"), "{e}");
        assert!(!path.exists());
        write(&hole, PixelType::F32, "A", good).unwrap();
        assert!(
            write_stack(
                folder.path().join("no/a.fits"),
                &Array3::zeros((1, 1, 1)),
                &[]
            )
            .is_err()
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error() {
        let e = write_image("/dev/full", &image(), PixelType::F32, &[]).unwrap_err();
        assert!(matches!(e, Error::Io { .. }), "{e}");
        assert!(std::fs::metadata("/dev/full").is_ok_and(|m| !m.is_file()));
    }
}
