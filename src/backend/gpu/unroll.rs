//! Repeats lines of a shader, so that what they index has constant places and stays in registers.

use super::shader::CELL;
use crate::kernel::conic::{SINGLES, SQUARES, TERMS, monomial};
use crate::model::ellipse::{AMPLITUDE, LN_WIDTH_X, LN_WIDTH_Y};
use crate::model::{Model, packed_index};

/// Repeats the lines between `// unroll WHAT` and `// end` with the names in braces replaced, for
///
/// | what | names |
/// |---|---|
/// | `j in PARAMETERS` | |
/// | `jk in PACKED` | `j`, `k`, and `jk`, the place of both in a packed matrix |
/// | `x in COLUMNS` | and `cell`, `part`: its cell of the row and the place in that |
/// | `q in CELLS` | the cells of a row |
/// | `i in CELL` | the pixels of a cell |
/// | `monomial in SINGLES`, `SQUARES` | `i`, `j`: its powers of u and dy |
/// | `term in TERMS` | `j`, its parameter, and `monomial` |
/// | `pair in TERMS` | `term`, `other`; `jk`, the place of both parameters; `times`, how often the product stands there; `monomial` |
pub(super) fn unroll(text: &str, model: &dyn Model, columns: usize) -> String {
    let mut out = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(what) = line.trim().strip_prefix("// unroll ") else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let body: Vec<&str> = lines
            .by_ref()
            .take_while(|line| line.trim() != "// end")
            .collect();
        let body = body.join("\n") + "\n";
        for names in names_of(what, model.parameters().len(), columns) {
            let mut text = body.clone();
            for (name, value) in names {
                text = text.replace(&format!("{{{name}}}"), &value.to_string());
            }
            out.push_str(&text);
        }
    }
    out
}

/// What is replaced by which number, for each time that the lines are repeated.
type Names = Vec<Vec<(&'static str, usize)>>;

fn names_of(what: &str, parameters: usize, columns: usize) -> Names {
    let each = |name, count| (0..count).map(|number| vec![(name, number)]).collect();
    match what {
        "j in PARAMETERS" => each("j", parameters),
        "jk in PACKED" => pairs(parameters)
            .map(|(j, k)| vec![("j", j), ("k", k), ("jk", packed_index(j, k))])
            .collect(),
        "x in COLUMNS" => (0..columns)
            .map(|x| vec![("x", x), ("cell", x / CELL), ("part", x % CELL)])
            .collect(),
        "q in CELLS" => each("q", columns.div_ceil(CELL)),
        "i in CELL" => each("i", CELL),
        "monomial in SINGLES" => monomials(SINGLES),
        "monomial in SQUARES" => monomials(SQUARES),
        "term in TERMS" => (0..)
            .zip(terms())
            .map(|(term, (parameter, i, j))| {
                vec![
                    ("term", term),
                    ("j", parameter),
                    ("monomial", monomial(i, j)),
                ]
            })
            .collect(),
        "pair in TERMS" => pairs(terms().len())
            .map(|(a, b)| {
                let ((j, i_a, j_a), (k, i_b, j_b)) = (terms()[a], terms()[b]);
                vec![
                    ("term", a),
                    ("other", b),
                    ("jk", packed_index(j, k)),
                    // Both orders of two terms of one parameter.
                    ("times", if a != b && j == k { 2 } else { 1 }),
                    ("monomial", monomial(i_a + i_b, j_a + j_b)),
                ]
            })
            .collect(),
        _ => unreachable!("the shaders are part of this program: {what}"),
    }
}

/// Every number below `count`, with every one up to itself.
fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(|j| (0..=j).map(move |k| (j, k)))
}

fn monomials(degree: usize) -> Names {
    (0..=degree)
        .flat_map(|sum| (0..=sum).map(move |j| (sum - j, j)))
        .map(|(i, j)| vec![("monomial", monomial(i, j)), ("i", i), ("j", j)])
        .collect()
}

/// The terms of the derivatives of the elliptical Gaussian, with what a wider star loses in height, in
/// the order of `factors` in its shader.
fn terms() -> [(usize, usize, usize); TERMS.len() + 2] {
    let lower = [(LN_WIDTH_X, 0, 0), (LN_WIDTH_Y, 0, 0)];
    let mut terms = [(AMPLITUDE, 0, 0); TERMS.len() + 2];
    for (term, given) in terms.iter_mut().zip(TERMS.into_iter().chain(lower)) {
        *term = given;
    }
    terms
}
