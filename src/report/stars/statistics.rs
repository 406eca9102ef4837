//! Numbers of the stars of an image.

use crate::catalog::{Row, rounded};
use crate::error::Result;
use crate::fit::{FitStatus, Flags};
use crate::numbers::median;
use crate::report::{ImageRecord, Records};

/// Numbers of a star that the figures need; NaN is null.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::report) struct StarValues {
    pub(in crate::report) id: usize,
    pub(in crate::report) status: FitStatus,
    pub(in crate::report) flags: Flags,
    /// Column of the centre as in the catalogue, which may count pixels from 1.
    pub(in crate::report) x: f64,
    pub(in crate::report) y: f64,
    pub(in crate::report) ra: f64,
    pub(in crate::report) dec: f64,
    pub(in crate::report) flux: f64,
    pub(in crate::report) flux_err: f64,
    pub(in crate::report) mag: f64,
    pub(in crate::report) fwhm: f64,
    pub(in crate::report) major: f64,
    pub(in crate::report) minor: f64,
    pub(in crate::report) theta: f64,
    pub(in crate::report) ellipticity: f64,
    pub(in crate::report) snr: f64,
    pub(in crate::report) reduced_chi2: f64,
    pub(in crate::report) qfit: f64,
}

impl StarValues {
    pub(in crate::report) fn new(row: &Row) -> Self {
        let value = |name| row.get(name).unwrap_or(f64::NAN);
        Self {
            id: row.id,
            status: row.status,
            flags: row.flags,
            x: value("x"),
            y: value("y"),
            ra: value("ra"),
            dec: value("dec"),
            flux: value("flux"),
            flux_err: value("flux_err"),
            mag: value("mag"),
            fwhm: value("fwhm"),
            major: value("fwhm_major"),
            minor: value("fwhm_minor"),
            theta: value("theta"),
            ellipticity: value("ellipticity"),
            snr: value("snr"),
            reduced_chi2: value("reduced_chi2"),
            qfit: value("qfit"),
        }
    }

    /// All stars of an image, by y and x.
    ///
    /// # Errors
    ///
    /// The errors of [`Records::each_star`].
    pub(in crate::report) fn read(records: &Records, record: &ImageRecord) -> Result<Vec<Self>> {
        let mut stars = Vec::new();
        records.each_star(record, |row| {
            stars.push(Self::new(&row));
            Ok(())
        })?;
        Ok(stars)
    }

    /// Text of a tooltip: the numbers that are known of the star.
    pub(in crate::report) fn title(&self) -> String {
        let mut title = format!("star {}", self.id);
        let numbers = [
            ("FWHM", self.fwhm, " pix"),
            ("flux", self.flux, ""),
            ("S/N", self.snr, ""),
        ];
        let known = numbers
            .into_iter()
            .filter(|(_, value, _)| value.is_finite());
        for (between, (name, value, unit)) in [": ", ", ", ", "].iter().zip(known) {
            title.push_str(&format!("{between}{name} {}{unit}", rounded(value, 3)));
        }
        title
    }

    /// The ellipticity along and across x, and along and across the diagonal: unlike lengths and
    /// angles, these parts can be averaged. `None` for round models.
    pub(in crate::report) fn elongation(&self) -> Option<[f64; 2]> {
        let (sin, cos) = (2.0 * self.theta.to_radians()).sin_cos();
        let parts = [self.ellipticity * cos, self.ellipticity * sin];
        parts.iter().all(|part| part.is_finite()).then_some(parts)
    }
}

/// Length and angle, degrees from +x to +y, of what [`StarValues::elongation`] gives.
pub(in crate::report) fn direction([along, across]: [f64; 2]) -> (f64, f64) {
    (along.hypot(across), across.atan2(along).to_degrees() / 2.0)
}

/// The stars of an image, counted.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::report) struct Summary {
    pub(in crate::report) stars: usize,
    /// Numbers of stars in the order of [`FitStatus::ALL`].
    pub(in crate::report) by_status: [usize; FitStatus::ALL.len()],
    /// Numbers of stars in the order of [`Flags::TABLE`].
    pub(in crate::report) by_flag: [usize; Flags::TABLE.len()],
    /// Flags that do not keep a star from being clean.
    pub(in crate::report) allowed: Flags,
    pub(in crate::report) clean: usize,
    /// Medians of the clean stars.
    pub(in crate::report) fwhm: Option<f64>,
    pub(in crate::report) ellipticity: Option<f64>,
    pub(in crate::report) reduced_chi2: Option<f64>,
}

impl Summary {
    /// Counts `stars`, which the flags `allowed` do not keep from being clean.
    pub(in crate::report) fn new(stars: &[StarValues], allowed: Flags) -> Self {
        let mut by_status = [0; FitStatus::ALL.len()];
        let mut by_flag = [0; Flags::TABLE.len()];
        for star in stars {
            for (count, status) in by_status.iter_mut().zip(FitStatus::ALL) {
                *count += usize::from(star.status == status);
            }
            for (count, (flag, ..)) in by_flag.iter_mut().zip(Flags::TABLE) {
                *count += usize::from(star.flags.contains(flag));
            }
        }
        let mut summary = Self {
            stars: stars.len(),
            by_status,
            by_flag,
            allowed,
            clean: 0,
            fwhm: None,
            ellipticity: None,
            reduced_chi2: None,
        };
        let clean: Vec<&StarValues> = stars.iter().filter(|star| summary.is_clean(star)).collect();
        let middle = |of: fn(&StarValues) -> f64| {
            let values = clean.iter().map(|star| of(star));
            let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
            median(&mut values)
        };
        summary.fwhm = middle(|star| star.fwhm);
        summary.ellipticity = middle(|star| star.ellipticity);
        summary.reduced_chi2 = middle(|star| star.reduced_chi2);
        summary.clean = clean.len();
        summary
    }

    /// Whether a star says something about the image: its fit converged and nothing is wrong with
    /// it.
    pub(in crate::report) fn is_clean(&self, star: &StarValues) -> bool {
        star.status == FitStatus::Converged && star.flags.0 & !self.allowed.0 == 0
    }

    pub(in crate::report) fn converged(&self) -> usize {
        let counts = self.by_status.iter().zip(FitStatus::ALL);
        counts
            .filter(|(_, status)| *status == FitStatus::Converged)
            .map(|(count, _)| count)
            .sum()
    }
}

/// Quantile: the value that `part` of the sorted values is below, between two of them in proportion.
pub(in crate::report) fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let place = part * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (place.floor(), place.ceil());
    let (low, high) = (sorted.get(below as usize)?, sorted.get(above as usize)?);
    let share = place - below;
    Some(low * (1.0 - share) + high * share)
}

/// A median and its standard error, `sqrt(pi / 2)` times the error of a mean, from the median absolute
/// deviation; no error for fewer than five values.
pub(in crate::report) fn median_with_error(values: &mut [f64]) -> Option<(f64, Option<f64>)> {
    let n = values.len();
    let middle = median(values)?;
    let mut deviations: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    let deviation = median(&mut deviations)?;
    let error = 1.2533 * 1.4826 * deviation / (n as f64).sqrt();
    Some((middle, (n >= 5).then_some(error)))
}

#[cfg(test)]
pub(in crate::report) mod tests {
    use crate::report::stars::statistics::*;

    /// A converged star without flags.
    pub(in crate::report) fn star(id: usize, x: f64, y: f64, fwhm: f64) -> StarValues {
        StarValues {
            id,
            status: FitStatus::Converged,
            flags: Flags(0),
            x,
            y,
            ra: f64::NAN,
            dec: f64::NAN,
            flux: 1000.0,
            flux_err: 10.0,
            mag: f64::NAN,
            fwhm,
            major: f64::NAN,
            minor: f64::NAN,
            theta: f64::NAN,
            ellipticity: f64::NAN,
            snr: 100.0,
            reduced_chi2: 1.0,
            qfit: f64::NAN,
        }
    }

    #[test]
    fn rows_are_read() {
        let mut row = Row::new(3, FitStatus::MaxIterations, Flags(12));
        row.set("fwhm", 2.5);
        row.set("theta", 30.0);
        row.set("ellipticity", 0.2);
        let star = StarValues::new(&row);
        assert_eq!((star.id, star.flags, star.fwhm), (3, Flags(12), 2.5));
        assert!(star.flux.is_nan());
        assert_eq!(star.title(), "star 3: FWHM 2.50 pix");
        let (length, angle) = direction(star.elongation().unwrap());
        assert!(
            (length - 0.2).abs() < 1e-12 && (angle - 30.0).abs() < 1e-9,
            "{angle}"
        );
    }

    #[test]
    fn only_clean_stars_have_medians() {
        let mut stars: Vec<StarValues> = (0..5)
            .map(|id| star(id, 0.0, 0.0, 2.0 + id as f64))
            .collect();
        stars[3].flags = Flags::SATURATED;
        stars[4].status = FitStatus::MaxIterations;
        let summary = Summary::new(&stars, Flags::default());
        assert_eq!(
            (summary.stars, summary.clean, summary.converged()),
            (5, 3, 4)
        );
        assert_eq!(summary.fwhm, Some(3.0));
        assert_eq!((summary.by_status[1], summary.by_flag[2]), (1, 1));
        assert_eq!(Summary::new(&[], Flags::default()).fwhm, None);
    }

    #[test]
    fn allowed_flags_leave_a_star_clean() {
        let mut stars: Vec<StarValues> = (0..5).map(|id| star(id, 0.0, 0.0, 1.2)).collect();
        stars[0].flags = Flags::UNDERSAMPLED;
        stars[1].flags = Flags(Flags::UNDERSAMPLED.0 | Flags::SATURATED.0);
        assert_eq!(Summary::new(&stars, Flags::default()).clean, 3);
        assert_eq!(Summary::new(&stars, Flags::UNDERSAMPLED).clean, 4);
    }

    #[test]
    fn quantiles_and_errors_are_those_of_the_values() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), Some(2.5));
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 1.0), Some(3.0));
        assert_eq!(quantile(&[], 0.5), None);
        let mut values: Vec<f64> = (0..101).map(f64::from).collect();
        let (middle, error) = median_with_error(&mut values).unwrap();
        assert_eq!(middle, 50.0);
        let expected = 1.2533 * 1.4826 * 25.0 / 101f64.sqrt();
        assert!((error.unwrap() - expected).abs() < 1e-9);
        assert_eq!(median_with_error(&mut [1.0, 2.0]).unwrap().1, None);
    }
}
