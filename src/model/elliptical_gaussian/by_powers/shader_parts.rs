//! Numbers that the assembler of shaders puts into the elliptical Gaussian's WGSL.

use super::{SINGLES, SQUARES, TERMS, monomial, monomials};
use crate::kernel::{Repeats, ShaderParts};
use crate::model::ellipse::{AMPLITUDE, LN_WIDTH_X, LN_WIDTH_Y};
use crate::numbers::matrix::packed_index;

/// Constants and repeated lines of the shader.
pub(super) fn shader_parts() -> ShaderParts {
    ShaderParts {
        constants: vec![
            ("SINGLE_POWERS", SINGLES + 1),
            ("SQUARE_POWERS", SQUARES + 1),
            ("SINGLES", monomials(SINGLES)),
            ("SQUARES", monomials(SQUARES)),
        ],
        repeats: vec![
            ("monomial in SINGLES", repeats_of_monomials(SINGLES)),
            ("monomial in SQUARES", repeats_of_monomials(SQUARES)),
            ("term in TERMS", repeats_of_terms()),
            ("pair in TERMS", repeats_of_pairs()),
        ],
    }
}

/// For each monomial up to a degree `monomial`, its place, and `i`, `j`, its powers of `u` and `dy`.
fn repeats_of_monomials(degree: usize) -> Repeats {
    (0..=degree)
        .flat_map(|sum| (0..=sum).map(move |j| (sum - j, j)))
        .map(|(i, j)| vec![("monomial", monomial(i, j)), ("i", i), ("j", j)])
        .collect()
}

/// For each term its number, `j`, its parameter, and `monomial`.
fn repeats_of_terms() -> Repeats {
    (0..)
        .zip(shader_terms())
        .map(|(term, (parameter, i, j))| {
            vec![
                ("term", term),
                ("j", parameter),
                ("monomial", monomial(i, j)),
            ]
        })
        .collect()
}

/// For each product of two terms `term` and `other`, their numbers; `jk`, the place of both parameters;
/// `times`, how often the product stands there; and `monomial`.
fn repeats_of_pairs() -> Repeats {
    let terms = shader_terms();
    (0..terms.len())
        .flat_map(|a| (0..=a).map(move |b| (a, b)))
        .map(|(a, b)| {
            let ((j, i_a, j_a), (k, i_b, j_b)) = (terms[a], terms[b]);
            vec![
                ("term", a),
                ("other", b),
                ("jk", packed_index(j, k)),
                // Both orders of two terms of one parameter.
                ("times", if a != b && j == k { 2 } else { 1 }),
                ("monomial", monomial(i_a + i_b, j_a + j_b)),
            ]
        })
        .collect()
}

/// The terms of the derivatives, with the height that a wider star loses, in the order of `factors` in
/// `shaders/model/elliptical_gaussian.wgsl`.
fn shader_terms() -> [(usize, usize, usize); TERMS.len() + 2] {
    let lower = [(LN_WIDTH_X, 0, 0), (LN_WIDTH_Y, 0, 0)];
    let mut terms = [(AMPLITUDE, 0, 0); TERMS.len() + 2];
    for (term, given) in terms.iter_mut().zip(TERMS.into_iter().chain(lower)) {
        *term = given;
    }
    terms
}
