//! Stacks of cutouts in numpy's `.npy` files.

mod header;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ndarray::{Array3, ShapeBuilder, s};

use header::Header;

use super::{check_range, open_regular, replace_file};
use crate::{Error, Result};

/// Longest header read; numpy writes 118 bytes.
const MAX_HEADER: u64 = 16 << 10;
/// Values converted at a time.
const CHUNK: usize = 16 << 10;
const EXPECTED_SHAPE: &str = "(n, height, width)";

/// An open stack of cutouts; only the cutouts that are asked for are read.
#[derive(Debug)]
pub struct NpyStack {
    path: PathBuf,
    shape: (usize, usize, usize),
    is_flat: bool,
    element: Element,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// In C order: a cutout is one piece of the file, the first one from `start` on, bytes.
    File { file: Mutex<File>, start: u64 },
    /// In Fortran order, where a cutout is all over the file.
    Read(Array3<f64>),
}

impl NpyStack {
    /// Opens a stack of cutouts, (n, height, width), of any integer, float or truth type, byte
    /// order and memory order; two axes are a single cutout. Arrays in Fortran order are read whole
    /// here.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] for anything else than such an array, all of its pixels
    /// there; [`Error::Unsupported`] for other types.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        open(path.as_ref())
    }

    /// Number of cutouts, height and width, pixels; none is 0.
    pub fn dim(&self) -> (usize, usize, usize) {
        self.shape
    }

    /// Whether the array has two axes only, and is taken for one cutout.
    pub fn is_flat(&self) -> bool {
        self.is_flat
    }

    /// The cutouts of these numbers, (n, height, width). Values that are not finite become NaN.
    ///
    /// # Errors
    /// [`Error::Io`], also where the file has become shorter; [`Error::Option`] for cutouts that do not
    /// exist.
    pub fn read(&self, cutouts: Range<usize>) -> Result<Array3<f64>> {
        let (n, height, width) = self.shape;
        check_range(&cutouts, n)?;
        let (file, start) = match &self.content {
            Content::File { file, start } => (file, start),
            Content::Read(stack) => return Ok(stack.slice(s![cutouts, .., ..]).to_owned()),
        };
        // Neither overflows: all pixels are in the file.
        let first = (cutouts.start * height * width * self.element.size) as u64;
        let count = cutouts.len() * height * width;
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let values = file
            .seek(SeekFrom::Start(start + first))
            .and_then(|_| self.element.read(&mut *file, count))
            .map_err(|e| Error::io(&self.path, e))?;
        let shape = (cutouts.len(), height, width);
        Array3::from_shape_vec(shape, values).map_err(|e| malformed_shape(&self.path, &e))
    }
}

/// Reads a whole stack of cutouts, as [`NpyStack`] does.
///
/// # Errors
/// The errors of [`NpyStack::open`].
pub fn read_stack(path: impl AsRef<Path>) -> Result<Array3<f64>> {
    let stack = open(path.as_ref())?;
    match stack.content {
        Content::Read(stack) => Ok(stack),
        Content::File { .. } => stack.read(0..stack.shape.0),
    }
}

fn open(path: &Path) -> Result<NpyStack> {
    let (mut input, metadata) = open_regular(path)?;
    let malformed = |field: &str, expected: &str, found: String| Error::Malformed {
        file: path.display().to_string(),
        field: field.into(),
        expected: expected.into(),
        found,
        hint: None,
    };
    let mut start = Vec::new();
    let io = |e| Error::io(path, e);
    input
        .by_ref()
        .take(MAX_HEADER)
        .read_to_end(&mut start)
        .map_err(io)?;
    let (length, text) = header::extent(&start).ok_or_else(|| {
        let found = if start.is_empty() {
            "an empty file"
        } else {
            "other data"
        };
        malformed("content", "a .npy array", found.into())
    })?;
    let header = start
        .get(text..length)
        .ok_or_else(|| "other data".to_owned())
        .and_then(Header::parse)
        .map_err(|found| malformed("header", "the shape of an array", found))?;

    let (n, height, width) = match *header.shape.as_slice() {
        [n, height, width] => (n, height, width),
        [height, width] => (1, height, width),
        _ => return Err(malformed("shape", EXPECTED_SHAPE, tuple(&header.shape))),
    };
    if n == 0 || height == 0 || width == 0 {
        return Err(malformed(
            "shape",
            "at least one pixel",
            tuple(&header.shape),
        ));
    }
    let element = Element::parse(&header.descriptor).ok_or_else(|| Error::Unsupported {
        file: path.display().to_string(),
        what: format!("element type {}", header.descriptor),
        hint: Some("convert it in numpy: array.astype('float32')".into()),
    })?;
    let count = n.checked_mul(height).and_then(|k| k.checked_mul(width));
    let bytes = count.and_then(|k| k.checked_mul(element.size));
    let available = metadata.len().saturating_sub(length as u64);
    let (Some(count), Some(bytes)) = (count, bytes) else {
        return Err(malformed("shape", "fewer pixels", tuple(&header.shape)));
    };
    if bytes as u64 > available {
        return Err(malformed(
            "data",
            &format!("{bytes} bytes of pixels"),
            available.to_string(),
        )
        .with_hint("the file is cut short: copy it again"));
    }

    let shape = (n, height, width);
    let content = if header.is_fortran {
        input.seek(SeekFrom::Start(length as u64)).map_err(io)?;
        let values = element.read(&mut input, count).map_err(io)?;
        let stack =
            Array3::from_shape_vec(shape.f(), values).map_err(|e| malformed_shape(path, &e))?;
        Content::Read(stack.as_standard_layout().into_owned())
    } else {
        Content::File {
            file: Mutex::new(input),
            start: length as u64,
        }
    };
    Ok(NpyStack {
        path: path.to_owned(),
        shape,
        is_flat: header.shape.len() == 2,
        element,
        content,
    })
}

fn malformed_shape(path: &Path, error: &ndarray::ShapeError) -> Error {
    Error::Malformed {
        file: path.display().to_string(),
        field: "shape".into(),
        expected: EXPECTED_SHAPE.into(),
        found: error.to_string(),
        hint: None,
    }
}

/// Writes a stack of cutouts, (n, height, width), as little-endian floats through a temporary
/// file.
///
/// # Errors
/// [`Error::Io`].
pub fn write_stack(path: impl AsRef<Path>, stack: &Array3<f32>) -> Result<()> {
    let path = path.as_ref();
    let (n, height, width) = stack.dim();
    replace_file(path, |out| {
        let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(|e| Error::io(path, e));
        write(&header::write("<f4", &[n, height, width]))?;
        let values = stack.as_standard_layout();
        for values in values.as_slice().unwrap_or_default().chunks(CHUNK) {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            write(&bytes)?;
        }
        Ok(())
    })
}

/// One pixel as it is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Element {
    big_endian: bool,
    kind: u8,
    size: usize,
}

impl Element {
    /// From numpy's descriptor: `<f4`, `>i2`, `|u1`.
    fn parse(descriptor: &str) -> Option<Self> {
        let &[order, kind, size] = descriptor.as_bytes() else {
            return None;
        };
        let size = usize::from(size.checked_sub(b'0')?);
        let known = match kind {
            b'f' => matches!(size, 4 | 8),
            b'i' | b'u' => matches!(size, 1 | 2 | 4 | 8),
            // Masks: a byte of 0 or 1.
            b'b' => size == 1,
            _ => false,
        };
        let big_endian = match order {
            b'<' | b'|' => false,
            b'>' => true,
            b'=' => cfg!(target_endian = "big"),
            _ => return None,
        };
        known.then_some(Self {
            big_endian,
            kind,
            size,
        })
    }

    fn read(self, mut input: impl Read, count: usize) -> std::io::Result<Vec<f64>> {
        let mut values = Vec::new();
        values
            .try_reserve_exact(count)
            .map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        let mut buffer = vec![0; CHUNK * self.size];
        while values.len() < count {
            let wanted = CHUNK.min(count - values.len()) * self.size;
            let Some(chunk) = buffer.get_mut(..wanted) else {
                break;
            };
            input.read_exact(chunk)?;
            self.convert(chunk, &mut values);
        }
        Ok(values)
    }

    fn convert(self, bytes: &[u8], values: &mut Vec<f64>) {
        macro_rules! numbers {
            ($type:ty) => {{
                let (stored, _) = bytes.as_chunks();
                values.extend(stored.iter().map(|&bytes| {
                    let value = if self.big_endian {
                        <$type>::from_be_bytes(bytes)
                    } else {
                        <$type>::from_le_bytes(bytes)
                    } as f64;
                    if value.is_finite() { value } else { f64::NAN }
                }));
            }};
        }
        match (self.kind, self.size) {
            (b'f', 4) => numbers!(f32),
            (b'f', _) => numbers!(f64),
            (b'i', 1) => numbers!(i8),
            (b'i', 2) => numbers!(i16),
            (b'i', 4) => numbers!(i32),
            (b'i', _) => numbers!(i64),
            (_, 1) => numbers!(u8),
            (_, 2) => numbers!(u16),
            (_, 4) => numbers!(u32),
            _ => numbers!(u64),
        }
    }
}

fn tuple(shape: &[usize]) -> String {
    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
    match shape.as_slice() {
        [one] => format!("({one},)"),
        all => format!("({})", all.join(", ")),
    }
}

#[cfg(test)]
mod tests;
