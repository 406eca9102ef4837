//! The derivatives of a model that is a product, as terms: functions of the column times functions of
//! the row. Here are their sums along a row, and the way from these to sums of the parameters.

use super::{BACKGROUND, FLUX, Line, WIDTH, X, Y};
use crate::numbers::matrix::{MAX_PACKED, Parameters, Symmetric, packed_index};
use crate::numbers::real::Real;
use crate::numbers::unroll::unroll;

/// Functions of the basis, along a row and along a column.
pub(super) const BASIS: usize = 4;
pub(super) const VALUE: usize = 0;
pub(super) const BY_CENTER: usize = 1;
pub(super) const BY_WIDTH: usize = 2;
pub(super) const ONE: usize = 3;

/// Products of two functions of the basis.
pub(super) const PRODUCTS: usize = BASIS * (BASIS + 1) / 2;

/// The model's derivatives: each term is the derivative by a parameter, made of a function of the
/// column and one of the row. All but the first and the last are multiplied by the flux.
pub(super) const TERMS: [(usize, usize, usize); 6] = [
    (FLUX, VALUE, VALUE),
    (X, BY_CENTER, VALUE),
    (Y, VALUE, BY_CENTER),
    (WIDTH, VALUE, BY_WIDTH),
    (WIDTH, BY_WIDTH, VALUE),
    (BACKGROUND, ONE, ONE),
];

/// Multipliers of [`TERMS`]: the flux or 1.
#[inline(always)]
pub(super) fn scales<T: Real>(flux: T) -> [T; TERMS.len()] {
    let one = flux.constant(1.0);
    [one, flux, flux, flux, flux, one]
}

/// The factors of [`TERMS`] in one row.
#[inline(always)]
pub(super) fn factors<T: Real>(flux: T, row: &Line<T>) -> [T; TERMS.len()] {
    let basis = [row.value, row.by_center, row.by_width, flux.constant(1.0)];
    let mut factors = scales(flux);
    unroll!(A in TERMS.len() => {
        factors[A] = factors[A] * basis[TERMS[A].2];
    });
    factors
}

/// Adds `weight` times the products of the basis.
#[inline(always)]
pub(super) fn add_products<T: Real>(products: &mut [T; PRODUCTS], column: &Line<T>, weight: T) {
    let basis = [column.value, column.by_center, column.by_width];
    unroll!(J in BASIS - 1 => {
        let weighted = weight * basis[J];
        unroll!(K in J + 1 => {
                let at = packed_index(J, K);
                products[at] = weighted.mul_add(basis[K], products[at]);
            });
        let at = packed_index(BASIS - 1, J);
        products[at] = products[at] + weighted;
    });
    let at = packed_index(BASIS - 1, BASIS - 1);
    products[at] = products[at] + weight;
}

/// The products of the basis at one place.
#[inline(always)]
pub(super) fn products<T: Real>(line: &Line<T>) -> [T; PRODUCTS] {
    let one = line.value.constant(1.0);
    let mut products = [one.constant(0.0); PRODUCTS];
    add_products(&mut products, line, one);
    products
}

/// Pairs of terms.
pub(super) const PAIRS: usize = TERMS.len() * (TERMS.len() + 1) / 2;

/// Adds a row to the sum of each pair of terms: `along` has the products of the basis, summed along the
/// row, `across` those of the row's own functions.
#[inline(always)]
pub(super) fn add_pairs<T: Real>(
    pairs: &mut [T; PAIRS],
    along: &[T; PRODUCTS],
    across: &[T; PRODUCTS],
) {
    unroll!(A in TERMS.len() => {
        unroll!(B in A + 1 => {
            let ((_, f, row_f), (_, g, row_g)) = (TERMS[A], TERMS[B]);
            let at = packed_index(A, B);
            pairs[at] = along[packed_index(f, g)]
                .mul_add(across[packed_index(row_f, row_g)], pairs[at]);
        });
    });
}

/// The matrix of the parameters from the sums of the pairs.
#[inline(always)]
pub(super) fn matrix_of_pairs<T: Real>(flux: T, pairs: &[T; PAIRS]) -> Symmetric<T> {
    let scales = scales(flux);
    let mut matrix = [flux.constant(0.0); MAX_PACKED];
    unroll!(A in TERMS.len() => {
        unroll!(B in A + 1 => {
            let ((j, ..), (k, ..)) = (TERMS[A], TERMS[B]);
            let pair = pairs[packed_index(A, B)];
            // Both orders of two terms of one parameter.
            let pair = if A != B && j == k { pair * 2.0 } else { pair };
            let at = packed_index(j, k);
            matrix[at] = (pair * scales[A]).mul_add(scales[B], matrix[at]);
        });
    });
    matrix
}

/// A quadratic form of the parameters' derivatives as a form of the terms.
#[inline(always)]
pub(super) fn form_of_pairs<T: Real>(flux: T, matrix: &Symmetric<T>) -> [T; PAIRS] {
    let scales = scales(flux);
    let mut form = [flux; PAIRS];
    unroll!(A in TERMS.len() => {
        unroll!(B in A + 1 => {
            let ((j, ..), (k, ..)) = (TERMS[A], TERMS[B]);
            let scaled = matrix[packed_index(j, k)] * scales[A] * scales[B];
            form[packed_index(A, B)] = if A != B { scaled * 2.0 } else { scaled };
        });
    });
    form
}

/// A form of the terms in one row, as a form of the basis.
#[inline(always)]
pub(super) fn form_of_row<T: Real>(form: &[T; PAIRS], across: &[T; PRODUCTS]) -> [T; PRODUCTS] {
    let mut row = [form[0].constant(0.0); PRODUCTS];
    unroll!(A in TERMS.len() => {
        unroll!(B in A + 1 => {
            let ((_, f, row_f), (_, g, row_g)) = (TERMS[A], TERMS[B]);
            let at = packed_index(f, g);
            row[at] = form[packed_index(A, B)]
                .mul_add(across[packed_index(row_f, row_g)], row[at]);
        });
    });
    row
}

/// The value of a form of the basis at one column.
#[inline(always)]
pub(super) fn value_of_form<T: Real>(form: &[T; PRODUCTS], column: &Line<T>) -> T {
    let basis = [column.value, column.by_center, column.by_width];
    let mut value = form[packed_index(BASIS - 1, BASIS - 1)];
    unroll!(J in BASIS - 1 => {
        let mut sum = form[packed_index(BASIS - 1, J)];
        unroll!(K in J + 1 => {
                sum = form[packed_index(J, K)].mul_add(basis[K], sum);
            });
        value = sum.mul_add(basis[J], value);
    });
    value
}

/// Adds the score of a pixel times the basis.
#[inline(always)]
pub(super) fn add_score<T: Real>(scores: &mut [T; BASIS], column: &Line<T>, score: T) {
    scores[VALUE] = score.mul_add(column.value, scores[VALUE]);
    scores[BY_CENTER] = score.mul_add(column.by_center, scores[BY_CENTER]);
    scores[BY_WIDTH] = score.mul_add(column.by_width, scores[BY_WIDTH]);
    scores[ONE] = scores[ONE] + score;
}

/// Adds the scores of a row to the gradient.
#[inline(always)]
pub(super) fn add_to_gradient<T: Real>(
    gradient: &mut Parameters<T>,
    factors: &[T; TERMS.len()],
    scores: &[T; BASIS],
) {
    unroll!(A in TERMS.len() => {
        let (j, f, _) = TERMS[A];
        gradient[j] = factors[A].mul_add(scores[f], gradient[j]);
    });
}
