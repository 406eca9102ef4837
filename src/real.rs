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
    /// Absolute value.
    fn abs(self) -> Self;
    /// The larger of `self` and `least`.
    fn at_least(self, least: f64) -> Self;
    /// 1 where `self` is above 0, else 0.
    fn is_used(self) -> Self;
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
    fn abs(self) -> Self {
        Self::abs(self)
    }
    #[inline(always)]
    fn at_least(self, least: f64) -> Self {
        self.max(least)
    }
    #[inline(always)]
    fn is_used(self) -> Self {
        f64::from(u8::from(self > 0.0))
    }
}

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
operator!(Add add, Sub sub, Mul mul, Div div);

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

impl<S: Simd> Neg for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self(-self.0)
    }
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
        // Below 2^-126 the exponent bits would wrap.
        let x = self.0.max(S::f32s::splat(simd, -87.0));
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
        Self(S::f32s::from_bits(
            sum.0.to_bits() + (rounded.to_bits() << 23),
        ))
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
    fn is_used(self) -> Self {
        let (zero, one) = (self.constant(0.0).0, self.constant(1.0).0);
        Self(self.0.simd_gt(zero).select(one, zero))
    }
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    #[inline(always)]
    fn exp_of<S: Simd>(simd: S, values: &[f32], out: &mut [f32]) {
        let n = Lanes::<S>::COUNT;
        for (value, out) in values.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
            Lanes::load(simd, value).exp().0.store_slice(out);
        }
    }

    #[test]
    fn exp_is_good_to_two_ulp_and_vanishes_far_below() {
        for level in [Level::new(), Level::baseline()] {
            let values: Vec<f32> = (0..16 * 8192)
                .map(|i| -86.9 + i as f32 * 1e-3 * 0.8)
                .collect();
            let mut out = vec![0.0; values.len()];
            dispatch!(level, simd => exp_of(simd, &values, &mut out));
            let worst = values
                .iter()
                .zip(&out)
                .map(|(&x, &e)| {
                    let truth = f64::from(x).exp();
                    (f64::from(e) - truth).abs() / (truth * f64::from(f32::EPSILON))
                })
                .fold(0.0, f64::max);
            assert!(worst < 2.0, "{worst} ulp");
            assert!(
                worst > 0.1,
                "an error of {worst} ulp in f32 means that nothing was compared"
            );

            let (values, mut out) = ([-1e30_f32; 16], [1.0; 16]);
            dispatch!(level, simd => exp_of(simd, &values, &mut out));
            assert!(out.iter().all(|&e| (0.0..1e-37).contains(&e)));
        }
    }
}
