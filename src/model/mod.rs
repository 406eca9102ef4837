//! The star models. A model is one Rust file, one shader and one line in [`MODELS`].
//!
//! [`Profile`] is what the author of a model writes, generic over the kind of number; [`Model`] is
//! the same as an object, which the rest of the crate works with.

pub(crate) mod ellipse;
pub(crate) mod elliptical_gaussian;
mod elliptical_moffat;
mod gaussian;
mod gaussian_integrated;
mod moffat;
pub mod parameter;

use std::fmt::Debug;

use fearless_simd::Level;

pub use elliptical_gaussian::EllipticalGaussian;
pub use elliptical_moffat::EllipticalMoffat;
pub use gaussian::Gaussian;
pub use gaussian_integrated::GaussianIntegrated;
pub use moffat::Moffat;
pub(crate) use parameter::RATIO;
pub use parameter::{FWHM_OF_SIGMA, Parameter, Reach, Role, TYPICAL_BETA};

use crate::block::{ParameterRows, Row};
use crate::dual::Dual;
use crate::estimator::{Estimator, with_estimator};
use crate::kernel::{self, Form, Kernel, NormalEquations, Pixels, ResidualSums, Work};
use crate::level::vectorized;
use crate::packed::PackedBlock;
use crate::real::Real;

/// Most parameters that a model can have. It has five at least: flux, x, y, a width, background.
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
pub static MODELS: &[&dyn Model] = &[
    &Gaussian,
    &EllipticalGaussian,
    &Moffat,
    &EllipticalMoffat,
    &GaussianIntegrated,
];

/// The model called `name`.
pub fn by_name(name: &str) -> Option<&'static dyn Model> {
    MODELS.iter().copied().find(|model| model.name() == name)
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
    /// Variance of the star's light along the rows, as of a Gaussian, square pixels.
    pub xx: f64,
    /// Covariance along rows and columns.
    pub xy: f64,
    /// Variance along the columns.
    pub yy: f64,
    /// Level under the star.
    pub background: f64,
}

impl Moments {
    /// Those of a round star of this standard deviation.
    pub fn round(flux: f64, (x, y): (f64, f64), sigma: f64, background: f64) -> Self {
        Self {
            flux,
            x,
            y,
            xx: sigma * sigma,
            xy: 0.0,
            yy: sigma * sigma,
            background,
        }
    }

    /// Standard deviation of the light along an axis, the mean of all, pixels.
    pub fn sigma(&self) -> f64 {
        (0.5 * (self.xx + self.yy)).sqrt()
    }
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
pub trait Profile: Debug + Sync + Sized + 'static {
    /// Name on the command line.
    const NAME: &'static str;
    /// One line for people.
    const DESCRIPTION: &'static str;
    /// The parameters that are fitted, in the order of every array of them: coordinates in which
    /// the problem is well conditioned, whatever the catalogue states.
    const PARAMETERS: &'static [Parameter];
    /// How many they are.
    const N: usize = Self::PARAMETERS.len();
    /// The parameters as columns of the catalogue, role for role: what users fix, bound and start from.
    const COLUMNS: &'static [Parameter];
    /// What the [form](Form) of its sums wants of it in WGSL.
    const WGSL: &'static str;

    /// How its sums are taken in registers.
    type Kernel: Kernel<Self>;

    /// Value of star and background at the centre of pixel (`x`, `y`), and its derivatives.
    fn evaluate<T: Real>(parameters: &Parameters<T>, x: T, y: T, gradient: &mut Parameters<T>)
    -> T;

    /// Start values.
    fn start(moments: &Moments) -> Parameters;

    /// The values of [`Profile::COLUMNS`].
    fn columns(parameters: &Parameters<Dual>) -> Parameters<Dual>;

    /// Undoes [`Profile::columns`].
    fn from_columns(columns: &Parameters<Dual>) -> Parameters<Dual>;

    /// What else the catalogue states, by the name of its column.
    fn derived(parameters: &Parameters<Dual>) -> Vec<(&'static str, Dual)>;
}

/// A model as an object. Implemented by every [`Profile`].
pub trait Model: Debug + Sync {
    /// Name on the command line.
    fn name(&self) -> &'static str;
    /// One line for people.
    fn description(&self) -> &'static str;
    /// The parameters that are fitted, in the order of every array of them.
    fn parameters(&self) -> &'static [Parameter];
    /// The parameters as columns of the catalogue, role for role: what users fix, bound and start from.
    fn columns(&self) -> &'static [Parameter];
    /// What its [form](Model::form) wants of it in WGSL.
    fn wgsl(&self) -> &'static str;
    /// How its sums are taken.
    fn form(&self) -> Form;
    /// Value at the centre of pixel (`x`, `y`), and its derivatives.
    fn evaluate(&self, parameters: &Parameters, x: f64, y: f64) -> (f64, Parameters);
    /// Start values.
    fn start(&self, moments: &Moments) -> Parameters;
    /// The values of [`Model::columns`], with their derivatives by the parameters.
    fn columns_at(&self, parameters: &Parameters) -> Parameters<Dual>;
    /// The parameters of these columns, with their derivatives by the columns.
    fn parameters_at(&self, columns: &Parameters) -> Parameters<Dual> {
        self.parameters_of(&Dual::variables(columns))
    }
    /// The parameters of columns that depend on something themselves.
    fn parameters_of(&self, columns: &Parameters<Dual>) -> Parameters<Dual>;
    /// What the catalogue states of these parameters.
    fn quantities(&self, parameters: &Parameters) -> Vec<Quantity>;
    /// Sums over the pixels of one star, in `f64`.
    fn normal_equations(
        &self,
        estimator: Estimator,
        pixels: &Pixels<'_>,
        parameters: &Parameters,
    ) -> NormalEquations;
    /// Sums over the pixels of the stars of a block, in `f32`.
    fn normal_equations_of_block(
        &self,
        level: Level,
        estimator: Estimator,
        block: &PackedBlock,
        parameters: &ParameterRows,
        sums: &mut NormalEquations<Row>,
    );
    /// Floating-point operations that this takes for each star.
    fn operations(&self, estimator: Estimator, work: &Work) -> u64;
    /// Sums over the residuals of one star at the solution; see [`kernel::residual_sums`].
    fn residual_sums(
        &self,
        pixels: &Pixels<'_>,
        parameters: &Parameters,
        inverse: Option<&Packed>,
    ) -> ResidualSums;
    /// Residual sums of the stars of a block, in `f32`.
    fn residual_sums_of_block(
        &self,
        level: Level,
        block: &PackedBlock,
        parameters: &ParameterRows,
        inverse: Option<&Packed<Row>>,
        sums: &mut ResidualSums<Row>,
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
        const { assert!(P::N >= 5 && P::N <= MAX_PARAMETERS) };
        P::PARAMETERS
    }
    fn wgsl(&self) -> &'static str {
        P::WGSL
    }
    fn form(&self) -> Form {
        P::Kernel::FORM
    }
    fn evaluate(&self, parameters: &Parameters, x: f64, y: f64) -> (f64, Parameters) {
        let mut gradient = [0.0; MAX_PARAMETERS];
        let value = P::evaluate(parameters, x, y, &mut gradient);
        (value, gradient)
    }
    fn start(&self, moments: &Moments) -> Parameters {
        P::start(moments)
    }
    fn columns(&self) -> &'static [Parameter] {
        P::COLUMNS
    }
    fn columns_at(&self, parameters: &Parameters) -> Parameters<Dual> {
        P::columns(&Dual::variables(parameters))
    }
    fn parameters_of(&self, columns: &Parameters<Dual>) -> Parameters<Dual> {
        P::from_columns(columns)
    }
    fn quantities(&self, parameters: &Parameters) -> Vec<Quantity> {
        let variables = Dual::variables(parameters);
        let names = P::COLUMNS.iter().map(|column| column.name);
        names
            .zip(P::columns(&variables))
            .chain(P::derived(&variables))
            .map(|(column, dual)| Quantity {
                column,
                value: dual.value,
                gradient: dual.gradient,
            })
            .collect()
    }
    fn normal_equations(
        &self,
        estimator: Estimator,
        pixels: &Pixels<'_>,
        parameters: &Parameters,
    ) -> NormalEquations {
        with_estimator!(estimator, E => kernel::normal_equations::<P, E>(pixels, parameters))
    }
    fn normal_equations_of_block(
        &self,
        level: Level,
        estimator: Estimator,
        block: &PackedBlock,
        parameters: &ParameterRows,
        sums: &mut NormalEquations<Row>,
    ) {
        with_estimator!(estimator, E => vectorized!(level, simd =>
            kernel::normal_equations_of_block::<P, E, _>(simd, block, parameters, sums)));
    }
    fn operations(&self, estimator: Estimator, work: &Work) -> u64 {
        with_estimator!(estimator, E => P::Kernel::operations::<E>(work))
    }
    fn residual_sums(
        &self,
        pixels: &Pixels<'_>,
        parameters: &Parameters,
        inverse: Option<&Packed>,
    ) -> ResidualSums {
        kernel::residual_sums::<P>(pixels, parameters, inverse)
    }
    fn residual_sums_of_block(
        &self,
        level: Level,
        block: &PackedBlock,
        parameters: &ParameterRows,
        inverse: Option<&Packed<Row>>,
        sums: &mut ResidualSums<Row>,
    ) {
        vectorized!(level, simd =>
            kernel::residual_sums_of_block::<P, _>(simd, block, parameters, inverse, sums));
    }
}
