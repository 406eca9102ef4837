//! Sixteen stars side by side: every number of a star stands in a row of sixteen, so that the same
//! arithmetic on all of them is a few vector instructions.

use std::ops::{Deref, DerefMut};

use fearless_simd::prelude::*;

use crate::fit::FitStatus;
use crate::kernel::NormalEquations;
use crate::model::{MAX_PACKED, MAX_PARAMETERS, Packed, Parameters};
use crate::unroll::{unroll, unroll_packed};

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

impl NormalEquations<Row> {
    /// The sums of one star with `n` parameters.
    pub fn lane(&self, n: usize, lane: usize) -> NormalEquations {
        let mut sums = NormalEquations::filled(0.0);
        sums.chi2 = self.chi2[lane];
        for j in 0..n {
            sums.gradient[j] = self.gradient[j][lane];
        }
        for at in 0..n * (n + 1) / 2 {
            sums.curvature[at] = self.curvature[at][lane];
        }
        sums
    }

    /// Sets the sums of one star with `n` parameters.
    pub fn set_lane(&mut self, n: usize, lane: usize, sums: &NormalEquations) {
        self.chi2[lane] = sums.chi2;
        for j in 0..n {
            self.gradient[j][lane] = sums.gradient[j];
        }
        for at in 0..n * (n + 1) / 2 {
            self.curvature[at][lane] = sums.curvature[at];
        }
    }
}

/// What a solver remembers of the stars of a block.
#[derive(Debug, Clone)]
pub struct StarBlock {
    /// The best parameters so far.
    pub parameters: ParameterRows,
    /// The parameters to be evaluated next.
    pub trial: ParameterRows,
    /// The sums at `parameters`; chi-square is infinite before the first evaluation.
    pub equations: NormalEquations<Row>,
    /// Lowest value of each parameter.
    pub low: ParameterRows,
    /// Highest value of each parameter.
    pub high: ParameterRows,
    /// Parameters whose value the user has fixed: there low and high are the same.
    pub fixed: [LaneMask; MAX_PARAMETERS],
    /// One over the number of pixels used.
    pub per_pixel: Row,
    /// Sum of the weighted squared data: with the backend's rounding it says how small a
    /// difference of chi-square still means something.
    pub power: Row,
    /// Steps made.
    pub iterations: Row,
    /// Levenberg-Marquardt's damping, relative to the diagonal of the curvature.
    pub damping: Row,
    /// Factor of the damping at the next rejected step.
    pub damping_growth: Row,
    /// Decrease of chi-square that the step to `trial` promises; infinite before the first.
    pub promised: Row,
    /// The decrease that the last step promised, over the one that the step before promised.
    pub contraction: Row,
    /// Steps in a row that gained less than the tolerance.
    pub idle_steps: Row,
    /// Stars whose chi-square is down to its rounding: only the gradient still tells steps apart.
    pub by_gradient: LaneMask,
    /// Stars that are not done.
    pub running: LaneMask,
    /// Stars whose centroid the pixels, or the user, put outside the cutout.
    pub starts_outside: LaneMask,
    /// How the fits ended, where they have.
    pub statuses: [FitStatus; LANES],
}

impl StarBlock {
    /// No star at all.
    pub const EMPTY: Self = Self {
        parameters: [Row::filled(0.0); MAX_PARAMETERS],
        trial: [Row::filled(0.0); MAX_PARAMETERS],
        equations: NormalEquations {
            chi2: Row::filled(f64::INFINITY),
            gradient: [Row::filled(0.0); MAX_PARAMETERS],
            curvature: [Row::filled(0.0); MAX_PACKED],
        },
        low: [Row::filled(f64::NEG_INFINITY); MAX_PARAMETERS],
        high: [Row::filled(f64::INFINITY); MAX_PARAMETERS],
        fixed: [0; MAX_PARAMETERS],
        per_pixel: Row::filled(1.0),
        power: Row::filled(0.0),
        iterations: Row::filled(0.0),
        damping: Row::filled(0.0),
        damping_growth: Row::filled(2.0),
        promised: Row::filled(f64::INFINITY),
        contraction: Row::filled(1.0),
        idle_steps: Row::filled(0.0),
        by_gradient: 0,
        running: 0,
        starts_outside: 0,
        statuses: [FitStatus::NotFinite; LANES],
    };

    /// Takes all stars out. What the next ones bring before it is read is left as it is.
    pub fn clear(&mut self) {
        let Self {
            parameters: _,
            trial: _,
            low: _,
            high: _,
            ref mut equations,
            ref mut fixed,
            ref mut per_pixel,
            ref mut power,
            ref mut iterations,
            ref mut damping,
            ref mut damping_growth,
            ref mut promised,
            ref mut contraction,
            ref mut idle_steps,
            ref mut by_gradient,
            ref mut running,
            ref mut starts_outside,
            ref mut statuses,
        } = *self;
        equations.chi2 = Self::EMPTY.equations.chi2;
        *fixed = Self::EMPTY.fixed;
        *per_pixel = Self::EMPTY.per_pixel;
        *power = Self::EMPTY.power;
        *iterations = Self::EMPTY.iterations;
        *damping = Self::EMPTY.damping;
        *damping_growth = Self::EMPTY.damping_growth;
        *promised = Self::EMPTY.promised;
        *contraction = Self::EMPTY.contraction;
        *idle_steps = Self::EMPTY.idle_steps;
        *by_gradient = Self::EMPTY.by_gradient;
        *running = Self::EMPTY.running;
        *starts_outside = Self::EMPTY.starts_outside;
        *statuses = Self::EMPTY.statuses;
    }

    /// Puts a star with these start values into a lane; it is running.
    pub fn start(&mut self, lane: usize, start: &Parameters) {
        set_lane(&mut self.parameters, lane, start);
        set_lane(&mut self.trial, lane, start);
        self.running |= 1 << lane;
    }

    /// The state of a star with `n` parameters, in lane `from` of another block, goes on in a lane
    /// of this one.
    pub fn copy_lane(&mut self, n: usize, lane: usize, other: &Self, from: usize) {
        for j in 0..n {
            self.parameters[j][lane] = other.parameters[j][from];
            self.trial[j][lane] = other.trial[j][from];
            self.low[j][lane] = other.low[j][from];
            self.high[j][lane] = other.high[j][from];
            copy_bit(&mut self.fixed[j], lane, other.fixed[j], from);
        }
        self.equations
            .set_lane(n, lane, &other.equations.lane(n, from));
        self.per_pixel[lane] = other.per_pixel[from];
        self.power[lane] = other.power[from];
        self.iterations[lane] = other.iterations[from];
        self.damping[lane] = other.damping[from];
        self.damping_growth[lane] = other.damping_growth[from];
        self.promised[lane] = other.promised[from];
        self.contraction[lane] = other.contraction[from];
        self.idle_steps[lane] = other.idle_steps[from];
        copy_bit(&mut self.by_gradient, lane, other.by_gradient, from);
        copy_bit(&mut self.running, lane, other.running, from);
        self.statuses[lane] = other.statuses[from];
    }

    /// Ends the fits of the stars in `mask`.
    pub fn finish(&mut self, mask: LaneMask, status: FitStatus) {
        self.running &= !mask;
        for lane in lanes_of(mask) {
            self.statuses[lane] = status;
        }
    }
}

fn copy_bit(mask: &mut LaneMask, lane: usize, other: LaneMask, from: usize) {
    *mask = *mask & !(1 << lane) | (other >> from & 1) << lane;
}

/// As many stars of a block as a register holds `f64`: a view for vector arithmetic.
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
    pub(crate) fn load_packed<const N: usize>(self, rows: &Packed<Row>) -> Packed<S::f64s> {
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
