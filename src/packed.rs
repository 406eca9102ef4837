//! Cutouts in the order in which registers and GPUs read them: a pixel of sixteen stars, then the
//! next pixel of the same stars, in `f32`.

use std::ops::Range;

use fearless_simd::{Level, Simd};

use crate::batch::Chunk;
use crate::block::{LANES, Row};
use crate::level::vectorized;

/// The pixels of the stars of a block. Places without a star repeat the first one.
#[derive(Debug, Clone)]
pub struct PackedBlock {
    /// Pixels in a row.
    pub width: usize,
    /// Values, scaled to order 1.
    pub data: Vec<Row<f32>>,
    /// As in [`Batch::weight`](crate::batch::Batch::weight); a single row where every star has the
    /// same weight for all its pixels.
    pub weight: Vec<Row<f32>>,
}

impl PackedBlock {
    /// Whether every star has one weight for all its pixels.
    pub fn has_uniform_weights(&self) -> bool {
        self.weight.len() == 1
    }

    /// Packs neighbouring stars of `chunk`, at most sixteen.
    pub fn new(chunk: &Chunk<'_>, stars: Range<usize>) -> Self {
        let first = stars.start;
        Self::assemble(
            chunk.width,
            chunk.width * chunk.height,
            stars.len(),
            |lane| {
                let weight = chunk.stars[first + lane].uniform_weight;
                weight.map(|weight| weight as f32)
            },
            |lane, out| narrow(chunk.pixels(first + lane).data, out),
            |lane, out| narrow(chunk.pixels(first + lane).weight, out),
        )
    }

    /// Packs stars that stand in `blocks` already, sixteen to a block; at most sixteen of them.
    pub fn regroup(blocks: &[Self], stars: &[u32]) -> Self {
        let place = |lane: usize| {
            let star = stars[lane] as usize;
            (&blocks[star / LANES], star % LANES)
        };
        let copy = |from: usize, rows: &[Row<f32>], out: &mut [f32]| {
            for (out, row) in out.iter_mut().zip(rows) {
                *out = row[from];
            }
        };
        let (model, _) = place(0);
        Self::assemble(
            model.width,
            model.data.len(),
            stars.len(),
            |lane| {
                let (block, from) = place(lane);
                block.has_uniform_weights().then(|| block.weight[0][from])
            },
            |lane, out| {
                let (block, from) = place(lane);
                copy(from, &block.data, out);
            },
            |lane, out| {
                let (block, from) = place(lane);
                match block.has_uniform_weights() {
                    true => out.fill(block.weight[0][from]),
                    false => copy(from, &block.weight, out),
                }
            },
        )
    }

    /// A block of `count` stars from what three functions say of each: its weight where that is one
    /// for all pixels, its data and its weights.
    fn assemble(
        width: usize,
        pixels: usize,
        count: usize,
        uniform: impl Fn(usize) -> Option<f32>,
        write_data: impl Fn(usize, &mut [f32]),
        write_weight: impl Fn(usize, &mut [f32]),
    ) -> Self {
        let plane = |write: &dyn Fn(usize, &mut [f32])| {
            let mut stars = vec![0.0; LANES * pixels];
            for (lane, star) in stars.chunks_exact_mut(pixels).enumerate() {
                write(if lane < count { lane } else { 0 }, star);
            }
            interleave(&stars, pixels)
        };
        let mut weights = Row::filled(0.0);
        let mut is_uniform = true;
        for lane in 0..LANES {
            let weight = uniform(if lane < count { lane } else { 0 });
            is_uniform &= weight.is_some();
            weights[lane] = weight.unwrap_or(0.0);
        }
        Self {
            width,
            data: plane(&write_data),
            weight: match is_uniform {
                true => vec![weights],
                false => plane(&write_weight),
            },
        }
    }
}

/// Rounds to `f32`.
fn narrow(values: &[f64], out: &mut [f32]) {
    #[inline(always)]
    fn in_registers<S: Simd>(_simd: S, values: &[f64], out: &mut [f32]) {
        for (out, &value) in out.iter_mut().zip(values) {
            *out = value as f32;
        }
    }
    vectorized!(Level::new(), simd => in_registers(simd, values, out));
}

/// The first pixel of each star, then the second: tile by tile, which stay in the nearest cache.
fn interleave(stars: &[f32], pixels: usize) -> Vec<Row<f32>> {
    const TILE: usize = 16;
    let mut rows = vec![Row::filled(0.0); pixels];
    for (tile, rows) in rows.chunks_mut(TILE).enumerate() {
        for lane in 0..LANES {
            let star = &stars[lane * pixels + tile * TILE..][..rows.len()];
            for (row, &value) in rows.iter_mut().zip(star) {
                row[lane] = value;
            }
        }
    }
    rows
}
