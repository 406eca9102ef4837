//! Vectors of parameters and symmetric matrices of a few rows.

/// Most parameters that a model can have. It has five at least: flux, x, y, a width, background.
pub const MAX_PARAMETERS: usize = 8;

/// Numbers in the packed lower triangle of a matrix of [`MAX_PARAMETERS`] rows.
pub const MAX_PACKED: usize = MAX_PARAMETERS * (MAX_PARAMETERS + 1) / 2;

/// A value for each parameter, in the order of [`Model::parameters`](crate::model::Model::parameters);
/// the rest is 0.
pub type Parameters<T = f64> = [T; MAX_PARAMETERS];

/// Lower triangle of a symmetric matrix, row after row.
pub type Symmetric<T = f64> = [T; MAX_PACKED];

/// Place of row `j`, column `k` in a [`Symmetric`] matrix, in either order.
#[inline(always)]
pub const fn packed_index(j: usize, k: usize) -> usize {
    let (row, column) = if j < k { (k, j) } else { (j, k) };
    row * (row + 1) / 2 + column
}

/// `v^T M v` for a symmetric matrix of `n` rows.
#[inline(always)]
pub fn quadratic_form(n: usize, matrix: &Symmetric, v: &Parameters) -> f64 {
    let mut sum = 0.0;
    for j in 0..n {
        for k in 0..j {
            sum += 2.0 * v[j] * v[k] * matrix[packed_index(j, k)];
        }
        sum += v[j] * v[j] * matrix[packed_index(j, j)];
    }
    sum
}

/// `A M A^T` for a symmetric matrix `M` of one star and the first `n` rows and columns of `A`.
pub fn congruence(n: usize, outer: &[Parameters; MAX_PARAMETERS], middle: &Symmetric) -> Symmetric {
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
