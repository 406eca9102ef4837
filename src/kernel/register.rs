//! Registers: as many stars of a block as one of them holds `f32`.

use fearless_simd::prelude::*;

use crate::kernel::Profile;
use crate::numbers::lanes::{LANES, Row};
use crate::numbers::matrix::{MAX_PACKED, MAX_PARAMETERS, Parameters, Symmetric};
use crate::numbers::real::Lanes;
use crate::numbers::unroll::{unroll, unroll_packed};
use crate::pixels::PixelBlock;

/// The place of a register in the rows of a block.
#[derive(Debug, Clone, Copy)]
pub struct Register<S: Simd> {
    pub(crate) simd: S,
    /// The first of its stars.
    first: usize,
}

impl<S: Simd> Register<S> {
    /// The stars from `first`.
    #[inline(always)]
    pub(crate) fn at(simd: S, first: usize) -> Self {
        Self { simd, first }
    }

    /// Registers to a block.
    #[inline(always)]
    pub(crate) fn all(simd: S) -> impl Iterator<Item = Self> {
        let firsts = (0..LANES).step_by(Lanes::<S>::COUNT);
        firsts.map(move |first| Self::at(simd, first))
    }

    #[inline(always)]
    pub(crate) fn splat(self, value: f32) -> Lanes<S> {
        Lanes::splat(self.simd, value)
    }

    #[inline(always)]
    pub(crate) fn load(self, row: &Row<f32>) -> Lanes<S> {
        Lanes::load(self.simd, &row.0[self.first..])
    }

    /// A row of `f64`, rounded.
    #[inline(always)]
    pub(crate) fn narrow(self, row: &Row) -> Lanes<S> {
        let half = S::f64s::LEN;
        let (low, high) = row.0[self.first..self.first + 2 * half].split_at(half);
        let low = S::f64s::from_slice(self.simd, low);
        Lanes(low.narrow(S::f64s::from_slice(self.simd, high)))
    }

    /// The rows of the parameters of a model, rounded.
    #[inline(always)]
    pub(crate) fn narrow_all<P: Profile>(self, rows: &Parameters<Row>) -> Parameters<Lanes<S>> {
        let mut all = [self.splat(0.0); MAX_PARAMETERS];
        unroll!(J in P::N => { all[J] = self.narrow(&rows[J]); });
        all
    }

    /// The rows of the matrices of a model, rounded.
    #[inline(always)]
    pub(crate) fn narrow_packed<P: Profile>(self, rows: &Symmetric<Row>) -> Symmetric<Lanes<S>> {
        let mut all = [self.splat(0.0); MAX_PACKED];
        unroll_packed!((J, K, AT) in P::N => { all[AT] = self.narrow(&rows[AT]); });
        all
    }

    /// Writes `value` into a row of `f64`.
    #[inline(always)]
    pub(crate) fn store(self, row: &mut Row, value: Lanes<S>) {
        let half = S::f64s::LEN;
        let (low, high) = value.0.widen();
        low.store_slice(&mut row.0[self.first..self.first + half]);
        high.store_slice(&mut row.0[self.first + half..self.first + 2 * half]);
    }

    /// Writes values of the parameters of a model into rows of `f64`.
    #[inline(always)]
    pub(crate) fn store_all<P: Profile>(
        self,
        rows: &mut Parameters<Row>,
        values: &Parameters<Lanes<S>>,
    ) {
        unroll!(J in P::N => { self.store(&mut rows[J], values[J]); });
    }

    /// Writes matrices of the parameters of a model into rows of `f64`.
    #[inline(always)]
    pub(crate) fn store_packed<P: Profile>(
        self,
        rows: &mut Symmetric<Row>,
        values: &Symmetric<Lanes<S>>,
    ) {
        unroll_packed!((J, K, AT) in P::N => { self.store(&mut rows[AT], values[AT]); });
    }
}

/// The pixels of a register's stars.
#[derive(Debug, Clone, Copy)]
pub struct RegisterPixels<'a, S: Simd> {
    pub(crate) register: Register<S>,
    /// Pixels in a row.
    pub(crate) width: usize,
    pub(crate) data: &'a [Row<f32>],
    weight: &'a [Row<f32>],
    /// Distance from one pixel's weight to the next: 0 where a star has one weight for all pixels.
    stride: usize,
}

impl<'a, S: Simd> RegisterPixels<'a, S> {
    #[inline(always)]
    pub(crate) fn new(register: Register<S>, block: &'a PixelBlock) -> Self {
        Self {
            register,
            width: block.width,
            data: &block.data,
            weight: &block.weight,
            stride: usize::from(!block.has_uniform_weights()),
        }
    }

    #[inline(always)]
    pub(crate) fn has_uniform_weights(&self) -> bool {
        self.stride == 0
    }

    #[inline(always)]
    pub(crate) fn weight(&self, pixel: usize) -> Lanes<S> {
        self.register.load(&self.weight[pixel * self.stride])
    }
}
