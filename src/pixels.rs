//! The pixels of stars, scaled to order 1, as the sums take them.

use std::borrow::Cow;

use crate::numbers::lanes::{LANES, Row};

/// The pixels of one star, row after row.
#[derive(Debug, Clone)]
pub struct Pixels<'a> {
    /// Pixels in a row.
    pub width: usize,
    /// Values, scaled to order 1.
    pub data: Cow<'a, [f64]>,
    /// Weights relative to the largest, or the level that counts stand on (see
    /// [`Poisson`](crate::estimator::Poisson)); 0 = unused.
    pub weight: Cow<'a, [f64]>,
}

impl Pixels<'_> {
    /// Row and column of the middle pixel.
    pub(crate) fn middle(&self) -> (usize, usize) {
        (self.data.len() / self.width / 2, self.width / 2)
    }

    /// Calls `visit` with value, weight, x and y of each pixel in use.
    #[inline(always)]
    pub(crate) fn for_each_used(&self, mut visit: impl FnMut(f64, f64, f64, f64)) {
        let rows = self
            .data
            .chunks_exact(self.width)
            .zip(self.weight.chunks_exact(self.width));
        for (y, (data, weight)) in rows.enumerate() {
            for (x, (&data, &weight)) in data.iter().zip(weight).enumerate() {
                if weight > 0.0 {
                    visit(data, weight, x as f64, y as f64);
                }
            }
        }
    }
}

/// The pixels of the stars of a block. Places without a star repeat the first one.
#[derive(Debug, Clone, Default)]
pub struct PixelBlock {
    /// Pixels in a row.
    pub width: usize,
    /// Values, scaled to order 1.
    pub data: Vec<Row<f32>>,
    /// Weights, as [`Pixels::weight`](crate::pixels::Pixels::weight) has them; a single row where every
    /// star has one weight for all its pixels.
    pub weight: Vec<Row<f32>>,
}

impl PixelBlock {
    /// Whether every star has one weight for all its pixels.
    pub fn has_uniform_weights(&self) -> bool {
        self.weight.len() == 1
    }

    /// Packs stars that stand in `blocks` already, sixteen to a block; at most sixteen of them.
    pub fn regroup(blocks: &[Self], stars: &[u32]) -> Self {
        let places: [_; LANES] = std::array::from_fn(|lane| {
            let star = stars[if lane < stars.len() { lane } else { 0 }] as usize;
            (&blocks[star / LANES], star % LANES)
        });
        let data = |pixel: usize| Row(places.map(|(block, lane)| block.data[pixel][lane]));
        let weight = |pixel: usize| {
            Row(places.map(|(block, lane)| {
                let row = if block.has_uniform_weights() {
                    0
                } else {
                    pixel
                };
                block.weight[row][lane]
            }))
        };
        let is_uniform = places.iter().all(|(block, _)| block.has_uniform_weights());
        let pixels = places[0].0.data.len();
        Self {
            width: places[0].0.width,
            data: (0..pixels).map(data).collect(),
            weight: (0..if is_uniform { 1 } else { pixels })
                .map(weight)
                .collect(),
        }
    }
}
