//! The blog post's gradient descent, its faults mended.

use fearless_simd::Level;
use fearless_simd::prelude::*;

use super::cholesky::with_constant;
use super::quadratic::{Bounds, Quadratic};
use super::{Solver, Tolerances};
use crate::block::{LANES, Part, Row, StarBlock};
use crate::estimator::REFUSED;
use crate::fit::FitStatus;
use crate::kernel::NormalEquations;
use crate::level::vectorized;
use crate::unroll::unroll;

/// Gradient descent with a fixed rate for each parameter: `theta -= rate * mean over pixels of
/// (model - data) * gradient`, on data scaled to a range of 1.
///
/// The post took a fixed number of steps and hoped. Here it ends as Levenberg-Marquardt does:
/// where a Newton step promises a decrease of chi-square below the tolerance. That last step is
/// not taken, since descent should give what descent found.
///
/// A step onto which the model has no light where there must be some is halved, not taken.
#[derive(Debug, Clone, Copy)]
pub struct GradientDescent {
    /// Learning rate common to all parameters.
    pub learning_rate: f64,
}

impl Solver for GradientDescent {
    fn name(&self) -> &'static str {
        "gradient-descent"
    }

    fn update(
        &self,
        level: Level,
        block: &mut StarBlock,
        sums: &NormalEquations<Row>,
        tolerances: &Tolerances<'_>,
    ) {
        let n = tolerances.coordinates.len();
        vectorized!(level, simd => with_constant!(n, N => {
            for first in (0..LANES).step_by(Part::length(simd)) {
                self.update_part::<_, N>(Part::at(simd, first), block, sums, tolerances);
            }
        }));
    }
}

impl GradientDescent {
    #[inline(always)]
    fn update_part<S: Simd, const N: usize>(
        &self,
        part: Part<S>,
        block: &mut StarBlock,
        sums: &NormalEquations<Row>,
        tolerances: &Tolerances<'_>,
    ) {
        let running = part.mask(block.running);
        if running.all_false() {
            return;
        }
        let one = part.splat(1.0);
        let before = Quadratic::load::<N>(part, &block.parameters, &block.equations);
        let here = Quadratic::load::<N>(part, &block.trial, sums);
        let bounds = Bounds::load::<N>(part, block);
        let started = !before.chi2.is_infinite();
        let iterations = part.load(&block.iterations);
        let iterations = (running & started).select(iterations + one, iterations);
        part.store(&mut block.iterations, iterations);
        let is_last = iterations.simd_ge(part.splat(f64::from(tolerances.max_iterations)));

        let refused = match tolerances.refuses {
            true => running & started & here.chi2.simd_ge(part.splat(REFUSED)),
            false => part.none(),
        };
        let finite = here.is_finite::<N>(part);
        let lost = running & !refused & !finite;
        let taken = running & !refused & finite;
        let state = here.or::<N>(taken, &before);
        let power = part.load(&block.power);
        let rounding = power * tolerances.epsilon.powi(2);
        let limit = (here.chi2 * tolerances.ftol).max(rounding);
        let held = bounds.held::<N>(
            part,
            &block.fixed,
            &state.parameters,
            &state.gradient,
            tolerances.angle,
        );
        let (_, decrease, exists) = state.newton_step::<N>(part, &held);
        let converged = taken & exists & decrease.simd_le(limit);

        let rate = part.splat(self.learning_rate) / part.load(&block.n_pixels);
        let mut trial = state.parameters;
        unroll!(J in N => {
            let rate = rate * tolerances.coordinates[J].rate;
            let downhill = rate.mul_add(state.gradient[J], state.parameters[J]);
            let halfway = (here.parameters[J] + before.parameters[J]) * 0.5;
            trial[J] = refused.select(halfway, downhill);
        });
        bounds.project::<N>(&mut trial);

        state.store::<N>(part, block);
        part.store_all::<N>(&mut block.trial, &trial);
        block.finish(part.bits(lost & started), FitStatus::Diverged);
        block.finish(part.bits(lost & !started), FitStatus::NotFinite);
        block.finish(part.bits(converged), FitStatus::Converged);
        let used_up = (refused | taken) & !converged & is_last;
        block.finish(part.bits(used_up), FitStatus::MaxIterations);
    }
}
