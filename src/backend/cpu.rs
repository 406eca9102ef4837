//! The CPU backend: one `f32` of several stars to a register.

use std::borrow::Cow;

use fearless_simd::{Level, Simd, SimdBase};

use super::{Backend, Evaluator, Transfers};
use crate::batch::Chunk;
use crate::error::Result;
use crate::estimator::Estimator;
use crate::model::Model;
use crate::numbers::lanes::{LANES, LaneMask, ParameterRows, Row};
use crate::numbers::simd::vectorized;
use crate::pixels::PixelBlock;
use crate::sums::NormalEquations;

/// Evaluates as many stars at once as a register of the machine holds `f32`.
#[derive(Debug)]
pub struct CpuBackend {
    level: Level,
}

impl Default for CpuBackend {
    fn default() -> Self {
        Self {
            level: Level::new(),
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
        let lanes = vectorized!(self.level, simd => register_length(simd));
        format!(
            "{} CPU threads, {level}, {lanes} stars to a register",
            rayon::current_num_threads()
        )
    }

    fn epsilon(&self) -> f64 {
        f64::from(f32::EPSILON)
    }

    /// Stars that stay in a core's cache from one step to the next, with their states, which take as
    /// much again: in chunks of eight times as many, a star of W2 takes a fifth longer.
    fn chunk_size(&self, _model: &dyn Model, pixels: usize) -> usize {
        const BYTES: usize = 1 << 17;
        (BYTES / (pixels.max(1) * size_of::<f32>())).clamp(LANES, 1024)
    }

    fn load<'a>(
        &'a self,
        model: &'static dyn Model,
        estimator: Estimator,
        _chunk: Chunk<'a>,
        pixels: &'a [PixelBlock],
    ) -> Result<Box<dyn Evaluator + 'a>> {
        Ok(Box::new(CpuEvaluator {
            level: self.level,
            model,
            estimator,
            all: pixels,
            pixels: Cow::Borrowed(pixels),
        }))
    }
}

#[inline(always)]
fn register_length<S: Simd>(_simd: S) -> usize {
    S::f32s::LEN
}

/// The stars of a chunk.
struct CpuEvaluator<'a> {
    level: Level,
    model: &'static dyn Model,
    estimator: Estimator,
    all: &'a [PixelBlock],
    /// Pixels of the stars that are evaluated.
    pixels: Cow<'a, [PixelBlock]>,
}

impl Evaluator for CpuEvaluator<'_> {
    fn regroup(&mut self, stars: &[u32]) -> Result<()> {
        let blocks = stars.chunks(LANES);
        let regroup = |stars| PixelBlock::regroup(self.all, stars);
        self.pixels = Cow::Owned(blocks.map(regroup).collect());
        Ok(())
    }

    fn evaluate(
        &mut self,
        parameters: &[ParameterRows],
        wanted: &[LaneMask],
        sums: &mut [NormalEquations<Row>],
    ) -> Result<Transfers> {
        let blocks = self.pixels.iter().zip(parameters).zip(wanted).zip(sums);
        for (((pixels, parameters), &wanted), sums) in blocks {
            if wanted != 0 {
                self.model.normal_equations_of_block(
                    self.level,
                    self.estimator,
                    pixels,
                    parameters,
                    sums,
                );
            }
        }
        Ok(Transfers::default())
    }
}
