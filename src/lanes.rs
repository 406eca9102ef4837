//! Cutouts of several stars side by side, one to a lane of a register.

use std::ops::Range;

use fearless_simd::{Level, Simd, SimdBase, dispatch};

use crate::batch::Chunk;
use crate::kernel::LaneBlock;

/// Stars to the widest register there is, 512 bits.
pub(crate) const MAX_LANES: usize = 16;

/// Stars to a register.
pub(crate) fn count(level: Level) -> usize {
    dispatch!(level, simd => register_length(simd))
}

#[inline(always)]
fn register_length<S: Simd>(_simd: S) -> usize {
    S::f32s::LEN
}

/// The pixels of as many stars as there are lanes: pixel 0 of each, then pixel 1 of each.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    data: Vec<f32>,
    weight: Vec<f32>,
}

impl Packed {
    /// The view that the kernels work on.
    pub(crate) fn block(&self, width: usize) -> LaneBlock<'_> {
        LaneBlock {
            width,
            data: &self.data,
            weight: &self.weight,
        }
    }
}

/// Packs neighbouring stars, at most `lanes`; lanes without a star have weight 0.
pub(crate) fn pack(chunk: &Chunk<'_>, stars: Range<usize>, lanes: usize) -> Packed {
    let pixels = chunk.width * chunk.height;
    let mut packed = Packed {
        data: vec![0.0; lanes * pixels],
        weight: vec![0.0; lanes * pixels],
    };
    for (lane, star) in stars.enumerate() {
        let star = chunk.pixels(star);
        interleave(star.data, lane, lanes, &mut packed.data);
        interleave(star.weight, lane, lanes, &mut packed.weight);
    }
    packed
}

/// Writes the values of one star into its lane.
pub(crate) fn interleave(values: &[f64], lane: usize, lanes: usize, out: &mut [f32]) {
    for (out, &value) in out.iter_mut().skip(lane).step_by(lanes).zip(values) {
        *out = value as f32;
    }
}
