//! The sums over the pixels of a star: what every backend computes, on the CPU.
//!
//! The arithmetic of a model is written once and serves `f64`, star by star, as well as registers
//! of `f32` with a star in each lane.

pub(crate) mod operations;
mod pixelwise;
mod profile;
mod register;
pub(crate) mod separable;

use fearless_simd::prelude::*;

pub use pixelwise::Pixelwise;
pub use profile::{Moments, Profile};
pub use register::{Register, RegisterPixels};
pub use separable::{ByLines, Line, Separable};

use crate::estimator::{Estimate, Terms};
use crate::numbers::lanes::{ParameterRows, Row};
use crate::numbers::matrix::{MAX_PARAMETERS, Parameters, Symmetric, packed_index};
use crate::numbers::real::{Lanes, Real};
use crate::numbers::unroll::unroll;
use crate::pixels::{PixelBlock, Pixels};
use crate::sums::{NormalEquations, ResidualSums};

impl<T: Real> NormalEquations<T> {
    /// Adds one pixel of a model.
    #[inline(always)]
    fn add<P: Profile>(&mut self, terms: Terms<T>, gradient: &Parameters<T>) {
        self.chi2 = self.chi2 + terms.cost;
        unroll!(J in P::N => {
            self.gradient[J] = terms.score.mul_add(gradient[J], self.gradient[J]);
        });
        add_products::<P, T>(&mut self.curvature, terms.curvature, gradient);
    }
}

/// Adds `weight` times the products of the derivatives by two parameters each.
#[inline(always)]
fn add_products<P: Profile, T: Real>(sums: &mut Symmetric<T>, weight: T, gradient: &Parameters<T>) {
    unroll!(J in P::N => {
        let weighted = weight * gradient[J];
        unroll!(K in J + 1 => {
                let at = packed_index(J, K);
                sums[at] = weighted.mul_add(gradient[K], sums[at]);
            });
    });
}

/// The sums of one star, in plain `f64`: the oracle.
pub fn normal_equations<P: Profile, E: Estimate>(
    pixels: &Pixels<'_>,
    parameters: &Parameters,
) -> NormalEquations {
    let mut sums = NormalEquations::filled(0.0);
    let mut gradient = [0.0; MAX_PARAMETERS];
    pixels.for_each_used(|data, weight, x, y| {
        let model = P::evaluate(parameters, x, y, &mut gradient);
        sums.add::<P>(E::terms(data, model, weight), &gradient);
    });
    sums
}

impl<T: Real> ResidualSums<T> {
    /// Adds one pixel of a model; a weight of 0 adds nothing.
    #[inline(always)]
    fn add<P: Profile>(
        &mut self,
        residual: T,
        weight: T,
        gradient: &Parameters<T>,
        inverse: Option<&Symmetric<T>>,
    ) {
        self.absolute = self.absolute + Self::absolute(residual, weight);
        let Some(inverse) = inverse else { return };
        let mut leverage = weight.constant(0.0);
        unroll!(J in P::N => {
            let mut row = weight.constant(0.0);
            unroll!(K in J => {
                    row = inverse[packed_index(J, K)].mul_add(gradient[K], row);
                });
            let row = inverse[packed_index(J, J)].mul_add(gradient[J], row * 2.0);
            leverage = row.mul_add(gradient[J], leverage);
        });
        let rest = Self::rest(weight, leverage);
        let leverage = -rest + 1.0;
        self.leverage = (leverage - self.leverage).if_positive(leverage, self.leverage);
        let score = weight * residual / rest;
        add_products::<P, T>(&mut self.sandwich, score * score, gradient);
    }

    /// Absolute value of a residual; 0 for a weight of 0.
    #[inline(always)]
    pub(crate) fn absolute(residual: T, weight: T) -> T {
        weight.if_positive(residual.abs(), weight.constant(0.0))
    }

    /// 1 less the leverage of a pixel, which is `weight` times `leverage`.
    #[inline(always)]
    pub(crate) fn rest(weight: T, leverage: T) -> T {
        // A pixel that alone determines a parameter has a leverage of 1 and no residual.
        (-(weight * leverage) + 1.0).at_least(1e-6)
    }
}

/// The residual sums of one star; without the `inverse` curvature the sandwich stays 0.
pub fn residual_sums<P: Profile>(
    pixels: &Pixels<'_>,
    parameters: &Parameters,
    inverse: Option<&Symmetric>,
) -> ResidualSums {
    let mut sums = ResidualSums::filled(0.0);
    let mut gradient = [0.0; MAX_PARAMETERS];
    pixels.for_each_used(|data, weight, x, y| {
        let residual = data - P::evaluate(parameters, x, y, &mut gradient);
        sums.add::<P>(residual, weight, &gradient, inverse);
    });
    let (row, column) = pixels.middle();
    let middle = row * pixels.width + column;
    sums.central = f64::NAN;
    if pixels.weight[middle] > 0.0 {
        let model = P::evaluate(parameters, column as f64, row as f64, &mut gradient);
        sums.central = pixels.data[middle] - model;
    }
    sums
}

/// How the sums of a model are taken, and what the model's WGSL has to define.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Pixel by pixel: a function `evaluate_model`, as [`Profile::evaluate`].
    Pixelwise,
    /// By rows and columns: a function `line`, as [`Separable::line`].
    ByLines,
    /// All at once: a function `sum_pixels`, the sums themselves.
    Whole,
}

/// Numbers by which names in a line of a shader are replaced, for each time that the line is repeated.
pub type Repeats = Vec<Vec<(&'static str, usize)>>;

/// Parts that the assembler of shaders puts into the model's WGSL for a kernel.
#[derive(Debug, Clone, Default)]
pub struct ShaderParts {
    /// Constants of type `u32`.
    pub constants: Vec<(&'static str, usize)>,
    /// For each WHAT the numbers for the names in braces, in the lines between `// unroll WHAT` and
    /// `// end`.
    pub repeats: Vec<(&'static str, Repeats)>,
}

/// A way to take the sums of a model in registers: [`Pixelwise`] for any model, [`ByLines`] for models
/// that are products, or a kernel of the model's own.
pub trait Kernel<P> {
    /// Form of the model's sums in shaders.
    const FORM: Form;

    /// Parts that the assembler of shaders puts into the model's WGSL.
    fn shader_parts() -> ShaderParts {
        ShaderParts::default()
    }

    /// The sums of the stars of a register.
    fn normal_equations<E: Estimate, S: Simd>(
        pixels: &RegisterPixels<'_, S>,
        parameters: &Parameters<Lanes<S>>,
    ) -> NormalEquations<Lanes<S>>;

    /// The residual sums of the stars of a register.
    fn residual_sums<S: Simd>(
        pixels: &RegisterPixels<'_, S>,
        parameters: &Parameters<Lanes<S>>,
        inverse: Option<&Symmetric<Lanes<S>>>,
    ) -> ResidualSums<Lanes<S>>;

    /// Floating-point operations that the sums of one star take.
    fn operations<E: Estimate>(work: &Work) -> u64;
}

/// The cutout that the sums of a star are taken over: size and weights.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Whether all pixels of a star have one weight.
    pub has_uniform_weights: bool,
}

/// The sums of the stars of a block.
#[inline(always)]
pub(crate) fn normal_equations_of_block<P: Profile, E: Estimate, S: Simd>(
    simd: S,
    block: &PixelBlock,
    parameters: &ParameterRows,
    sums: &mut NormalEquations<Row>,
) {
    for register in Register::all(simd) {
        let p = register.narrow_all::<P>(parameters);
        let pixels = RegisterPixels::new(register, block);
        let found = P::Kernel::normal_equations::<E, S>(&pixels, &p);
        register.store(&mut sums.chi2, found.chi2);
        register.store_all::<P>(&mut sums.gradient, &found.gradient);
        register.store_packed::<P>(&mut sums.curvature, &found.curvature);
    }
}

/// The residual sums of the stars of a block; without the `inverse` curvature the sandwich stays 0.
#[inline(always)]
pub(crate) fn residual_sums_of_block<P: Profile, S: Simd>(
    simd: S,
    block: &PixelBlock,
    parameters: &ParameterRows,
    inverse: Option<&Symmetric<Row>>,
    sums: &mut ResidualSums<Row>,
) {
    for register in Register::all(simd) {
        let p = register.narrow_all::<P>(parameters);
        let pixels = RegisterPixels::new(register, block);
        let found = match inverse {
            Some(rows) => {
                let inverse = register.narrow_packed::<P>(rows);
                P::Kernel::residual_sums(&pixels, &p, Some(&inverse))
            }
            None => P::Kernel::residual_sums(&pixels, &p, None),
        };
        register.store(&mut sums.absolute, found.absolute);
        register.store(&mut sums.central, central_residual::<P, S>(&pixels, &p));
        register.store(&mut sums.leverage, found.leverage);
        register.store_packed::<P>(&mut sums.sandwich, &found.sandwich);
    }
}

/// Residual of the middle pixel, as [`ResidualSums::central`] has it.
#[inline(always)]
fn central_residual<P: Profile, S: Simd>(
    pixels: &RegisterPixels<'_, S>,
    parameters: &Parameters<Lanes<S>>,
) -> Lanes<S> {
    let register = pixels.register;
    let (row, column) = (pixels.data.len() / pixels.width / 2, pixels.width / 2);
    let middle = row * pixels.width + column;
    let (x, y) = (register.splat(column as f32), register.splat(row as f32));
    let mut gradient = [register.splat(0.0); MAX_PARAMETERS];
    let model = P::evaluate(parameters, x, y, &mut gradient);
    let residual = register.load(&pixels.data[middle]) - model;
    let weight = pixels.weight(middle);
    weight.if_positive(residual, register.splat(f32::NAN))
}
