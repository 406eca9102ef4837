//! Where the fits of a block ended, in the image's units.

use fearless_simd::prelude::*;

use super::information::Information;
use crate::batch::{BatchStar, Scales};
use crate::fit::{Fit, FitStatus, Flags};
use crate::fitter::coordinates::CoordinateSystem;
use crate::fitter::footprint::Footprint;
use crate::fitter::state::StarBlock;
use crate::model::Role;
use crate::numbers::lanes::{LaneMask, ParameterRows, Part, Row, lane_bits, lane_of, lanes_of};
use crate::numbers::matrix::{MAX_PACKED, MAX_PARAMETERS, Symmetric, packed_index};
use crate::numbers::unroll::{unroll, unroll_packed};
use crate::solver::cholesky::sandwich;
use crate::sums::ResidualSums;

/// A block's stars at the solution, in units of the scaled pixels.
#[derive(Debug)]
pub(super) struct Solution<'a> {
    pub(super) state: &'a StarBlock,
    /// The model's parameters.
    pub(super) parameters: &'a ParameterRows,
    pub(super) chi2: &'a Row,
    pub(super) information: &'a Information,
    pub(super) residuals: &'a ResidualSums<Row>,
    /// Stars whose parameters mean something.
    pub(super) valued: LaneMask,
    /// Stars whose noise is not known: their errors come from the residuals.
    pub(super) unit: LaneMask,
    pub(super) scales: &'a Scales,
}

/// The ends of a block's fits, side by side.
#[derive(Debug)]
pub(super) struct Ends {
    parameters: ParameterRows,
    covariances: Symmetric<Row>,
    chi2: Row,
    absolute_residuals: Row,
    central_residuals: Row,
    /// Stars of which parameters and chi-square are numbers.
    finite: LaneMask,
    /// Stars whose centroid is outside the cutout.
    outside: LaneMask,
    /// Stars of negative flux.
    negative: LaneMask,
}

impl Default for Ends {
    fn default() -> Self {
        let zero = Row::filled(0.0);
        Self {
            parameters: [zero; MAX_PARAMETERS],
            covariances: [zero; MAX_PACKED],
            chi2: zero,
            absolute_residuals: zero,
            central_residuals: zero,
            finite: 0,
            outside: 0,
            negative: 0,
        }
    }
}

impl Ends {
    /// Clears the masks, to which every part adds.
    pub(super) fn clear(&mut self) {
        (self.finite, self.outside, self.negative) = (0, 0, 0);
    }

    /// Fills in the ends of a part of a solution with `N` parameters.
    #[inline(always)]
    pub(super) fn fill<S: Simd, const N: usize>(
        &mut self,
        part: Part<S>,
        footprint: Footprint,
        solution: &Solution<'_>,
    ) {
        let Solution {
            residuals, scales, ..
        } = *solution;
        let (zero, one) = (part.splat(0.0), part.splat(1.0));
        let (range, weight) = (part.load(&scales.range), part.load(&scales.weight));
        let chi2 = part.load(solution.chi2) * weight;
        part.store(&mut self.chi2, chi2);
        let absolute = part.load(&residuals.absolute) * range;
        part.store(&mut self.absolute_residuals, absolute);
        let central = part.load(&residuals.central) * range;
        part.store(&mut self.central_residuals, central);

        // Infinity and NaN times 0 are NaN.
        let mut finite = chi2 * zero;
        let mut negative = part.none();
        unroll!(J in N => {
            let role = footprint.parameters[J].role;
            let scaled = part.load(&solution.parameters[J]);
            let value = scales.to_image(part, role, scaled);
            part.store(&mut self.parameters[J], value);
            finite = value.mul_add(zero, finite);
            if role == Role::Flux {
                negative |= scaled.simd_lt(zero);
            }
        });
        for row in &mut self.parameters[N..] {
            part.store(row, zero);
        }
        let outside = footprint.outside(part, solution.parameters);
        self.finite |= part.bits(finite.simd_eq(zero));
        self.outside |= part.bits(outside);
        self.negative |= part.bits(negative);

        let unit = part.mask(solution.unit);
        let inverse = part.load_packed::<N>(&solution.information.inverse);
        let mut covariance = inverse;
        if unit.any_true() {
            let middle = part.load_packed::<N>(&residuals.sandwich);
            covariance = sandwich::<S, N>(part, &inverse, &middle);
        }
        let known = one / weight;
        unroll_packed!((J, K, AT) in N => {
            let value = unit.select(covariance[AT], inverse[AT] * known);
            let value = value * scales.factor(part, footprint.parameters[J].role);
            let value = value * scales.factor(part, footprint.parameters[K].role);
            part.store(&mut self.covariances[AT], value);
        });
    }

    /// Writes the fit of a star in a lane. Number by number: a whole fit would be made elsewhere and
    /// copied.
    pub(super) fn write(
        &self,
        fit: &mut Fit,
        lane: usize,
        star: &BatchStar,
        system: &CoordinateSystem,
        solution: &Solution<'_>,
    ) {
        let Solution {
            state,
            information,
            valued,
            ..
        } = *solution;
        let is_in = |mask: LaneMask| mask >> lane & 1 == 1;
        let is_valued = is_in(valued);
        let fixed = lane_bits(&state.fixed, lane);
        let at_bound = match is_valued {
            true => lane_bits(&information.held, lane) & !fixed,
            false => 0,
        };
        let Fit {
            status,
            flags,
            parameters,
            covariance,
            held,
            free,
            chi2,
            n_pixels,
            n_free,
            n_iterations,
            absolute_residuals,
            central_residual,
        } = fit;
        *status = match state.statuses[lane] {
            ended if !is_valued => ended,
            _ if !is_in(self.finite) => FitStatus::NotFinite,
            _ if !is_in(information.clear) => FitStatus::SingularCurvature,
            ended => ended,
        };
        *flags = star.flags;
        let outside = state.starts_outside | valued & self.outside;
        flags.set(Flags::CENTROID_OUTSIDE, is_in(outside));
        flags.set(Flags::NEGATIVE_FLUX, is_in(valued & self.negative));
        let faults = lanes_of(at_bound.into()).any(|j| {
            let value = state.parameters[j][lane];
            !system.coordinates()[j].is_wingless(value)
        });
        flags.set(Flags::NEAR_BOUND, faults);
        *parameters = lane_of(&self.parameters, lane);
        // In other coordinates a column is held: it has no variance, which says the same.
        *held = if system.is_model() { at_bound } else { 0 };
        *n_pixels = star.n_pixels;
        *free = !(fixed | at_bound) & (u8::MAX >> (MAX_PARAMETERS - system.coordinates().len()));
        *n_free = free.count_ones() as usize;
        *n_iterations = state.iterations[lane] as u32;
        let value = |row: &Row| if is_valued { row[lane] } else { f64::NAN };
        *chi2 = value(&self.chi2);
        *absolute_residuals = value(&self.absolute_residuals);
        *central_residual = value(&self.central_residuals);
        if !is_in(valued & information.clear) {
            *covariance = None;
            return;
        }
        let n = system.model.parameters().len();
        let rows = &self.covariances[..packed_index(n - 1, n - 1) + 1];
        let packed = covariance.get_or_insert([0.0; MAX_PACKED]);
        for (value, row) in packed.iter_mut().zip(rows) {
            *value = row[lane];
        }
    }
}
