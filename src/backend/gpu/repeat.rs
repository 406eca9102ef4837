//! Repeats lines of a shader, so that the arrays in them have constant indices and stay in registers.

use crate::kernel::Repeats;
use crate::model::Model;
use crate::numbers::matrix::packed_index;

/// Pixels that are read at once: four neighbours of a row. A driver that looks at every read of every
/// invocation, as llvmpipe does, is twice as fast with a quarter of the reads.
pub(super) const CELL: usize = 4;

/// Repeats the lines between `// unroll WHAT` and `// end` with the names in braces replaced, for
///
/// | what | names |
/// |---|---|
/// | `j in PARAMETERS` | |
/// | `jk in PACKED` | `j`, `k`, and `jk`, the place of both in a packed matrix |
/// | `x in COLUMNS` | and `cell`, `part`: its cell of the row and the place in that |
/// | `q in CELLS` | the cells of a row |
/// | `i in CELL` | the pixels of a cell |
///
/// and for the repeats that the [kernel](Model::shader_parts) of the model names.
pub(super) fn repeated(text: &str, model: &dyn Model, columns: usize) -> String {
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
        for names in repeats_of(what, model, columns) {
            let mut text = body.clone();
            for (name, value) in names {
                text = text.replace(&format!("{{{name}}}"), &value.to_string());
            }
            out.push_str(&text);
        }
    }
    out
}

fn repeats_of(what: &str, model: &dyn Model, columns: usize) -> Repeats {
    let parameters = model.parameters().len();
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
        _ => {
            let parts = model.shader_parts();
            let mut repeats = parts.repeats.into_iter();
            let of_kernel = repeats.find_map(|(name, repeats)| (name == what).then_some(repeats));
            of_kernel.unwrap_or_else(|| unreachable!("no shader of this program repeats {what}"))
        }
    }
}

/// Every number below `count`, with every one up to itself.
fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(|j| (0..=j).map(move |k| (j, k)))
}
