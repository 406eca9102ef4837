//! The blog post's gradient descent, its faults mended.

use super::{Solver, StarState, Tolerances, Update, is_finite};
use crate::estimator::REFUSED;
use crate::fit::FitStatus;
use crate::kernel::NormalEquations;

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
        state: &mut StarState,
        equations: &NormalEquations,
        tolerances: &Tolerances<'_>,
    ) -> Update {
        let started = state.equations.chi2.is_finite();
        state.iterations += u32::from(started);
        if tolerances.refuses && started && equations.chi2 >= REFUSED {
            if state.iterations >= tolerances.max_iterations {
                return Update::Finished(FitStatus::MaxIterations);
            }
            for j in 0..state.bounds.n {
                state.trial[j] = 0.5 * (state.parameters[j] + state.trial[j]);
            }
            return Update::Continue;
        }
        if !is_finite(equations, state.bounds.n) {
            return Update::Finished(if started {
                FitStatus::Diverged
            } else {
                FitStatus::NotFinite
            });
        }
        state.accept(equations);
        let limit =
            (tolerances.ftol * equations.chi2).max(tolerances.epsilon.powi(2) * state.power);
        if state
            .newton_step()
            .is_some_and(|(_, decrease)| decrease <= limit)
        {
            return Update::Finished(FitStatus::Converged);
        }
        if state.iterations >= tolerances.max_iterations {
            return Update::Finished(FitStatus::MaxIterations);
        }
        let rate = self.learning_rate / state.n_pixels as f64;
        for (j, coordinate) in tolerances.coordinates.iter().enumerate() {
            state.trial[j] += rate * coordinate.rate * equations.gradient[j];
        }
        Update::Continue
    }
}
