//! Simulated stacks of ready cutouts in counts of a gain of 1, with their truth.

use ndarray::{Array2, Array3, Axis};
use rand::RngExt;
use rand_distr::{Distribution, Poisson};
use starfit::backend::CpuBackend;
use starfit::catalog::Row;
use starfit::estimator::Estimator;
use starfit::fitter::Fitter;
use starfit::image::Header;
use starfit::measure::{Cutouts, MeasureOptions, measure_stack};
use starfit::model::{Moments, Role};
use starfit::numbers::matrix::Parameters;
use starfit::solver::LevenbergMarquardt;
use starfit::{Result, model};

use super::field::Truth;
use crate::common::rng;

/// Stars of a model, each in its cutout, on a sky.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub(crate) pixels: Array3<f64>,
    pub(crate) stars: Vec<Truth>,
    /// Standard deviations of the stars, pixels.
    pub(crate) sigmas: Vec<f64>,
}

/// What stars are drawn from, each evenly between two values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) model: &'static str,
    /// Standard deviation of the Gaussian with these moments, pixels.
    pub(crate) sigma: (f64, f64),
    pub(crate) peak: (f64, f64),
    /// Covariance of both axes over their variance, up to this; of elliptical models.
    pub(crate) slant: f64,
    pub(crate) sky: f64,
}

pub(crate) const SIDE: usize = 15;

impl Counted {
    pub(crate) fn new(count: usize, kind: Kind, seed: u64) -> Self {
        let model = model::by_name(kind.model).unwrap();
        let mut rng = rng(seed);
        let mut all = Self {
            pixels: Array3::zeros((count, SIDE, SIDE)),
            stars: Vec::new(),
            sigmas: Vec::new(),
        };
        for mut cutout in all.pixels.axis_iter_mut(Axis(0)) {
            let x = rng.random_range(5.5..8.5);
            let y = rng.random_range(5.5..8.5);
            let sigma = rng.random_range(kind.sigma.0..kind.sigma.1);
            let peak = rng.random_range(kind.peak.0..kind.peak.1);
            let slant = rng.random_range(-1.0..1.0) * kind.slant;
            let mut moments = Moments::round(1.0, (x, y), sigma, 0.0);
            moments.xy = slant * moments.xx;
            let mut parameters = model.start(&moments);
            let height = model.evaluate(&parameters, x, y).0;
            for (value, parameter) in parameters.iter_mut().zip(model.parameters()) {
                match parameter.role {
                    Role::Flux => *value *= peak / height,
                    Role::Background => *value = kind.sky,
                    _ => {}
                }
            }
            for ((row, column), pixel) in cutout.indexed_iter_mut() {
                let (mean, _) = model.evaluate(&parameters, column as f64, row as f64);
                *pixel = Poisson::new(mean).unwrap().sample(&mut rng);
            }
            let flux = flux_of(model, &parameters);
            all.stars.push(Truth { x, y, flux });
            all.sigmas.push(sigma);
        }
        all
    }

    /// The same in a camera that gives no more than this.
    pub(crate) fn clipped_at(mut self, level: f64) -> Self {
        self.pixels.mapv_inplace(|value| value.min(level));
        self
    }

    /// The rows of a fit.
    pub(crate) fn measure(
        &self,
        model: &str,
        estimator: Estimator,
        options: &MeasureOptions,
    ) -> Result<Vec<Row>> {
        let solver = Box::new(LevenbergMarquardt::default());
        let model = model::by_name(model).unwrap();
        let mut fitter = Fitter::new(model, solver, Box::new(CpuBackend::default()));
        fitter.estimator = estimator;
        let cutouts = Cutouts {
            name: "stack.npy",
            pixels: &self.pixels,
            variance: None,
            header: &Header::default(),
        };
        Ok(measure_stack(&cutouts, None, options, &fitter)?.rows)
    }

    /// Every star with its row.
    pub(crate) fn pairs<'a>(&'a self, rows: &'a [Row]) -> Vec<(&'a Truth, &'a Row)> {
        self.stars.iter().zip(rows).collect()
    }

    /// One cutout.
    pub(crate) fn cutout(&self, star: usize) -> Array2<f64> {
        self.pixels.index_axis(Axis(0), star).to_owned()
    }
}

fn flux_of(model: &dyn model::Model, parameters: &Parameters) -> f64 {
    let quantities = model.quantities(parameters);
    let flux = quantities.iter().find(|q| q.column == "flux");
    flux.unwrap().value
}

/// How far a column of a row is from the truth, in its errors; infinite where it has none.
pub(crate) fn off(row: &Row, column: &str, truth: f64) -> f64 {
    let error = row.get(&format!("{column}_err"));
    let pull = row.get(column).zip(error);
    pull.map_or(f64::INFINITY, |(value, error)| {
        (value - truth).abs() / error
    })
}
