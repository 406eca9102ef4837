//! Start values: windowed moments of the stars of a block.

use fearless_simd::Level;
use fearless_simd::prelude::*;

use crate::block::{LANES, Row};
use crate::kernel::{Pixels, Register};
use crate::level::vectorized;
use crate::model::{FWHM_OF_SIGMA, Moments};
use crate::packed::PackedBlock;
use crate::real::{Lanes, Real};

/// Times that the window is moved onto the centroid found.
const RECENTERINGS: usize = 3;

/// Where the stars of a block are expected.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Pixels from the centre of the first one; NaN: at the brightest spot.
    pub x: Row,
    /// As `x`.
    pub y: Row,
    /// Full width at half maximum, pixels.
    pub fwhm: Row,
}

impl Expected {
    /// Nothing is known of where the stars are; they are this wide.
    pub fn anywhere(fwhm: f64) -> Self {
        Self {
            x: Row::filled(f64::NAN),
            y: Row::filled(f64::NAN),
            fwhm: Row::filled(fwhm),
        }
    }
}

/// Moments of each star of a block, weighted with a Gaussian window, as if the star were a
/// Gaussian. The background is the median of the rim. The window keeps neighbours and the noise of
/// the outskirts out, which an unweighted centre of mass does not.
pub fn moments_of_block(
    level: Level,
    block: &PackedBlock,
    expected: &Expected,
) -> [Moments; LANES] {
    vectorized!(level, simd => in_registers(simd, block, expected))
}

#[inline(always)]
fn in_registers<S: Simd>(simd: S, block: &PackedBlock, expected: &Expected) -> [Moments; LANES] {
    let mut all = [Moments::round(0.0, (0.0, 0.0), 1.0, 0.0); LANES];
    for (register, all) in Register::all(simd).zip(all.chunks_exact_mut(Lanes::<S>::COUNT)) {
        Cutouts::new(register, block).moments(expected, all);
    }
    all
}

/// The cutouts of a register's stars.
struct Cutouts<S: Simd> {
    register: Register<S>,
    width: usize,
    /// Light above the background; 0 where a pixel is not used.
    light: Vec<Lanes<S>>,
    /// 1 where a pixel is used, else 0; empty where all are.
    used: Vec<Lanes<S>>,
    background: Lanes<S>,
}

impl<S: Simd> Cutouts<S> {
    #[inline(always)]
    fn new(register: Register<S>, block: &PackedBlock) -> Self {
        let (zero, one) = (register.splat(0.0), register.splat(1.0));
        let mut light = Vec::with_capacity(block.data.len());
        for row in &block.data {
            light.push(register.load(row));
        }
        let mut used = Vec::new();
        if !block.has_uniform_weights() {
            used.reserve(block.weight.len());
            for row in &block.weight {
                used.push(register.load(row).if_positive(one, zero));
            }
        }
        let mut cutouts = Self {
            register,
            width: block.width,
            light,
            used,
            background: zero,
        };
        cutouts.background = cutouts.rim_median();
        let background = cutouts.background;
        for (at, light) in cutouts.light.iter_mut().enumerate() {
            *light = *light - background;
            if let Some(used) = cutouts.used.get(at) {
                *light = used.if_positive(*light, zero);
            }
        }
        cutouts
    }

    /// Whether a pixel is used, as 1 or 0.
    #[inline(always)]
    fn used(&self, at: usize) -> Lanes<S> {
        match self.used.get(at) {
            Some(used) => *used,
            None => self.register.splat(1.0),
        }
    }

    /// Median of the usable pixels on the rim; of all pixels where the rim has none; else 0.
    #[inline(always)]
    fn rim_median(&self) -> Lanes<S> {
        let (median, is_empty) = self.median(true);
        if is_empty.0.simd_gt(self.register.splat(0.0).0).all_false() {
            return median;
        }
        let (all, _) = self.median(false);
        is_empty.if_positive(all, median)
    }

    /// Median of the usable pixels, and 1 where there are none. The rim of a cutout is short: it
    /// is sorted by a network (K. E. Batcher 1968), which does the same for every star.
    #[inline(always)]
    fn median(&self, rim_only: bool) -> (Lanes<S>, Lanes<S>) {
        let (zero, one) = (self.register.splat(0.0), self.register.splat(1.0));
        let unused = self.register.splat(f32::MAX);
        let last = self.light.len() - self.width;
        let mut values = Vec::with_capacity(self.light.len());
        let mut count = zero;
        for first in (0..=last).step_by(self.width) {
            let is_whole = !rim_only || first == 0 || first == last;
            // Of a row between the first and the last its ends alone.
            let step = if is_whole { 1 } else { (self.width - 1).max(1) };
            for at in (first..first + self.width).step_by(step) {
                let used = self.used(at);
                count = count + used;
                values.push(used.if_positive(self.light[at], unused));
            }
        }
        sort(&mut values);
        // Twice the place of the middle value; between two of them, their mean counts.
        let twice = count - one;
        let mut median = zero;
        for (place, &value) in values.iter().enumerate() {
            let distance = (twice - self.register.splat(2.0 * place as f32)).abs();
            let is_middle = one + 0.5 - distance;
            let share = (one * 0.5 - distance).if_positive(one, one * 0.5);
            median = is_middle.if_positive(value.mul_add(share, median), median);
        }
        let is_empty = (one * 0.5 - count).if_positive(one, zero);
        (is_empty.if_positive(zero, median), is_empty)
    }

    /// The pixel whose 3 x 3 neighbourhood is brightest: a single hot pixel does not win against a
    /// star.
    #[inline(always)]
    fn brightest(&self) -> (Lanes<S>, Lanes<S>) {
        let (zero, one) = (self.register.splat(0.0), self.register.splat(1.0));
        let (width, height) = (self.width, self.light.len() / self.width);
        let mut best = (self.register.splat(f32::MIN), one);
        let mut place = (
            self.register.splat((width / 2) as f32),
            self.register.splat((height / 2) as f32),
        );
        // Light and number of usable pixels of three rows, column by column.
        let mut columns = vec![(zero, zero); width];
        for y in 0..height {
            for (x, column) in columns.iter_mut().enumerate() {
                *column = (zero, zero);
                for row in y.saturating_sub(1)..(y + 2).min(height) {
                    let at = row * width + x;
                    *column = (column.0 + self.light[at], column.1 + self.used(at));
                }
            }
            for x in 0..width {
                let (mut sum, mut count) = (zero, zero);
                for near in &columns[x.saturating_sub(1)..(x + 2).min(width)] {
                    (sum, count) = (sum + near.0, count + near.1);
                }
                // The means are compared without dividing.
                let better = sum * best.1 - best.0 * count;
                let better = count.if_positive(better, -one);
                best.0 = better.if_positive(sum, best.0);
                best.1 = better.if_positive(count, best.1);
                place.0 = better.if_positive(self.register.splat(x as f32), place.0);
                place.1 = better.if_positive(self.register.splat(y as f32), place.1);
            }
        }
        place
    }

    #[inline(always)]
    fn moments(&self, expected: &Expected, out: &mut [Moments]) {
        let register = self.register;
        let (zero, one) = (register.splat(0.0), register.splat(1.0));
        let fwhm = register.narrow(&expected.fwhm);
        let window = (fwhm * FWHM_OF_SIGMA.recip()).at_least(0.7);
        let (x, y) = (register.narrow(&expected.x), register.narrow(&expected.y));
        let lacks = x.0.simd_ne(x.0) | y.0.simd_ne(y.0);
        let mut start = (x, y);
        if lacks.any_true() {
            let (x, y) = self.brightest();
            start = (
                Lanes(lacks.select(x.0, start.0.0)),
                Lanes(lacks.select(y.0, start.1.0)),
            );
        }
        let mut center = start;
        let mut sums = self.sums(center, window);
        let mut moves = one;
        for _ in 0..RECENTERINGS {
            let (dx, dy, exists) = sums.centroid();
            // The window halves every offset of a star as wide as itself.
            let moved = (
                dx.mul_add(one * 2.0, center.0),
                dy.mul_add(one * 2.0, center.1),
            );
            let off = (moved.0 - start.0, moved.1 - start.1);
            let room = fwhm * fwhm - (off.0 * off.0 + off.1 * off.1);
            moves = exists.if_positive(room.if_positive(moves, zero), zero);
            center = (
                moves.if_positive(moved.0, center.0),
                moves.if_positive(moved.1, center.1),
            );
            sums = self.sums(center, window);
        }

        let shorter = self.width.min(self.light.len() / self.width) as f64;
        let square = window * window;
        let low = one * 0.25;
        let widest = (window * 4.0).smaller(one * (shorter / 4.0)).at_least(0.5);
        let high = widest * widest;
        let [xx, xy, yy] = sums.variances(square, (low, high));
        // The window takes away det(I + C / w^2)^-1/2 of the flux of a Gaussian.
        let (a, b, c) = (xx / square, xy / square, yy / square);
        let seen = Lanes(((a + 1.0) * (c + 1.0) - b * b).0.sqrt());
        let flux = sums.light * seen;
        // A start of no flux at all would leave position and width undetermined.
        let least = (xx + yy) * 0.5e-3;
        let flux = (flux.abs() - least).if_positive(flux, least);
        for (lane, out) in out.iter_mut().enumerate() {
            *out = Moments {
                flux: flux.lane(lane),
                x: center.0.lane(lane),
                y: center.1.lane(lane),
                xx: xx.lane(lane),
                xy: xy.lane(lane),
                yy: yy.lane(lane),
                background: self.background.lane(lane),
            };
        }
    }

    /// Sums over a window round (`x`, `y`).
    #[inline(always)]
    fn sums(&self, (x, y): (Lanes<S>, Lanes<S>), window: Lanes<S>) -> Sums<S> {
        let register = self.register;
        let zero = register.splat(0.0);
        let inverse = register.splat(1.0) / window;
        // The window is a product: first the moments of each column, then those of the columns.
        let height = self.light.len() / self.width;
        let mut rows = Vec::with_capacity(height);
        for row in 0..height {
            let dy = register.splat(row as f32) - y;
            let factor = bell(dy * inverse);
            rows.push([factor, factor * dy, factor * dy * dy]);
        }
        let mut sums = Sums {
            light: zero,
            x: zero,
            y: zero,
            xx: zero,
            xy: zero,
            yy: zero,
        };
        for column in 0..self.width {
            let mut moments = [zero; 3];
            for (row, factors) in rows.iter().enumerate() {
                let light = self.light[row * self.width + column];
                for k in 0..3 {
                    moments[k] = factors[k].mul_add(light, moments[k]);
                }
            }
            let [light, by_dy, by_dy2] = moments;
            let dx = register.splat(column as f32) - x;
            let factor = bell(dx * inverse);
            let by_dx = factor * dx;
            sums.light = factor.mul_add(light, sums.light);
            sums.x = by_dx.mul_add(light, sums.x);
            sums.y = factor.mul_add(by_dy, sums.y);
            sums.xx = (by_dx * dx).mul_add(light, sums.xx);
            sums.xy = by_dx.mul_add(by_dy, sums.xy);
            sums.yy = factor.mul_add(by_dy2, sums.yy);
        }
        sums
    }
}

/// `exp(-x^2 / 2)`.
#[inline(always)]
fn bell<T: Real>(x: T) -> T {
    (x * x * -0.5).exp()
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
            for i in 0..n - d {
                if i & p == r {
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

/// Sums over a window.
struct Sums<S: Simd> {
    /// Light times window.
    light: Lanes<S>,
    /// The same times the offset from the window's centre.
    x: Lanes<S>,
    y: Lanes<S>,
    /// The same times the products of the offsets.
    xx: Lanes<S>,
    xy: Lanes<S>,
    yy: Lanes<S>,
}

impl<S: Simd> Sums<S> {
    /// Offset of the centroid from the window's centre, and 1 where there is one.
    #[inline(always)]
    fn centroid(&self) -> (Lanes<S>, Lanes<S>, Lanes<S>) {
        let (zero, one) = (self.light.constant(0.0), self.light.constant(1.0));
        let safe = self.light.if_positive(self.light, one);
        let (dx, dy) = (self.x / safe, self.y / safe);
        let finite = dx.0.is_finite() & dy.0.is_finite();
        let exists = self.light.if_positive(one, zero);
        (dx, dy, Lanes(finite.select(exists.0, zero.0)))
    }

    /// Variances of the light along the rows, of both, along the columns, without the window of the
    /// variance `square`; within the limits.
    #[inline(always)]
    fn variances(&self, square: Lanes<S>, (low, high): (Lanes<S>, Lanes<S>)) -> [Lanes<S>; 3] {
        let (zero, one) = (self.light.constant(0.0), self.light.constant(1.0));
        let (dx, dy, exists) = self.centroid();
        let safe = self.light.if_positive(self.light, one);
        let xx = self.xx / safe - dx * dx;
        let xy = self.xy / safe - dx * dy;
        let yy = self.yy / safe - dy * dy;
        let exists = xx.if_positive(yy.if_positive(exists, zero), zero);

        // The inverses add up: seen^-1 = C^-1 + 1 / w^2.
        let determinant = xx * yy - xy * xy;
        let inverse = one / determinant.if_positive(determinant, one);
        let (a, b, c) = (
            yy * inverse - one / square,
            -(xy * inverse),
            xx * inverse - one / square,
        );
        let rest = a * c - b * b;
        let inverse = one / rest.if_positive(rest, one);
        let full = [c * inverse, -(b * inverse), a * inverse];
        let product = full[0] * full[2];
        let room = [
            exists,
            determinant,
            a,
            rest,
            product - full[1] * full[1] - product * 0.1,
            full[0] - low,
            high - full[0],
            full[2] - low,
            high - full[2],
        ];
        // Else a round star, as wide as the mean of both axes says; or as the window.
        let seen = (xx + yy) * 0.5;
        let gap = square - seen;
        let wider = (seen * square / gap.if_positive(gap, one))
            .smaller(high)
            .larger(low);
        let round = exists.if_positive(gap.if_positive(wider, high), square);
        let mut result = full;
        for room in room {
            result = [
                room.if_positive(result[0], round),
                room.if_positive(result[1], zero),
                room.if_positive(result[2], round),
            ];
        }
        result
    }
}
/// Median of the usable pixels on the rim; of all pixels where the rim has none.
pub(crate) fn rim_median(pixels: &Pixels<'_>, height: usize) -> f64 {
    median(&mut rim(pixels, height)).unwrap_or(0.0)
}

/// Standard deviation of the usable pixels on the rim, from their median absolute deviation, which
/// a neighbour that reaches into the rim hardly moves.
pub(crate) fn rim_scatter(pixels: &Pixels<'_>, height: usize) -> f64 {
    /// Standard deviation of a normal deviate over its median absolute deviation.
    const SIGMA_OF_MAD: f64 = 1.482_602_218_505_602;
    let mut values = rim(pixels, height);
    let middle = median(&mut values).unwrap_or(0.0);
    for value in &mut values {
        *value = (*value - middle).abs();
    }
    SIGMA_OF_MAD * median(&mut values).unwrap_or(0.0)
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
            // Of a row between the first and the last its ends alone.
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

/// The middle value; `None` for no values. The order of `values` is lost.
pub fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let (middle, even) = (values.len() / 2, values.len().is_multiple_of(2));
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if even {
        let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Halves first: the sum may overflow.
        return Some(0.5 * lower + 0.5 * upper);
    }
    Some(upper)
}
