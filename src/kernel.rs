//! The sums over the pixels of a star: what every backend computes, on the CPU.
//!
//! One pixel's arithmetic is written once ([`NormalEquations::add`]) and serves `f64`, star by
//! star, as well as registers of `f32` with a star in each lane.

use fearless_simd::prelude::*;

use crate::estimator::{Estimate, Terms};
use crate::model::{MAX_PACKED, MAX_PARAMETERS, Packed, Parameters, Profile, packed_index};
use crate::real::{Lanes, Real};

/// Chi-square of a star with its gradient and curvature in the parameters:
/// the normal equations `curvature * step = gradient`.
#[derive(Debug, Clone, Copy)]
pub struct NormalEquations<T = f64> {
    /// Sum of the weighted squared residuals.
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
        Self { chi2: value, gradient: [value; MAX_PARAMETERS], curvature: [value; MAX_PACKED] }
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
    /// Inverse variances, relative to the largest; 0 = unused.
    pub weight: &'a [f64],
}

impl Pixels<'_> {
    /// Value, weight and place of each pixel in use.
    fn used(&self) -> impl Iterator<Item = (f64, f64, f64, f64)> {
        let pixels = self.data.iter().zip(self.weight).enumerate();
        pixels.filter(|(_, (_, weight))| **weight > 0.0).map(|(i, (&data, &weight))| {
            (data, weight, (i % self.width) as f64, (i / self.width) as f64)
        })
    }
}

/// The sums of one star, in plain `f64`: the oracle.
pub fn normal_equations<P: Profile, E: Estimate>(
    pixels: &Pixels<'_>,
    parameters: &Parameters,
) -> NormalEquations {
    let mut sums = NormalEquations::filled(0.0);
    let mut gradient = [0.0; MAX_PARAMETERS];
    for (data, weight, x, y) in pixels.used() {
        let model = P::evaluate(parameters, x, y, &mut gradient);
        sums.add(P::PARAMETERS.len(), E::terms(data, model, weight), &gradient);
    }
    sums
}

/// The pixels of as many stars as a register has lanes: pixel 0 of each, then pixel 1 of each.
#[derive(Debug, Clone, Copy)]
pub struct LaneBlock<'a> {
    /// Pixels in a row.
    pub width: usize,
    /// Values, scaled to order 1.
    pub data: &'a [f32],
    /// Inverse variances, relative to the largest; 0 = unused.
    pub weight: &'a [f32],
}

/// The sums of as many stars as a register has lanes.
#[inline(always)]
pub fn normal_equations_in_lanes<P: Profile, E: Estimate, S: Simd>(
    simd: S,
    block: &LaneBlock<'_>,
    parameters: &[Parameters],
    sums: &mut [NormalEquations],
) {
    let lanes = Lanes::<S>::COUNT;
    let n = P::PARAMETERS.len();
    let zero = Lanes::splat(simd, 0.0);
    let mut p = [zero; MAX_PARAMETERS];
    for (j, p) in p.iter_mut().enumerate().take(n) {
        *p = Lanes(S::f32s::from_fn(simd, |lane| parameters[lane][j] as f32));
    }
    let mut total = NormalEquations::filled(zero);
    let mut gradient = [zero; MAX_PARAMETERS];
    let row = block.width * lanes;
    for (y, (data, weight)) in block.data.chunks_exact(row).zip(block.weight.chunks_exact(row)).enumerate() {
        let y = Lanes::splat(simd, y as f32);
        let pixels = data.chunks_exact(lanes).zip(weight.chunks_exact(lanes));
        for (x, (data, weight)) in pixels.enumerate() {
            let x = Lanes::splat(simd, x as f32);
            let model = P::evaluate(&p, x, y, &mut gradient);
            let terms = E::terms(Lanes::load(simd, data), model, Lanes::load(simd, weight));
            total.add(n, terms, &gradient);
        }
    }
    for (lane, sums) in sums.iter_mut().enumerate() {
        sums.chi2 = f64::from(total.chi2.0.as_slice()[lane]);
        for j in 0..n {
            sums.gradient[j] = f64::from(total.gradient[j].0.as_slice()[lane]);
        }
        for at in 0..n * (n + 1) / 2 {
            sums.curvature[at] = f64::from(total.curvature[at].0.as_slice()[lane]);
        }
    }
}

/// Sum of the absolute residuals.
pub fn absolute_residuals<P: Profile>(pixels: &Pixels<'_>, parameters: &Parameters) -> f64 {
    let mut gradient = [0.0; MAX_PARAMETERS];
    pixels.used().map(|(data, _, x, y)| (data - P::evaluate(parameters, x, y, &mut gradient)).abs()).sum()
}

/// `sum (w r / (1 - h))^2 g g^T` with the leverage `h = w g^T C g` and `C` the `inverse` curvature:
/// the middle of the sandwich covariance HC3 (MacKinnon and White 1985, J. Econometrics 29, 305).
pub fn sandwich_sums<P: Profile>(pixels: &Pixels<'_>, parameters: &Parameters, inverse: &Packed) -> Packed {
    let n = P::PARAMETERS.len();
    let mut sums = [0.0; MAX_PACKED];
    let mut gradient = [0.0; MAX_PARAMETERS];
    for (data, weight, x, y) in pixels.used() {
        let residual = data - P::evaluate(parameters, x, y, &mut gradient);
        let leverage = weight * quadratic_form(n, inverse, &gradient);
        // A pixel that alone determines a parameter has a leverage of 1 and no residual.
        let score = weight * residual / (1.0 - leverage).max(1e-6);
        for j in 0..n {
            for k in 0..=j {
                sums[packed_index(j, k)] += score * score * gradient[j] * gradient[k];
            }
        }
    }
    sums
}

/// `v^T M v` for a symmetric matrix of `n` rows.
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
