//! The star models. A model is one Rust file, one shader and one line in [`MODELS`].
//!
//! [`Profile`] is what the author of a model writes, generic over the kind of number; [`Model`] is
//! the same as an object, which the rest of the crate works with.

mod gaussian;

use std::fmt::Debug;

use fearless_simd::{Level, dispatch};

pub use gaussian::Gaussian;

use crate::estimator::{Estimator, LeastSquares};
use crate::kernel::{self, LaneBlock, NormalEquations, Pixels, ResidualSums};
use crate::real::Real;

/// Most parameters that a model can have.
pub const MAX_PARAMETERS: usize = 8;

/// Numbers in the packed lower triangle of a matrix of [`MAX_PARAMETERS`] rows.
pub const MAX_PACKED: usize = MAX_PARAMETERS * (MAX_PARAMETERS + 1) / 2;

/// A value for each parameter, in the order of [`Model::parameters`]; the rest is 0.
pub type Parameters<T = f64> = [T; MAX_PARAMETERS];

/// Lower triangle of a symmetric matrix, row after row.
pub type Packed<T = f64> = [T; MAX_PACKED];

/// Place of row `j`, column `k` in a [`Packed`] matrix, in either order.
#[inline(always)]
pub const fn packed_index(j: usize, k: usize) -> usize {
    let (row, column) = if j < k { (k, j) } else { (j, k) };
    row * (row + 1) / 2 + column
}

/// Every model: the command line, tests and benches walk this list.
pub static MODELS: &[&dyn Model] = &[&Gaussian];

/// The model called `name`.
pub fn by_name(name: &str) -> Option<&'static dyn Model> {
    MODELS.iter().copied().find(|model| model.name() == name)
}

/// What a parameter is, which says how it goes over from a cutout scaled to order 1 to the
/// image's units and coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Integral of the star over the plane; scales with the pixel values.
    Flux,
    /// Column of the centre, pixels.
    X,
    /// Row of the centre, pixels.
    Y,
    /// Level under the star; scales with the pixel values and moves with their pedestal.
    Background,
    /// Width, orientation, wings: the same in both.
    Shape,
}

/// One parameter of a model.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Name, as on the command line.
    pub name: &'static str,
    /// Unit in FITS spelling; empty for a pure number.
    pub unit: &'static str,
    /// What it is.
    pub role: Role,
    /// Lowest and highest value allowed in a cutout of that side in pixels: its width for
    /// [`Role::X`], its height for [`Role::Y`], the longer of both for the rest.
    pub bounds: fn(side: f64) -> (f64, f64),
    /// Factor of its step in gradient descent, relative to the learning rate.
    pub rate: f64,
    /// One line for people.
    pub description: &'static str,
}

/// Windowed moments of a star in a cutout, from which each model makes its start values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Integral of the star.
    pub flux: f64,
    /// Centroid, pixels from the centre of the cutout's first pixel.
    pub x: f64,
    /// As `x`.
    pub y: f64,
    /// Standard deviation of the star's light along an axis, pixels.
    pub sigma: f64,
    /// Level under the star.
    pub background: f64,
}

/// Bounds of a parameter that may have any value.
pub fn unbounded(_side: f64) -> (f64, f64) {
    (f64::NEG_INFINITY, f64::INFINITY)
}

/// Bounds of a centre: half a cutout beyond its rim, where its pixels say little any more.
pub fn within_reach(side: f64) -> (f64, f64) {
    (-0.5 * side, 1.5 * side)
}

/// A quantity of the catalogue that a model states, with its derivatives.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    /// Column of the catalogue; its error stands in the column with `_err` added.
    pub column: &'static str,
    /// Value.
    pub value: f64,
    /// Derivative by each parameter: carries the covariance over (delta method).
    pub gradient: Parameters,
}

/// A model as its author writes it.
pub trait Profile: Debug + Sync + 'static {
    /// Name on the command line.
    const NAME: &'static str;
    /// One line for people.
    const DESCRIPTION: &'static str;
    /// The parameters, in the order of every array of them.
    const PARAMETERS: &'static [Parameter];
    /// The function `evaluate_model` in WGSL, the same arithmetic as [`Profile::evaluate`].
    const WGSL: &'static str;

    /// Value of star and background at the centre of pixel (`x`, `y`), and its derivatives.
    fn evaluate<T: Real>(parameters: &Parameters<T>, x: T, y: T, gradient: &mut Parameters<T>)
    -> T;

    /// Start values.
    fn start(moments: &Moments) -> Parameters;

    /// What the catalogue states of these parameters.
    fn quantities(parameters: &Parameters) -> Vec<Quantity>;
}

/// A model as an object. Implemented by every [`Profile`].
pub trait Model: Debug + Sync {
    /// Name on the command line.
    fn name(&self) -> &'static str;
    /// One line for people.
    fn description(&self) -> &'static str;
    /// The parameters, in the order of every array of them.
    fn parameters(&self) -> &'static [Parameter];
    /// The function `evaluate_model` in WGSL.
    fn wgsl(&self) -> &'static str;
    /// Value at the centre of pixel (`x`, `y`), and its derivatives.
    fn evaluate(&self, parameters: &Parameters, x: f64, y: f64) -> (f64, Parameters);
    /// Start values.
    fn start(&self, moments: &Moments) -> Parameters;
    /// What the catalogue states of these parameters.
    fn quantities(&self, parameters: &Parameters) -> Vec<Quantity>;
    /// Sums over the pixels of one star, in `f64`.
    fn normal_equations(
        &self,
        estimator: Estimator,
        pixels: &Pixels<'_>,
        parameters: &Parameters,
    ) -> NormalEquations;
    /// Sums over the pixels of several stars at once, one to a lane; see [`LaneBlock`].
    fn normal_equations_in_lanes(
        &self,
        level: Level,
        estimator: Estimator,
        block: &LaneBlock<'_>,
        parameters: &[Parameters],
        sums: &mut [NormalEquations],
    );
    /// Sums over the residuals of one star at the solution; see [`kernel::residual_sums`].
    fn residual_sums(
        &self,
        pixels: &Pixels<'_>,
        parameters: &Parameters,
        inverse: Option<&Packed>,
    ) -> ResidualSums;
    /// The same of several stars at once, one to a lane.
    fn residual_sums_in_lanes(
        &self,
        level: Level,
        block: &LaneBlock<'_>,
        parameters: &[Parameters],
        inverses: Option<&[Packed]>,
        sums: &mut [ResidualSums],
    );
}

impl<P: Profile> Model for P {
    fn name(&self) -> &'static str {
        P::NAME
    }
    fn description(&self) -> &'static str {
        P::DESCRIPTION
    }
    fn parameters(&self) -> &'static [Parameter] {
        P::PARAMETERS
    }
    fn wgsl(&self) -> &'static str {
        P::WGSL
    }
    fn evaluate(&self, parameters: &Parameters, x: f64, y: f64) -> (f64, Parameters) {
        let mut gradient = [0.0; MAX_PARAMETERS];
        let value = P::evaluate(parameters, x, y, &mut gradient);
        (value, gradient)
    }
    fn start(&self, moments: &Moments) -> Parameters {
        P::start(moments)
    }
    fn quantities(&self, parameters: &Parameters) -> Vec<Quantity> {
        P::quantities(parameters)
    }
    fn normal_equations(
        &self,
        estimator: Estimator,
        pixels: &Pixels<'_>,
        parameters: &Parameters,
    ) -> NormalEquations {
        match estimator {
            Estimator::LeastSquares => {
                kernel::normal_equations::<P, LeastSquares>(pixels, parameters)
            }
        }
    }
    fn normal_equations_in_lanes(
        &self,
        level: Level,
        estimator: Estimator,
        block: &LaneBlock<'_>,
        parameters: &[Parameters],
        sums: &mut [NormalEquations],
    ) {
        match estimator {
            Estimator::LeastSquares => dispatch!(level, simd =>
                kernel::normal_equations_in_lanes::<P, LeastSquares, _>(simd, block, parameters, sums)),
        }
    }
    fn residual_sums(
        &self,
        pixels: &Pixels<'_>,
        parameters: &Parameters,
        inverse: Option<&Packed>,
    ) -> ResidualSums {
        kernel::residual_sums::<P>(pixels, parameters, inverse)
    }
    fn residual_sums_in_lanes(
        &self,
        level: Level,
        block: &LaneBlock<'_>,
        parameters: &[Parameters],
        inverses: Option<&[Packed]>,
        sums: &mut [ResidualSums],
    ) {
        dispatch!(level, simd =>
            kernel::residual_sums_in_lanes::<P, _>(simd, block, parameters, inverses, sums));
    }
}
