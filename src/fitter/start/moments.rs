//! Start values: windowed moments of the stars of a block.

use fearless_simd::Level;
use fearless_simd::prelude::*;
use smallvec::SmallVec;

use crate::kernel::{Register, RegisterPixels};
use crate::model::{FWHM_OF_SIGMA, Moments};
use crate::numbers::lanes::{LANES, Row};
use crate::numbers::real::{Lanes, Real};
use crate::numbers::simd::vectorized;
use crate::pixels::PixelBlock;
use crate::rim::median_of_register;

/// Times that the window is moved onto the centroid found.
const RECENTERINGS: usize = 3;

/// Where the stars of a block are expected.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Column of the centre, pixels from the centre of the first pixel; NaN: at the brightest spot.
    pub x: Row,
    /// Row of the centre, pixels from the centre of the first pixel; NaN: at the brightest spot.
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
pub fn moments_of_block(level: Level, block: &PixelBlock, expected: &Expected) -> [Moments; LANES] {
    vectorized!(level, simd => in_registers(simd, block, expected))
}

#[inline(always)]
fn in_registers<S: Simd>(simd: S, block: &PixelBlock, expected: &Expected) -> [Moments; LANES] {
    let mut all = [Moments::round(0.0, (0.0, 0.0), 1.0, 0.0); LANES];
    for (register, all) in Register::all(simd).zip(all.chunks_exact_mut(Lanes::<S>::COUNT)) {
        let mut cutouts = Cutouts::new(RegisterPixels::new(register, block));
        cutouts.subtract();
        cutouts.moments(expected, all);
    }
    all
}

/// The cutouts of a register's stars.
struct Cutouts<'a, S: Simd> {
    pixels: RegisterPixels<'a, S>,
    /// Light above the background; 0 where a pixel is not used.
    light: SmallVec<[Lanes<S>; FEW]>,
    background: Lanes<S>,
}

/// Pixels that need no memory from the heap.
const FEW: usize = 256;

/// Rows or columns that need no memory from the heap.
const FEW_LINES: usize = 32;

/// Part of one pixel in a neighbourhood of 3 x 3 pixels.
const NINTH: f64 = 1.0 / 9.0;

impl<'a, S: Simd> Cutouts<'a, S> {
    #[inline(always)]
    fn new(pixels: RegisterPixels<'a, S>) -> Self {
        Self {
            pixels,
            light: SmallVec::new(),
            background: median_of_register(&pixels),
        }
    }

    /// Takes the background away. Done in place: a cutout that was returned would be copied.
    #[inline(always)]
    fn subtract(&mut self) {
        let (pixels, background) = (self.pixels, self.background);
        let zero = background.constant(0.0);
        self.light.reserve_exact(pixels.data.len());
        // Pushed one by one: an iterator's code is not made for wide registers.
        for (at, row) in pixels.data.iter().enumerate() {
            let light = pixels.register.load(row) - background;
            self.light.push(match pixels.has_uniform_weights() {
                true => light,
                false => pixels.weight(at).if_positive(light, zero),
            });
        }
    }

    /// The pixel whose 3 x 3 neighbourhood is brightest: a single hot pixel does not win against a
    /// star. An unused pixel, as in a saturated core, is as bright as the pixels round it. Beyond the
    /// cutout there is no light; without any light the middle pixel is taken.
    #[inline(always)]
    fn brightest(&self) -> (Lanes<S>, Lanes<S>) {
        match self.pixels.has_uniform_weights() {
            true => self.brightest_of::<true>(),
            false => self.brightest_of::<false>(),
        }
    }

    /// The pixel that [`brightest`](Self::brightest) gives; `ALL` where every pixel is used.
    #[inline(always)]
    fn brightest_of<const ALL: bool>(&self) -> (Lanes<S>, Lanes<S>) {
        let register = self.pixels.register;
        let (zero, one) = (register.splat(0.0), register.splat(1.0));
        let width = self.pixels.width;
        let height = self.light.len() / width;
        let mut best = zero;
        let mut place = (
            register.splat((width / 2) as f32),
            register.splat((height / 2) as f32),
        );
        for y in 0..height {
            let none = (zero, zero);
            let (mut left, mut middle) = (none, self.column::<ALL>(0, y));
            for x in 0..width {
                let right = match x + 1 < width {
                    true => self.column::<ALL>(x + 1, y),
                    false => none,
                };
                let mut light = left.0 + middle.0 + right.0;
                if !ALL {
                    let used = one - (left.1 + middle.1 + right.1);
                    light = light / used.at_least(NINTH);
                }
                let better = light - best;
                best = best.larger(light);
                place.0 = better.if_positive(register.splat(x as f32), place.0);
                place.1 = better.if_positive(register.splat(y as f32), place.1);
                (left, middle) = (middle, right);
            }
        }
        place
    }

    /// Light of a pixel and of the pixels above and below, and the unused among these, as a part of
    /// nine.
    #[inline(always)]
    fn column<const ALL: bool>(&self, x: usize, y: usize) -> (Lanes<S>, Lanes<S>) {
        let (mut light, mut unused) = self.pixel::<ALL>(x, y);
        if y > 0 {
            let above = self.pixel::<ALL>(x, y - 1);
            (light, unused) = (light + above.0, unused + above.1);
        }
        if (y + 1) * self.pixels.width < self.light.len() {
            let below = self.pixel::<ALL>(x, y + 1);
            (light, unused) = (light + below.0, unused + below.1);
        }
        (light, unused)
    }

    /// Light of one pixel, and a ninth if it is unused, else 0.
    #[inline(always)]
    fn pixel<const ALL: bool>(&self, x: usize, y: usize) -> (Lanes<S>, Lanes<S>) {
        let at = y * self.pixels.width + x;
        let zero = self.background.constant(0.0);
        let unused = match ALL {
            true => zero,
            false => self.pixels.weight(at).if_positive(zero, zero + NINTH),
        };
        (self.light[at], unused)
    }

    /// The moments of each star, with a window that is moved onto the centroid.
    #[inline(always)]
    fn moments(&self, expected: &Expected, out: &mut [Moments]) {
        let register = self.pixels.register;
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

        let shorter = self.pixels.width.min(self.light.len() / self.pixels.width) as f64;
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
        let register = self.pixels.register;
        let zero = register.splat(0.0);
        let inverse = register.splat(1.0) / window;
        // The window is a product: first the moments of each column, then those of the columns.
        let height = self.light.len() / self.pixels.width;
        let mut rows: SmallVec<[[Lanes<S>; 3]; FEW_LINES]> = SmallVec::new();
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
        for column in 0..self.pixels.width {
            let mut moments = [zero; 3];
            for (row, factors) in rows.iter().enumerate() {
                let light = self.light[row * self.pixels.width + column];
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

/// Sums over a window.
struct Sums<S: Simd> {
    /// Light times window.
    light: Lanes<S>,
    /// Light times window times the offset from the window's centre.
    x: Lanes<S>,
    y: Lanes<S>,
    /// Light times window times the products of the offsets.
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

    /// Variance of the light along the rows, covariance, variance along the columns, without the window
    /// of the variance `square`; within the limits.
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

#[cfg(test)]
mod tests;
