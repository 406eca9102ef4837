//! The oracle: plain `f64`, star by star.

use rayon::prelude::*;

use super::Backend;
use crate::batch::Chunk;
use crate::error::Result;
use crate::estimator::Estimator;
use crate::kernel::{NormalEquations, Pixels};
use crate::model::{MODELS, Model, Parameters};

/// Evaluates in `f64` with no trick, for others to be compared with.
#[derive(Debug)]
pub struct ReferenceBackend {
    model: &'static dyn Model,
    estimator: Estimator,
    width: usize,
    pixels: usize,
    data: Vec<f64>,
    weight: Vec<f64>,
}

impl Default for ReferenceBackend {
    fn default() -> Self {
        Self {
            model: MODELS[0],
            estimator: Estimator::default(),
            width: 0,
            pixels: 0,
            data: Vec::new(),
            weight: Vec::new(),
        }
    }
}

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
        4096
    }

    fn load(&mut self, model: &'static dyn Model, estimator: Estimator, chunk: &Chunk<'_>) -> Result<()> {
        (self.model, self.estimator) = (model, estimator);
        (self.width, self.pixels) = (chunk.width, chunk.width * chunk.height);
        self.data.clear();
        self.data.extend_from_slice(chunk.data);
        self.weight.clear();
        self.weight.extend_from_slice(chunk.weight);
        Ok(())
    }

    fn evaluate(
        &mut self,
        active: &[u32],
        parameters: &[Parameters],
        sums: &mut [NormalEquations],
    ) -> Result<()> {
        let star = |index: u32| {
            let range = index as usize * self.pixels..(index as usize + 1) * self.pixels;
            Pixels { width: self.width, data: &self.data[range.clone()], weight: &self.weight[range] }
        };
        let stars = active.par_iter().zip(parameters).zip(sums);
        stars.for_each(|((&index, parameters), sums)| {
            *sums = self.model.normal_equations(self.estimator, &star(index), parameters);
        });
        Ok(())
    }
}
