//! Solvers: from the normal equations of stars to their next trial parameters.
//!
//! Solvers see sums and parameters only, on the host in `f64`; models, pixels and devices are not their
//! business. The stars of a [`StarBlock`] are solved side by side: work that only some of them need is
//! done for all and kept where a mask says so.

pub mod cholesky;
mod gradient_descent;
mod levenberg_marquardt;
mod linear;
mod quadratic;

use std::fmt::Debug;

use fearless_simd::Level;

pub use gradient_descent::GradientDescent;
pub use levenberg_marquardt::LevenbergMarquardt;
pub(crate) use quadratic::held_of_part;

use crate::fitter::state::StarBlock;
use crate::model::Parameter;
use crate::numbers::lanes::Row;
use crate::sums::NormalEquations;

/// When a fit is done.
#[derive(Debug, Clone, Copy)]
pub struct StopRule {
    /// Predicted decrease of chi-square, relative to chi-square.
    pub ftol: f64,
    /// Steps allowed.
    pub max_iterations: u32,
    /// Relative precision of the backend's numbers.
    pub epsilon: f64,
}

/// Coordinates that the fits of a batch move in, with their rules.
#[derive(Debug, Clone, Copy)]
pub struct CoordinateRules<'a> {
    /// The coordinates: how fast descent may move them, and how far one step.
    pub coordinates: &'a [Parameter],
    /// Two coordinates, of which the second means nothing where the first is held at its highest value.
    pub dependent: Option<(usize, usize)>,
    /// Whether chi-square is a parabola in the first coordinate and the last, and the derivatives by
    /// the others are proportional to the first.
    pub is_linear: bool,
    /// Whether there are coordinates at which no sums exist: chi-square is
    /// [`REFUSED`](crate::estimator::REFUSED) or more there.
    pub refuses: bool,
}

/// A way to the minimum of chi-square.
pub trait Solver: Debug + Sync {
    /// Name on the command line.
    fn name(&self) -> &'static str;

    /// Takes the sums at [`StarBlock::trial`] of the stars that are running and for each either sets
    /// the next trial, within its bounds, or ends the fit: then [`StarBlock::parameters`] are final.
    fn update(
        &self,
        level: Level,
        block: &mut StarBlock,
        sums: &NormalEquations<Row>,
        stop: &StopRule,
        rules: &CoordinateRules<'_>,
    );
}
