//! Solvers: from the normal equations of a star to its next trial parameters.
//!
//! They see sums and parameters only, on the host in `f64`; models, pixels and devices are not
//! their business.

pub mod cholesky;
mod gradient_descent;
mod levenberg_marquardt;

use std::fmt::Debug;

pub use gradient_descent::GradientDescent;
pub use levenberg_marquardt::LevenbergMarquardt;

use crate::estimator::REFUSED;
use crate::fit::FitStatus;
use crate::kernel::{NormalEquations, quadratic_form};
use crate::model::{MAX_PARAMETERS, Parameter, Parameters};

/// Lowest and highest value of each parameter of one star.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Number of parameters.
    pub n: usize,
    /// Lowest values.
    pub low: Parameters,
    /// Highest values.
    pub high: Parameters,
    /// Parameters whose value the user has fixed: there low and high are the same.
    pub fixed: Held,
    /// Where there is a ratio of axes and an angle: held at its highest value the one leaves a
    /// circle, and the other means nothing.
    pub angle: Option<(usize, usize)>,
}

/// Parameters left out of a step, one bit each.
pub type Held = u8;

impl Bounds {
    /// The nearest parameters inside the box.
    pub fn project(&self, parameters: &mut Parameters) {
        for j in 0..self.n {
            // Not clamp(): it panics on a box that is not one.
            parameters[j] = parameters[j].max(self.low[j]).min(self.high[j]);
        }
    }

    /// The parameters that stand at a bound and whose `gradient` (minus the derivative of
    /// chi-square) points out of the box. A step must leave them out, not be cut short by them.
    pub fn held(&self, parameters: &Parameters, gradient: &Parameters) -> Held {
        let held = (0..self.n)
            .filter(|&j| self.holds(j, parameters[j], gradient[j]))
            .fold(self.fixed, |held, j| held | 1 << j);
        match self.angle {
            Some((ratio, angle))
                if held >> ratio & 1 == 1 && parameters[ratio] >= self.high[ratio] =>
            {
                held | 1 << angle
            }
            _ => held,
        }
    }

    /// Number of parameters that are neither fixed nor `held`.
    pub fn n_free(&self, held: Held) -> usize {
        self.n - (held | self.fixed).count_ones() as usize
    }

    fn holds(&self, j: usize, value: f64, gradient: f64) -> bool {
        (value <= self.low[j] && gradient <= 0.0) || (value >= self.high[j] && gradient >= 0.0)
    }
}

/// What a solver remembers of one star.
#[derive(Debug, Clone)]
pub struct StarState {
    /// The best parameters so far.
    pub parameters: Parameters,
    /// The parameters to be evaluated next.
    pub trial: Parameters,
    /// The sums at `parameters`.
    pub equations: NormalEquations,
    /// Steps made.
    pub iterations: u32,
    /// The box of the parameters.
    pub bounds: Bounds,
    /// Pixels used.
    pub n_pixels: usize,
    /// Sum of the weighted squared data: with the backend's rounding it says how small a
    /// difference of chi-square still means something.
    pub power: f64,
    /// Levenberg-Marquardt's damping, relative to the diagonal of the curvature.
    pub damping: f64,
    /// Factor of the damping at the next rejected step.
    pub damping_growth: f64,
    /// Steps in a row that gained less than the tolerance.
    pub idle_steps: u8,
    /// Whether chi-square is down to its rounding and only the gradient still tells steps apart.
    pub by_gradient: bool,
    /// Whether the pixels, or the user, put the centroid outside the cutout.
    pub starts_outside: bool,
}

impl StarState {
    /// A star that has not been evaluated yet.
    pub fn new(start: Parameters, bounds: Bounds, n_pixels: usize, power: f64) -> Self {
        Self {
            parameters: start,
            trial: start,
            equations: NormalEquations::filled(f64::INFINITY),
            iterations: 0,
            bounds,
            n_pixels,
            power,
            damping: 0.0,
            damping_growth: 2.0,
            idle_steps: 0,
            by_gradient: false,
            starts_outside: false,
        }
    }

    /// Makes the trial the best parameters, with the sums found there.
    fn accept(&mut self, equations: &NormalEquations) {
        self.parameters = self.trial;
        self.equations = *equations;
    }

    /// How much lower chi-square is at the trial than at the parameters, by the normal equations:
    /// `2 g^T d - d^T C d`.
    fn predicted_decrease(&self) -> f64 {
        let n = self.bounds.n;
        let mut step = [0.0; MAX_PARAMETERS];
        let mut slope = 0.0;
        for j in 0..n {
            step[j] = self.trial[j] - self.parameters[j];
            slope += step[j] * self.equations.gradient[j];
        }
        2.0 * slope - quadratic_form(n, &self.equations.curvature, &step)
    }

    /// The step to the minimum by the normal equations, and the decrease of chi-square that it
    /// promises; `None` where the curvature is singular.
    fn newton_step(&self) -> Option<(Parameters, f64)> {
        let NormalEquations {
            gradient,
            curvature,
            ..
        } = &self.equations;
        let held = self.bounds.held(&self.parameters, gradient);
        let step = cholesky::solve(self.bounds.n, curvature, gradient, 0.0, held)?;
        let decrease = (0..self.bounds.n).map(|j| step[j] * gradient[j]).sum();
        Some((step, decrease))
    }

    /// Rounding error of chi-square summed with the relative precision `epsilon`: that of the sum,
    /// and that of residuals known no better than the data that they are the difference of.
    fn rounding(&self, epsilon: f64) -> f64 {
        let chi2 = self.equations.chi2.max(epsilon * epsilon * self.power);
        epsilon * (chi2 + (chi2 * self.power / self.n_pixels as f64).sqrt())
    }
}

/// When a fit is done.
#[derive(Debug, Clone, Copy)]
pub struct Tolerances<'a> {
    /// Predicted decrease of chi-square, relative to chi-square.
    pub ftol: f64,
    /// Steps allowed.
    pub max_iterations: u32,
    /// Relative precision of the backend's numbers.
    pub epsilon: f64,
    /// Whether chi-square tells of pixels without the light that there must be: see
    /// [`REFUSED`].
    pub refuses: bool,
    /// The coordinates: how fast descent may move them, and how far one step.
    pub coordinates: &'a [Parameter],
}

/// What a solver decides about a star.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Evaluate [`StarState::trial`] next.
    Continue,
    /// [`StarState::parameters`] are final.
    Finished(FitStatus),
}

/// A way to the minimum of chi-square.
pub trait Solver: Debug + Sync {
    /// Name on the command line.
    fn name(&self) -> &'static str;

    /// Takes the sums at [`StarState::trial`] and decides. It need not keep to the bounds: the
    /// caller projects every trial onto the box.
    fn update(
        &self,
        state: &mut StarState,
        equations: &NormalEquations,
        tolerances: &Tolerances<'_>,
    ) -> Update;
}

fn is_finite(equations: &NormalEquations, n: usize) -> bool {
    // NaN and infinity are not below either.
    equations.chi2 < REFUSED
        && equations.gradient[..n].iter().all(|g| g.is_finite())
        && equations.curvature[..n * (n + 1) / 2]
            .iter()
            .all(|c| c.is_finite())
}
