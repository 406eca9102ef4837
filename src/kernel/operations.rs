//! Number of floating-point operations that a kernel takes: its code runs on numbers that only count.

use std::cell::Cell;
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::numbers::real::Real;

thread_local! {
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

/// A number without a value. Every operation on it counts, a fused multiply-add twice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted;

impl Counted {
    fn after(operations: u64) -> Self {
        OPERATIONS.set(OPERATIONS.get() + operations);
        Self
    }

    /// The operations that `work` takes.
    pub(crate) fn count(work: impl FnOnce()) -> u64 {
        let before = OPERATIONS.replace(0);
        work();
        OPERATIONS.replace(before)
    }
}

macro_rules! operator {
    ($($trait:ident $method:ident $operations:literal),*) => {$(
        impl $trait for Counted {
            type Output = Self;
            fn $method(self, _: Self) -> Self {
                Self::after($operations)
            }
        }
    )*};
}
// A division is an approximate reciprocal, two multiply-adds and a product.
operator!(Add add 1, Sub sub 1, Mul mul 1, Div div 6);

macro_rules! operator_with_constant {
    ($($trait:ident $method:ident),*) => {$(
        impl $trait<f64> for Counted {
            type Output = Self;
            fn $method(self, _: f64) -> Self {
                Self::after(1)
            }
        }
    )*};
}
operator_with_constant!(Add add, Sub sub, Mul mul);

impl Neg for Counted {
    type Output = Self;
    /// Not counted: a sign is part of the operation that follows.
    fn neg(self) -> Self {
        self
    }
}

/// Functions count as many operations as [`Lanes`](crate::numbers::real::Lanes) take for them.
impl Real for Counted {
    fn constant(self, _: f64) -> Self {
        self
    }
    fn mul_add(self, _: Self, _: Self) -> Self {
        Self::after(2)
    }
    fn exp(self) -> Self {
        Self::after(23)
    }
    fn ln_1p(self) -> Self {
        Self::after(26)
    }
    fn erf(self, _: Self) -> Self {
        Self::after(16)
    }
    fn deviance(self) -> Self {
        Self::after(33)
    }
    fn abs(self) -> Self {
        Self::after(1)
    }
    fn at_least(self, _: f64) -> Self {
        Self::after(1)
    }
    fn if_positive(self, _: Self, _: Self) -> Self {
        Self::after(2)
    }
}
