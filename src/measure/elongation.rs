//! Ellipticities of stars that are fitted with a round model: from the second moments of their light in a
//! round Gaussian window.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use rayon::prelude::*;
use smallvec::SmallVec;

use crate::catalog::Row;
use crate::catalog::columns::position;
use crate::fit::{FitStatus, Flags};
use crate::model::{FWHM_OF_SIGMA, Model};
use crate::numbers::median;
use crate::star::WORTH_A_CORE;

/// Least S/N of a star with an ellipticity: noise alone makes an ellipticity of about 2 / (S/N).
const LEAST_SNR: f64 = 20.0;

/// Least FWHM, pixels: second moments of a star that is narrower are those of the grid.
const LEAST_FWHM: f64 = 1.5;

/// How far the window reaches, in its standard deviations.
const REACH: f64 = 3.0;

/// Largest second moment of the light in the window, as a part of the square of the window's width: beyond,
/// the length of a star is not known.
const LONGEST: f64 = 0.95;

/// Median ellipticity from which an image's stars are called elongated: a round model loses a few per cent
/// of the flux of such stars. Good optics and guiding stay below half of it.
const ELONGATED: f64 = 0.2;

/// Least S/N of the stars for the advice, and least number of these stars.
const CLEAR_SNR: f64 = 50.0;
const FEWEST: usize = 10;

const X: usize = position("x");
const Y: usize = position("y");
const FWHM: usize = position("fwhm");
const BACKGROUND: usize = position("background");
const SNR: usize = position("snr");
const ELLIPTICITY: usize = position("ellipticity");

/// The pixels of an image, or of a cutout, row after row.
#[derive(Debug)]
pub(super) struct Light<'a> {
    pub(super) width: usize,
    pub(super) data: Cow<'a, [f64]>,
    /// Weights, as [`Pixels::weight`](crate::pixels::Pixels::weight) has them; `None`: each finite value is
    /// used.
    pub(super) weight: Option<Cow<'a, [f64]>>,
    /// Pixels from this value on are not used.
    pub(super) saturation: f64,
}

impl Light<'_> {
    /// A part of a row, if all its pixels are there and can be used.
    fn line(&self, row: i64, columns: &RangeInclusive<i64>) -> Option<&[f64]> {
        let row = usize::try_from(row).ok()?.checked_mul(self.width)?;
        let first = usize::try_from(*columns.start()).ok()?;
        let last = usize::try_from(*columns.end())
            .ok()
            .filter(|&last| last < self.width)?;
        let places = row.checked_add(first)?..row.checked_add(last)?.checked_add(1)?;
        let line = self.data.get(places.clone())?;
        let is_used = line
            .iter()
            .all(|&value| value < self.saturation && value.is_finite());
        let has_weight = self.weight.as_ref().is_none_or(|weight| {
            let weights = weight.get(places);
            weights.is_some_and(|weights| weights.iter().all(|&weight| weight > 0.0))
        });
        (is_used && has_weight).then_some(line)
    }
}

/// Sets the ellipticity of rows of a round model, which have none, where it can be told; `ellipticity` gives
/// [`RoundStar::ellipticity`] for the row of a number.
pub(super) fn set_ellipticities(
    rows: &mut [Row],
    ellipticity: impl Fn(usize, &RoundStar) -> Option<f64> + Sync,
) {
    let rows = rows.par_iter_mut().enumerate().with_min_len(WORTH_A_CORE);
    rows.for_each(|(index, row)| {
        let star = RoundStar {
            x: row.number(X),
            y: row.number(Y),
            fwhm: row.number(FWHM),
            background: row.number(BACKGROUND),
            snr: row.number(SNR),
        };
        let is_told = star.snr >= LEAST_SNR && star.fwhm >= LEAST_FWHM;
        if is_told
            && row.number(ELLIPTICITY).is_nan()
            && let Some(ellipticity) = ellipticity(index, &star)
        {
            row.set("ellipticity", ellipticity);
        }
    });
}

/// Advice where the stars of an image are longer than a round model takes them for.
pub(super) fn advice(rows: &[Row], model: &dyn Model) -> Option<String> {
    if model.columns().iter().any(|column| column.name == "theta") {
        return None;
    }
    let is_clean = |row: &&Row| {
        let allowed = Flags::UNDERSAMPLED.0;
        row.status == FitStatus::Converged
            && row.flags.0 & !allowed == 0
            && row.get("snr").is_some_and(|snr| snr >= CLEAR_SNR)
    };
    let clean = rows.iter().filter(is_clean);
    let mut all: Vec<f64> = clean.filter_map(|row| row.get("ellipticity")).collect();
    let count = all.len();
    let middle = median(&mut all).filter(|&middle| count >= FEWEST && middle > ELONGATED)?;
    let better = match model.columns().iter().any(|column| column.name == "beta") {
        true => "elliptical-moffat",
        false => "elliptical-gaussian",
    };
    Some(format!(
        "the stars are elongated, median ellipticity {middle:.2} of {count} bright ones, and {} is round: part of their flux is lost; --model {better} follows their shape",
        model.name()
    ))
}

/// A star by the fit of a round model.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoundStar {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) fwhm: f64,
    pub(super) background: f64,
    pub(super) snr: f64,
}

impl RoundStar {
    /// `1 - minor / major` of the Gaussian that has the moments of the star's light; `None` where the window
    /// has a pixel that cannot be used.
    ///
    /// The window is as wide as the fitted star; the inverse covariance of a Gaussian times a window is the
    /// sum of both inverse covariances. The square of the difference of the axes is reduced by the part that
    /// noise adds (J. F. C. Wardle and P. P. Kronberg 1974, ApJ 194, 249).
    pub(super) fn ellipticity(&self, light: &Light<'_>) -> Option<f64> {
        let window = self.fwhm / FWHM_OF_SIGMA;
        let weigh = |offset: f64| (-0.5 * (offset / window).powi(2)).exp();
        let span = |center: f64| {
            let reach = REACH * window;
            (center - reach).ceil() as i64..=(center + reach).floor() as i64
        };
        let (columns, rows) = (span(self.x), span(self.y));
        let offsets = columns.clone().map(|column| column as f64 - self.x);
        let across: SmallVec<[[f64; 3]; 32]> = offsets
            .map(|dx| {
                let weight = weigh(dx);
                [weight, weight * dx, weight * dx * dx]
            })
            .collect();
        let [mut sum, mut x, mut y, mut xx, mut xy, mut yy] = [0.0; 6];
        for row in rows {
            let mut moments = [0.0; 3];
            for (value, factors) in light.line(row, &columns)?.iter().zip(&across) {
                let value = value - self.background;
                for (moment, factor) in moments.iter_mut().zip(factors) {
                    *moment += factor * value;
                }
            }
            let dy = row as f64 - self.y;
            let [flux, by_dx, by_dx2] = moments.map(|moment| moment * weigh(dy));
            sum += flux;
            x += by_dx;
            y += flux * dy;
            xx += by_dx2;
            xy += by_dx * dy;
            yy += flux * dy * dy;
        }
        let sum = Some(sum).filter(|&sum| sum > 0.0)?;
        let (x, y) = (x / sum, y / sum);
        let (xx, xy, yy) = (xx / sum - x * x, xy / sum - x * y, yy / sum - y * y);
        let mean = Some(0.5 * (xx + yy)).filter(|&mean| mean > 0.0)?;
        let square = (0.25 * (xx - yy).powi(2) + xy * xy) / (mean * mean);
        let difference = (square - 2.0 * self.snr.powi(-2)).clamp(0.0, 1.0).sqrt();
        let square = window * window;
        let alone = |seen: f64| {
            let seen = seen.min(LONGEST * square);
            seen * square / (square - seen)
        };
        let major = alone(mean * (1.0 + difference));
        let minor = alone(mean * (1.0 - difference));
        Some(1.0 - (minor / major).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ellipticity found of a Gaussian of these axes, standard deviations, at an angle.
    fn found(major: f64, minor: f64, angle: f64, snr: f64) -> Option<f64> {
        let (sin, cos) = angle.sin_cos();
        let star = RoundStar {
            x: 20.3,
            y: 19.8,
            fwhm: FWHM_OF_SIGMA * (major * minor).sqrt(),
            background: 7.0,
            snr,
        };
        let value = |at: usize| {
            let (dx, dy) = ((at % 40) as f64 - 20.3, (at / 40) as f64 - 19.8);
            let (along, across) = (dx * cos + dy * sin, dy * cos - dx * sin);
            let square = (along / major).powi(2) + (across / minor).powi(2);
            7.0 + 50.0 * (-0.5 * square).exp()
        };
        let data: Vec<f64> = (0..1600).map(value).collect();
        star.ellipticity(&Light {
            width: 40,
            data: data.into(),
            weight: None,
            saturation: f64::INFINITY,
        })
    }

    #[test]
    fn a_gaussian_has_its_own_ellipticity_at_every_angle() {
        for (major, minor) in [(1.5, 1.5), (2.2, 1.6), (3.0, 1.2)] {
            for angle in [0.0, 0.4, 1.1, 2.5] {
                let ellipticity = found(major, minor, angle, 1e6).unwrap();
                let truth = 1.0 - minor / major;
                assert!(
                    (ellipticity - truth).abs() < 0.02,
                    "{major} {minor}: {ellipticity}"
                );
            }
        }
        assert!(
            found(2.2, 1.6, 0.4, 1e6) > found(2.2, 1.6, 0.4, 20.0),
            "noise is taken away"
        );
    }

    #[test]
    fn a_star_that_is_partly_seen_has_none() {
        assert_eq!(found(9.0, 8.0, 0.0, 1e6), None);
    }
}
