//! Symmetric systems of up to twelve coordinates, as many as a star of three colours has.

use crate::numbers::matrix::MAX_PARAMETERS;
use crate::solver::cholesky::SMALLEST_PIVOT;

/// Most coordinates of a joint fit: two more colours have a flux and a level each.
pub(super) const MAX_JOINT: usize = MAX_PARAMETERS + 4;

pub(super) type Vector = [f64; MAX_JOINT];
pub(super) type Matrix = [Vector; MAX_JOINT];

/// The inverse of the rows and columns of a positive definite matrix that are `free`, 0 elsewhere;
/// `None` where one of them keeps too little of its information.
pub(super) fn invert(matrix: &Matrix, free: &[bool]) -> Option<Matrix> {
    let places: Vec<usize> = (0..free.len()).filter(|&j| free[j]).collect();
    let n = places.len();
    // With a diagonal of 1, whatever the units are.
    let mut roots = [1.0; MAX_JOINT];
    for (root, &j) in roots.iter_mut().zip(&places) {
        *root = matrix[j][j].sqrt();
        if !(*root > 0.0 && root.is_finite()) {
            return None;
        }
    }
    let element = |j: usize, k: usize| matrix[places[j]][places[k]] / (roots[j] * roots[k]);
    // Cholesky's factor, row after row.
    let mut lower: Matrix = [[0.0; MAX_JOINT]; MAX_JOINT];
    for j in 0..n {
        for k in 0..=j {
            let known: f64 = (0..k).map(|i| lower[j][i] * lower[k][i]).sum();
            let rest = element(j, k) - known;
            if k < j {
                lower[j][k] = rest / lower[k][k];
            } else if rest > SMALLEST_PIVOT {
                lower[j][j] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    let mut inverse: Matrix = [[0.0; MAX_JOINT]; MAX_JOINT];
    for column in 0..n {
        let mut x = [0.0; MAX_JOINT];
        for j in 0..n {
            let known: f64 = (0..j).map(|i| lower[j][i] * x[i]).sum();
            x[j] = (f64::from(u8::from(j == column)) - known) / lower[j][j];
        }
        for j in (0..n).rev() {
            let known: f64 = (j + 1..n).map(|i| lower[i][j] * x[i]).sum();
            x[j] = (x[j] - known) / lower[j][j];
        }
        for j in 0..n {
            inverse[places[j]][places[column]] = x[j] / (roots[j] * roots[column]);
        }
    }
    let is_finite = inverse.iter().flatten().all(|value| value.is_finite());
    is_finite.then_some(inverse)
}

/// `A M A` of symmetric matrices.
pub(super) fn sandwich(n: usize, outer: &Matrix, middle: &Matrix) -> Matrix {
    let times = |a: &Matrix, b: &Matrix| -> Matrix {
        let mut product = [[0.0; MAX_JOINT]; MAX_JOINT];
        for j in 0..n {
            for k in 0..n {
                product[j][k] = (0..n).map(|i| a[j][i] * b[i][k]).sum();
            }
        }
        product
    };
    times(&times(outer, middle), outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of scales as far apart as a flux and a position.
    fn matrix() -> Matrix {
        let scale = |j: usize| 10f64.powi(2 * (j as i32 % 5) - 4);
        let mut matrix = [[0.0; MAX_JOINT]; MAX_JOINT];
        for (j, row) in matrix.iter_mut().enumerate() {
            for (k, value) in row.iter_mut().enumerate() {
                let distance = j.abs_diff(k) as f64;
                *value = scale(j) * scale(k) * 0.6f64.powf(distance);
            }
        }
        matrix
    }

    #[test]
    fn the_inverse_undoes_what_is_free() {
        let matrix = matrix();
        let mut free = [true; MAX_JOINT];
        free[3] = false;
        let inverse = invert(&matrix, &free).unwrap();
        for j in (0..MAX_JOINT).filter(|j| free[*j]) {
            for k in (0..MAX_JOINT).filter(|k| free[*k]) {
                let terms = |i: usize| matrix[j][i] * inverse[i][k];
                let sum: f64 = (0..MAX_JOINT).map(terms).sum();
                let size: f64 = (0..MAX_JOINT).map(|i| terms(i).abs()).sum();
                let expected = f64::from(u8::from(j == k));
                assert!((sum - expected).abs() <= 1e-13 * size, "{j} {k}: {sum}");
            }
            assert_eq!((inverse[3][j], inverse[j][3]), (0.0, 0.0));
        }
        let middle = sandwich(MAX_JOINT, &inverse, &matrix);
        assert!((middle[5][6] / inverse[5][6] - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_determined_is_none() {
        let mut singular = matrix();
        for k in 0..MAX_JOINT {
            singular[7][k] = singular[6][k];
        }
        for row in &mut singular {
            row[7] = row[6];
        }
        assert!(invert(&singular, &[true; MAX_JOINT]).is_none());
        let mut free = [true; MAX_JOINT];
        free[7] = false;
        assert!(invert(&singular, &free).is_some());
        assert!(invert(&[[f64::NAN; MAX_JOINT]; MAX_JOINT], &free).is_none());
    }
}
