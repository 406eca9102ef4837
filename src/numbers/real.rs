//! The number that the models are written in: `f64` for the reference, [`Lanes`] (one `f32` of
//! several stars in a register) for speed. One text of a model serves both.

use std::ops::{Add, Div, Mul, Neg, Sub};

use fearless_simd::prelude::*;

/// A real number, or several side by side. Constants are written as `f64` on the right.
pub trait Real:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Add<f64, Output = Self>
    + Sub<f64, Output = Self>
    + Mul<f64, Output = Self>
{
    /// The constant `value` in the kind and width of `self`.
    fn constant(self, value: f64) -> Self;
    /// `self * a + b`, in one rounding where the machine can.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// e to the power of `self`; 0 far below zero. Not defined for `self` above 80.
    fn exp(self) -> Self;
    /// `ln(1 + self)`, exact for small `self` too; finite at -1.
    fn ln_1p(self) -> Self;
    /// The error function; `bell` is `exp(-self^2)`, which callers need too.
    fn erf(self, bell: Self) -> Self;
    /// `(1 + self) ln(1 + self) - self` for `self` of -1 or more, without cancellation near 0.
    fn deviance(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// The larger of `self` and `least`.
    fn at_least(self, least: f64) -> Self;
    /// `yes` where `self` is above 0, else `no`.
    fn if_positive(self, yes: Self, no: Self) -> Self;
}

impl Real for f64 {
    #[inline(always)]
    fn constant(self, value: f64) -> Self {
        value
    }
    /// Two roundings: without hardware support a fused `f64` operation is a slow function call.
    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        self * a + b
    }
    #[inline(always)]
    fn exp(self) -> Self {
        Self::exp(self)
    }
    #[inline(always)]
    fn ln_1p(self) -> Self {
        Self::ln_1p(self.max(f64::EPSILON - 1.0))
    }
    #[inline(always)]
    fn erf(self, _bell: Self) -> Self {
        libm::erf(self)
    }
    #[inline(always)]
    fn deviance(self) -> Self {
        (1.0 + self) * Real::ln_1p(self) - self
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self::abs(self)
    }
    #[inline(always)]
    fn at_least(self, least: f64) -> Self {
        self.max(least)
    }
    #[inline(always)]
    fn if_positive(self, yes: Self, no: Self) -> Self {
        if self > 0.0 { yes } else { no }
    }
}

/// Smallest exponent that `exp` of a register, and of a shader, takes.
pub(crate) const SMALLEST_EXPONENT: f64 = -36.0;

/// A register of `f32`, one lane a star.
#[derive(Debug, Clone, Copy)]
pub struct Lanes<S: Simd>(pub S::f32s);

impl<S: Simd> Lanes<S> {
    /// Stars to a register.
    pub const COUNT: usize = S::f32s::LEN;

    /// `value` in every lane.
    #[inline(always)]
    pub fn splat(simd: S, value: f32) -> Self {
        Self(S::f32s::splat(simd, value))
    }

    /// The first [`COUNT`](Self::COUNT) values of `values`.
    #[inline(always)]
    pub fn load(simd: S, values: &[f32]) -> Self {
        Self(S::f32s::from_slice(simd, &values[..Self::COUNT]))
    }

    /// The smaller of both.
    #[inline(always)]
    pub fn smaller(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// The larger of both.
    #[inline(always)]
    pub fn larger(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// The value in one lane.
    #[inline(always)]
    pub fn lane(&self, lane: usize) -> f64 {
        f64::from(self.0.as_slice()[lane])
    }
}

macro_rules! operator {
    ($($trait:ident $method:ident),*) => {$(
        impl<S: Simd> $trait for Lanes<S> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self(self.0.$method(other.0))
            }
        }
    )*};
}
operator!(Add add, Sub sub, Mul mul);

macro_rules! operator_with_constant {
    ($($trait:ident $method:ident),*) => {$(
        impl<S: Simd> $trait<f64> for Lanes<S> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, constant: f64) -> Self {
                Self(self.0.$method(constant as f32))
            }
        }
    )*};
}
operator_with_constant!(Add add, Sub sub, Mul mul);

/// Good to 2 ulp: multiplies by the reciprocal, an approximate one improved by Newton's steps, which is
/// several times as fast as a division. The divisor must be neither 0 nor infinite.
impl<S: Simd> Div for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        /// Newton's steps. Each doubles the digits, which are 11 on x86 and 8 on Arm at first.
        const STEPS: usize = if cfg!(target_arch = "aarch64") { 2 } else { 1 };
        let mut reciprocal = Self(other.0.approximate_recip());
        for _ in 0..STEPS {
            let error = (-other).mul_add(reciprocal, self.constant(1.0));
            reciprocal = reciprocal.mul_add(error, reciprocal);
        }
        self * reciprocal
    }
}

impl<S: Simd> Neg for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

/// `1 + x = 2^k (1 + f)` with `1 + f` between the roots of 1/2 and 2.
struct Reduced<S: Simd> {
    /// `k`.
    exponent: Lanes<S>,
    /// `2^k`; 0 where `x` is -1.
    power: Lanes<S>,
    /// Where `k` is 0, `x` itself with all its digits.
    f: Lanes<S>,
}

impl<S: Simd> Reduced<S> {
    #[inline(always)]
    fn of_1p(x: Lanes<S>) -> Self {
        /// Bits of 1.
        const ONE: u32 = 0x3f80_0000;
        /// Bits of 1 less those of the root of 1/2.
        const UP: u32 = 0x004a_fb0d;
        /// Bits of 2^23: an integer added to them stands in the lowest digits of a number.
        const SHIFT: u32 = 0x4b00_0000;
        let bits = (x.0 + 1.0).to_bits();
        let biased = (bits + UP) >> 23;
        let power = biased << 23;
        let reduced = Lanes(S::f32s::from_bits(bits - power + ONE)) - 1.0;
        let exponent = Lanes(S::f32s::from_bits(biased + SHIFT)) - (8_388_608.0 + 127.0);
        Self {
            exponent,
            power: Lanes(S::f32s::from_bits(power)),
            f: exponent.abs().if_positive(reduced, x),
        }
    }
}

/// The polynomial `P` of `ln(1 + f) = f - f^2 / 2 + f^3 P(f)`, for the `f` of [`Reduced`]: minimax,
/// good to 3e-8 of the logarithm.
#[inline(always)]
fn cubic_of_ln_1p<S: Simd>(f: Lanes<S>) -> Lanes<S> {
    const POLYNOMIAL: [f64; 7] = [
        8.700_466e-2,
        -1.426_752_4e-1,
        1.491_477e-1,
        -1.657_757_9e-1,
        1.996_306_3e-1,
        -2.500_133_8e-1,
        3.333_391e-1,
    ];
    let mut sum = f.constant(POLYNOMIAL[0]);
    for &coefficient in &POLYNOMIAL[1..] {
        sum = sum.mul_add(f, f.constant(coefficient));
    }
    sum
}

impl<S: Simd> Real for Lanes<S> {
    #[inline(always)]
    fn constant(self, value: f64) -> Self {
        Self::splat(self.0.token(), value as f32)
    }

    #[inline(always)]
    fn mul_add(self, a: Self, b: Self) -> Self {
        Self(self.0.mul_add(a.0, b.0))
    }

    /// 0 where the result would be 2e-16 or less: far below the rounding of a sum. Products of such
    /// numbers are denormal, and processors take a hundred times as long for them.
    ///
    /// Branch-free: `x = (n + f) ln 2` with |f| <= 1/2, a polynomial for `2^f`, and `n` added to
    /// the exponent bits. Adding 1.5 * 2^23 rounds to an integer that then stands in the lowest
    /// bits, which is cheaper than a conversion. Polynomial: minimax of degree 6, good to 1 ulp.
    #[inline(always)]
    fn exp(self) -> Self {
        const ROUND: f32 = 12_582_912.0;
        const POLYNOMIAL: [f64; 6] = [
            1.535_336_2e-4,
            1.339_887_4e-3,
            9.618_437e-3,
            5.550_332_4e-2,
            2.402_264_9e-1,
            6.931_472e-1,
        ];
        let simd = self.0.token();
        let x = self.0;
        let rounded = x.mul_add(
            S::f32s::splat(simd, std::f32::consts::LOG2_E),
            S::f32s::splat(simd, ROUND),
        );
        let n = rounded - ROUND;
        // ln 2 in two parts: the first times n is exact.
        let f = n.mul_add(S::f32s::splat(simd, -0.693_359_4), x);
        let f = Self(n.mul_add(S::f32s::splat(simd, 2.121_944_4e-4), f)) * std::f64::consts::LOG2_E;
        let mut sum = self.constant(POLYNOMIAL[0]);
        for &coefficient in &POLYNOMIAL[1..] {
            sum = sum.mul_add(f, self.constant(coefficient));
        }
        let sum = sum.mul_add(f, self.constant(1.0));
        let exp = S::f32s::from_bits(sum.0.to_bits() + (rounded.to_bits() << 23));
        let counts = x.simd_gt(S::f32s::splat(simd, SMALLEST_EXPONENT as f32));
        Self(counts.select(exp, S::f32s::splat(simd, 0.0)))
    }

    /// Good to 2 ulp.
    #[inline(always)]
    fn ln_1p(self) -> Self {
        let Reduced { exponent, f, .. } = Reduced::of_1p(self);
        let series = (cubic_of_ln_1p(f) * f - 0.5) * (f * f) + f;
        exponent.mul_add(self.constant(std::f64::consts::LN_2), series)
    }

    /// Abramowitz and Stegun 1964, 7.1.26: absolute error 1.5e-7.
    #[inline(always)]
    fn erf(self, bell: Self) -> Self {
        let size = self.abs();
        // Divided exactly: few need it, and the terms below cancel.
        let t = Self(self.constant(1.0).0 / (size * 0.327_591_1 + 1.0).0);
        let mut sum = self.constant(1.061_405_429);
        for coefficient in [-1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592] {
            sum = sum.mul_add(t, self.constant(coefficient));
        }
        let erf = -(sum * t * bell) + 1.0;
        self.if_positive(erf, -erf)
    }

    /// With `1 + x = 2^k (1 + f)` the deviance is `2^k` times the deviance of `f`, plus
    /// `(1 + x) k ln 2 + 1 - 2^k`, which is 0 where `k` is. The deviance of `f` is `f^2` times a
    /// polynomial: nothing cancels near 0.
    #[inline(always)]
    fn deviance(self) -> Self {
        let one = self.constant(1.0);
        let Reduced { exponent, power, f } = Reduced::of_1p(self);
        let cubic = cubic_of_ln_1p(f);
        let shape = (cubic.mul_add(f, cubic) - 0.5).mul_add(f, self.constant(0.5));
        let whole = (self + one).mul_add(exponent * std::f64::consts::LN_2, one - power);
        (f * f * shape).mul_add(power, whole)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.abs())
    }

    #[inline(always)]
    fn at_least(self, least: f64) -> Self {
        Self(self.0.max(self.constant(least).0))
    }

    #[inline(always)]
    fn if_positive(self, yes: Self, no: Self) -> Self {
        Self(self.0.simd_gt(self.constant(0.0).0).select(yes.0, no.0))
    }
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    #[inline(always)]
    fn apply<S: Simd>(simd: S, f: impl Fn(Lanes<S>) -> Lanes<S>, values: &[f32], out: &mut [f32]) {
        let n = Lanes::<S>::COUNT;
        for (value, out) in values.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
            f(Lanes::load(simd, value)).0.store_slice(out);
        }
    }

    /// Largest error of `out`, as a part of what `unit` says of each value.
    fn worst(
        values: &[f32],
        out: &[f32],
        truth: impl Fn(f64) -> f64,
        unit: impl Fn(f64) -> f64,
    ) -> f64 {
        values
            .iter()
            .zip(out)
            .map(|(&x, &found)| {
                let truth = truth(f64::from(x));
                (f64::from(found) - truth).abs() / unit(truth)
            })
            .fold(0.0, f64::max)
    }

    const ULP: f64 = f32::EPSILON as f64;

    #[test]
    fn division_is_good_to_two_ulp() {
        for level in [Level::new(), Level::baseline()] {
            let values: Vec<f32> = (0..16 * 4096)
                .map(|i| 10f32.powf(i as f32 / 2048.0 - 16.0))
                .collect();
            let mut out = vec![0.0; values.len()];
            dispatch!(level, simd => apply(simd, |x| x.constant(-3.0) / x, &values, &mut out));
            let error = worst(&values, &out, |x| -3.0 / x, |truth| truth.abs() * ULP);
            assert!(error < 2.0 && error > 0.1, "{error} ulp");
        }
    }

    #[test]
    fn ln_1p_is_good_to_three_ulp_everywhere() {
        for level in [Level::new(), Level::baseline()] {
            // From -1 + 2^-20 to 1e6 and, on both sides, down to 1e-9.
            let values: Vec<f32> = (0..16 * 4096)
                .map(|i| (f64::from(i) / 4096.0 - 9.0) as f32)
                .flat_map(|e| [10f32.powf(e.min(6.0)), -10f32.powf(e.min(-4e-7))])
                .collect();
            let mut out = vec![0.0; values.len()];
            dispatch!(level, simd => apply(simd, |x| x.ln_1p(), &values, &mut out));
            let error = worst(&values, &out, f64::ln_1p, |truth| truth.abs() * ULP);
            assert!(error < 3.0 && error > 0.1, "{error} ulp");
        }
    }

    #[test]
    fn erf_is_good_to_one_in_a_million() {
        for level in [Level::new(), Level::baseline()] {
            let values: Vec<f32> = (0..16 * 1024).map(|i| i as f32 / 1024.0 - 8.0).collect();
            let mut out = vec![0.0; values.len()];
            dispatch!(level, simd => apply(simd, |x| x.erf((-(x * x)).exp()), &values, &mut out));
            let error = worst(&values, &out, libm::erf, |_| 1.0);
            assert!(error < 5e-7 && error > 1e-8, "{error:e}");
        }
    }

    #[test]
    fn deviance_does_not_cancel() {
        // ln(1 + x) itself is rounded by 1e-16, which the small results would not bear.
        let truth = |x: f64| match x.abs() < 1e-3 {
            true => x * x * (0.5 - x / 6.0 + x * x / 12.0 - x * x * x / 20.0),
            false => Real::deviance(x),
        };
        for level in [Level::new(), Level::baseline()] {
            let values: Vec<f32> = (0..16 * 1024)
                .map(|i| (f64::from(i) / 1024.0 - 14.0) as f32)
                .flat_map(|e| [10f32.powf(e), -10f32.powf(e.min(0.0))])
                .collect();
            let mut out = vec![0.0; values.len()];
            dispatch!(level, simd => apply(simd, |x| x.deviance(), &values, &mut out));
            let error = worst(&values, &out, truth, |truth| truth.abs());
            assert!(error < 1e-5 && error > 1e-8, "{error:e}");
            assert_eq!(out.last(), Some(&1.0), "no photon where one was expected");
        }
    }

    #[test]
    fn exp_is_good_to_two_ulp_and_vanishes_far_below() {
        for level in [Level::new(), Level::baseline()] {
            let values: Vec<f32> = (1..=16 * 8192)
                .map(|i| SMALLEST_EXPONENT as f32 + i as f32 * 4e-4)
                .collect();
            let mut out = vec![0.0; values.len()];
            dispatch!(level, simd => apply(simd, |x| x.exp(), &values, &mut out));
            let worst = worst(&values, &out, f64::exp, |truth| truth * ULP);
            assert!(worst < 2.0, "{worst} ulp");
            assert!(
                worst > 0.1,
                "an error of {worst} ulp in f32 means that nothing was compared"
            );

            for below in [SMALLEST_EXPONENT as f32, -90.0, -1e30] {
                let (values, mut out) = ([below; 16], [1.0; 16]);
                dispatch!(level, simd => apply(simd, |x| x.exp(), &values, &mut out));
                assert_eq!(out, [0.0; 16]);
            }
        }
    }
}
