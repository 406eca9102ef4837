//! Levenberg-Marquardt with Marquardt's scaling and Nielsen's damping.

use super::{Solver, StarState, Tolerances, Update, cholesky, is_finite};
use crate::fit::FitStatus;
use crate::kernel::NormalEquations;

/// Levenberg-Marquardt: Newton steps on the normal equations, damped where they do not hold.
///
/// The damping follows H. B. Nielsen, *Damping Parameter in Marquardt's Method* (IMM-REP-1999-05):
/// it falls smoothly with the ratio of the decrease found to the decrease predicted.
#[derive(Debug, Clone, Copy)]
pub struct LevenbergMarquardt {
    /// Damping of the first step, relative to the diagonal of the curvature.
    pub damping: f64,
}

impl Default for LevenbergMarquardt {
    fn default() -> Self {
        Self { damping: 1e-3 }
    }
}

/// Above this no step is long enough to change a parameter: the fit is stuck.
const MAX_DAMPING: f64 = 1e12;

impl Solver for LevenbergMarquardt {
    fn name(&self) -> &'static str {
        "levenberg-marquardt"
    }

    fn update(&self, state: &mut StarState, equations: &NormalEquations, tolerances: &Tolerances) -> Update {
        let finite = is_finite(equations, state.bounds.n);
        if state.equations.chi2.is_infinite() {
            // The start: nothing to compare with yet.
            if !finite {
                return Update::Finished(FitStatus::NotFinite);
            }
            state.accept(equations);
            state.damping = self.damping;
        } else {
            state.iterations += 1;
            let predicted = state.predicted_decrease();
            let found = if finite { state.equations.chi2 - equations.chi2 } else { f64::NEG_INFINITY };
            if found > 0.0 {
                let ratio = (found / predicted).clamp(0.0, 2.0);
                let factor = 1.0 - (2.0 * ratio - 1.0).powi(3);
                state.damping = (state.damping * factor.max(0.1)).max(1e-12);
                state.damping_growth = 2.0;
                state.accept(equations);
            } else {
                let before = state.newton_step().map(|(_, decrease)| decrease);
                if let Some(before) = before.filter(|&d| finite && d <= state.rounding(tolerances.epsilon)) {
                    // Chi-square cannot tell the trial from the parameters any more, but the
                    // gradient, whose terms do not cancel so badly, still can.
                    let kept = state.clone();
                    state.accept(equations);
                    if state.newton_step().is_none_or(|(_, after)| after > 0.5 * before) {
                        *state = kept;
                        return Update::Finished(FitStatus::Converged);
                    }
                    return self.step(state, tolerances);
                }
                state.damping *= state.damping_growth;
                state.damping_growth *= 2.0;
            }
        }
        self.step(state, tolerances)
    }
}

impl LevenbergMarquardt {
    /// Sets the next trial, or ends the fit: at the minimum the last step is taken unseen.
    fn step(&self, state: &mut StarState, tolerances: &Tolerances) -> Update {
        let n = state.bounds.n;
        let NormalEquations { gradient, curvature, chi2 } = state.equations;
        let held = state.bounds.held(&state.parameters, &gradient);
        loop {
            if state.damping > MAX_DAMPING {
                let singular = cholesky::invert(n, &curvature, held).is_none();
                return Update::Finished(if singular {
                    FitStatus::SingularCurvature
                } else {
                    FitStatus::Diverged
                });
            }
            let Some(step) = cholesky::solve(n, &curvature, &gradient, state.damping, held) else {
                state.damping *= state.damping_growth;
                state.damping_growth *= 2.0;
                continue;
            };
            for j in 0..n {
                state.trial[j] = state.parameters[j] + step[j];
            }
            state.bounds.project(&mut state.trial);
            break;
        }
        // A damped step may promise little far from the minimum: only the undamped one decides.
        let limit = (tolerances.ftol * chi2).max(tolerances.epsilon.powi(2) * state.power);
        if state.predicted_decrease() <= limit {
            if let Some((newton, decrease)) = state.newton_step() {
                if decrease <= limit {
                    for j in 0..n {
                        state.parameters[j] += newton[j];
                    }
                    state.bounds.project(&mut state.parameters);
                    return Update::Finished(FitStatus::Converged);
                }
            }
        }
        if state.iterations >= tolerances.max_iterations {
            return Update::Finished(FitStatus::MaxIterations);
        }
        Update::Continue
    }
}
