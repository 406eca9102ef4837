//! The rim of a cutout, which has hardly any of its star: level and scatter of the background.

use fearless_simd::prelude::*;
use smallvec::SmallVec;

use crate::kernel::RegisterPixels;
use crate::numbers::median;
use crate::numbers::real::{Lanes, Real};
use crate::pixels::Pixels;

/// Pixels on a rim that need no memory from the heap.
const FEW: usize = 64;

/// Median of the usable pixels on the rim of each star of a register; of all pixels where the rim
/// has none; else 0.
#[inline(always)]
pub(crate) fn median_of_register<S: Simd>(pixels: &RegisterPixels<'_, S>) -> Lanes<S> {
    let (median, is_empty) = median_in_lanes(pixels, true);
    if is_empty.0.simd_gt(pixels.register.splat(0.0).0).all_false() {
        return median;
    }
    let (all, _) = median_in_lanes(pixels, false);
    is_empty.if_positive(all, median)
}

/// Median of the usable pixels, and 1 where there are none. The rim of a cutout is short: it is
/// sorted by a network (K. E. Batcher 1968), which does the same for every star.
#[inline(always)]
fn median_in_lanes<S: Simd>(
    pixels: &RegisterPixels<'_, S>,
    rim_only: bool,
) -> (Lanes<S>, Lanes<S>) {
    let register = pixels.register;
    let (zero, one) = (register.splat(0.0), register.splat(1.0));
    let unused = register.splat(f32::MAX);
    let (width, last) = (pixels.width, pixels.data.len() - pixels.width);
    let mut values: SmallVec<[Lanes<S>; FEW]> = SmallVec::new();
    let mut count = zero;
    for first in (0..=last).step_by(width) {
        let is_whole = !rim_only || first == 0 || first == last;
        // A row between the first and the last has only its ends on the rim.
        let step = if is_whole { 1 } else { (width - 1).max(1) };
        for at in (first..first + width).step_by(step) {
            let mut value = register.load(&pixels.data[at]);
            if !pixels.has_uniform_weights() {
                let weight = pixels.weight(at);
                count = count + weight.if_positive(one, zero);
                value = weight.if_positive(value, unused);
            }
            values.push(value);
        }
    }
    sort(&mut values);
    if pixels.has_uniform_weights() {
        let (below, above) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        return ((below + above) * 0.5, zero);
    }
    // Twice the place of the middle value; between two of them, their mean counts.
    let twice = count - one;
    let mut median = zero;
    for (place, &value) in values.iter().enumerate() {
        let distance = (twice - register.splat(2.0 * place as f32)).abs();
        let is_middle = one + 0.5 - distance;
        let share = (one * 0.5 - distance).if_positive(one, one * 0.5);
        median = is_middle.if_positive(value.mul_add(share, median), median);
    }
    let is_empty = (one * 0.5 - count).if_positive(one, zero);
    (is_empty.if_positive(zero, median), is_empty)
}

/// Sorts each star's values, the smallest first (D. E. Knuth, *The Art of Computer Programming* 3,
/// algorithm 5.2.2M).
#[inline(always)]
fn sort<S: Simd>(values: &mut [Lanes<S>]) {
    let n = values.len();
    let most = n.next_power_of_two() / 2;
    let mut p = most;
    while p > 0 {
        let (mut q, mut r, mut d) = (most, 0, p);
        loop {
            // Every place that has the bit p as r has it.
            for first in (r..n - d).step_by(2 * p) {
                for i in first..(first + p).min(n - d) {
                    let (a, b) = (values[i], values[i + d]);
                    values[i] = a.smaller(b);
                    values[i + d] = a.larger(b);
                }
            }
            if q == p {
                break;
            }
            d = q - p;
            q /= 2;
            r = p;
        }
        p /= 2;
    }
}

/// Median of the usable pixels on the rim; of all pixels where the rim has none.
pub(crate) fn rim_median(pixels: &Pixels<'_>, height: usize) -> f64 {
    median(&mut rim(pixels, height)).unwrap_or(0.0)
}

/// Least ratio of the variance of a rim to the variance of its roughness from which the rim has a star's
/// light.
const LIT: f64 = 2.5;

/// Standard deviation of a normal deviate over its median absolute deviation.
const SIGMA_OF_MAD: f64 = 1.482_602_218_505_602;

/// Scatter of the usable pixels on a rim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RimNoise {
    /// Standard deviation of the pixels' noise: their scatter, unless a star that fills its cutout makes most
    /// of it.
    pub(crate) sigma: f64,
    /// Whether a star makes most of the scatter.
    pub(crate) is_lit: bool,
}

/// The noise of the pixels on the rim.
pub(crate) fn rim_noise(pixels: &Pixels<'_>, height: usize) -> RimNoise {
    let scatter = rim_scatter(pixels, height);
    match roughness(pixels, height) {
        Some(sigma) if scatter.powi(2) > LIT * sigma.powi(2) => RimNoise {
            sigma,
            is_lit: true,
        },
        _ => RimNoise {
            sigma: scatter,
            is_lit: false,
        },
    }
}

/// Standard deviation of the usable pixels on the rim, from their median absolute deviation, which
/// a neighbour that reaches into the rim hardly moves.
pub(crate) fn rim_scatter(pixels: &Pixels<'_>, height: usize) -> f64 {
    let mut values = rim(pixels, height);
    let middle = median(&mut values).unwrap_or(0.0);
    for value in &mut values {
        *value = (*value - middle).abs();
    }
    SIGMA_OF_MAD * median(&mut values).unwrap_or(0.0)
}

/// Numbers in a row that a polynomial is fitted to.
const WINDOW: usize = 7;

/// Factors of the middle of a window less the cubic polynomial that fits all of the window best (A. Savitzky
/// and M. J. E. Golay 1964, Anal. Chem. 36, 1627), times 21: of independent numbers 2/3 of their variance is
/// left, of the light of a star wider than 2 pixels next to nothing.
const RESIDUAL: [f64; WINDOW] = [2.0, -3.0, -6.0, 14.0, -6.0, -3.0, 2.0];

/// Lines along each side of a cutout that are looked at.
const LINES: usize = 2;

/// Fewest numbers that a scatter is taken from.
const FEWEST: usize = 12;

/// Standard deviation of the noise of the pixels along the sides, which light of a smooth shape does
/// not enter; `None` where too few pixels in a row are usable.
fn roughness(pixels: &Pixels<'_>, height: usize) -> Option<f64> {
    let width = pixels.width;
    let mut residuals = Vec::with_capacity(4 * LINES * width.max(height));
    let mut along = |first: usize, step: usize, count: usize| {
        for start in 0..(count + 1).saturating_sub(WINDOW) {
            let (mut sum, mut is_usable) = (0.0, true);
            for (k, factor) in RESIDUAL.iter().enumerate() {
                let at = first + (start + k) * step;
                is_usable &= pixels.weight[at] > 0.0;
                sum += factor * pixels.data[at];
            }
            if is_usable {
                residuals.push(sum.abs());
            }
        }
    };
    // A line that is near two sides counts once.
    let lines = |count: usize| (0..count).filter(move |&at| at < LINES || at + LINES >= count);
    for row in lines(height) {
        along(row * width, 1, width);
    }
    for column in lines(width) {
        along(column, width, height);
    }
    let square: f64 = RESIDUAL.iter().map(|factor| factor * factor).sum();
    let is_enough = residuals.len() >= FEWEST;
    let middle = median(&mut residuals).filter(|_| is_enough)?;
    Some(SIGMA_OF_MAD * middle / square.sqrt())
}

/// The usable pixels on the rim; all usable ones where it has none.
fn rim(pixels: &Pixels<'_>, height: usize) -> Vec<f64> {
    let width = pixels.width;
    let values = |rim_only: bool| -> Vec<f64> {
        let mut values = Vec::with_capacity(if rim_only {
            2 * (width + height)
        } else {
            width * height
        });
        let rows = pixels
            .data
            .chunks_exact(width)
            .zip(pixels.weight.chunks_exact(width));
        for (row, (data, weight)) in rows.enumerate() {
            let is_whole = !rim_only || row == 0 || row + 1 == height;
            // A row between the first and the last has only its ends on the rim.
            let step = if is_whole { 1 } else { (width - 1).max(1) };
            let pixels = data.iter().zip(weight).step_by(step);
            values.extend(
                pixels
                    .filter(|(_, weight)| **weight > 0.0)
                    .map(|(data, _)| *data),
            );
        }
        values
    };
    let rim = values(true);
    if rim.is_empty() { values(false) } else { rim }
}
