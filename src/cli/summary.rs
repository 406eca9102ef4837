//! What a person wants to know of an image, or a run, in a line or two.

use starfit::catalog::{Assumptions, Row};
use starfit::fit::{FitStatus, Flags};
use starfit::measure::Measured;
use starfit::report::significant;

/// What is counted of the rows of an image, which may come in parts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    by_status: [usize; FitStatus::ALL.len()],
    saturated: usize,
    /// Of the stars that converged.
    widths: Vec<f64>,
}

impl Tally {
    pub(super) fn add(&mut self, rows: &[Row]) {
        for row in rows {
            let statuses = FitStatus::ALL.iter().zip(&mut self.by_status);
            for (_, count) in statuses.filter(|(status, _)| **status == row.status) {
                *count += 1;
            }
            if row.status == FitStatus::Converged {
                self.widths.extend(row.get("fwhm"));
            }
            if row.flags.contains(Flags::SATURATED) {
                self.saturated += 1;
            }
        }
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.by_status.iter().sum()
    }

    /// `431 stars, 402 converged (…), FWHM 2.9 pix, background 8140 +- 73 adu`.
    pub(super) fn of_image(&mut self, measured: &Measured, unit: &str) -> String {
        let mut parts = vec![count(self.rows(), "star")];
        parts.extend(
            FitStatus::ALL
                .iter()
                .zip(self.by_status)
                .filter(|(_, count)| *count > 0)
                .map(|(status, count)| format!("{count} {}", status.name().replace('_', " "))),
        );
        if let Some(width) = starfit::moments::median(&mut self.widths) {
            parts.push(format!("FWHM {width:.2} pix"));
        }
        if let (Some(level), Some(noise)) = (measured.assumed.background, measured.assumed.noise) {
            parts.push(format!(
                "background {} +- {} {unit}",
                significant(level, noise),
                significant(noise, noise)
            ));
        }
        if self.saturated > 0 {
            parts.push(format!("{} saturated", self.saturated));
        }
        parts.join(", ")
    }
}

/// `1 star`, `2 stars`.
pub(super) fn count(number: usize, thing: &str) -> String {
    if number == 1 {
        format!("1 {thing}")
    } else {
        format!("{number} {thing}s")
    }
}

/// `1 image was done already`, for `--resume`.
pub(super) fn count_done_already(images: usize) -> String {
    let were = if images == 1 { "was" } else { "were" };
    format!("{} {were} done already", count(images, "image"))
}

/// What was assumed, for `-v`.
pub(super) fn of_assumptions(assumed: &Assumptions) -> String {
    let or_unknown =
        |value: Option<f64>| value.map_or_else(|| "unknown".into(), |v| format!("{v}"));
    let (width, height) = assumed.size;
    format!(
        "cutouts {width} x {height}, expected FWHM {}, gain {}, saturation {}",
        assumed
            .fwhm
            .map_or_else(|| "unknown".into(), |fwhm| format!("{fwhm:.2}")),
        or_unknown(assumed.gain),
        assumed
            .saturation
            .map_or_else(|| "none".into(), |level| level.to_string()),
    )
}
