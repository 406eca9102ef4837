//! Small symmetric systems, solved on the stack.

use crate::model::{MAX_PACKED, MAX_PARAMETERS, Packed, Parameters, packed_index};

use super::Held;

/// Smallest pivot of a matrix scaled to a unit diagonal that still counts as regular: the share of
/// a parameter's information that the others leave it. A parameter left with less is not
/// determined in any arithmetic that sums pixels.
pub(crate) const SMALLEST_PIVOT: f64 = 1e-12;

/// Evaluates `$body` with `$n` a constant for the sizes that models have: loops of known length
/// come unrolled, which makes them three times as fast.
macro_rules! with_constant {
    ($n:ident, $body:expr) => {
        match $n {
            5 => {
                let $n = 5;
                $body
            }
            6 => {
                let $n = 6;
                $body
            }
            7 => {
                let $n = 7;
                $body
            }
            8 => {
                let $n = 8;
                $body
            }
            $n => $body,
        }
    };
}

/// The Cholesky factor of a positive definite matrix, scaled to a unit diagonal. The diagonal
/// holds the inverses of its own.
struct Factor {
    lower: Packed,
    scale: Parameters,
}

impl Factor {
    /// Factors `matrix`, its diagonal enlarged by the factor `1 + damping`, without the rows and
    /// columns that are `held`. `None` where a pivot is not above the `smallest`.
    #[inline(always)]
    fn new(n: usize, matrix: &Packed, damping: f64, held: Held, smallest: f64) -> Option<Self> {
        let mut scale = [0.0; MAX_PARAMETERS];
        for (j, scale) in scale.iter_mut().enumerate().take(n) {
            if held >> j & 1 == 0 {
                *scale = 1.0 / matrix[packed_index(j, j)].sqrt();
                if !scale.is_finite() {
                    return None;
                }
            }
        }
        let mut lower = [0.0; MAX_PACKED];
        for j in 0..n {
            for k in 0..=j {
                let mut sum = match (j == k, scale[j] == 0.0) {
                    (true, true) => 1.0,
                    (true, false) => 1.0 + damping,
                    (false, _) => matrix[packed_index(j, k)] * scale[j] * scale[k],
                };
                for i in 0..k {
                    sum -= lower[packed_index(j, i)] * lower[packed_index(k, i)];
                }
                lower[packed_index(j, k)] = if j == k {
                    if sum.is_nan() || sum <= smallest {
                        return None;
                    }
                    sum.sqrt().recip()
                } else {
                    sum * lower[packed_index(k, k)]
                };
            }
        }
        Some(Self { lower, scale })
    }

    #[inline(always)]
    fn solve(&self, n: usize, right: &Parameters) -> Parameters {
        let lower = &self.lower;
        let mut x = [0.0; MAX_PARAMETERS];
        for j in 0..n {
            let mut sum = right[j] * self.scale[j];
            for k in 0..j {
                sum -= lower[packed_index(j, k)] * x[k];
            }
            x[j] = sum * lower[packed_index(j, j)];
        }
        for j in (0..n).rev() {
            let mut sum = x[j];
            for k in j + 1..n {
                sum -= lower[packed_index(k, j)] * x[k];
            }
            x[j] = sum * lower[packed_index(j, j)];
        }
        for j in 0..n {
            x[j] *= self.scale[j];
        }
        x
    }
}

/// Solves `matrix * x = right` of `n` rows, the diagonal enlarged by the factor `1 + damping`.
/// Parameters that are `held` get 0. `None` where the matrix is not positive definite.
pub fn solve(
    n: usize,
    matrix: &Packed,
    right: &Parameters,
    damping: f64,
    held: Held,
) -> Option<Parameters> {
    let x = with_constant!(
        n,
        Factor::new(n, matrix, damping, held, SMALLEST_PIVOT)?.solve(n, right)
    );
    x[..n].iter().all(|x| x.is_finite()).then_some(x)
}

/// The inverse of a matrix of `n` rows; rows and columns that are `held` are 0.
pub fn invert(n: usize, matrix: &Packed, held: Held) -> Option<Packed> {
    invert_if_clear(n, matrix, held, SMALLEST_PIVOT)
}

/// The same, but `None` already where a pivot of the matrix scaled to a unit diagonal is not above
/// `smallest`: sums in low precision would put noise in its place.
pub fn invert_if_clear(n: usize, matrix: &Packed, held: Held, smallest: f64) -> Option<Packed> {
    let inverse = with_constant!(n, invert_with(n, matrix, held, smallest)?);
    inverse[..n * (n + 1) / 2]
        .iter()
        .all(|x| x.is_finite())
        .then_some(inverse)
}

#[inline(always)]
fn invert_with(n: usize, matrix: &Packed, held: Held, smallest: f64) -> Option<Packed> {
    let factor = Factor::new(n, matrix, 0.0, held, smallest)?;
    let mut inverse = [0.0; MAX_PACKED];
    for k in 0..n {
        let mut unit = [0.0; MAX_PARAMETERS];
        unit[k] = 1.0;
        let column = factor.solve(n, &unit);
        for j in k..n {
            inverse[packed_index(j, k)] = column[j];
        }
    }
    Some(inverse)
}

/// `A M A` for symmetric matrices of `n` rows.
pub fn sandwich(n: usize, outer: &Packed, middle: &Packed) -> Packed {
    let row = |j| std::array::from_fn(|k| outer[packed_index(j, k)]);
    congruence(n, &std::array::from_fn(row), middle)
}

/// `A M A^T` for a symmetric matrix `M` and the first `n` rows and columns of `A`.
pub fn congruence(n: usize, outer: &[Parameters; MAX_PARAMETERS], middle: &Packed) -> Packed {
    with_constant!(n, congruence_with(n, outer, middle))
}

#[inline(always)]
fn congruence_with(n: usize, outer: &[Parameters; MAX_PARAMETERS], middle: &Packed) -> Packed {
    let mut product = [[0.0; MAX_PARAMETERS]; MAX_PARAMETERS];
    for j in 0..n {
        for k in 0..n {
            product[j][k] = (0..n)
                .map(|i| outer[j][i] * middle[packed_index(i, k)])
                .sum();
        }
    }
    let mut result = [0.0; MAX_PACKED];
    for j in 0..n {
        for k in 0..=j {
            result[packed_index(j, k)] = (0..n).map(|i| product[j][i] * outer[k][i]).sum();
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scales of five parameters as far apart as a flux and a position can be.
    const SCALES: [f64; 5] = [1e-8, 1e-3, 1.0, 1e4, 1e8];

    /// Hilbert's matrix of 5 rows, scaled badly on purpose.
    fn matrix() -> Packed {
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

    fn product(matrix: &Packed, x: &Parameters) -> Parameters {
        let mut right = [0.0; MAX_PARAMETERS];
        for j in 0..5 {
            right[j] = (0..5).map(|k| matrix[packed_index(j, k)] * x[k]).sum();
        }
        right
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
        let truth = solution([3.0, -1.0, 0.5, 2.0, -4.0]);
        let right = product(&matrix(), &truth);
        let x = solve(5, &matrix(), &right, 0.0, 0).unwrap();
        assert!(error(&x, &truth) < TOLERANCE, "{}", error(&x, &truth));
        let damped = solve(5, &matrix(), &right, 1e-3, 0).unwrap();
        assert!(
            error(&damped, &truth) > 1e-3,
            "damping has to shorten the step"
        );
    }

    #[test]
    fn a_held_parameter_stays_and_the_rest_is_solved_without_it() {
        let truth = solution([3.0, -1.0, 0.0, 2.0, -4.0]);
        let x = solve(5, &matrix(), &product(&matrix(), &truth), 0.0, 1 << 2).unwrap();
        assert_eq!(x[2], 0.0);
        assert!(error(&x, &truth) < TOLERANCE, "{}", error(&x, &truth));
    }

    #[test]
    fn inverse_and_sandwich_agree() {
        let inverse = invert(5, &matrix(), 0).unwrap();
        let same = sandwich(5, &inverse, &matrix());
        for at in 0..15 {
            assert!((same[at] - inverse[at]).abs() < 1e-7 * inverse[at].abs());
        }
    }

    #[test]
    fn a_singular_matrix_is_refused() {
        let mut singular = matrix();
        for k in 0..5 {
            singular[packed_index(4, k)] = singular[packed_index(3, k)];
        }
        singular[packed_index(4, 4)] = singular[packed_index(3, 3)];
        assert!(invert(5, &singular, 0).is_none());
        assert!(invert(5, &singular, 1 << 4).is_some());
        assert!(invert(5, &[0.0; MAX_PACKED], 0).is_none());
        assert!(invert(5, &[f64::NAN; MAX_PACKED], 0).is_none());
    }
}
