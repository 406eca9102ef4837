//! Cutouts in the order in which registers and GPUs read them: a pixel of sixteen stars, then the
//! next pixel of the same stars, in `f32`.

use std::ops::Range;

use fearless_simd::Level;
use fearless_simd::prelude::*;

use super::values::{Value, with_values};
use super::{Chunk, Scale};
use crate::numbers::lanes::{LANES, Row};
use crate::numbers::real::Lanes;
use crate::numbers::simd::vectorized;
use crate::pixels::PixelBlock;

impl PixelBlock {
    /// Replaces the pixels by those of neighbouring stars of `chunk`, at most sixteen. The content of
    /// `scratch` is lost.
    pub fn pack(&mut self, chunk: &Chunk<'_>, stars: Range<usize>, scratch: &mut Vec<f32>) {
        let star_of = |lane| match lane < stars.len() {
            true => stars.start + lane,
            false => stars.start,
        };
        let pixels = chunk.width * chunk.height;
        let places = |lane| star_of(lane) * pixels..(star_of(lane) + 1) * pixels;
        self.width = chunk.width;
        // One sweep through memory, which a processor foresees, leaves the stars in the cache.
        scratch.clear();
        let (mut pedestals, mut factors) = (Row::filled(0.0), Row::filled(0.0));
        for lane in 0..LANES {
            let scale = &chunk.stars[star_of(lane)].scale;
            (pedestals[lane], factors[lane]) = with_values!(chunk.values, values => {
                take(&values[places(lane)], scale, scratch)
            });
        }
        interleave(scratch, &pedestals, &factors, &mut self.data);
        let mut weights = Row::filled(0.0);
        let is_uniform = (0..LANES).all(|lane| {
            let weight = chunk.stars[star_of(lane)].uniform_weight;
            weights[lane] = weight.unwrap_or_default() as f32;
            weight.is_some()
        });
        if is_uniform {
            self.weight.clear();
            self.weight.push(weights);
        } else {
            scratch.clear();
            for lane in 0..LANES {
                match chunk.stars[star_of(lane)].uniform_weight {
                    Some(weight) => scratch.resize(scratch.len() + pixels, weight as f32),
                    None => scratch.extend(chunk.weight[places(lane)].iter().map(|&w| w as f32)),
                }
            }
            let (zero, one) = (Row::filled(0.0), Row::filled(1.0));
            interleave(scratch, &zero, &one, &mut self.weight);
        }
    }
}

/// Ranges of pixels that `f32` can be scaled by, without over- or underflow on the way.
const SCALABLE: Range<f64> = 1e-30..1e30;

/// Adds the pixels of a star to `out`, and returns the pedestal to subtract and the factor to apply
/// then. Pixels that `f32` cannot scale exactly enough are scaled here.
fn take<V: Value>(values: &[V], scale: &Scale, out: &mut Vec<f32>) -> (f32, f32) {
    let (pedestal, factor) = (scale.pedestal, scale.range.recip());
    vectorized!(Level::new(), _simd => {
        if V::IS_SINGLE && f32::holds(pedestal) && SCALABLE.contains(&scale.range) {
            out.extend(values.iter().map(|&value| value.single()));
            return (pedestal as f32, factor as f32);
        }
        let values = values.iter().map(|&value| value.into());
        out.extend(values.map(|value: f64| ((value - pedestal) * factor) as f32));
        (0.0, 1.0)
    })
}

/// Writes the first number of each of the sixteen `stars`, then the second, over the content of `rows`:
/// each less its star's pedestal, times its star's factor.
fn interleave(stars: &[f32], pedestals: &Row<f32>, factors: &Row<f32>, rows: &mut Vec<Row<f32>>) {
    rows.resize(stars.len() / LANES, Row::filled(0.0));
    vectorized!(Level::new(), simd => in_tiles(simd, stars, pedestals, factors, rows));
}

/// Interleaves tile by tile, each of as many pixels as stars and transposed in registers.
#[inline(always)]
fn in_tiles<S: Simd>(
    simd: S,
    stars: &[f32],
    pedestals: &Row<f32>,
    factors: &Row<f32>,
    rows: &mut [Row<f32>],
) {
    let (length, pixels) = (S::f32s::LEN, rows.len());
    for first in (0..LANES).step_by(length) {
        let mut at = 0;
        while at < pixels {
            let Some(last) = pixels.checked_sub(length) else {
                // A cutout smaller than a tile.
                for (pixel, row) in rows.iter_mut().enumerate() {
                    for lane in first..first + length {
                        let value = stars[lane * pixels + pixel];
                        row[lane] = (value - pedestals[lane]) * factors[lane];
                    }
                }
                break;
            };
            // The last tile takes some pixels again where it would reach beyond them.
            let start = at.min(last);
            let mut tile = [S::f32s::splat(simd, 0.0); LANES];
            for lane in 0..length {
                let star = first + lane;
                let values = &stars[star * pixels + start..][..length];
                let values = S::f32s::from_slice(simd, values);
                tile[lane] = (values - pedestals[star]) * factors[star];
            }
            let tile = transposed::<S>(tile);
            for (row, values) in rows[start..start + length].iter_mut().zip(tile) {
                values.store_slice(&mut row.0[first..first + length]);
            }
            at = start + length;
        }
    }
}

/// The transpose of a square of registers, as many as each holds numbers: the first half is shuffled
/// with the second as often as their number can be halved.
#[inline(always)]
fn transposed<S: Simd>(tile: [S::f32s; LANES]) -> [S::f32s; LANES] {
    let tile = shuffled::<S>(shuffled::<S>(tile));
    let tile = if Lanes::<S>::COUNT > 4 {
        shuffled::<S>(tile)
    } else {
        tile
    };
    if Lanes::<S>::COUNT > 8 {
        shuffled::<S>(tile)
    } else {
        tile
    }
}

#[inline(always)]
fn shuffled<S: Simd>(tile: [S::f32s; LANES]) -> [S::f32s; LANES] {
    let half = S::f32s::LEN / 2;
    let mut shuffled = tile;
    for i in 0..half {
        (shuffled[2 * i], shuffled[2 * i + 1]) = tile[i].interleave(tile[i + half]);
    }
    shuffled
}
