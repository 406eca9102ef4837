//! The reference backend: plain `f64`, one star after the other.

use super::{Backend, Evaluator, Transfers};
use crate::batch::Chunk;
use crate::error::Result;
use crate::estimator::Estimator;
use crate::model::Model;
use crate::numbers::lanes::{LANES, LaneMask, ParameterRows, Row, lane_of, lanes_of};
use crate::pixels::{PixelBlock, Pixels};
use crate::sums::NormalEquations;

/// Evaluates in `f64` with no trick, for others to be compared with.
#[derive(Debug, Default)]
pub struct ReferenceBackend;

impl Backend for ReferenceBackend {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn adapter(&self) -> String {
        format!("{} CPU threads, f64", rayon::current_num_threads())
    }

    fn epsilon(&self) -> f64 {
        f64::EPSILON
    }

    fn chunk_size(&self, _model: &dyn Model, _pixels: usize) -> usize {
        256
    }

    fn load<'a>(
        &'a self,
        model: &'static dyn Model,
        estimator: Estimator,
        chunk: Chunk<'a>,
        _pixels: &'a [PixelBlock],
    ) -> Result<Box<dyn Evaluator + 'a>> {
        Ok(Box::new(ReferenceEvaluator {
            model,
            estimator,
            pixels: (0..chunk.len()).map(|star| chunk.pixels(star)).collect(),
            stars: (0..chunk.len() as u32).collect(),
        }))
    }
}

/// The stars of a chunk.
struct ReferenceEvaluator<'a> {
    model: &'static dyn Model,
    estimator: Estimator,
    pixels: Vec<Pixels<'a>>,
    stars: Vec<u32>,
}

impl Evaluator for ReferenceEvaluator<'_> {
    fn regroup(&mut self, stars: &[u32]) -> Result<()> {
        self.stars = stars.to_vec();
        Ok(())
    }

    fn evaluate(
        &mut self,
        parameters: &[ParameterRows],
        wanted: &[LaneMask],
        sums: &mut [NormalEquations<Row>],
    ) -> Result<Transfers> {
        let n = self.model.parameters().len();
        let blocks = parameters.iter().zip(wanted).zip(sums);
        for (stars, ((parameters, &wanted), sums)) in self.stars.chunks(LANES).zip(blocks) {
            for lane in lanes_of(wanted) {
                let star = self.model.normal_equations(
                    self.estimator,
                    &self.pixels[stars[lane] as usize],
                    &lane_of(parameters, lane),
                );
                sums.set_lane(n, lane, &star);
            }
        }
        Ok(Transfers::default())
    }
}
