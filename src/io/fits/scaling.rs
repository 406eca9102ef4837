//! From stored to physical values.

use std::borrow::Cow;
use std::ops::Range;

use fearless_simd::{Level, dispatch};
use fitsio_pure::image::ImageData;
use rayon::prelude::*;

use super::unit::{Kind, Unit};
use crate::Result;
use crate::io::fits::value::Value;
use crate::memory::zeros;

/// Scaling of stored values by the header.
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

    #[inline(always)]
    fn physical(self, stored: f64) -> f64 {
        let value = self.zero + self.scale * stored;
        if value.is_finite() { value } else { f64::NAN }
    }

    /// Physical values of `count` pixels of one of the BITPIX that there are. `read` gives the stored bytes
    /// of a range of them: some at a time, which stay in the cache until they are converted.
    pub(super) fn decode<'a>(
        self,
        bitpix: i64,
        count: usize,
        read: impl Fn(Range<usize>) -> Result<Cow<'a, [u8]>> + Sync,
    ) -> Result<Vec<f64>> {
        converted(count, |pixels, out| {
            let bytes = read(pixels)?;
            match bitpix {
                8 => self.integers(&bytes, |&b| b.into(), out),
                16 => self.integers(bytes.as_chunks().0, |&b| i16::from_be_bytes(b).into(), out),
                32 => self.integers(bytes.as_chunks().0, |&b| i32::from_be_bytes(b).into(), out),
                64 => self.integers(bytes.as_chunks().0, |&b| i64::from_be_bytes(b), out),
                -32 => self.floats(bytes.as_chunks().0, |&b| f32::from_be_bytes(b).into(), out),
                _ => self.floats(bytes.as_chunks().0, |&b| f64::from_be_bytes(b), out),
            }
            Ok(())
        })
    }

    /// Physical values of a range of decoded pixels; `None` where there are not so many.
    pub(super) fn apply(self, data: &ImageData, start: usize, count: usize) -> Option<Vec<f64>> {
        start.checked_add(count)?;
        let fill = |pixels: Range<usize>, out: &mut [f64]| {
            let range = start + pixels.start..start + pixels.end;
            match data {
                ImageData::U8(values) => self.integers(values.get(range)?, |&v| v.into(), out),
                ImageData::I16(values) => self.integers(values.get(range)?, |&v| v.into(), out),
                ImageData::I32(values) => self.integers(values.get(range)?, |&v| v.into(), out),
                ImageData::I64(values) => self.integers(values.get(range)?, |&v| v, out),
                ImageData::F32(values) => self.floats(values.get(range)?, |&v| v.into(), out),
                ImageData::F64(values) => self.floats(values.get(range)?, |&v| v, out),
            }
            Some(())
        };
        converted(count, |pixels, out| fill(pixels, out).ok_or(())).ok()
    }

    fn integers<S>(self, stored: &[S], read: impl Fn(&S) -> i64, out: &mut [f64]) {
        convert(stored, out, |stored| {
            let stored = read(stored);
            // A BLANK that the stored type cannot hold marks no pixel.
            if Some(stored) == self.blank {
                f64::NAN
            } else {
                self.physical(stored as f64)
            }
        });
    }

    fn floats<S>(self, stored: &[S], read: impl Fn(&S) -> f64, out: &mut [f64]) {
        convert(stored, out, |stored| self.physical(read(stored)));
    }
}

/// Converts many values in parallel, each range of them by `fill`: most of the time goes into getting
/// memory for them.
fn converted<E: Send>(
    count: usize,
    fill: impl Fn(Range<usize>, &mut [f64]) -> Result<(), E> + Sync,
) -> Result<Vec<f64>, E> {
    const CHUNK: usize = 1 << 15;
    let mut values = zeros(count);
    let chunks = values.par_chunks_mut(CHUNK).enumerate();
    chunks.try_for_each(|(index, values)| {
        let start = index * CHUNK;
        fill(start..start + values.len(), values)
    })?;
    Ok(values)
}

fn convert<S>(stored: &[S], values: &mut [f64], physical: impl Fn(&S) -> f64) {
    dispatch!(Level::new(), _simd => {
        for (value, stored) in values.iter_mut().zip(stored) {
            *value = physical(stored);
        }
    });
}
