//! The end of a fit: covariance, residuals and flags at the solution.

use std::ops::Range;

use fearless_simd::Level;

use crate::batch::{BatchStar, Chunk};
use crate::chart::Chart;
use crate::cutout::Weighting;
use crate::estimator::Estimator;
use crate::fit::{Fit, FitStatus, Flags};
use crate::kernel::{NormalEquations, ResidualSums};
use crate::lanes::{self, MAX_LANES};
use crate::model::{MAX_PACKED, Model, Packed, Parameter, Parameters, Role, packed_index};
use crate::solver::{Held, StarState, cholesky};

/// Share of its information that every parameter must keep for `f32` sums to give its error; where
/// one keeps less, the star's sums are taken again in `f64`.
const CLEAR_PIVOT: f64 = 1e-3;

/// Turns the last states of a chunk's stars into fits.
#[derive(Debug)]
pub(crate) struct Finisher<'a> {
    /// The model.
    pub(crate) model: &'static dyn Model,
    /// The coordinates of the states.
    pub(crate) chart: &'a Chart,
    /// What a residual costs.
    pub(crate) estimator: Estimator,
    /// The stars.
    pub(crate) chunk: Chunk<'a>,
    /// Registers to use; `None`: everything in `f64`.
    pub(crate) level: Option<Level>,
}

/// The sums of one star at the solution.
struct Sums {
    chi2: f64,
    information: Information,
    residuals: ResidualSums,
}

/// What the pixels say about the parameters at the solution.
struct Information {
    /// Coordinates that are fixed or ended at a bound.
    held: Held,
    /// Inverse curvature of the model's parameters without those; `None` where it is singular.
    inverse: Option<Packed>,
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

    /// What `equations`, in the coordinates of the chart, say at the solution, if every parameter
    /// keeps more than the share `clear` of its information.
    fn information(
        &self,
        state: &StarState,
        equations: &NormalEquations,
        clear: f64,
    ) -> Information {
        let held = state.bounds.held(&state.parameters, &equations.gradient);
        let inverse = cholesky::invert_if_clear(state.bounds.n, &equations.curvature, held, clear);
        Information {
            held,
            inverse: inverse.map(|inverse| self.chart.push_forward(&state.parameters, &inverse)),
        }
    }

    /// The sums of one star in `f64`.
    fn sums(&self, star: usize, state: &StarState) -> Sums {
        let pixels = self.chunk.pixels(star);
        let parameters = self.chart.parameters(&state.parameters);
        let mut equations = self
            .model
            .normal_equations(self.estimator, &pixels, &parameters);
        self.chart.pull_back(&state.parameters, &mut equations);
        let information = self.information(state, &equations, cholesky::SMALLEST_PIVOT);
        let is_unit = self.chunk.stars[star].weighting == Weighting::Unit;
        let sandwich = information.inverse.as_ref().filter(|_| is_unit);
        let residuals = self.model.residual_sums(&pixels, &parameters, sandwich);
        Sums {
            chi2: equations.chi2,
            information,
            residuals,
        }
    }

    /// The sums of neighbouring stars, those over residuals in registers of `f32`; `None` for a star
    /// that `f32` does not do justice to. The curvature is that of the last evaluation, a last step
    /// of a hundredth of an error before the end.
    fn sums_in_lanes(
        &self,
        level: Level,
        stars: Range<usize>,
        states: &[StarState],
    ) -> Vec<Option<Sums>> {
        let count = lanes::count(level);
        let packed = lanes::pack(&self.chunk, stars.clone(), count);
        let block = packed.block(self.chunk.width);
        // Lanes without a star repeat the first one.
        let mut parameters = [self.chart.parameters(&states[0].parameters); MAX_LANES];
        for (parameters, state) in parameters.iter_mut().zip(states).skip(1) {
            *parameters = self.chart.parameters(&state.parameters);
        }
        let parameters = &parameters[..count];
        let information: Vec<Information> = states
            .iter()
            .map(|state| self.information(state, &state.equations, CLEAR_PIVOT))
            .collect();
        let mut inverses = [[0.0; MAX_PACKED]; MAX_LANES];
        for (inverse, information) in inverses.iter_mut().zip(&information) {
            if let Some(known) = information.inverse {
                *inverse = known;
            }
        }
        let is_unit = |star: &BatchStar| star.weighting == Weighting::Unit;
        let any_unit = self.chunk.stars[stars].iter().any(is_unit);
        let mut residuals = [ResidualSums::filled(0.0); MAX_LANES];
        let residuals = &mut residuals[..count];
        let sandwich = any_unit.then_some(&inverses[..count]);
        self.model
            .residual_sums_in_lanes(level, &block, parameters, sandwich, residuals);
        let sums = information.into_iter().zip(states).zip(residuals);
        sums.map(|((information, state), residuals)| {
            information.inverse.is_some().then_some(Sums {
                chi2: state.equations.chi2,
                information,
                residuals: *residuals,
            })
        })
        .collect()
    }

    /// A fit without values.
    fn empty(&self, star: usize, state: &StarState, status: FitStatus) -> Fit {
        let star = &self.chunk.stars[star];
        let parameters = self.chart.parameters(&state.parameters);
        let mut flags = star.flags;
        flags.set(Flags::CENTROID_OUTSIDE, state.starts_outside);
        Fit {
            status,
            flags,
            parameters: star.scale.to_image(self.model.parameters(), &parameters),
            covariance: None,
            held: 0,
            chi2: f64::NAN,
            n_pixels: star.n_pixels,
            n_free: state.bounds.n_free(0),
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
        let scaled = self.chart.parameters(&state.parameters);
        let Information { held, inverse } = &sums.information;
        let at_bound = held & !state.bounds.fixed;
        let mut fit = self.empty(index, state, status);
        // Else what is held is a column; it has no variance, which says the same.
        fit.held = if self.chart.is_model() { at_bound } else { 0 };
        fit.n_free = state.bounds.n_free(*held);
        fit.chi2 = sums.chi2 * scale.weight;
        fit.absolute_residuals = sums.residuals.absolute * scale.range;
        fit.central_residual = self.central_residual(index, &scaled) * scale.range;
        match inverse {
            Some(inverse) => {
                let covariance = match star.weighting {
                    Weighting::Unit => cholesky::sandwich(n, inverse, &sums.residuals.sandwich),
                    Weighting::InverseVariance | Weighting::Counts { .. } => {
                        inverse.map(|c| c / scale.weight)
                    }
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
        fit.flags.set(Flags::NEAR_BOUND, at_bound != 0);
        let (width, height) = (self.chunk.width, self.chunk.height);
        fit.flags.set(
            Flags::CENTROID_OUTSIDE,
            is_outside(parameters, &scaled, width, height),
        );
        for (parameter, &value) in parameters.iter().zip(&scaled) {
            let negative = parameter.role == Role::Flux && value < 0.0;
            fit.flags.set(Flags::NEGATIVE_FLUX, negative);
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

/// Whether the centre of a star is outside a cutout of this width and height.
pub(crate) fn is_outside(
    parameters: &[Parameter],
    values: &Parameters,
    width: usize,
    height: usize,
) -> bool {
    let beyond = |value: f64, side: usize| !(-0.5..=side as f64 - 0.5).contains(&value);
    let mut all = parameters.iter().zip(values);
    all.any(|(parameter, &value)| match parameter.role {
        Role::X => beyond(value, width),
        Role::Y => beyond(value, height),
        Role::Flux | Role::Background | Role::Shape => false,
    })
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
