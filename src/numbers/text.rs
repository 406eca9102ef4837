//! Numbers as people read them.

/// `value` to two digits of its uncertainty, whatever their powers of ten.
pub fn significant(value: f64, uncertainty: f64) -> String {
    let digits = if uncertainty > 0.0 {
        1 - uncertainty.log10().floor() as i32
    } else {
        2
    };
    match digits {
        // Neither a sky of 1e-16 nor one of 1e30 should fill the line with zeros.
        -6..=6 => format!("{value:.*}", digits.max(0) as usize),
        _ => format!("{value:.2e}"),
    }
}
