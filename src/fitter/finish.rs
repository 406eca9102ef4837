//! The end of a fit: covariance, residuals and flags at the solution.

mod ends;
mod information;

use std::ops::Range;

use fearless_simd::Level;

use crate::batch::{Chunk, Scales};
use crate::cutout::Weighting;
use crate::estimator::Estimator;
use crate::fit::Fit;
use crate::fitter::coordinates::CoordinateSystem;
use crate::fitter::footprint::Footprint;
use crate::fitter::state::StarBlock;
use crate::model::Model;
use crate::numbers::lanes::{LANES, LaneMask, ParameterRows, Part, Row, lane_of, lanes_of};
use crate::numbers::matrix::MAX_PARAMETERS;
use crate::numbers::simd::vectorized;
use crate::pixels::PixelBlock;
use crate::solver::cholesky::{SMALLEST_PIVOT, with_constant};
use crate::sums::{NormalEquations, ResidualSums};
use ends::{Ends, Solution};
use information::Information;

/// Share of its information that every parameter must keep for `f32` sums to give its error; where
/// one keeps less, the star's sums are taken again in `f64`.
const CLEAR_PIVOT: f64 = 1e-3;

/// Largest leverage of a pixel for which `f32` sums give the error of a star whose noise is not known.
/// Each term of the error is divided by the square of 1 less the leverage, but the leverage mixes the
/// curvature before the last step with the derivatives after it. In stars narrower than a pixel and a
/// half it may well exceed 1.
const CLEAR_LEVERAGE: f64 = 0.75;

/// Turns the last states of a chunk's stars into fits.
#[derive(Debug)]
pub(crate) struct Finisher<'a> {
    /// The model.
    pub(crate) model: &'static dyn Model,
    /// The coordinates of the states.
    pub(crate) system: &'a CoordinateSystem,
    /// The estimator: the cost of a residual.
    pub(crate) estimator: Estimator,
    /// The stars.
    pub(crate) chunk: Chunk<'a>,
    /// Registers to use.
    pub(crate) level: Level,
    /// Whether all sums are to be taken in `f64`.
    pub(crate) exact: bool,
    /// Dependent coordinates, as
    /// [`CoordinateRules::dependent`](crate::solver::CoordinateRules::dependent) has them.
    pub(crate) dependent: Option<(usize, usize)>,
}

/// Memory for the end of a block's fits.
#[derive(Debug)]
pub(crate) struct FinishSpace {
    parameters: ParameterRows,
    information: Information,
    residuals: ResidualSums<Row>,
    ends: Ends,
}

impl Default for FinishSpace {
    fn default() -> Self {
        let zero = Row::filled(0.0);
        Self {
            parameters: [zero; MAX_PARAMETERS],
            information: Information::default(),
            residuals: ResidualSums::filled(zero),
            ends: Ends::default(),
        }
    }
}

impl Finisher<'_> {
    /// Writes the fits of the stars of a block, which are neighbours.
    pub(crate) fn finish(
        &self,
        stars: Range<usize>,
        state: &StarBlock,
        pixels: &PixelBlock,
        space: &mut FinishSpace,
        fits: &mut [Fit],
    ) {
        let n = self.model.parameters().len();
        let (mut valued, mut unit) = (0, 0);
        for (lane, star) in self.chunk.stars[stars.clone()].iter().enumerate() {
            valued |= LaneMask::from(state.statuses[lane].has_values()) << lane;
            unit |= LaneMask::from(star.weighting == Weighting::Unit) << lane;
        }
        self.system
            .parameters_of_block(&state.parameters, &mut space.parameters);

        // The curvature comes from the last evaluation, one step of a hundredth of an error before the
        // end, unless everything is asked for in f64.
        self.inform(&mut space.information, state, &state.equations, CLEAR_PIVOT);
        let mut unclear = valued;
        if !self.exact {
            unclear &= !space.information.clear;
            let inverse = (unit != 0).then_some(&space.information.inverse);
            let (level, residuals) = (self.level, &mut space.residuals);
            self.model
                .residual_sums_of_block(level, pixels, &space.parameters, inverse, residuals);
            for lane in lanes_of(unit & valued) {
                // A NaN is not clear.
                let is_clear = residuals.leverage[lane] <= CLEAR_LEVERAGE;
                unclear |= LaneMask::from(!is_clear) << lane;
            }
        }
        let chi2 = match unclear {
            0 => state.equations.chi2,
            _ => self.sum_exactly(unclear, unit, stars.start, state, space),
        };
        let stars = &self.chunk.stars[stars];
        let FinishSpace {
            parameters,
            information,
            residuals,
            ends,
        } = space;
        let solution = Solution {
            state,
            parameters,
            chi2: &chi2,
            information,
            residuals,
            valued,
            unit,
            scales: &Scales::of(stars.iter().map(|star| &star.scale)),
        };
        let footprint = Footprint::of(&self.chunk, self.model);
        vectorized!(self.level, simd => with_constant!(n, N => {
            ends.clear();
            for part in Part::all(simd) {
                ends.fill::<_, N>(part, footprint, &solution);
            }
        }));
        for (lane, (star, fit)) in stars.iter().zip(fits).enumerate() {
            ends.write(fit, lane, star, self.system, &solution);
        }
    }

    /// Takes the sums of the stars in `mask`, of the block that begins with the star `first`, again in
    /// `f64` into `space`, and gives the chi-square of all.
    fn sum_exactly(
        &self,
        mask: LaneMask,
        unit: LaneMask,
        first: usize,
        state: &StarBlock,
        space: &mut FinishSpace,
    ) -> Row {
        let FinishSpace {
            parameters,
            information,
            residuals,
            ..
        } = space;
        let n = self.model.parameters().len();
        let mut equations = state.equations;
        for lane in lanes_of(mask) {
            let sums = self.model.normal_equations(
                self.estimator,
                &self.chunk.pixels(first + lane),
                &lane_of(parameters, lane),
            );
            equations.set_lane(n, lane, &sums);
        }
        let chi2 = equations.chi2;
        self.system
            .pull_back_block(mask, &state.parameters, &mut equations);
        let mut exact = Information::default();
        self.inform(&mut exact, state, &equations, SMALLEST_PIVOT);
        information.merge(&exact, mask);
        for lane in lanes_of(mask) {
            let inverse = information.inverse.map(|row| row[lane]);
            let sums = self.model.residual_sums(
                &self.chunk.pixels(first + lane),
                &lane_of(parameters, lane),
                (unit >> lane & 1 == 1).then_some(&inverse),
            );
            residuals.absolute[lane] = sums.absolute;
            residuals.central[lane] = sums.central;
            for (row, value) in residuals.sandwich.iter_mut().zip(sums.sandwich) {
                row[lane] = value;
            }
        }
        chi2
    }

    /// Fills `information` from `equations`, in the coordinates of the system, at the solution. A star
    /// is clear if every parameter keeps more than the share `clear` of its information.
    fn inform(
        &self,
        information: &mut Information,
        state: &StarBlock,
        equations: &NormalEquations<Row>,
        clear: f64,
    ) {
        let n = self.system.coordinates().len();
        information.held = [0; MAX_PARAMETERS];
        information.clear = 0;
        vectorized!(self.level, simd => with_constant!(n, N => {
            for part in Part::all(simd) {
                information.fill::<_, N>(part, state, equations, self.dependent, clear);
            }
        }));
        if !self.system.is_model() {
            for lane in 0..LANES {
                let covariance = information.inverse.map(|row| row[lane]);
                let coordinates = lane_of(&state.parameters, lane);
                let covariance = self.system.push_forward(&coordinates, &covariance);
                for (row, value) in information.inverse.iter_mut().zip(covariance) {
                    row[lane] = value;
                }
            }
        }
    }
}
