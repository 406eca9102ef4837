//! The sums over the pixels of a star: what every backend computes, on the CPU.
//!
//! One pixel's arithmetic is written once and serves `f64`, star by
//! star, as well as registers of `f32` with a star in each lane.

use fearless_simd::prelude::*;

use crate::estimator::{Estimate, Terms};
use crate::model::{MAX_PACKED, MAX_PARAMETERS, Packed, Parameters, Profile, packed_index};
use crate::real::{Lanes, Real};

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
    /// Adds one pixel of a model with `n` parameters.
    #[inline(always)]
    fn add(&mut self, n: usize, terms: Terms<T>, gradient: &Parameters<T>) {
        self.chi2 = self.chi2 + terms.cost;
        for j in 0..n {
            self.gradient[j] = terms.score.mul_add(gradient[j], self.gradient[j]);
            let weighted = terms.curvature * gradient[j];
            for k in 0..=j {
                let at = packed_index(j, k);
                self.curvature[at] = weighted.mul_add(gradient[k], self.curvature[at]);
            }
        }
    }
}

/// The pixels of one star, row after row.
#[derive(Debug, Clone, Copy)]
pub struct Pixels<'a> {
    /// Pixels in a row.
    pub width: usize,
    /// Values, scaled to order 1.
    pub data: &'a [f64],
    /// As in [`Batch::weight`](crate::batch::Batch::weight).
    pub weight: &'a [f64],
}

impl Pixels<'_> {
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
        sums.add(
            P::PARAMETERS.len(),
            E::terms(data, model, weight),
            &gradient,
        );
    });
    sums
}

/// The pixels of as many stars as a register has lanes: pixel 0 of each, then pixel 1 of each.
#[derive(Debug, Clone, Copy)]
pub struct LaneBlock<'a> {
    /// Pixels in a row.
    pub width: usize,
    /// Values, scaled to order 1.
    pub data: &'a [f32],
    /// As in [`Batch::weight`](crate::batch::Batch::weight).
    pub weight: &'a [f32],
}

impl LaneBlock<'_> {
    /// Calls `visit` with values, weights, x and y of each pixel.
    #[inline(always)]
    fn for_each_pixel<S: Simd>(
        &self,
        simd: S,
        mut visit: impl FnMut(Lanes<S>, Lanes<S>, Lanes<S>, Lanes<S>),
    ) {
        let lanes = Lanes::<S>::COUNT;
        let row = self.width * lanes;
        for (y, (data, weight)) in self
            .data
            .chunks_exact(row)
            .zip(self.weight.chunks_exact(row))
            .enumerate()
        {
            let y = Lanes::splat(simd, y as f32);
            let pixels = data.chunks_exact(lanes).zip(weight.chunks_exact(lanes));
            for (x, (data, weight)) in pixels.enumerate() {
                let x = Lanes::splat(simd, x as f32);
                visit(Lanes::load(simd, data), Lanes::load(simd, weight), x, y);
            }
        }
    }
}

/// The sums of as many stars as a register has lanes.
#[inline(always)]
pub fn normal_equations_in_lanes<P: Profile, E: Estimate, S: Simd>(
    simd: S,
    block: &LaneBlock<'_>,
    parameters: &[Parameters],
    sums: &mut [NormalEquations],
) {
    let n = P::PARAMETERS.len();
    let p = gather(simd, n, |lane, j| parameters[lane][j]);
    let mut total = NormalEquations::filled(Lanes::splat(simd, 0.0));
    let mut gradient = [Lanes::splat(simd, 0.0); MAX_PARAMETERS];
    block.for_each_pixel(simd, |data, weight, x, y| {
        let model = P::evaluate(&p, x, y, &mut gradient);
        total.add(n, E::terms(data, model, weight), &gradient);
    });
    for (lane, sums) in sums.iter_mut().enumerate() {
        sums.chi2 = total.chi2.lane(lane);
        for j in 0..n {
            sums.gradient[j] = total.gradient[j].lane(lane);
        }
        for at in 0..n * (n + 1) / 2 {
            sums.curvature[at] = total.curvature[at].lane(lane);
        }
    }
}

/// Sums over the residuals at the solution.
#[derive(Debug, Clone, Copy)]
pub struct ResidualSums<T = f64> {
    /// Sum of the absolute residuals.
    pub absolute: T,
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
            sandwich: [value; MAX_PACKED],
        }
    }
}

impl<T: Real> ResidualSums<T> {
    /// Adds one pixel of a model with `n` parameters; a weight of 0 adds nothing.
    #[inline(always)]
    fn add(
        &mut self,
        n: usize,
        residual: T,
        weight: T,
        gradient: &Parameters<T>,
        inverse: Option<&Packed<T>>,
    ) {
        let used = weight.if_positive(residual.abs(), weight.constant(0.0));
        self.absolute = self.absolute + used;
        let Some(inverse) = inverse else { return };
        let mut leverage = gradient[0].constant(0.0);
        for j in 0..n {
            let mut row = inverse[packed_index(j, j)] * gradient[j];
            for k in 0..j {
                row = (inverse[packed_index(j, k)] * 2.0).mul_add(gradient[k], row);
            }
            leverage = row.mul_add(gradient[j], leverage);
        }
        // A pixel that alone determines a parameter has a leverage of 1 and no residual.
        let rest = (-(weight * leverage) + 1.0).at_least(1e-6);
        let score = weight * residual / rest;
        let square = score * score;
        for j in 0..n {
            let scaled = square * gradient[j];
            for k in 0..=j {
                let at = packed_index(j, k);
                self.sandwich[at] = scaled.mul_add(gradient[k], self.sandwich[at]);
            }
        }
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
        sums.add(P::PARAMETERS.len(), residual, weight, &gradient, inverse);
    });
    sums
}

/// The residual sums of as many stars as a register has lanes.
#[inline(always)]
pub fn residual_sums_in_lanes<P: Profile, S: Simd>(
    simd: S,
    block: &LaneBlock<'_>,
    parameters: &[Parameters],
    inverses: Option<&[Packed]>,
    sums: &mut [ResidualSums],
) {
    let n = P::PARAMETERS.len();
    let p = gather(simd, n, |lane, j| parameters[lane][j]);
    let inverse: Option<Packed<Lanes<S>>> =
        inverses.map(|inverses| gather(simd, n * (n + 1) / 2, |lane, at| inverses[lane][at]));
    let mut total = ResidualSums::filled(Lanes::splat(simd, 0.0));
    let mut gradient = [Lanes::splat(simd, 0.0); MAX_PARAMETERS];
    block.for_each_pixel(simd, |data, weight, x, y| {
        let residual = data - P::evaluate(&p, x, y, &mut gradient);
        total.add(n, residual, weight, &gradient, inverse.as_ref());
    });
    for (lane, sums) in sums.iter_mut().enumerate() {
        sums.absolute = total.absolute.lane(lane);
        for at in 0..n * (n + 1) / 2 {
            sums.sandwich[at] = total.sandwich[at].lane(lane);
        }
    }
}

/// The first `n` values of each star, side by side.
#[inline(always)]
fn gather<S: Simd, const N: usize>(
    simd: S,
    n: usize,
    value: impl Fn(usize, usize) -> f64,
) -> [Lanes<S>; N] {
    let mut all = [Lanes::splat(simd, 0.0); N];
    for (j, all) in all.iter_mut().enumerate().take(n) {
        *all = Lanes(S::f32s::from_fn(simd, |lane| value(lane, j) as f32));
    }
    all
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
