//! The CPU backend: one `f32` of several stars to a register, all cores.

use fearless_simd::Level;
use rayon::prelude::*;

use super::Backend;
use crate::batch::Chunk;
use crate::error::Result;
use crate::estimator::Estimator;
use crate::kernel::{LaneBlock, NormalEquations};
use crate::lanes::{self, MAX_LANES};
use crate::model::{MODELS, Model, Parameters};

/// Evaluates as many stars at once as a register of the machine holds `f32`.
///
/// The cutouts lie interleaved: block by block the first pixel of each of its stars, then the
/// second. Stars that are finished leave holes in the blocks; once those are worth it the
/// remaining stars are packed anew.
#[derive(Debug)]
pub struct CpuBackend {
    level: Level,
    lanes: usize,
    model: &'static dyn Model,
    estimator: Estimator,
    width: usize,
    pixels: usize,
    packed: Packing,
}

/// Interleaved cutouts.
#[derive(Debug, Default)]
struct Packing {
    /// The star in each lane of each block, in increasing order.
    stars: Vec<u32>,
    data: Vec<f32>,
    weight: Vec<f32>,
}

/// Share of lanes in use below which the stars are packed anew.
const REPACK_BELOW: f64 = 0.75;

impl Default for CpuBackend {
    fn default() -> Self {
        let level = Level::new();
        Self {
            level,
            lanes: lanes::count(level),
            model: MODELS[0],
            estimator: Estimator::default(),
            width: 0,
            pixels: 0,
            packed: Packing::default(),
        }
    }
}

impl CpuBackend {
    /// Interleaves the stars whose `pixels` two functions give, pixel by pixel.
    fn pack(&self, stars: Vec<u32>, pixel: impl Fn(usize, usize) -> (f32, f32) + Sync) -> Packing {
        let (lanes, block) = (self.lanes, self.lanes * self.pixels);
        let blocks = stars.len().div_ceil(lanes);
        let mut data = vec![0.0; blocks * block];
        let mut weight = vec![0.0; blocks * block];
        data.par_chunks_exact_mut(block)
            .zip(weight.par_chunks_exact_mut(block))
            .enumerate()
            .for_each(|(b, (data, weight))| {
                for lane in 0..lanes.min(stars.len() - b * lanes) {
                    for at in 0..self.pixels {
                        (data[at * lanes + lane], weight[at * lanes + lane]) =
                            pixel(b * lanes + lane, at);
                    }
                }
            });
        Packing {
            stars,
            data,
            weight,
        }
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn adapter(&self) -> String {
        let level = format!("{:?}", self.level);
        let level = level.split('(').next().unwrap_or_default();
        format!(
            "{} CPU threads, {level}, {} stars to a register",
            rayon::current_num_threads(),
            self.lanes
        )
    }

    fn epsilon(&self) -> f64 {
        f64::from(f32::EPSILON)
    }

    /// As many as stay in the caches from one step to the next.
    fn chunk_size(&self, _model: &dyn Model, pixels: usize) -> usize {
        const BYTES: usize = 4 << 20;
        (BYTES / (pixels.max(1) * 8)).clamp(self.lanes, 1 << 16)
    }

    fn load(
        &mut self,
        model: &'static dyn Model,
        estimator: Estimator,
        chunk: &Chunk<'_>,
    ) -> Result<()> {
        (self.model, self.estimator) = (model, estimator);
        (self.width, self.pixels) = (chunk.width, chunk.width * chunk.height);
        let n = self.pixels;
        self.packed = self.pack((0..chunk.len() as u32).collect(), |star, at| {
            (
                chunk.data[star * n + at] as f32,
                chunk.weight[star * n + at] as f32,
            )
        });
        Ok(())
    }

    fn evaluate(
        &mut self,
        active: &[u32],
        parameters: &[Parameters],
        sums: &mut [NormalEquations],
    ) -> Result<()> {
        let lanes = self.lanes;
        if (active.len().div_ceil(lanes) as f64)
            < REPACK_BELOW * self.packed.stars.len().div_ceil(lanes) as f64
        {
            let places = places(active, &self.packed.stars);
            let old = std::mem::take(&mut self.packed);
            self.packed = self.pack(active.to_vec(), |i, at| {
                let from = (places[i] / lanes * self.pixels + at) * lanes + places[i] % lanes;
                (old.data[from], old.weight[from])
            });
        }
        let places = places(active, &self.packed.stars);
        // The active stars of each block: runs of neighbours in `active`.
        let mut runs = Vec::with_capacity(self.packed.stars.len().div_ceil(lanes));
        let (mut parameters, mut sums, mut rest) = (parameters, sums, places.as_slice());
        while let Some(&first) = rest.first() {
            let block = first / lanes;
            let count = rest.partition_point(|place| place / lanes == block);
            let (these, more) = rest.split_at(count);
            let (parameters_here, more_parameters) = parameters.split_at(count);
            let (sums_here, more_sums) = sums.split_at_mut(count);
            runs.push((block, these, parameters_here, sums_here));
            (rest, parameters, sums) = (more, more_parameters, more_sums);
        }
        let length = lanes * self.pixels;
        runs.into_par_iter()
            .with_min_len(8)
            .for_each(|(block, places, parameters, sums)| {
                let block = block * length..(block + 1) * length;
                let block = LaneBlock {
                    width: self.width,
                    data: &self.packed.data[block.clone()],
                    weight: &self.packed.weight[block],
                };
                // A lane without an active star repeats another: no stray NaN, no special case.
                let mut all = [parameters[0]; MAX_LANES];
                let mut out = [NormalEquations::filled(0.0); MAX_LANES];
                for (place, parameters) in places.iter().zip(parameters) {
                    all[place % lanes] = *parameters;
                }
                let (all, out) = (&all[..lanes], &mut out[..lanes]);
                self.model
                    .normal_equations_in_lanes(self.level, self.estimator, &block, all, out);
                for (place, sums) in places.iter().zip(sums) {
                    *sums = out[place % lanes];
                }
            });
        Ok(())
    }
}

/// Where each of the `active` stars stands in `packed`; both in increasing order.
fn places(active: &[u32], packed: &[u32]) -> Vec<usize> {
    let mut packed = packed.iter().enumerate();
    active
        .iter()
        .filter_map(|star| packed.find(|(_, packed)| *packed == star).map(|(at, _)| at))
        .collect()
}
