//! The sums over the pixels of a star: what every backend computes, on the CPU.
//!
//! The arithmetic of a model is written once and serves `f64`, star by star, as well as registers
//! of `f32` with a star in each lane.

pub(crate) mod conic;
mod operations;
mod pixelwise;
mod register;
pub(crate) mod separable;

use std::borrow::Cow;

use fearless_simd::prelude::*;

pub use conic::Conic;
pub use pixelwise::Pixelwise;
pub use register::Register;
pub use register::RegisterPixels;
pub use separable::{ByLines, Line, Separable};

use crate::block::{ParameterRows, Row};
use crate::estimator::{Estimate, Terms};
use crate::model::{MAX_PACKED, MAX_PARAMETERS, Packed, Parameters, Profile, packed_index};
use crate::packed::PackedBlock;
use crate::real::{Lanes, Real};
use crate::unroll::unroll;

/// Chi-square of a star with its gradient and curvature in the parameters:
/// the normal equations `curvature * step = gradient`.
#[derive(Debug, Clone, Copy)]
pub struct NormalEquations<T = f64> {
    /// Sum of what the estimator makes the residuals cost.
    pub chi2: T,
    /// `J^T W r` with residual `r = data - model`: minus half the derivative of chi-square.
    pub gradient: Parameters<T>,
    /// `J^T W J`: half the second derivative where the residuals are small.
    pub curvature: Packed<T>,
}

impl<T: Copy> NormalEquations<T> {
    /// Every sum set to `value`.
    #[inline(always)]
    pub fn filled(value: T) -> Self {
        Self {
            chi2: value,
            gradient: [value; MAX_PARAMETERS],
            curvature: [value; MAX_PACKED],
        }
    }
}

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
fn add_products<P: Profile, T: Real>(sums: &mut Packed<T>, weight: T, gradient: &Parameters<T>) {
    unroll!(J in P::N => {
        let weighted = weight * gradient[J];
        unroll!(K in J + 1 => {
                let at = packed_index(J, K);
                sums[at] = weighted.mul_add(gradient[K], sums[at]);
            });
    });
}

/// The pixels of one star, row after row.
#[derive(Debug, Clone)]
pub struct Pixels<'a> {
    /// Pixels in a row.
    pub width: usize,
    /// Values, scaled to order 1.
    pub data: Cow<'a, [f64]>,
    /// Weights relative to the largest, or the level that counts stand on (see
    /// [`Poisson`](crate::estimator::Poisson)); 0 = unused.
    pub weight: Cow<'a, [f64]>,
}

impl Pixels<'_> {
    /// Row and column of the middle pixel.
    fn middle(&self) -> (usize, usize) {
        (self.data.len() / self.width / 2, self.width / 2)
    }

    /// Calls `visit` with value, weight, x and y of each pixel in use.
    #[inline(always)]
    fn for_each_used(&self, mut visit: impl FnMut(f64, f64, f64, f64)) {
        let rows = self
            .data
            .chunks_exact(self.width)
            .zip(self.weight.chunks_exact(self.width));
        for (y, (data, weight)) in rows.enumerate() {
            for (x, (&data, &weight)) in data.iter().zip(weight).enumerate() {
                if weight > 0.0 {
                    visit(data, weight, x as f64, y as f64);
                }
            }
        }
    }
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

/// Sums over the residuals at the solution.
#[derive(Debug, Clone, Copy)]
pub struct ResidualSums<T = f64> {
    /// Sum of the absolute residuals.
    pub absolute: T,
    /// Residual of the middle pixel; NaN where it is not used.
    pub central: T,
    /// The largest leverage of a pixel, where there is a sandwich.
    pub leverage: T,
    /// `sum (w r / (1 - h))^2 g g^T` with the leverage `h = w g^T C g`, where `C` is the inverse
    /// curvature: the middle of the sandwich covariance HC3 (MacKinnon and White 1985,
    /// J. Econometrics 29, 305).
    pub sandwich: Packed<T>,
}

impl<T: Copy> ResidualSums<T> {
    /// Every sum set to `value`.
    #[inline(always)]
    pub fn filled(value: T) -> Self {
        Self {
            absolute: value,
            central: value,
            leverage: value,
            sandwich: [value; MAX_PACKED],
        }
    }
}

impl<T: Real> ResidualSums<T> {
    /// Adds one pixel of a model; a weight of 0 adds nothing.
    #[inline(always)]
    fn add<P: Profile>(
        &mut self,
        residual: T,
        weight: T,
        gradient: &Parameters<T>,
        inverse: Option<&Packed<T>>,
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

    /// The size of a residual, where it counts.
    #[inline(always)]
    fn absolute(residual: T, weight: T) -> T {
        weight.if_positive(residual.abs(), weight.constant(0.0))
    }

    /// What a pixel's leverage leaves of 1, which is `weight` times `leverage`.
    #[inline(always)]
    fn rest(weight: T, leverage: T) -> T {
        // A pixel that alone determines a parameter has a leverage of 1 and no residual.
        (-(weight * leverage) + 1.0).at_least(1e-6)
    }
}

/// The residual sums of one star; without the `inverse` curvature the sandwich stays 0.
pub fn residual_sums<P: Profile>(
    pixels: &Pixels<'_>,
    parameters: &Parameters,
    inverse: Option<&Packed>,
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

/// How the sums of a model are taken, and what its WGSL has to give for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Pixel by pixel: a function `evaluate_model`, as [`Profile::evaluate`].
    Pixelwise,
    /// By rows and columns: a function `line`, as [`Separable::line`].
    ByLines,
    /// By powers of the coordinates: the sums themselves, `sum_pixels`, as only the elliptical
    /// Gaussian has this form.
    Conic,
}

/// How the sums of a model are taken in registers: [`Pixelwise`] for any, [`ByLines`] for those that
/// are products, [`Conic`] for the elliptical Gaussian.
pub trait Kernel<P> {
    /// The form of its sums in shaders.
    const FORM: Form;

    /// The sums of the stars of a register.
    fn normal_equations<E: Estimate, S: Simd>(
        pixels: &RegisterPixels<'_, S>,
        parameters: &Parameters<Lanes<S>>,
    ) -> NormalEquations<Lanes<S>>;

    /// The residual sums of the stars of a register.
    fn residual_sums<S: Simd>(
        pixels: &RegisterPixels<'_, S>,
        parameters: &Parameters<Lanes<S>>,
        inverse: Option<&Packed<Lanes<S>>>,
    ) -> ResidualSums<Lanes<S>>;

    /// Floating-point operations that the sums of one star take.
    fn operations<E: Estimate>(work: &Work) -> u64;
}

/// What the sums of a star are taken over.
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
    block: &PackedBlock,
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
    block: &PackedBlock,
    parameters: &ParameterRows,
    inverse: Option<&Packed<Row>>,
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

/// As [`ResidualSums::central`].
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

/// `v^T M v` for a symmetric matrix of `n` rows.
#[inline(always)]
pub fn quadratic_form(n: usize, matrix: &Packed, v: &Parameters) -> f64 {
    let mut sum = 0.0;
    for j in 0..n {
        for k in 0..j {
            sum += 2.0 * v[j] * v[k] * matrix[packed_index(j, k)];
        }
        sum += v[j] * v[j] * matrix[packed_index(j, j)];
    }
    sum
}
