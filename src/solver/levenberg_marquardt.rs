//! Levenberg-Marquardt with Marquardt's scaling and Nielsen's damping.

use super::{Held, Solver, StarState, Tolerances, Update, cholesky, is_finite};
use crate::fit::FitStatus;
use crate::kernel::NormalEquations;
use crate::model::{Parameter, Parameters, packed_index};

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

/// Steps in a row without a gain after which there is none to be had.
const IDLE_STEPS: u8 = 3;

/// Below this damping is none.
const MIN_DAMPING: f64 = 1e-12;

/// Above this no step is long enough to change a parameter: the fit is stuck.
const MAX_DAMPING: f64 = 1e12;

impl Solver for LevenbergMarquardt {
    fn name(&self) -> &'static str {
        "levenberg-marquardt"
    }

    fn update(
        &self,
        state: &mut StarState,
        equations: &NormalEquations,
        tolerances: &Tolerances<'_>,
    ) -> Update {
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
            let found = if finite {
                state.equations.chi2 - equations.chi2
            } else {
                f64::NEG_INFINITY
            };
            if state.by_gradient {
                if !accept_by_gradient(state, equations, finite) {
                    return Update::Finished(FitStatus::Converged);
                }
            } else if found > 0.0 {
                let ratio = (found / predicted).clamp(0.0, 2.0);
                let factor = 1.0 - (2.0 * ratio - 1.0).powi(3);
                state.damping = (state.damping * factor.max(0.1)).max(MIN_DAMPING);
                state.damping_growth = 2.0;
                state.accept(equations);
                // A valley with a flat floor, such as a hot pixel that any narrow star fits, has
                // no minimum to converge on: three steps in a row that gain nothing are the end.
                let gains = found.max(predicted) > tolerances.ftol * state.equations.chi2;
                state.idle_steps = if gains { 0 } else { state.idle_steps + 1 };
                if state.idle_steps == IDLE_STEPS {
                    return Update::Finished(FitStatus::Converged);
                }
            } else if finite && (0.0..=state.rounding(tolerances.epsilon)).contains(&predicted) {
                // Chi-square cannot tell the trial from the parameters any more. The gradient,
                // whose terms cancel less, still can. (A step that bounds or reach have bent may
                // promise less than nothing: that one is too long.)
                state.by_gradient = true;
                state.damping = MIN_DAMPING;
            } else {
                state.damping *= state.damping_growth;
                state.damping_growth *= 2.0;
            }
        }
        self.step(state, tolerances)
    }
}

/// Takes the trial if a Newton step from there promises less than one from the parameters does.
/// Where the model is not quite the star the steps shrink slowly, but they shrink.
fn accept_by_gradient(state: &mut StarState, equations: &NormalEquations, finite: bool) -> bool {
    let kept = state.clone();
    let before = state.newton_step();
    state.accept(equations);
    let better = match (before, state.newton_step()) {
        (Some((_, before)), Some((_, after))) => finite && after < before,
        _ => false,
    };
    if !better {
        *state = kept;
    }
    better
}

/// Where a damped step leads within bounds and reach. What would go further goes as far as it may
/// and the others take the step that is best with that: merely cut short, a step may lead uphill.
/// `None` where the damped curvature is singular.
fn bounded_trial(state: &StarState, coordinates: &[Parameter], held: Held) -> Option<Parameters> {
    let NormalEquations {
        gradient,
        curvature,
        ..
    } = &state.equations;
    let n = state.bounds.n;
    let (mut held, mut right, mut trial) = (held, *gradient, state.parameters);
    loop {
        let step = cholesky::solve(n, curvature, &right, state.damping, held)?;
        let mut is_bent = false;
        for (j, coordinate) in coordinates.iter().enumerate() {
            if held >> j & 1 == 1 {
                continue;
            }
            let (low, high) = coordinate.reach.from(state.parameters[j]);
            let (low, high) = (low.max(state.bounds.low[j]), high.min(state.bounds.high[j]));
            let wanted = state.parameters[j] + step[j];
            // Not clamp(): it panics on NaN.
            trial[j] = wanted.max(low).min(high);
            if trial[j] != wanted {
                is_bent = true;
                held |= 1 << j;
                let moved = trial[j] - state.parameters[j];
                for (k, right) in right.iter_mut().enumerate().take(n) {
                    *right -= curvature[packed_index(j, k)] * moved;
                }
            }
        }
        if !is_bent {
            return Some(trial);
        }
    }
}

impl LevenbergMarquardt {
    /// Sets the next trial, or ends the fit: at the minimum the last step is taken unseen.
    fn step(&self, state: &mut StarState, tolerances: &Tolerances<'_>) -> Update {
        let n = state.bounds.n;
        let NormalEquations {
            gradient,
            curvature,
            chi2,
        } = state.equations;
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
            if let Some(trial) = bounded_trial(state, tolerances.coordinates, held) {
                state.trial = trial;
                break;
            }
            state.damping *= state.damping_growth;
            state.damping_growth *= 2.0;
        }
        // A damped step may promise little far from the minimum: only the undamped one decides.
        let limit = (tolerances.ftol * chi2).max(tolerances.epsilon.powi(2) * state.power);
        if state.predicted_decrease() <= limit
            && let Some((newton, decrease)) = state.newton_step()
            && decrease <= limit
        {
            for j in 0..n {
                state.parameters[j] += newton[j];
            }
            state.bounds.project(&mut state.parameters);
            state.equations.chi2 -= decrease;
            return Update::Finished(FitStatus::Converged);
        }
        if state.iterations >= tolerances.max_iterations {
            return Update::Finished(FitStatus::MaxIterations);
        }
        Update::Continue
    }
}
