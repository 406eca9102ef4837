//! From stored to physical values.

use fitsio_pure::image::ImageData;
use rayon::prelude::*;

use super::header::Value;
use super::unit::{Kind, Unit};
use crate::Result;

/// What the header says of stored values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scaling {
    pub(super) scale: f64,
    pub(super) zero: f64,
    /// The stored integer of a missing pixel.
    pub(super) blank: Option<i64>,
}

impl Scaling {
    pub(super) fn new(file: &str, unit: &Unit) -> Result<Self> {
        let header = &unit.header;
        let integer = |keyword| match header.get(keyword) {
            Some(Value::Integer(n)) => Some(n),
            _ => None,
        };
        let blank = match unit.kind {
            Kind::Tiled { .. } => integer("BLANK").or_else(|| integer("ZBLANK")),
            _ => integer("BLANK"),
        };
        Ok(Self {
            scale: header.number(file, "BSCALE")?.unwrap_or(1.0),
            zero: header.number(file, "BZERO")?.unwrap_or(0.0),
            blank,
        })
    }

    fn physical(self, stored: f64) -> f64 {
        let value = self.zero + self.scale * stored;
        if value.is_finite() { value } else { f64::NAN }
    }

    /// Physical values of stored bytes, pixels of one of the BITPIX that there are.
    pub(super) fn decode(self, bitpix: i64, bytes: &[u8]) -> Vec<f64> {
        match bitpix {
            8 => self.integers(bytes, |&b| b.into()),
            16 => self.integers(bytes.as_chunks().0, |&b| i16::from_be_bytes(b).into()),
            32 => self.integers(bytes.as_chunks().0, |&b| i32::from_be_bytes(b).into()),
            64 => self.integers(bytes.as_chunks().0, |&b| i64::from_be_bytes(b)),
            -32 => self.floats(bytes.as_chunks().0, |&b| f32::from_be_bytes(b).into()),
            _ => self.floats(bytes.as_chunks().0, |&b| f64::from_be_bytes(b)),
        }
    }

    /// Physical values of a range of decoded pixels; `None` where there are not so many.
    pub(super) fn apply(self, data: &ImageData, start: usize, count: usize) -> Option<Vec<f64>> {
        let range = start..start.checked_add(count)?;
        Some(match data {
            ImageData::U8(values) => self.integers(values.get(range)?, |&v| v.into()),
            ImageData::I16(values) => self.integers(values.get(range)?, |&v| v.into()),
            ImageData::I32(values) => self.integers(values.get(range)?, |&v| v.into()),
            ImageData::I64(values) => self.integers(values.get(range)?, |&v| v),
            ImageData::F32(values) => self.floats(values.get(range)?, |&v| v.into()),
            ImageData::F64(values) => self.floats(values.get(range)?, |&v| v),
        })
    }

    fn integers<S: Sync>(self, stored: &[S], read: impl Fn(&S) -> i64 + Sync) -> Vec<f64> {
        converted(stored, |stored| {
            let stored = read(stored);
            // A BLANK that the stored type cannot hold marks no pixel.
            if Some(stored) == self.blank {
                f64::NAN
            } else {
                self.physical(stored as f64)
            }
        })
    }

    fn floats<S: Sync>(self, stored: &[S], read: impl Fn(&S) -> f64 + Sync) -> Vec<f64> {
        converted(stored, |stored| self.physical(read(stored)))
    }
}

/// Converts many pixels in parallel: most of the time goes into getting memory for the result.
fn converted<S: Sync>(stored: &[S], convert: impl Fn(&S) -> f64 + Sync) -> Vec<f64> {
    const CHUNK: usize = 1 << 16;
    let mut values = vec![0.0; stored.len()];
    let chunks = values.par_chunks_mut(CHUNK).zip(stored.par_chunks(CHUNK));
    chunks.for_each(|(values, stored)| {
        for (value, stored) in values.iter_mut().zip(stored) {
            *value = convert(stored);
        }
    });
    values
}
