//! Information on the parameters at the solution, from the curvature.

use fearless_simd::prelude::*;

use crate::fitter::state::StarBlock;
use crate::numbers::lanes::{LaneMask, Part, Row, lanes_of};
use crate::numbers::matrix::{MAX_PACKED, MAX_PARAMETERS, Symmetric, packed_index};
use crate::numbers::unroll::{unroll, unroll_packed};
use crate::solver::cholesky::{Factor, hold};
use crate::solver::held_of_part;
use crate::sums::NormalEquations;

/// Information of the pixels on the parameters of a block's stars at the solution.
#[derive(Debug)]
pub(super) struct Information {
    /// Coordinates that are fixed or ended at a bound.
    pub(super) held: [LaneMask; MAX_PARAMETERS],
    /// Stars of which every other parameter keeps enough of its information.
    pub(super) clear: LaneMask,
    /// Inverse curvature of the model's parameters, 0 for those that are held.
    pub(super) inverse: Symmetric<Row>,
}

impl Default for Information {
    fn default() -> Self {
        Self {
            held: [0; MAX_PARAMETERS],
            clear: 0,
            inverse: [Row::filled(0.0); MAX_PACKED],
        }
    }
}

impl Information {
    /// Fills in a part from `equations`; in a clear star every parameter keeps more than the share
    /// `clear` of its information.
    #[inline(always)]
    pub(super) fn fill<S: Simd, const N: usize>(
        &mut self,
        part: Part<S>,
        state: &StarBlock,
        equations: &NormalEquations<Row>,
        dependent: Option<(usize, usize)>,
        clear: f64,
    ) {
        let held = held_of_part::<S, N>(part, state, equations, dependent);
        let mut matrix = part.load_packed::<N>(&equations.curvature);
        let mut right = [part.splat(0.0); MAX_PARAMETERS];
        hold::<S, N>(part, &mut matrix, &mut right, &held);
        let factor = Factor::new::<N>(
            part,
            #[inline(always)]
            |j, k| matrix[packed_index(j, k)],
            part.splat(0.0),
            clear,
        );
        let inverse = factor.inverse::<N>(part);
        let mut finite = part.splat(0.0);
        unroll!(J in N => { self.held[J] |= part.bits(held[J]); });
        unroll_packed!((J, K, AT) in N => {
            finite = inverse[AT].mul_add(part.splat(0.0), finite);
            let value = (held[J] | held[K]).select(part.splat(0.0), inverse[AT]);
            part.store(&mut self.inverse[AT], value);
        });
        self.clear |= part.bits(factor.regular & finite.simd_eq(part.splat(0.0)));
    }

    /// Takes over the information of `other` on the stars in `mask`.
    pub(super) fn merge(&mut self, other: &Self, mask: LaneMask) {
        self.clear = self.clear & !mask | other.clear & mask;
        for (held, other) in self.held.iter_mut().zip(other.held) {
            *held = *held & !mask | other & mask;
        }
        for (row, other) in self.inverse.iter_mut().zip(&other.inverse) {
            for lane in lanes_of(mask) {
                row[lane] = other[lane];
            }
        }
    }
}
