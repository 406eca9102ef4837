//! What a person wants to know of an image, or a run, in a line or two.

use starfit::catalog::Row;
use starfit::fit::{FitStatus, Flags};
use starfit::measure::Measured;

/// `431 stars, 402 converged (…), FWHM 2.9 pix, background 8140 +- 73 adu`.
pub(super) fn of_image(measured: &Measured, unit: &str) -> String {
    let rows = &measured.rows;
    let mut parts = vec![count(rows.len(), "star")];
    parts.extend(
        FitStatus::ALL
            .iter()
            .map(|status| (rows.iter().filter(|row| row.status == *status).count(), status))
            .filter(|(count, _)| *count > 0)
            .map(|(count, status)| format!("{count} {}", status.name().replace('_', " "))),
    );
    if let Some(width) = median_width(rows) {
        parts.push(format!("FWHM {width:.2} pix"));
    }
    if let (Some(level), Some(noise)) = (measured.background, measured.noise) {
        parts.push(format!("background {} +- {} {unit}", significant(level, noise), significant(noise, noise)));
    }
    let saturated = rows.iter().filter(|row| row.flags.contains(Flags::SATURATED)).count();
    if saturated > 0 {
        parts.push(format!("{saturated} saturated"));
    }
    parts.join(", ")
}

/// `1 star`, `2 stars`.
pub(super) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// What was assumed, for `-v`.
pub(super) fn of_assumptions(measured: &Measured) -> String {
    let or_unknown = |value: Option<f64>| value.map_or_else(|| "unknown".into(), |v| format!("{v}"));
    let (width, height) = measured.size;
    format!(
        "cutouts {width} x {height}, expected FWHM {}, gain {}, saturation {}",
        measured.fwhm.map_or_else(|| "unknown".into(), |fwhm| format!("{fwhm:.2}")),
        or_unknown(measured.gain),
        if measured.saturation.is_finite() { measured.saturation.to_string() } else { "none".into() },
    )
}

fn median_width(rows: &[Row]) -> Option<f64> {
    let converged = rows.iter().filter(|row| row.status == FitStatus::Converged);
    let mut widths: Vec<f64> = converged.filter_map(|row| row.get("fwhm")).collect();
    starfit::moments::median(&mut widths)
}

/// `value` to two digits of its uncertainty, whatever their powers of ten.
fn significant(value: f64, uncertainty: f64) -> String {
    let digits = if uncertainty > 0.0 { 1 - uncertainty.log10().floor() as i32 } else { 2 };
    match digits {
        // Neither a sky of 1e-16 nor one of 1e30 should fill the line with zeros.
        -6..=6 => format!("{value:.*}", digits.max(0) as usize),
        _ => format!("{value:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::significant;

    #[test]
    fn numbers_are_as_long_as_they_are_certain() {
        assert_eq!(significant(8140.662, 73.25), "8141");
        assert_eq!(significant(0.028894, 0.03038), "0.029");
        assert_eq!(significant(1.59e-17, 3.6e-16), "1.59e-17");
        assert_eq!(significant(42.0, 0.0), "42.00");
        assert_eq!(significant(1.5e30, 2e28), "1.50e30");
    }
}
