//! The star models. A model is one Rust file, one shader and one line in [`MODELS`].
//!
//! [`Profile`] is what the author of a model writes, generic over the kind of number; [`Model`] is
//! the same as an object, which the rest of the crate works with.

mod ellipse;
mod elliptical_gaussian;
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

use crate::estimator::{Estimator, with_estimator};
use crate::kernel::{self, Form, Kernel, ShaderParts, Work};
pub use crate::kernel::{Moments, Profile};
use crate::numbers::dual::Dual;
use crate::numbers::lanes::{ParameterRows, Row};
use crate::numbers::matrix::{MAX_PARAMETERS, Parameters, Symmetric};
use crate::numbers::simd::vectorized;
use crate::pixels::{PixelBlock, Pixels};
use crate::sums::{NormalEquations, ResidualSums};

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
    /// The model in WGSL, as the [form](Model::form) of its sums asks for it.
    fn wgsl(&self) -> &'static str;
    /// How the sums of the model are taken.
    fn form(&self) -> Form;
    /// Parts that the assembler of shaders puts into the model's WGSL.
    fn shader_parts(&self) -> ShaderParts;
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
    /// The parameters of columns that have derivatives of their own.
    fn parameters_of(&self, columns: &Parameters<Dual>) -> Parameters<Dual>;
    /// Quantities of the catalogue at these parameters.
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
        block: &PixelBlock,
        parameters: &ParameterRows,
        sums: &mut NormalEquations<Row>,
    );
    /// Floating-point operations that the normal equations of one star take.
    fn operations(&self, estimator: Estimator, work: &Work) -> u64;
    /// Sums over the residuals of one star at the solution; see [`kernel::residual_sums`].
    fn residual_sums(
        &self,
        pixels: &Pixels<'_>,
        parameters: &Parameters,
        inverse: Option<&Symmetric>,
    ) -> ResidualSums;
    /// Residual sums of the stars of a block, in `f32`.
    fn residual_sums_of_block(
        &self,
        level: Level,
        block: &PixelBlock,
        parameters: &ParameterRows,
        inverse: Option<&Symmetric<Row>>,
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
    fn shader_parts(&self) -> ShaderParts {
        P::Kernel::shader_parts()
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
        block: &PixelBlock,
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
        inverse: Option<&Symmetric>,
    ) -> ResidualSums {
        kernel::residual_sums::<P>(pixels, parameters, inverse)
    }
    fn residual_sums_of_block(
        &self,
        level: Level,
        block: &PixelBlock,
        parameters: &ParameterRows,
        inverse: Option<&Symmetric<Row>>,
        sums: &mut ResidualSums<Row>,
    ) {
        vectorized!(level, simd =>
            kernel::residual_sums_of_block::<P, _>(simd, block, parameters, inverse, sums));
    }
}
