//! Solvers: from the normal equations of stars to their next trial parameters.
//!
//! They see sums and parameters only, on the host in `f64`; models, pixels and devices are not
//! their business. The stars of a [`StarBlock`] are solved side by side: what one of them needs and
//! the others do not is done for all and kept where a mask says so.

pub mod cholesky;
mod gradient_descent;
mod levenberg_marquardt;
mod linear;
mod quadratic;

use std::fmt::Debug;

use fearless_simd::Level;
use fearless_simd::prelude::*;

pub use gradient_descent::GradientDescent;
pub use levenberg_marquardt::LevenbergMarquardt;
pub use linear::Linear;
pub(crate) use quadratic::held_of_part;

use crate::block::{LANES, Part, Row, StarBlock};
use crate::kernel::NormalEquations;
use crate::level::vectorized;
use crate::model::Parameter;
use cholesky::with_constant;

/// Parameters left out of a step, one bit each.
pub type Held = u8;

/// What is the same for all stars of a batch: when a fit is done, and what it moves in.
#[derive(Debug, Clone, Copy)]
pub struct Tolerances<'a> {
    /// Predicted decrease of chi-square, relative to chi-square.
    pub ftol: f64,
    /// Steps allowed.
    pub max_iterations: u32,
    /// Relative precision of the backend's numbers.
    pub epsilon: f64,
    /// Whether chi-square tells of pixels without the light that there must be: see
    /// [`REFUSED`](crate::estimator::REFUSED).
    pub refuses: bool,
    /// The coordinates: how fast descent may move them, and how far one step.
    pub coordinates: &'a [Parameter],
    /// Where there is a ratio of axes and an angle: held at its highest value the one leaves a
    /// circle, and the other means nothing.
    pub angle: Option<(usize, usize)>,
    /// Where chi-square is a parabola in flux and background.
    pub linear: Option<Linear>,
}

/// A way to the minimum of chi-square.
pub trait Solver: Debug + Sync {
    /// Name on the command line.
    fn name(&self) -> &'static str;

    /// Takes the sums at [`StarBlock::trial`] of the stars that are running, which it may change, and
    /// for each either sets the next trial, within its bounds, or ends the fit: then [`StarBlock::parameters`] are
    /// final.
    fn update(
        &self,
        level: Level,
        block: &mut StarBlock,
        sums: &mut NormalEquations<Row>,
        tolerances: &Tolerances<'_>,
    );
}

/// A solver as arithmetic on the stars that a register holds.
trait UpdatePart {
    /// [`Solver::update`] of a part with a running star, where there are `N` parameters.
    fn update_part<S: Simd, const N: usize>(
        &self,
        part: Part<S>,
        block: &mut StarBlock,
        sums: &mut NormalEquations<Row>,
        tolerances: &Tolerances<'_>,
    );
}

/// Updates all parts of a block that have a running star.
fn update_parts(
    solver: &impl UpdatePart,
    level: Level,
    block: &mut StarBlock,
    sums: &mut NormalEquations<Row>,
    tolerances: &Tolerances<'_>,
) {
    let n = tolerances.coordinates.len();
    vectorized!(level, simd => with_constant!(n, N => {
        for first in (0..LANES).step_by(Part::length(simd)) {
            let part = Part::at(simd, first);
            if part.mask(block.running).any_true() {
                solver.update_part::<_, N>(part, block, sums, tolerances);
            }
        }
    }));
}
