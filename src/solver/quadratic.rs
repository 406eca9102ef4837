//! Chi-square near the parameters of a part of a block, as the normal equations have it.

use fearless_simd::prelude::*;

use super::cholesky::{Factor, SMALLEST_PIVOT, hold};
use crate::block::{LaneMask, Part, Row, StarBlock};
use crate::estimator::REFUSED;
use crate::kernel::NormalEquations;
use crate::model::{MAX_PACKED, MAX_PARAMETERS, Packed, Parameters, packed_index};
use crate::unroll::{unroll, unroll_packed};

/// Parameters with the sums there.
#[derive(Clone, Copy)]
pub(super) struct Quadratic<S: Simd> {
    pub(super) parameters: Parameters<S::f64s>,
    pub(super) chi2: S::f64s,
    pub(super) gradient: Parameters<S::f64s>,
    pub(super) curvature: Packed<S::f64s>,
}

impl<S: Simd> Quadratic<S> {
    /// Those of `N` parameters.
    #[inline(always)]
    pub(super) fn load<const N: usize>(
        part: Part<S>,
        parameters: &Parameters<Row>,
        sums: &NormalEquations<Row>,
    ) -> Self {
        Self {
            parameters: part.load_all::<N>(parameters),
            chi2: part.load(&sums.chi2),
            gradient: part.load_all::<N>(&sums.gradient),
            curvature: part.load_packed::<N>(&sums.curvature),
        }
    }

    /// Writes them back as what is best so far.
    #[inline(always)]
    pub(super) fn store<const N: usize>(&self, part: Part<S>, block: &mut StarBlock) {
        part.store_all::<N>(&mut block.parameters, &self.parameters);
        part.store(&mut block.equations.chi2, self.chi2);
        part.store_all::<N>(&mut block.equations.gradient, &self.gradient);
        part.store_packed::<N>(&mut block.equations.curvature, &self.curvature);
    }

    /// This where the mask is set, else `other`.
    #[inline(always)]
    pub(super) fn or<const N: usize>(&self, mask: S::mask64s, other: &Self) -> Self {
        let zero = self.chi2 * 0.0;
        let mut result = Self {
            parameters: [zero; MAX_PARAMETERS],
            chi2: mask.select(self.chi2, other.chi2),
            gradient: [zero; MAX_PARAMETERS],
            curvature: [zero; MAX_PACKED],
        };
        unroll!(J in N => {
            result.parameters[J] = mask.select(self.parameters[J], other.parameters[J]);
            result.gradient[J] = mask.select(self.gradient[J], other.gradient[J]);
        });
        unroll_packed!((J, K, AT) in N => {
            result.curvature[AT] = mask.select(self.curvature[AT], other.curvature[AT]);
        });
        result
    }

    /// Stars of which every sum is a number and no pixel was refused. No element of the curvature is
    /// larger than the mean of two on its diagonal.
    #[inline(always)]
    pub(super) fn is_finite<const N: usize>(&self, part: Part<S>) -> S::mask64s {
        // Infinity and NaN times 0 are NaN; NaN is not below either.
        let (mut slopes, mut trace) = (part.splat(0.0), part.splat(0.0));
        unroll!(J in N => {
            slopes += self.gradient[J];
            trace += self.curvature[packed_index(J, J)];
        });
        let zero = (slopes + trace) * 0.0;
        self.chi2.simd_lt(part.splat(REFUSED)) & zero.simd_eq(part.splat(0.0))
    }

    /// How much lower chi-square is at `trial`: `2 g^T d - d^T C d`.
    #[inline(always)]
    pub(super) fn predicted_decrease<const N: usize>(
        &self,
        part: Part<S>,
        trial: &Parameters<S::f64s>,
    ) -> S::f64s {
        let mut step = [part.splat(0.0); MAX_PARAMETERS];
        let mut sum = part.splat(0.0);
        unroll!(J in N => {
            step[J] = trial[J] - self.parameters[J];
            // The row of C d up to the diagonal: the rest is the same again.
            let mut row = part.splat(0.0);
            unroll!(K in J => {
                    row = self.curvature[packed_index(J, K)].mul_add(step[K], row);
                });
            let diagonal = self.curvature[packed_index(J, J)] * step[J];
            let slope = (self.gradient[J] - row) * 2.0 - diagonal;
            sum = slope.mul_add(step[J], sum);
        });
        sum
    }

    /// The step to the minimum, damped, where what is `held` moves by what `right` and it are made
    /// for; and for which stars there is one.
    #[inline(always)]
    pub(super) fn step<const N: usize>(
        &self,
        part: Part<S>,
        right: &Parameters<S::f64s>,
        damping: S::f64s,
        held: &Parameters<S::mask64s>,
    ) -> (Parameters<S::f64s>, S::mask64s) {
        // Element by element: whole arrays would be copied in memory, unused places and all.
        let mut matrix = [part.splat(0.0); MAX_PACKED];
        let mut kept = [part.splat(0.0); MAX_PARAMETERS];
        unroll!(J in N => { kept[J] = right[J]; });
        unroll_packed!((J, K, AT) in N => { matrix[AT] = self.curvature[AT]; });
        let mut right = kept;
        hold::<S, N>(part, &mut matrix, &mut right, held);
        let factor = Factor::new::<N>(part, &matrix, damping, SMALLEST_PIVOT);
        let step = factor.solve::<N>(&right);
        let mut zero = part.splat(0.0);
        unroll!(J in N => {
            zero = step[J].mul_add(part.splat(0.0), zero);
        });
        (step, factor.regular & zero.simd_eq(part.splat(0.0)))
    }

    /// The undamped step, the decrease of chi-square that it promises, and for which stars there is
    /// one. A function of its own, not inlined: it is rarely called, from several places.
    #[inline(always)]
    pub(super) fn newton_step<const N: usize>(
        &self,
        part: Part<S>,
        held: &Parameters<S::mask64s>,
    ) -> (Parameters<S::f64s>, S::f64s, S::mask64s) {
        part.simd.vectorize(
            #[inline(always)]
            || {
                let (step, exists) = self.step::<N>(part, &self.gradient, part.splat(0.0), held);
                let mut decrease = part.splat(0.0);
                unroll!(J in N => {
                    decrease = step[J].mul_add(self.gradient[J], decrease);
                });
                (step, decrease, exists)
            },
        )
    }

    /// Rounding error of chi-square summed with the relative precision `epsilon`: that of the sum,
    /// and that of residuals known no better than the data that they are the difference of.
    #[inline(always)]
    pub(super) fn rounding(
        &self,
        part: Part<S>,
        epsilon: f64,
        power: S::f64s,
        n_pixels: S::f64s,
    ) -> S::f64s {
        let chi2 = self.chi2.max(power * (epsilon * epsilon));
        (chi2 + (chi2 * power / n_pixels).sqrt()) * part.splat(epsilon)
    }
}

/// The box of the parameters of a part.
pub(super) struct Bounds<S: Simd> {
    pub(super) low: Parameters<S::f64s>,
    pub(super) high: Parameters<S::f64s>,
}

impl<S: Simd> Bounds<S> {
    #[inline(always)]
    pub(super) fn load<const N: usize>(part: Part<S>, block: &StarBlock) -> Self {
        Self {
            low: part.load_all::<N>(&block.low),
            high: part.load_all::<N>(&block.high),
        }
    }

    /// The nearest parameters inside.
    #[inline(always)]
    pub(super) fn project<const N: usize>(&self, parameters: &mut Parameters<S::f64s>) {
        unroll!(J in N => {
            parameters[J] = parameters[J].max(self.low[J]).min(self.high[J]);
        });
    }

    /// The parameters that are fixed, or stand at a bound with the `gradient` (minus the derivative
    /// of chi-square) pointing out of the box. A step must leave them out, not be cut short by them.
    #[inline(always)]
    pub(super) fn held<const N: usize>(
        &self,
        part: Part<S>,
        fixed: &[LaneMask; MAX_PARAMETERS],
        parameters: &Parameters<S::f64s>,
        gradient: &Parameters<S::f64s>,
        angle: Option<(usize, usize)>,
    ) -> Parameters<S::mask64s> {
        let zero = part.splat(0.0);
        let mut held = [part.none(); MAX_PARAMETERS];
        unroll!(J in N => {
            let (value, gradient) = (parameters[J], gradient[J]);
            held[J] = part.mask(fixed[J])
                | (value.simd_le(self.low[J]) & gradient.simd_le(zero))
                | (value.simd_ge(self.high[J]) & gradient.simd_ge(zero));
        });
        if let Some((ratio, angle)) = angle {
            let mut is_circle = part.none();
            unroll!(J in N => {
                if J == ratio {
                    is_circle = held[J] & parameters[J].simd_ge(self.high[J]);
                }
            });
            unroll!(J in N => {
                if J == angle {
                    held[J] |= is_circle;
                }
            });
        }
        held
    }
}

/// The parameters of a part that are held at [`StarBlock::parameters`], by the gradient there.
#[inline(always)]
pub(crate) fn held_of_part<S: Simd, const N: usize>(
    part: Part<S>,
    block: &StarBlock,
    equations: &NormalEquations<Row>,
    angle: Option<(usize, usize)>,
) -> Parameters<S::mask64s> {
    let parameters = part.load_all::<N>(&block.parameters);
    let gradient = part.load_all::<N>(&equations.gradient);
    let bounds = Bounds::load::<N>(part, block);
    bounds.held::<N>(part, &block.fixed, &parameters, &gradient, angle)
}
