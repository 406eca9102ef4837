//! Summary of an image, or of a run, in a line or two.

use std::time::Duration;

use rayon::prelude::*;
use starfit::catalog::{Assumptions, Row};
use starfit::fit::{FitStatus, Flags};
use starfit::measure::{Measured, StageTimes};
use starfit::numbers::significant;
use starfit::wcs::Wcs;

/// Counts of the rows of an image, which may come in parts, or of all images.
#[derive(Debug, Default)]
pub(super) struct Tally {
    by_status: [usize; FitStatus::ALL.len()],
    saturated: usize,
    /// Stars that converged and have no flag, and stars whose only flag is the one of narrow stars.
    clean: usize,
    narrow: usize,
    /// Widths of the stars that converged, pixels, without widths that are only known to be at a bound.
    widths: Vec<f64>,
    /// The widths of stars that are wider than their cutouts, at the bound of the model.
    widest: Vec<f64>,
    /// The exponents of the wings of stars that stand out well, where the model has them.
    betas: Vec<f64>,
    /// Widths on the sky, arcseconds.
    widths_on_sky: Vec<f64>,
}

/// Whether a row's width is that of a star, as far as is known.
fn is_of_star(row: &Row) -> bool {
    let none = Flags::SHARP.0 | Flags::EXTENDED.0;
    row.status == FitStatus::Converged && row.flags.0 & none == 0
}

impl Tally {
    /// Counts rows of an image with this WCS, whose cutouts are `side` pixels wide.
    pub(super) fn add(&mut self, rows: &[Row], wcs: Option<&Wcs>, side: usize) {
        let fitted = rows.iter().find(|row| row.status.has_values());
        let has_wings = fitted.is_some_and(|row| row.get("beta").is_some());
        for row in rows {
            let statuses = FitStatus::ALL.iter().zip(&mut self.by_status);
            for (_, count) in statuses.filter(|(status, _)| **status == row.status) {
                *count += 1;
            }
            if row.status == FitStatus::Converged {
                self.add_converged(row, side);
                if has_wings {
                    self.add_wings(row);
                }
            }
            if row.flags.contains(Flags::SATURATED) {
                self.saturated += 1;
            }
        }
        if let Some(wcs) = wcs {
            let width_on_sky = |row: &Row| {
                let width = row.get("fwhm")?;
                let degrees = wcs.pixel_scale(row.get("x")?, row.get("y")?)?;
                Some(width * degrees * 3600.0)
            };
            let converged = rows
                .par_iter()
                .filter(|row| is_of_star(row) && !ends_at_width(row));
            self.widths_on_sky
                .par_extend(converged.filter_map(width_on_sky));
        }
    }

    fn add_converged(&mut self, row: &Row, side: usize) {
        self.clean += usize::from(row.flags == Flags::default());
        self.narrow += usize::from(row.flags == Flags::UNDERSAMPLED);
        let Some(width) = row.get("fwhm") else {
            return;
        };
        if !ends_at_width(row) {
            if is_of_star(row) {
                self.widths.push(width);
            }
            return;
        }
        let widest = row.get("fwhm_major").unwrap_or(width);
        if widest > side as f64 {
            self.widest.push(widest);
        }
    }

    fn add_wings(&mut self, row: &Row) {
        /// Fainter stars say too little of their wings.
        const CLEAR: f64 = 50.0;
        if row.get("beta_err").is_some() && row.get("snr").is_some_and(|snr| snr > CLEAR) {
            self.betas.extend(row.get("beta"));
        }
    }

    /// Adds the counts of another tally.
    pub(super) fn merge(&mut self, other: Self) {
        for (count, more) in self.by_status.iter_mut().zip(other.by_status) {
            *count += more;
        }
        self.saturated += other.saturated;
        self.clean += other.clean;
        self.narrow += other.narrow;
        self.widest.extend(other.widest);
        self.betas.extend(other.betas);
        self.widths.extend(other.widths);
        self.widths_on_sky.extend(other.widths_on_sky);
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.by_status.iter().sum()
    }

    /// Number of rows whose stars have values.
    pub(super) fn fitted(&self) -> usize {
        let statuses = FitStatus::ALL.iter().zip(self.by_status);
        let fitted = statuses.filter(|(status, _)| status.has_values());
        fitted.map(|(_, count)| count).sum()
    }

    /// Numbers of stars by status: `402 converged`, `29 max iterations`.
    fn statuses(&self) -> impl Iterator<Item = String> {
        let statuses = FitStatus::ALL.iter().zip(self.by_status);
        let found = statuses.filter(|(_, count)| *count > 0);
        found.map(|(status, count)| format!("{count} {}", status.name().replace('_', " ")))
    }

    /// Median width: `FWHM 2.90 pix (1.23 arcsec)`.
    fn width(&mut self) -> Option<String> {
        let width = starfit::numbers::median(&mut self.widths)?;
        let on_sky = starfit::numbers::median(&mut self.widths_on_sky);
        let on_sky = on_sky.map(|width| format!(" ({width:.2} arcsec)"));
        Some(format!("FWHM {width:.2} pix{}", on_sky.unwrap_or_default()))
    }

    /// Median exponent of the wings.
    pub(super) fn beta(&mut self) -> Option<f64> {
        starfit::numbers::median(&mut self.betas)
    }

    /// SQL condition on the flags of stars without a fault. Narrow stars count where most are narrow,
    /// as in a report. `None` where no star is without a fault.
    pub(super) fn clean_flags(&self) -> Option<String> {
        let narrow = Flags::UNDERSAMPLED.0;
        if self.clean + self.narrow == 0 {
            None
        } else if self.narrow > self.clean {
            Some(format!("flags & ~{narrow} = 0"))
        } else {
            Some("flags = 0".to_owned())
        }
    }

    /// Message where many stars are as wide as the model allows.
    pub(super) fn of_widest(&self) -> Option<String> {
        const FEWEST: usize = 3;
        const PART: usize = 10;
        let statuses = FitStatus::ALL.iter().zip(self.by_status);
        let mut converged = statuses.filter(|(status, _)| **status == FitStatus::Converged);
        let converged = converged.next().map_or(0, |(_, count)| count);
        let widest = self.widest.iter().copied().reduce(f64::max)?;
        (self.widest.len() >= FEWEST && PART * self.widest.len() >= converged).then(|| {
            format!(
                "{} of {} ended at the largest width that the cutouts allow, {widest:.1} pix, and are \
                 not in the median FWHM: trails, defocus or nebulosity? --size makes larger cutouts",
                self.widest.len(),
                count(converged, "star"),
            )
        })
    }

    /// Line about all images: `402 converged, 29 max iterations, median FWHM 2.90 pix (1.23 arcsec)`.
    pub(super) fn of_all(&mut self) -> String {
        let mut parts: Vec<String> = self.statuses().collect();
        parts.extend(self.width().map(|width| format!("median {width}")));
        parts.join(", ")
    }

    /// Line about an image: `431 stars, 402 converged (…), FWHM 2.9 pix, background 8140 +- 73 adu`.
    pub(super) fn of_image(&mut self, measured: &Measured, unit: &str) -> String {
        let mut parts = vec![count(self.rows(), "star")];
        parts.extend(self.statuses());
        parts.extend(self.width());
        if let (Some(level), Some(noise)) = (measured.assumed.background, measured.assumed.noise) {
            parts.push(format!(
                "background {} +- {} {unit}",
                significant(level, noise),
                significant(noise, noise)
            ));
        }
        if let (Some(gain), Some(error)) = (measured.assumed.gain, measured.assumed.gain_err) {
            let gain = significant(gain, error);
            let error = significant(error, error);
            parts.push(format!("gain {gain} +- {error} from its noise"));
        }
        if self.saturated > 0 {
            parts.push(format!("{} saturated", self.saturated));
        }
        parts.join(", ")
    }
}

/// Whether nothing more is known of a star's width than that it is at a bound, or beyond.
fn ends_at_width(row: &Row) -> bool {
    row.flags.contains(Flags::NEAR_BOUND) && row.get("fwhm_err").is_none()
}

/// Line about the times of the stages of a run; `write` is by the clock of the one thread that writes.
pub(super) fn of_times(times: &StageTimes, write: Duration) -> String {
    let stages = [
        ("read", times.read),
        ("background and detection", times.detect),
        ("fit", times.fit),
        ("write", write),
    ];
    let stages = stages.map(|(stage, time)| format!("{stage} {:.2} s", time.as_secs_f64()));
    format!(
        "stages, summed over images side by side: {}",
        stages.join(", ")
    )
}

/// Number with its thousands set apart: `34,000`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Number of things: `1 star`, `2 stars`.
pub(super) fn count(number: usize, thing: &str) -> String {
    if number == 1 {
        format!("1 {thing}")
    } else {
        format!("{number} {thing}s")
    }
}

/// Number of images that were done before: `1 image was done already`, for `--resume`.
pub(super) fn count_done_already(images: usize) -> String {
    let were = if images == 1 { "was" } else { "were" };
    format!("{} {were} done already", count(images, "image"))
}

/// Line about the assumptions of an image, for `-v`.
pub(super) fn of_assumptions(assumed: &Assumptions) -> String {
    let or_unknown =
        |value: Option<f64>| value.map_or_else(|| "unknown".into(), |v| format!("{v}"));
    let (width, height) = assumed.size;
    format!(
        "cutouts {width} x {height}, expected FWHM {}, gain {}, saturation {}",
        assumed
            .fwhm
            .map_or_else(|| "unknown".into(), |fwhm| format!("{fwhm:.2}")),
        or_unknown(assumed.gain.map(|gain| (gain * 1e4).round() / 1e4)),
        assumed
            .saturation
            .map_or_else(|| "none".into(), |level| level.to_string()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
