//! Small symmetric systems of several stars side by side, solved in registers.

use fearless_simd::Level;
use fearless_simd::prelude::*;

use crate::numbers::lanes::Part;
use crate::numbers::matrix::{MAX_PACKED, MAX_PARAMETERS, Parameters, Symmetric, packed_index};
use crate::numbers::simd::vectorized;
use crate::numbers::unroll::unroll;

/// Smallest pivot, in units of the diagonal, that still counts as regular: the share of a
/// parameter's information that the others leave it. A parameter left with less is not determined
/// in any arithmetic that sums pixels.
pub(crate) const SMALLEST_PIVOT: f64 = 1e-12;

/// Evaluates `$body` with the number of parameters as a constant `$N`, for [`unroll`]. Models have
/// five to eight.
macro_rules! with_constant {
    ($n:expr, $N:ident => $body:expr) => {
        match $n {
            5 => {
                const $N: usize = 5;
                $body
            }
            6 => {
                const $N: usize = 6;
                $body
            }
            7 => {
                const $N: usize = 7;
                $body
            }
            _ => {
                const $N: usize = 8;
                $body
            }
        }
    };
}
pub(crate) use with_constant;

/// A matrix as `L D L^T`: Cholesky's factors without his square roots.
pub(crate) struct Factor<S: Simd> {
    /// Elements of `L` below the diagonal.
    lower: Symmetric<S::f64s>,
    inverse_diagonal: Parameters<S::f64s>,
    /// Stars whose matrix is positive definite, as far as the smallest pivot says.
    pub(crate) regular: S::mask64s,
}

impl<S: Simd> Factor<S> {
    /// Factors matrices of `N` rows, given by their `element`s below the diagonal and on it, their
    /// diagonal enlarged by the factor `1 + damping`; a pivot must be above the part `smallest` of
    /// its diagonal element.
    #[inline(always)]
    pub(crate) fn new<const N: usize>(
        part: Part<S>,
        element: impl Fn(usize, usize) -> S::f64s,
        damping: S::f64s,
        smallest: f64,
    ) -> Self {
        let mut factor = Self {
            lower: [part.splat(0.0); MAX_PACKED],
            inverse_diagonal: [part.splat(0.0); MAX_PARAMETERS],
            regular: !part.none(),
        };
        let one = part.splat(1.0);
        // Two rows at a time, for one division to invert both pivots: each division has to wait for
        // the one before.
        unroll!(J in N => {
            if J.is_multiple_of(2) && J + 1 < N {
                let first = factor.eliminate::<J, J>(&element, damping);
                let second = factor.eliminate::<{ J + 1 }, J>(&element, damping);
                let mixed = factor.lower[packed_index(J + 1, J)];
                let determinant = first * second - mixed * mixed;
                let inverse = one / (first * determinant);
                let inverse_first = determinant * inverse;
                factor.lower[packed_index(J + 1, J)] = mixed * inverse_first;
                let second = determinant * inverse_first;
                // A NaN is not above either.
                factor.regular &= first.simd_gt(element(J, J) * smallest)
                    & second.simd_gt(element(J + 1, J + 1) * smallest);
                factor.inverse_diagonal[J] = inverse_first;
                factor.inverse_diagonal[J + 1] = first * first * inverse;
            } else if J.is_multiple_of(2) {
                let pivot = factor.eliminate::<J, J>(&element, damping);
                factor.regular &= pivot.simd_gt(element(J, J) * smallest);
                factor.inverse_diagonal[J] = one / pivot;
            }
        });
        factor
    }

    /// Eliminates the first `PIVOTS` pivots from a row: up to there it becomes a row of `L`, beyond it
    /// stays a row of `L D`. Returns the rest of its diagonal.
    #[inline(always)]
    fn eliminate<const ROW: usize, const PIVOTS: usize>(
        &mut self,
        element: &impl Fn(usize, usize) -> S::f64s,
        damping: S::f64s,
    ) -> S::f64s {
        unroll!(K in ROW => {
            let mut sum = element(ROW, K);
            unroll!(I in K => {
                let known = self.lower[packed_index(K, I)];
                sum = (-self.lower[packed_index(ROW, I)]).mul_add(known, sum);
            });
            self.lower[packed_index(ROW, K)] = sum;
        });
        let diagonal = element(ROW, ROW);
        let mut pivot = diagonal.mul_add(damping, diagonal);
        unroll!(K in PIVOTS => {
            let at = packed_index(ROW, K);
            let lower = self.lower[at] * self.inverse_diagonal[K];
            pivot = (-self.lower[at]).mul_add(lower, pivot);
            self.lower[at] = lower;
        });
        pivot
    }

    /// Solves `matrix * x = right`.
    #[inline(always)]
    pub(crate) fn solve<const N: usize>(&self, right: &Parameters<S::f64s>) -> Parameters<S::f64s> {
        let mut x = [right[0]; MAX_PARAMETERS];
        unroll!(J in N => {
            x[J] = right[J];
            unroll!(K in J => {
                    x[J] = (-self.lower[packed_index(J, K)]).mul_add(x[K], x[J]);
                });
        });
        unroll!(I in N => {
            let j = N - 1 - I;
            x[j] *= self.inverse_diagonal[j];
            unroll!(L in I => {
                let k = N - 1 - L;
                x[j] = (-self.lower[packed_index(k, j)]).mul_add(x[k], x[j]);
            });
        });
        x
    }

    /// The inverse matrix.
    #[inline(always)]
    pub(crate) fn inverse<const N: usize>(&self, part: Part<S>) -> Symmetric<S::f64s> {
        let mut inverse = [part.splat(0.0); MAX_PACKED];
        unroll!(K in N => {
            let mut unit = [part.splat(0.0); MAX_PARAMETERS];
            unit[K] = part.splat(1.0);
            let column = self.solve::<N>(&unit);
            unroll!(J in K + 1 => {
                    inverse[packed_index(J, K)] = column[J];
                });
        });
        inverse
    }
}

/// Takes the parameters that are `held` out of a system: their rows and columns become those of the
/// unit matrix, and their side of `right` 0.
#[inline(always)]
pub(crate) fn hold<S: Simd, const N: usize>(
    part: Part<S>,
    matrix: &mut Symmetric<S::f64s>,
    right: &mut Parameters<S::f64s>,
    held: &Parameters<S::mask64s>,
) {
    let (zero, one) = (part.splat(0.0), part.splat(1.0));
    unroll!(J in N => {
        if held[J].any_true() {
            right[J] = held[J].select(zero, right[J]);
            unroll!(K in N => {
                    let at = packed_index(J, K);
                    matrix[at] = held[J].select(if J == K { one } else { zero }, matrix[at]);
                });
        }
    });
}

/// The inverse of the matrix of one star; `None` where it is singular.
pub fn invert(n: usize, matrix: &Symmetric) -> Option<Symmetric> {
    #[inline(always)]
    fn in_lanes<S: Simd, const N: usize>(simd: S, matrix: &Symmetric) -> Option<Symmetric> {
        let part = Part::at(simd, 0);
        let matrix = matrix.map(|element| part.splat(element));
        let element = |j, k| matrix[packed_index(j, k)];
        let factor = Factor::new::<N>(part, element, part.splat(0.0), SMALLEST_PIVOT);
        let inverse = factor.inverse::<N>(part).map(|element| element[0]);
        let is_regular = factor.regular.test(0) && inverse.iter().all(|x| x.is_finite());
        is_regular.then_some(inverse)
    }
    vectorized!(Level::new(), simd => {
        with_constant!(n, N => in_lanes::<_, N>(simd, matrix))
    })
}

/// `A M A` for symmetric matrices of `N` rows.
#[inline(always)]
pub(crate) fn sandwich<S: Simd, const N: usize>(
    part: Part<S>,
    outer: &Symmetric<S::f64s>,
    middle: &Symmetric<S::f64s>,
) -> Symmetric<S::f64s> {
    let mut result = [part.splat(0.0); MAX_PACKED];
    unroll!(J in N => {
        // The row of A M, then its products with the columns of A.
        let mut row = [part.splat(0.0); MAX_PARAMETERS];
        unroll!(K in N => {
                unroll!(I in N => {
                        row[K] = outer[packed_index(J, I)]
                            .mul_add(middle[packed_index(I, K)], row[K]);
                    });
            });
        unroll!(K in J + 1 => {
                let mut sum = part.splat(0.0);
                unroll!(I in N => {
                        sum = row[I].mul_add(outer[packed_index(I, K)], sum);
                    });
                result[packed_index(J, K)] = sum;
            });
    });
    result
}

#[cfg(test)]
mod tests {
    use fearless_simd::dispatch;

    use super::*;

    /// Parameters left out of a step, one bit each.
    type Held = u8;

    /// Scales of five parameters as far apart as a flux and a position can be.
    const SCALES: [f64; 5] = [1e-8, 1e-3, 1.0, 1e4, 1e8];

    /// Hilbert's matrix of 5 rows, scaled badly on purpose.
    fn matrix() -> Symmetric {
        let mut matrix = [0.0; MAX_PACKED];
        for j in 0..5 {
            for k in 0..=j {
                matrix[packed_index(j, k)] = SCALES[j] * SCALES[k] / (1 + j + k) as f64;
            }
        }
        matrix
    }

    /// Solutions of order 1 once the scales are taken out.
    fn solution(scaled: [f64; 5]) -> Parameters {
        let mut x = [0.0; MAX_PARAMETERS];
        for j in 0..5 {
            x[j] = scaled[j] / SCALES[j];
        }
        x
    }

    fn product(matrix: &Symmetric, x: &Parameters) -> Parameters {
        let mut right = [0.0; MAX_PARAMETERS];
        for j in 0..5 {
            right[j] = (0..5).map(|k| matrix[packed_index(j, k)] * x[k]).sum();
        }
        right
    }

    /// The solution, `A M A` with the inverse for `A`, and whether the matrix is regular: in the
    /// last lane, the others hold another system.
    fn solve(
        level: Level,
        matrix: &Symmetric,
        right: &Parameters,
        damping: f64,
        held: Held,
    ) -> (Parameters, Symmetric, Symmetric, bool) {
        #[inline(always)]
        fn in_lanes<S: Simd>(
            simd: S,
            matrix: &Symmetric,
            right: &Parameters,
            damping: f64,
            held: Held,
        ) -> (Parameters, Symmetric, Symmetric, bool) {
            let part = Part::at(simd, 0);
            let last = Part::<S>::LEN - 1;
            let other = |value: f64, j: usize| {
                let mut lanes = part.splat(j as f64);
                lanes[last] = value;
                lanes
            };
            let mut m = [part.splat(0.0); MAX_PACKED];
            let mut r = [part.splat(0.0); MAX_PARAMETERS];
            for j in 0..5 {
                r[j] = other(right[j], j);
                for k in 0..=j {
                    let at = packed_index(j, k);
                    m[at] = other(matrix[at], if j == k { 1 } else { 0 });
                }
            }
            let original = m;
            let mut masks = [part.none(); MAX_PARAMETERS];
            for (j, mask) in masks.iter_mut().enumerate() {
                mask.set(last, held >> j & 1 == 1);
            }
            hold::<S, 5>(part, &mut m, &mut r, &masks);
            let element = |j, k| m[packed_index(j, k)];
            let factor = Factor::new::<5>(part, element, part.splat(damping), SMALLEST_PIVOT);
            let x = factor.solve::<5>(&r);
            let inverse = factor.inverse::<5>(part);
            let sandwich = sandwich::<S, 5>(part, &inverse, &original);
            (
                x.map(|x| x[last]),
                inverse.map(|x| x[last]),
                sandwich.map(|x| x[last]),
                factor.regular.test(last),
            )
        }
        dispatch!(level, simd => in_lanes(simd, matrix, right, damping, held))
    }

    fn levels() -> [Level; 2] {
        [Level::new(), Level::baseline()]
    }

    /// The largest error of `x`, scales taken out.
    fn error(x: &Parameters, truth: &Parameters) -> f64 {
        (0..5)
            .map(|j| (x[j] - truth[j]).abs() * SCALES[j])
            .fold(0.0, f64::max)
    }

    /// The condition of Hilbert's matrix, 5e5, times the rounding of `f64`.
    const TOLERANCE: f64 = 5e5 * f64::EPSILON * 10.0;

    #[test]
    fn solve_undoes_the_product() {
        for level in levels() {
            let truth = solution([3.0, -1.0, 0.5, 2.0, -4.0]);
            let right = product(&matrix(), &truth);
            let (x, .., regular) = solve(level, &matrix(), &right, 0.0, 0);
            assert!(
                regular && error(&x, &truth) < TOLERANCE,
                "{}",
                error(&x, &truth)
            );
            let (damped, ..) = solve(level, &matrix(), &right, 1e-3, 0);
            assert!(
                error(&damped, &truth) > 1e-3,
                "damping has to shorten the step"
            );
        }
    }

    #[test]
    fn a_held_parameter_stays_and_the_rest_is_solved_without_it() {
        for level in levels() {
            let truth = solution([3.0, -1.0, 0.0, 2.0, -4.0]);
            let right = product(&matrix(), &truth);
            let (x, ..) = solve(level, &matrix(), &right, 0.0, 1 << 2);
            assert_eq!(x[2], 0.0);
            assert!(error(&x, &truth) < TOLERANCE, "{}", error(&x, &truth));
        }
    }

    #[test]
    fn inverse_and_sandwich_agree() {
        for level in levels() {
            let (_, inverse, same, _) = solve(level, &matrix(), &[0.0; 8], 0.0, 0);
            for at in 0..15 {
                assert!((same[at] - inverse[at]).abs() < 1e-7 * inverse[at].abs());
            }
        }
    }

    #[test]
    fn a_singular_matrix_is_refused() {
        let mut singular = matrix();
        for k in 0..5 {
            singular[packed_index(4, k)] = singular[packed_index(3, k)];
        }
        singular[packed_index(4, 4)] = singular[packed_index(3, 3)];
        for level in levels() {
            let is_regular =
                |matrix: &Symmetric, held| solve(level, matrix, &[0.0; 8], 0.0, held).3;
            assert!(!is_regular(&singular, 0));
            assert!(is_regular(&singular, 1 << 4));
            assert!(!is_regular(&[0.0; MAX_PACKED], 0));
            assert!(!is_regular(&[f64::NAN; MAX_PACKED], 0));
        }
    }
}
