//! Chi-square near the parameters of a part of a block, as the normal equations have it.

use fearless_simd::prelude::*;

use super::cholesky::{Factor, SMALLEST_PIVOT, hold};
use crate::estimator::REFUSED;
use crate::fitter::state::StarBlock;
use crate::numbers::lanes::{ParameterRows, Part, Row};
use crate::numbers::matrix::{MAX_PARAMETERS, Parameters, packed_index};
use crate::numbers::unroll::unroll;
use crate::sums::NormalEquations;

/// Parameters with the sums there. Each number is read where it is used: registers are too few to
/// hold them all.
#[derive(Clone, Copy)]
pub(super) struct Quadratic<'a, S: Simd> {
    part: Part<S>,
    parameters: &'a ParameterRows,
    sums: &'a NormalEquations<Row>,
}

impl<'a, S: Simd> Quadratic<'a, S> {
    #[inline(always)]
    pub(super) fn new(
        part: Part<S>,
        parameters: &'a ParameterRows,
        sums: &'a NormalEquations<Row>,
    ) -> Self {
        Self {
            part,
            parameters,
            sums,
        }
    }

    /// The best parameters so far, with the sums there.
    #[inline(always)]
    pub(super) fn best(part: Part<S>, block: &'a StarBlock) -> Self {
        Self::new(part, &block.parameters, &block.equations)
    }

    #[inline(always)]
    pub(super) fn chi2(&self) -> S::f64s {
        self.part.load(&self.sums.chi2)
    }

    #[inline(always)]
    pub(super) fn parameter(&self, j: usize) -> S::f64s {
        self.part.load(&self.parameters[j])
    }

    #[inline(always)]
    pub(super) fn gradient(&self, j: usize) -> S::f64s {
        self.part.load(&self.sums.gradient[j])
    }

    #[inline(always)]
    pub(super) fn curvature(&self, j: usize, k: usize) -> S::f64s {
        self.part.load(&self.sums.curvature[packed_index(j, k)])
    }

    /// The parameters, of which there are `N`.
    #[inline(always)]
    pub(super) fn parameters<const N: usize>(&self) -> Parameters<S::f64s> {
        self.part.load_all::<N>(self.parameters)
    }

    /// Stars of which every sum is a number and no pixel was refused. The diagonal of the curvature is
    /// enough: no element is larger than the mean of two on it.
    #[inline(always)]
    pub(super) fn is_finite<const N: usize>(&self) -> S::mask64s {
        // Infinity and NaN times 0 are NaN; NaN is not below either.
        let part = self.part;
        let (mut slopes, mut trace) = (part.splat(0.0), part.splat(0.0));
        unroll!(J in N => {
            slopes += self.gradient(J);
            trace += self.curvature(J, J);
        });
        let zero = (slopes + trace) * 0.0;
        self.chi2().simd_lt(part.splat(REFUSED)) & zero.simd_eq(part.splat(0.0))
    }

    /// How much lower chi-square is at `trial`: `2 g^T d - d^T C d`.
    #[inline(always)]
    pub(super) fn predicted_decrease<const N: usize>(
        &self,
        trial: &Parameters<S::f64s>,
    ) -> S::f64s {
        let zero = self.part.splat(0.0);
        let mut step = [zero; MAX_PARAMETERS];
        let mut sum = zero;
        unroll!(J in N => {
            step[J] = trial[J] - self.parameter(J);
            // The row of C d up to the diagonal: the rest is the same again.
            let mut row = zero;
            unroll!(K in J => {
                    row = self.curvature(J, K).mul_add(step[K], row);
                });
            let diagonal = self.curvature(J, J) * step[J];
            let slope = (self.gradient(J) - row) * 2.0 - diagonal;
            sum = slope.mul_add(step[J], sum);
        });
        sum
    }

    /// The damped step to the minimum of the parameters that are not `held`, and the stars that have
    /// one. `right` already takes account of a move of the held ones.
    #[inline(always)]
    pub(super) fn step<const N: usize>(
        &self,
        right: &Parameters<S::f64s>,
        damping: S::f64s,
        held: &Parameters<S::mask64s>,
    ) -> (Parameters<S::f64s>, S::mask64s) {
        let part = self.part;
        let mut any_held = part.none();
        unroll!(J in N => { any_held |= held[J]; });
        let (factor, step) = if any_held.any_true() {
            let mut matrix = part.load_packed::<N>(&self.sums.curvature);
            let mut right = *right;
            hold::<S, N>(part, &mut matrix, &mut right, held);
            let factor = Factor::new::<N>(
                part,
                #[inline(always)]
                |j, k| matrix[packed_index(j, k)],
                damping,
                SMALLEST_PIVOT,
            );
            let step = factor.solve::<N>(&right);
            (factor, step)
        } else {
            let factor = Factor::new::<N>(
                part,
                #[inline(always)]
                |j, k| self.curvature(j, k),
                damping,
                SMALLEST_PIVOT,
            );
            let step = factor.solve::<N>(right);
            (factor, step)
        };
        let mut zero = part.splat(0.0);
        unroll!(J in N => {
            zero = step[J].mul_add(part.splat(0.0), zero);
        });
        (step, factor.regular & zero.simd_eq(part.splat(0.0)))
    }

    /// Decrease that the step with this damping promises, where only held parameters have kept it
    /// short: for such a step `C d` is `g` less the damping, and `2 g^T d - d^T C d` needs only the
    /// diagonal of `C`.
    #[inline(always)]
    pub(super) fn decrease_of_step<const N: usize>(
        &self,
        step: &Parameters<S::f64s>,
        damping: S::f64s,
    ) -> S::f64s {
        let mut decrease = self.part.splat(0.0);
        unroll!(J in N => {
            let damped = self.curvature(J, J) * damping;
            let slope = damped.mul_add(step[J], self.gradient(J));
            decrease = slope.mul_add(step[J], decrease);
        });
        decrease
    }

    /// The undamped step, the decrease of chi-square that it promises, and the stars that have one. The
    /// body is a vectorized closure, a function that is compiled once for each level and called from
    /// several places.
    #[inline(always)]
    pub(super) fn newton_step<const N: usize>(
        &self,
        held: &Parameters<S::mask64s>,
    ) -> (Parameters<S::f64s>, S::f64s, S::mask64s) {
        self.part.simd.vectorize(
            #[inline(always)]
            || {
                let mut right = [self.part.splat(0.0); MAX_PARAMETERS];
                unroll!(J in N => { right[J] = self.gradient(J); });
                let (step, exists) = self.step::<N>(&right, self.part.splat(0.0), held);
                let mut decrease = self.part.splat(0.0);
                unroll!(J in N => {
                    decrease = step[J].mul_add(right[J], decrease);
                });
                (step, decrease, exists)
            },
        )
    }

    /// Rounding error of chi-square summed with the relative precision `epsilon`: of the sum itself,
    /// and of the residuals, which are known no better than the data.
    #[inline(always)]
    pub(super) fn rounding(&self, epsilon: f64, block: &StarBlock) -> S::f64s {
        let (power, per_pixel) = (
            self.part.load(&block.power),
            self.part.load(&block.per_pixel),
        );
        let chi2 = self.chi2().max(power * (epsilon * epsilon));
        (chi2 + (chi2 * power * per_pixel).sqrt()) * epsilon
    }
}

/// The box of the parameters of a part.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a, S: Simd> {
    part: Part<S>,
    block: &'a StarBlock,
}

impl<'a, S: Simd> Bounds<'a, S> {
    #[inline(always)]
    pub(super) fn new(part: Part<S>, block: &'a StarBlock) -> Self {
        Self { part, block }
    }

    #[inline(always)]
    pub(super) fn low(&self, j: usize) -> S::f64s {
        self.part.load(&self.block.low[j])
    }

    #[inline(always)]
    pub(super) fn high(&self, j: usize) -> S::f64s {
        self.part.load(&self.block.high[j])
    }

    /// Moves the parameters to the nearest ones inside the box.
    #[inline(always)]
    pub(super) fn project<const N: usize>(&self, parameters: &mut Parameters<S::f64s>) {
        unroll!(J in N => {
            parameters[J] = parameters[J].max(self.low(J)).min(self.high(J));
        });
    }

    /// The parameters that are fixed, or stand at a bound with the gradient (minus the derivative of
    /// chi-square) pointing out of the box. A step must leave them out, not be cut short by them.
    #[inline(always)]
    pub(super) fn held<const N: usize>(
        &self,
        at: &Quadratic<'_, S>,
        dependent: Option<(usize, usize)>,
    ) -> Parameters<S::mask64s> {
        let part = self.part;
        let zero = part.splat(0.0);
        let mut held = [part.none(); MAX_PARAMETERS];
        unroll!(J in N => {
            let (value, gradient) = (at.parameter(J), at.gradient(J));
            held[J] = part.mask(self.block.fixed[J])
                | (value.simd_le(self.low(J)) & gradient.simd_le(zero))
                | (value.simd_ge(self.high(J)) & gradient.simd_ge(zero));
        });
        if let Some((leading, dependent)) = dependent {
            let mut is_highest = part.none();
            unroll!(J in N => {
                if J == leading {
                    is_highest = held[J] & at.parameter(J).simd_ge(self.high(J));
                }
            });
            unroll!(J in N => {
                if J == dependent {
                    held[J] |= is_highest;
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
    dependent: Option<(usize, usize)>,
) -> Parameters<S::mask64s> {
    let at = Quadratic::new(part, &block.parameters, equations);
    Bounds::new(part, block).held::<N>(&at, dependent)
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    #[test]
    fn a_damped_step_promises_what_the_parabola_says() {
        const N: usize = 6;
        let mut block = StarBlock::EMPTY;
        // A matrix whose diagonal outweighs the rest of each row is positive definite.
        for lane in 0..block.power.len() {
            for j in 0..N {
                let scale = (1 + j) as f64;
                block.parameters[j][lane] = scale - 2.5;
                block.equations.gradient[j][lane] = scale * ((7 * j + lane) % 5) as f64 - 3.0;
                for k in 0..=j {
                    let at = packed_index(j, k);
                    let element = if j == k {
                        7.0
                    } else {
                        ((j + k) % 3) as f64 - 1.0
                    };
                    block.equations.curvature[at][lane] = element * scale * (1 + k) as f64;
                }
            }
        }
        #[inline(always)]
        fn decreases<S: Simd>(simd: S, block: &StarBlock, damping: f64) -> (f64, f64) {
            let part = Part::at(simd, 0);
            let state = Quadratic::best(part, block);
            let damping = part.splat(damping);
            let right = part.load_all::<N>(&block.equations.gradient);
            let held = [part.none(); MAX_PARAMETERS];
            let (step, exists) = state.step::<N>(&right, damping, &held);
            assert!(exists.all_true());
            let mut trial = state.parameters::<N>();
            for j in 0..N {
                trial[j] += step[j];
            }
            let promised = state.decrease_of_step::<N>(&step, damping);
            (promised[0], state.predicted_decrease::<N>(&trial)[0])
        }
        for level in [Level::new(), Level::baseline()] {
            for damping in [0.0, 0.3, 20.0] {
                let found = dispatch!(level, simd => decreases(simd, &block, damping));
                assert!((found.0 / found.1 - 1.0).abs() < 1e-13, "{found:?}");
                // The control: less damping promises more.
                let more = dispatch!(level, simd => decreases(simd, &block, 0.9 * damping));
                assert!(damping == 0.0 || more.1 > found.1 * (1.0 + 1e-6));
            }
        }
    }
}
