//! The end of a fit: covariance, residuals and flags at the solution.

use std::ops::Range;

use fearless_simd::Level;
use fearless_simd::prelude::*;

use crate::batch::Chunk;
use crate::block::{LANES, LaneMask, ParameterRows, Part, Row, StarBlock, lane_of, lanes_of};
use crate::chart::Chart;
use crate::cutout::Weighting;
use crate::estimator::Estimator;
use crate::fit::{Fit, FitStatus, Flags};
use crate::kernel::{NormalEquations, ResidualSums};
use crate::level::vectorized;
use crate::model::packed_index;
use crate::model::{MAX_PACKED, MAX_PARAMETERS, Model, Packed, Parameter, Parameters, Role};
use crate::packed::PackedBlock;
use crate::solver::cholesky::{self, Factor, SMALLEST_PIVOT, with_constant};
use crate::solver::held_of_part;
use crate::unroll::{unroll, unroll_packed};

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
    /// Registers to use.
    pub(crate) level: Level,
    /// Whether all sums are to be taken in `f64`.
    pub(crate) exact: bool,
    /// As in [`Tolerances`](crate::solver::Tolerances).
    pub(crate) angle: Option<(usize, usize)>,
}

/// What the pixels say about the parameters of a block's stars at the solution.
#[derive(Debug)]
struct Information {
    /// Coordinates that are fixed or ended at a bound.
    held: [LaneMask; MAX_PARAMETERS],
    /// Stars of which every other parameter keeps enough of its information.
    clear: LaneMask,
    /// Inverse curvature of the model's parameters, 0 for those that are held.
    inverse: Packed<Row>,
}

/// What the end of a block's fits is computed in.
#[derive(Debug)]
pub(crate) struct FinishSpace {
    parameters: ParameterRows,
    information: Information,
    residuals: ResidualSums<Row>,
    covariances: Packed<Row>,
}

impl Default for FinishSpace {
    fn default() -> Self {
        let zero = Row::filled(0.0);
        Self {
            parameters: [zero; MAX_PARAMETERS],
            information: Information::default(),
            residuals: ResidualSums::filled(zero),
            covariances: [zero; MAX_PACKED],
        }
    }
}

impl Default for Information {
    fn default() -> Self {
        Self {
            held: [0; MAX_PARAMETERS],
            clear: 0,
            inverse: [Row::filled(0.0); MAX_PACKED],
        }
    }
}

impl Finisher<'_> {
    /// Writes the fits of neighbouring stars, those of a block.
    pub(crate) fn finish(
        &self,
        stars: Range<usize>,
        state: &StarBlock,
        pixels: &PackedBlock,
        space: &mut FinishSpace,
        fits: &mut [Fit],
    ) {
        let FinishSpace {
            parameters,
            information,
            residuals,
            covariances,
        } = space;
        let n = self.model.parameters().len();
        let valued = (0..stars.len())
            .filter(|&lane| state.statuses[lane].has_values())
            .fold(0, |mask, lane| mask | 1 << lane);
        let unit = (0..stars.len())
            .filter(|&lane| self.chunk.stars[stars.start + lane].weighting == Weighting::Unit)
            .fold(0, |mask, lane| mask | 1 << lane);
        self.chart
            .parameters_of_block(&state.parameters, parameters);

        // The curvature is that of the last evaluation, a last step of a hundredth of an error
        // before the end, unless everything is asked for in f64.
        self.inform(information, state, &state.equations, CLEAR_PIVOT);
        let mut exact_chi2 = None;
        let mut unclear = valued;
        if !self.exact {
            unclear &= !information.clear;
            let sandwich = (unit != 0).then_some(&information.inverse);
            self.model
                .residual_sums_of_block(self.level, pixels, parameters, sandwich, residuals);
        }
        if unclear != 0 {
            let mut equations = state.equations;
            for lane in lanes_of(unclear) {
                let sums = self.model.normal_equations(
                    self.estimator,
                    &self.chunk.pixels(stars.start + lane),
                    &lane_of(parameters, lane),
                );
                equations.set_lane(n, lane, &sums);
            }
            exact_chi2 = Some(equations.chi2);
            self.chart
                .pull_back_block(unclear, &state.parameters, &mut equations);
            let mut exact = Information::default();
            self.inform(&mut exact, state, &equations, SMALLEST_PIVOT);
            information.merge(&exact, unclear);
            for lane in lanes_of(unclear) {
                let inverse = information.inverse.map(|row| row[lane]);
                let sums = self.model.residual_sums(
                    &self.chunk.pixels(stars.start + lane),
                    &lane_of(parameters, lane),
                    (unit >> lane & 1 == 1).then_some(&inverse),
                );
                residuals.absolute[lane] = sums.absolute;
                residuals.central[lane] = sums.central;
                for (row, value) in residuals.sandwich.iter_mut().zip(sums.sandwich) {
                    row[lane] = value;
                }
            }
        }
        if unit != 0 {
            self.fill_sandwich(covariances, &information.inverse, &residuals.sandwich);
        }
        self.scale(stars.clone(), unit, covariances, &information.inverse);
        let covariances = &covariances[..packed_index(n - 1, n - 1) + 1];
        let chi2 = exact_chi2.as_ref().unwrap_or(&state.equations.chi2);
        for ((lane, star), fit) in stars.enumerate().zip(fits) {
            let scaled = lane_of(parameters, lane);
            self.set_end(fit, star, lane, state, &scaled);
            if valued >> lane & 1 == 0 {
                continue;
            }
            let scale = &self.chunk.stars[star].scale;
            fit.chi2 = chi2[lane] * scale.weight;
            fit.absolute_residuals = residuals.absolute[lane] * scale.range;
            fit.central_residual = residuals.central[lane] * scale.range;
            self.set_flags(fit, &scaled);
            self.set_errors(fit, lane, state, information, covariances);
        }
    }

    /// What `equations`, in the coordinates of the chart, say at the solution, if every parameter
    /// keeps more than the share `clear` of its information.
    fn inform(
        &self,
        information: &mut Information,
        state: &StarBlock,
        equations: &NormalEquations<Row>,
        clear: f64,
    ) {
        let n = self.chart.coordinates().len();
        information.held = [0; MAX_PARAMETERS];
        information.clear = 0;
        vectorized!(self.level, simd => with_constant!(n, N => {
            for first in (0..LANES).step_by(Part::length(simd)) {
                let part = Part::at(simd, first);
                information.fill::<_, N>(part, state, equations, self.angle, clear);
            }
        }));
        if !self.chart.is_model() {
            for lane in 0..LANES {
                let covariance = information.inverse.map(|row| row[lane]);
                let coordinates = lane_of(&state.parameters, lane);
                let covariance = self.chart.push_forward(&coordinates, &covariance);
                for (row, value) in information.inverse.iter_mut().zip(covariance) {
                    row[lane] = value;
                }
            }
        }
    }

    /// The sandwich covariances of a block.
    fn fill_sandwich(&self, result: &mut Packed<Row>, inverse: &Packed<Row>, middle: &Packed<Row>) {
        let n = self.model.parameters().len();
        vectorized!(self.level, simd => with_constant!(n, N => {
            for first in (0..LANES).step_by(Part::length(simd)) {
                let part = Part::at(simd, first);
                let outer = part.load_packed::<N>(inverse);
                let middle = part.load_packed::<N>(middle);
                let covariance = cholesky::sandwich::<_, N>(part, &outer, &middle);
                part.store_packed::<N>(result, &covariance);
            }
        }));
    }

    /// Turns the sandwiches of the stars in `unit`, and of the others, whose noise is known, the inverse
    /// curvature, into covariances in the image's units.
    fn scale(
        &self,
        stars: Range<usize>,
        unit: LaneMask,
        covariances: &mut Packed<Row>,
        inverse: &Packed<Row>,
    ) {
        let parameters = self.model.parameters();
        let mut noise = Row::filled(0.0);
        let mut factors = [Row::filled(0.0); MAX_PARAMETERS];
        for (lane, star) in self.chunk.stars[stars].iter().enumerate() {
            noise[lane] = match star.weighting {
                Weighting::Unit => 1.0,
                Weighting::InverseVariance | Weighting::Counts { .. } => star.scale.weight.recip(),
            };
            for (factor, parameter) in factors.iter_mut().zip(parameters) {
                factor[lane] = star.scale.factor(parameter.role);
            }
        }
        for j in 0..parameters.len() {
            for k in 0..=j {
                let at = packed_index(j, k);
                let (result, inverse) = (&mut covariances[at], &inverse[at]);
                for lane in 0..LANES {
                    let value = match unit >> lane & 1 == 1 {
                        true => result[lane],
                        false => inverse[lane],
                    };
                    result[lane] = value * noise[lane] * factors[j][lane] * factors[k][lane];
                }
            }
        }
    }

    /// How the fit ended, and where.
    fn set_end(
        &self,
        fit: &mut Fit,
        star: usize,
        lane: usize,
        state: &StarBlock,
        scaled: &Parameters,
    ) {
        let star = &self.chunk.stars[star];
        let coordinates = 0..self.chart.coordinates().len();
        let is_free = |j: &usize| state.fixed[*j] >> lane & 1 == 0;
        // Written in place, number by number: a whole one would be made elsewhere and copied.
        let Fit {
            status,
            flags,
            parameters,
            covariance,
            held,
            chi2,
            n_pixels,
            n_free,
            n_iterations,
            absolute_residuals,
            central_residual,
        } = fit;
        *status = state.statuses[lane];
        *flags = star.flags;
        let starts_outside = state.starts_outside >> lane & 1 == 1;
        flags.set(Flags::CENTROID_OUTSIDE, starts_outside);
        *parameters = star.scale.to_image(self.model.parameters(), scaled);
        *covariance = None;
        *held = 0;
        *chi2 = f64::NAN;
        *n_pixels = star.n_pixels;
        *n_free = coordinates.filter(is_free).count();
        *n_iterations = state.iterations[lane] as u32;
        *absolute_residuals = f64::NAN;
        *central_residual = f64::NAN;
    }

    /// Status and flags, as far as the values tell.
    fn set_flags(&self, fit: &mut Fit, scaled: &Parameters) {
        let parameters = self.model.parameters();
        let is_finite = fit.parameters[..parameters.len()]
            .iter()
            .all(|p| p.is_finite());
        if !fit.chi2.is_finite() || !is_finite {
            fit.status = FitStatus::NotFinite;
        }
        let (width, height) = (self.chunk.width, self.chunk.height);
        fit.flags.set(
            Flags::CENTROID_OUTSIDE,
            is_outside(parameters, scaled, width, height),
        );
        for (parameter, &value) in parameters.iter().zip(scaled) {
            let negative = parameter.role == Role::Flux && value < 0.0;
            fit.flags.set(Flags::NEGATIVE_FLUX, negative);
        }
    }

    /// Covariance of the parameters, and what is held.
    fn set_errors(
        &self,
        fit: &mut Fit,
        lane: usize,
        state: &StarBlock,
        information: &Information,
        covariances: &[Row],
    ) {
        let mut at_bound = 0;
        for (j, held) in information.held.iter().enumerate() {
            let free = held & !state.fixed[j];
            at_bound |= ((free >> lane & 1) as u8) << j;
        }
        // Else what is held is a column; it has no variance, which says the same.
        fit.held = if self.chart.is_model() { at_bound } else { 0 };
        fit.n_free -= at_bound.count_ones() as usize;
        fit.flags.set(Flags::NEAR_BOUND, at_bound != 0);
        if information.clear >> lane & 1 == 0 {
            fit.status = match fit.status {
                FitStatus::NotFinite => FitStatus::NotFinite,
                _ => FitStatus::SingularCurvature,
            };
            return;
        }
        let packed = fit.covariance.insert([0.0; MAX_PACKED]);
        for (value, row) in packed.iter_mut().zip(covariances) {
            *value = row[lane];
        }
    }
}

impl Information {
    #[inline(always)]
    fn fill<S: Simd, const N: usize>(
        &mut self,
        part: Part<S>,
        state: &StarBlock,
        equations: &NormalEquations<Row>,
        angle: Option<(usize, usize)>,
        clear: f64,
    ) {
        let held = held_of_part::<S, N>(part, state, equations, angle);
        let mut matrix = part.load_packed::<N>(&equations.curvature);
        let mut right = [part.splat(0.0); MAX_PARAMETERS];
        cholesky::hold::<S, N>(part, &mut matrix, &mut right, &held);
        let factor = Factor::new::<N>(
            part,
            #[inline(always)]
            |j, k| matrix[packed_index(j, k)],
            part.splat(0.0),
            clear,
        );
        let inverse = factor.inverse::<N>(part);
        let mut finite = part.splat(0.0);
        unroll!(J in N => { self.held[J] |= part.bits(held[J]); });
        unroll_packed!((J, K, AT) in N => {
            finite = inverse[AT].mul_add(part.splat(0.0), finite);
            let value = (held[J] | held[K]).select(part.splat(0.0), inverse[AT]);
            part.store(&mut self.inverse[AT], value);
        });
        self.clear |= part.bits(factor.regular & finite.simd_eq(part.splat(0.0)));
    }

    /// Takes over what `other` says of the stars in `mask`.
    fn merge(&mut self, other: &Self, mask: LaneMask) {
        self.clear = self.clear & !mask | other.clear & mask;
        for (held, other) in self.held.iter_mut().zip(other.held) {
            *held = *held & !mask | other & mask;
        }
        for (row, other) in self.inverse.iter_mut().zip(&other.inverse) {
            for lane in lanes_of(mask) {
                row[lane] = other[lane];
            }
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
