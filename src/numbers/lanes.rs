//! Sixteen stars side by side: every number of a star stands in a row of sixteen, so that the same
//! arithmetic on all of them is a few vector instructions.

use std::ops::{Deref, DerefMut};

use fearless_simd::prelude::*;

use super::matrix::{MAX_PACKED, MAX_PARAMETERS, Parameters, Symmetric};
use super::unroll::{unroll, unroll_packed};

/// Stars to a block: as many `f32` as the widest register holds.
pub const LANES: usize = 16;

/// One number of each star of a block; whole cache lines.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Row<T = f64>(pub [T; LANES]);

impl<T: Copy> Row<T> {
    /// One number for each star, equal for all.
    pub const fn filled(value: T) -> Self {
        Self([value; LANES])
    }
}

impl<T> Deref for Row<T> {
    type Target = [T; LANES];
    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<T> DerefMut for Row<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// One bit for each star of a block.
pub type LaneMask = u16;

/// The stars of a block that a mask has.
pub fn lanes_of(mask: LaneMask) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |lane| mask >> lane & 1 == 1)
}

/// A value of each star for each parameter.
pub type ParameterRows = Parameters<Row>;

/// The values of one star.
#[inline(always)]
pub fn lane_of(rows: &ParameterRows, lane: usize) -> Parameters {
    std::array::from_fn(|j| rows[j][lane])
}

/// Sets the values of one star.
#[inline(always)]
pub fn set_lane(rows: &mut ParameterRows, lane: usize, values: &Parameters) {
    for (row, value) in rows.iter_mut().zip(values) {
        row[lane] = *value;
    }
}

/// The bits of one star in the masks of the parameters, one for each.
#[inline(always)]
pub(crate) fn lane_bits(masks: &Parameters<LaneMask>, lane: usize) -> u8 {
    let bits = masks.iter().enumerate();
    bits.fold(0, |all, (j, mask)| all | ((mask >> lane & 1) as u8) << j)
}

/// Part of a block, as many stars as a register holds `f64`: a view for vector arithmetic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<S: Simd> {
    pub(crate) simd: S,
    /// The first of the stars.
    first: usize,
}

impl<S: Simd> Part<S> {
    /// Stars to a part.
    pub(crate) const LEN: usize = S::f64s::LEN;

    /// The parts of a block.
    #[inline(always)]
    pub(crate) fn all(simd: S) -> impl Iterator<Item = Self> {
        (0..LANES).step_by(Self::LEN).map(
            #[inline(always)]
            move |first| Self { simd, first },
        )
    }

    /// The parts with a star in `mask`.
    #[inline(always)]
    pub(crate) fn with(simd: S, mask: LaneMask) -> impl Iterator<Item = Self> {
        Self::all(simd).filter(
            #[inline(always)]
            move |part| u64::from(mask >> part.first) & ((1 << Self::LEN) - 1) != 0,
        )
    }

    /// The part that begins at this star.
    #[inline(always)]
    pub(crate) fn at(simd: S, first: usize) -> Self {
        Self { simd, first }
    }

    #[inline(always)]
    pub(crate) fn splat(self, value: f64) -> S::f64s {
        S::f64s::splat(self.simd, value)
    }

    #[inline(always)]
    pub(crate) fn load(self, row: &Row) -> S::f64s {
        S::f64s::from_slice(self.simd, &row.0[self.first..self.first + Self::LEN])
    }

    #[inline(always)]
    pub(crate) fn store(self, row: &mut Row, value: S::f64s) {
        value.store_slice(&mut row.0[self.first..self.first + Self::LEN]);
    }

    /// The first `N` of the rows.
    #[inline(always)]
    pub(crate) fn load_all<const N: usize>(self, rows: &Parameters<Row>) -> Parameters<S::f64s> {
        let mut all = [self.splat(0.0); MAX_PARAMETERS];
        unroll!(J in N => { all[J] = self.load(&rows[J]); });
        all
    }

    /// Matrices of `N` rows.
    #[inline(always)]
    pub(crate) fn load_packed<const N: usize>(self, rows: &Symmetric<Row>) -> Symmetric<S::f64s> {
        let mut all = [self.splat(0.0); MAX_PACKED];
        unroll_packed!((J, K, AT) in N => { all[AT] = self.load(&rows[AT]); });
        all
    }

    #[inline(always)]
    pub(crate) fn store_all<const N: usize>(
        self,
        rows: &mut Parameters<Row>,
        values: &Parameters<S::f64s>,
    ) {
        unroll!(J in N => { self.store(&mut rows[J], values[J]); });
    }

    #[inline(always)]
    pub(crate) fn mask(self, mask: LaneMask) -> S::mask64s {
        S::mask64s::from_bitmask(self.simd, u64::from(mask >> self.first))
    }

    #[inline(always)]
    pub(crate) fn none(self) -> S::mask64s {
        S::mask64s::splat(self.simd, false)
    }

    /// The bits of the block that a mask of this part stands for.
    #[inline(always)]
    pub(crate) fn bits(self, mask: S::mask64s) -> LaneMask {
        (mask.to_bitmask() << self.first) as LaneMask
    }
}

/// Sets the bit of one star to the bit of a star in another mask.
pub(crate) fn copy_bit(mask: &mut LaneMask, lane: usize, other: LaneMask, from: usize) {
    *mask = *mask & !(1 << lane) | (other >> from & 1) << lane;
}
