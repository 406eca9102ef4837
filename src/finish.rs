//! The end of a fit: covariance, residuals and flags at the solution.

use std::ops::Range;

use fearless_simd::Level;

use crate::batch::Chunk;
use crate::estimator::Estimator;
use crate::fit::{Fit, FitStatus, Flags};
use crate::kernel::{NormalEquations, ResidualSums};
use crate::lanes::{self, MAX_LANES};
use crate::model::{MAX_PACKED, Model, Packed, Parameters, Role, packed_index};
use crate::solver::{StarState, cholesky};

/// Share of its information that every parameter must keep for `f32` sums to give its error; where
/// one keeps less, the star's sums are taken again in `f64`.
const CLEAR_PIVOT: f64 = 1e-3;

/// Turns the last states of a chunk's stars into fits.
#[derive(Debug)]
pub(crate) struct Finisher<'a> {
    /// The model.
    pub(crate) model: &'static dyn Model,
    /// What a residual costs.
    pub(crate) estimator: Estimator,
    /// The stars.
    pub(crate) chunk: Chunk<'a>,
    /// Registers to use; `None`: everything in `f64`.
    pub(crate) level: Option<Level>,
}

/// The sums of one star at the solution.
struct Sums {
    equations: NormalEquations,
    /// Parameters that ended at a bound.
    held: u8,
    /// Inverse curvature without those.
    inverse: Option<Packed>,
    residuals: ResidualSums,
}

impl Finisher<'_> {
    /// Stars that are finished together.
    pub(crate) fn block(&self) -> usize {
        self.level.map_or(1, lanes::count)
    }

    /// The fits of neighbouring stars, at most [`Finisher::block`].
    pub(crate) fn finish(
        &self,
        stars: Range<usize>,
        states: &[StarState],
        statuses: &[FitStatus],
    ) -> Vec<Fit> {
        let quick = self
            .level
            .map(|level| self.sums_in_lanes(level, stars.clone(), states));
        let mut quick = quick.into_iter().flatten();
        stars
            .zip(states.iter().zip(statuses))
            .map(|(star, (state, &status))| {
                let quick = quick.next().flatten();
                if !status.has_values() {
                    return self.empty(star, state, status);
                }
                let sums = quick.unwrap_or_else(|| self.sums(star, state));
                self.fit(star, state, status, &sums)
            })
            .collect()
    }

    /// The sums of one star in `f64`.
    fn sums(&self, star: usize, state: &StarState) -> Sums {
        let pixels = self.chunk.pixels(star);
        let equations = self
            .model
            .normal_equations(self.estimator, &pixels, &state.parameters);
        let held = state.bounds.held(&state.parameters, &equations.gradient);
        let inverse = cholesky::invert(state.bounds.n, &equations.curvature, held);
        let sandwich = inverse
            .as_ref()
            .filter(|_| !self.chunk.stars[star].noise_known);
        let residuals = self
            .model
            .residual_sums(&pixels, &state.parameters, sandwich);
        Sums {
            equations,
            held,
            inverse,
            residuals,
        }
    }

    /// The sums of neighbouring stars in registers of `f32`; `None` for a star that `f32` does not
    /// do justice to.
    fn sums_in_lanes(
        &self,
        level: Level,
        stars: Range<usize>,
        states: &[StarState],
    ) -> Vec<Option<Sums>> {
        let n = self.model.parameters().len();
        let count = lanes::count(level);
        let packed = lanes::pack(&self.chunk, stars.clone(), count);
        let block = packed.block(self.chunk.width);
        // Lanes without a star repeat the first one.
        let mut parameters = [states[0].parameters; MAX_LANES];
        for (parameters, state) in parameters.iter_mut().zip(states) {
            *parameters = state.parameters;
        }
        let parameters = &parameters[..count];
        let mut equations = [NormalEquations::filled(0.0); MAX_LANES];
        let equations = &mut equations[..count];
        self.model
            .normal_equations_in_lanes(level, self.estimator, &block, parameters, equations);

        let mut held = [0; MAX_LANES];
        let mut inverses = [[0.0; MAX_PACKED]; MAX_LANES];
        let mut clear = [false; MAX_LANES];
        for (lane, state) in states.iter().enumerate() {
            held[lane] = state
                .bounds
                .held(&state.parameters, &equations[lane].gradient);
            let curvature = &equations[lane].curvature;
            if let Some(inverse) = cholesky::invert_if_clear(n, curvature, held[lane], CLEAR_PIVOT)
            {
                (inverses[lane], clear[lane]) = (inverse, true);
            }
        }
        let all_known = self.chunk.stars[stars].iter().all(|star| star.noise_known);
        let mut residuals = [ResidualSums::filled(0.0); MAX_LANES];
        let residuals = &mut residuals[..count];
        let sandwich = (!all_known).then_some(&inverses[..count]);
        self.model
            .residual_sums_in_lanes(level, &block, parameters, sandwich, residuals);
        (0..states.len())
            .map(|lane| {
                clear[lane].then(|| Sums {
                    equations: equations[lane],
                    held: held[lane],
                    inverse: Some(inverses[lane]),
                    residuals: residuals[lane],
                })
            })
            .collect()
    }

    /// A fit without values.
    fn empty(&self, star: usize, state: &StarState, status: FitStatus) -> Fit {
        let star = &self.chunk.stars[star];
        let parameters = self.model.parameters();
        Fit {
            status,
            flags: star.flags,
            parameters: star.scale.to_image(parameters, &state.parameters),
            covariance: None,
            held: 0,
            chi2: f64::NAN,
            n_pixels: star.n_pixels,
            n_parameters: parameters.len(),
            n_iterations: state.iterations,
            absolute_residuals: f64::NAN,
            central_residual: f64::NAN,
        }
    }

    fn fit(&self, index: usize, state: &StarState, status: FitStatus, sums: &Sums) -> Fit {
        let parameters = self.model.parameters();
        let n = parameters.len();
        let star = &self.chunk.stars[index];
        let scale = &star.scale;
        let mut fit = self.empty(index, state, status);
        fit.held = sums.held;
        fit.chi2 = sums.equations.chi2 * scale.weight;
        fit.absolute_residuals = sums.residuals.absolute * scale.range;
        fit.central_residual = self.central_residual(index, &state.parameters) * scale.range;
        match sums.inverse {
            Some(inverse) => {
                let covariance = if star.noise_known {
                    inverse.map(|c| c / scale.weight)
                } else {
                    cholesky::sandwich(n, &inverse, &sums.residuals.sandwich)
                };
                fit.covariance = Some(to_image(&covariance, n, |j| {
                    scale.factor(parameters[j].role)
                }));
            }
            None => fit.status = FitStatus::SingularCurvature,
        }
        if !fit.chi2.is_finite() || fit.parameters[..n].iter().any(|p| !p.is_finite()) {
            fit.status = FitStatus::NotFinite;
        }
        fit.flags.set(Flags::NEAR_BOUND, fit.held != 0);
        for (parameter, &value) in parameters.iter().zip(&state.parameters) {
            let outside = |side: usize| value < -0.5 || value > side as f64 - 0.5;
            match parameter.role {
                Role::X => fit
                    .flags
                    .set(Flags::CENTROID_OUTSIDE, outside(self.chunk.width)),
                Role::Y => fit
                    .flags
                    .set(Flags::CENTROID_OUTSIDE, outside(self.chunk.height)),
                Role::Flux => fit.flags.set(Flags::NEGATIVE_FLUX, value < 0.0),
                Role::Background | Role::Shape => {}
            }
        }
        fit
    }

    /// Scaled residual of the cutout's middle pixel; NaN where it is not used.
    fn central_residual(&self, star: usize, parameters: &Parameters) -> f64 {
        let (x, y) = (self.chunk.width / 2, self.chunk.height / 2);
        let pixels = self.chunk.pixels(star);
        let middle = y * self.chunk.width + x;
        if pixels.weight[middle] > 0.0 {
            pixels.data[middle] - self.model.evaluate(parameters, x as f64, y as f64).0
        } else {
            f64::NAN
        }
    }
}

/// A covariance in the image's units, from the factors of the parameters.
fn to_image(scaled: &Packed, n: usize, factor: impl Fn(usize) -> f64) -> Packed {
    let mut covariance = *scaled;
    for j in 0..n {
        for k in 0..=j {
            covariance[packed_index(j, k)] *= factor(j) * factor(k);
        }
    }
    covariance
}
