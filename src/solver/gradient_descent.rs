//! The blog post's gradient descent, with its faults mended.

use fearless_simd::Level;
use fearless_simd::prelude::*;

use super::cholesky::with_constant;
use super::linear::{Move, accept};
use super::quadratic::{Bounds, Quadratic};
use super::{CoordinateRules, Solver, StopRule};
use crate::estimator::REFUSED;
use crate::fit::FitStatus;
use crate::fitter::state::StarBlock;
use crate::numbers::lanes::{Part, Row};
use crate::numbers::matrix::MAX_PARAMETERS;
use crate::numbers::simd::vectorized;
use crate::numbers::unroll::unroll;
use crate::sums::NormalEquations;

/// Gradient descent with a fixed rate for each parameter: `theta -= rate * mean over pixels of
/// (model - data) * gradient`, on data scaled to a range of 1.
///
/// The post took a fixed number of steps and hoped. Here it ends as Levenberg-Marquardt does: where a
/// Newton step promises a decrease of chi-square below the tolerance. The Newton step is not taken:
/// descent should give its own result.
///
/// A step to a model without light where there must be some is halved, not taken.
#[derive(Debug, Clone, Copy)]
pub struct GradientDescent {
    /// Learning rate common to all parameters.
    pub learning_rate: f64,
}

impl GradientDescent {
    /// Name on the command line.
    pub const NAME: &'static str = "gradient-descent";
}

impl Solver for GradientDescent {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn update(
        &self,
        level: Level,
        block: &mut StarBlock,
        sums: &NormalEquations<Row>,
        stop: &StopRule,
        rules: &CoordinateRules<'_>,
    ) {
        let n = rules.coordinates.len();
        vectorized!(level, simd => with_constant!(n, N => {
            for part in Part::with(simd, block.running) {
                self.update_part::<_, N>(part, block, sums, stop, rules);
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
        stop: &StopRule,
        rules: &CoordinateRules<'_>,
    ) {
        let running = part.mask(block.running);
        let one = part.splat(1.0);
        let here = Quadratic::new(part, &block.trial, sums);
        let chi2 = here.chi2();
        let started = !Quadratic::best(part, block).chi2().is_infinite();
        let iterations = part.load(&block.iterations);
        let iterations = (running & started).select(iterations + one, iterations);
        let is_last = iterations.simd_ge(part.splat(f64::from(stop.max_iterations)));

        let refused = match rules.refuses {
            true => running & started & chi2.simd_ge(part.splat(REFUSED)),
            false => part.none(),
        };
        let finite = here.is_finite::<N>();
        let lost = running & !refused & !finite;
        let taken = running & !refused & finite;
        // Halfway back to where there was light, from where there is none.
        let mut halfway = [part.splat(0.0); MAX_PARAMETERS];
        unroll!(J in N => {
            halfway[J] = (here.parameter(J) + part.load(&block.parameters[J])) * 0.5;
        });
        part.store(&mut block.iterations, iterations);
        accept::<S, N>(part, taken, sums, &Move::none(part), block);

        let state = Quadratic::best(part, block);
        let bounds = Bounds::new(part, block);
        let rounding = part.load(&block.power) * stop.epsilon.powi(2);
        let limit = (chi2 * stop.ftol).max(rounding);
        let (_, decrease, exists) =
            state.newton_step::<N>(&bounds.held::<N>(&state, rules.dependent));
        let converged = taken & exists & decrease.simd_le(limit);

        let rate = part.load(&block.per_pixel) * self.learning_rate;
        let mut trial = halfway;
        unroll!(J in N => {
            let rate = rate * rules.coordinates[J].rate;
            let downhill = rate.mul_add(state.gradient(J), state.parameter(J));
            trial[J] = refused.select(halfway[J], downhill);
        });
        bounds.project::<N>(&mut trial);
        part.store_all::<N>(&mut block.trial, &trial);
        block.finish(part.bits(lost & started), FitStatus::Diverged);
        block.finish(part.bits(lost & !started), FitStatus::NotFinite);
        block.finish(part.bits(converged), FitStatus::Converged);
        let used_up = (refused | taken) & !converged & is_last;
        block.finish(part.bits(used_up), FitStatus::MaxIterations);
    }
}
