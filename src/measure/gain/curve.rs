//! The photon transfer curve: how the scatter of pixels round the fits of bright stars grows with their
//! light.

use super::{FoundGain, GainSource, PhotonNoise};
use crate::cutout::Cutout;
use crate::fit::{Fit, FitStatus, Flags};
use crate::model::{Model, Role};
use crate::numbers::matrix::quadratic_form;
use crate::numbers::median;

/// Fewest stars: fewer tell nothing of how their shapes differ from the model.
const FEWEST_STARS: usize = 3;
/// Pixels that a bin of the transfer curve has at least.
const FEWEST_PIXELS: usize = 24;
/// Part of the sky's variance below which photons do not matter.
const HARDLY_ANY: f64 = 0.3;
/// Noise of the median of squares over that of their mean, for normal deviates.
const MEDIAN_OF_SQUARES: f64 = 1.64;
/// Median of the squares of standard normal deviates.
const MEDIAN_SQUARE: f64 = 0.454_936;

/// The photon transfer curve of some stars.
#[derive(Debug, Default)]
pub(super) struct TransferCurve {
    points: Vec<Point>,
    /// Number of the stars in the curve.
    stars: usize,
}

/// A pixel on the photon transfer curve, in units of the sky's variance.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// Number of the star of the pixel.
    star: usize,
    /// Light above the sky.
    light: f64,
    /// Square of the residual, as large as if the fit had not followed the noise.
    square: f64,
}

impl TransferCurve {
    /// Adds the pixels of a star, if it has been fitted well enough.
    pub(super) fn add(
        &mut self,
        star: usize,
        cutout: &Cutout,
        model: &dyn Model,
        fit: &Fit,
        noise: f64,
    ) {
        /// Light below this part of the sky's noise says nothing.
        const LEAST_LIGHT: f64 = 0.5;
        /// Largest leverage of a pixel: beyond, the fit follows the noise too closely.
        const MOST_LEVERAGE: f64 = 0.7;
        let bad = Flags(Flags::SATURATED.0 | Flags::CENTROID_OUTSIDE.0 | Flags::NEGATIVE_FLUX.0);
        let is_good = fit.status == FitStatus::Converged && fit.flags.0 & bad.0 == 0 && noise > 0.0;
        let Some(covariance) = fit.covariance.as_ref().filter(|_| is_good) else {
            return;
        };
        let n = model.parameters().len();
        let mut parameters = model.parameters().iter();
        let level = parameters
            .position(|parameter| parameter.role == Role::Background)
            .map_or(0.0, |at| fit.parameters[at]);
        for (at, (&data, &weight)) in cutout.data.iter().zip(&cutout.weight).enumerate() {
            // Most pixels show no light: they are left out before the model is evaluated.
            if weight <= 0.0 || data - level < -3.0 * noise {
                continue;
            }
            let x = cutout.corner.0 as f64 + (at % cutout.width) as f64;
            let y = cutout.corner.1 as f64 + (at / cutout.width) as f64;
            let (value, gradient) = model.evaluate(&fit.parameters, x, y);
            let light = value - level;
            if light < LEAST_LIGHT * noise {
                continue;
            }
            let leverage = weight * quadratic_form(n, covariance, &gradient);
            if leverage < MOST_LEVERAGE {
                self.points.push(Point {
                    star,
                    light: light / (noise * noise),
                    square: ((data - value) / noise).powi(2) / (1.0 - leverage),
                });
            }
        }
        self.stars += 1;
    }

    /// Misfit of the stars' shapes, to compare models: the mean square of the residuals, in which bright and
    /// faint pixels count alike.
    pub(super) fn misfit(&self) -> f64 {
        let terms = self
            .points
            .iter()
            .map(|point| point.square / (1.0 + point.light));
        terms.sum::<f64>() / (self.points.len() as f64 - 1.0).max(0.0)
    }

    /// Whether the noise of most stars follows the curve: misfits of shape differ from star to star.
    fn is_alike(&self, slope: &Slope) -> bool {
        /// Part of the stars that may have another noise.
        const FEW: f64 = 0.25;
        /// Most that the mean square of a star's pixels, relative to the curve, may differ from 1: sigma, and
        /// a constant.
        const SIGMA: f64 = 3.0;
        const AS_WELL: f64 = 0.25;
        let last = self
            .points
            .iter()
            .map(|point| point.star)
            .max()
            .unwrap_or(0);
        let mut sums = vec![(0.0, 0.0); last + 1];
        for point in &self.points {
            let expected = slope.sky + slope.photons * point.light;
            sums[point.star].0 += point.square / expected;
            sums[point.star].1 += 1.0;
        }
        let stars = sums.iter().filter(|(_, pixels)| *pixels >= 5.0);
        let (mut all, mut off) = (0.0, 0.0);
        for (sum, pixels) in stars {
            let most = AS_WELL + SIGMA * (2.0_f64 / pixels).sqrt();
            all += 1.0;
            off += f64::from(u8::from((sum / pixels - 1.0).abs() > most));
        }
        off <= FEW * all
    }

    /// Whether the curve shows the noise of photons, and the gain if it does.
    pub(super) fn judge(&mut self) -> PhotonNoise {
        /// Parts of the stars that are left out in turn.
        const PARTS: usize = 8;
        /// Most variance of the sky round stars, in units of its variance elsewhere.
        const SMOOTH: f64 = 2.0;
        let Some(brightest) = self.points.iter().map(|point| point.light).reduce(f64::max) else {
            return PhotonNoise::Hidden;
        };
        self.points
            .sort_unstable_by(|a, b| a.light.total_cmp(&b.light));
        let Some(whole) = slope(&bins(&self.points)) else {
            return PhotonNoise::Unclear;
        };
        // The jackknife (B. Efron 1982): stars differ by more than the noise of their pixels.
        let mut spread = 0.0;
        for part in 0..PARTS {
            let rest = self
                .points
                .iter()
                .filter(|point| point.star % PARTS != part);
            let rest: Vec<Point> = rest.copied().collect();
            let photons = slope(&bins(&rest)).map_or(f64::INFINITY, |rest| rest.photons);
            spread += (photons - whole.photons).powi(2);
        }
        let spread = (spread * (PARTS - 1) as f64 / PARTS as f64).sqrt();
        let error = whole.error.max(spread);
        let source = GainSource::Stars(self.stars);
        let found = FoundGain::new(whole.photons, error, source);
        let is_smooth = whole.sky < SMOOTH;
        let is_sound = self.stars >= FEWEST_STARS && is_smooth && self.is_alike(&whole);
        if let Some(found) = found.filter(|_| is_sound) {
            return PhotonNoise::Seen(found);
        }
        let is_weak = (whole.photons.max(0.0) + 2.0 * error) * brightest < HARDLY_ANY;
        let none = Slope {
            photons: 0.0,
            ..whole
        };
        // A slope that is hardly known is none only where bright pixels have no more noise than faint ones.
        let is_flat = |bin: &Bin| {
            let noise = MEDIAN_OF_SQUARES * (2.0 / bin.pixels).sqrt();
            bin.variance < SMOOTH * (1.0 + 3.0 * noise)
        };
        let is_none = whole.photons < 2.0 * error
            && is_smooth
            && self.is_alike(&none)
            && bins(&self.points).iter().all(is_flat);
        if is_weak || is_none {
            PhotonNoise::Hidden
        } else {
            PhotonNoise::Unclear
        }
    }
}

/// A bin of the transfer curve.
#[derive(Debug, Clone, Copy)]
struct Bin {
    light: f64,
    variance: f64,
    pixels: f64,
}

/// Bins of the `curve`, which is sorted from faint to bright: each spans a factor of 1.5 in light, or more
/// where it takes more to have pixels enough.
fn bins(curve: &[Point]) -> Vec<Bin> {
    let mut bins = Vec::new();
    let mut from = 0;
    while from < curve.len() {
        let within = curve.partition_point(|point| point.light < 1.5 * curve[from].light);
        let mut to = within.max(from + FEWEST_PIXELS);
        if to + FEWEST_PIXELS > curve.len() {
            to = curve.len();
        }
        let points = &curve[from..to];
        let mut squares: Vec<f64> = points.iter().map(|point| point.square).collect();
        // The median does not see cosmic rays and neighbours.
        let variance = median(&mut squares).unwrap_or(0.0) / MEDIAN_SQUARE;
        let pixels = points.len() as f64;
        bins.push(Bin {
            light: points.iter().map(|point| point.light).sum::<f64>() / pixels,
            variance,
            pixels,
        });
        from = to;
    }
    bins
}

/// Level and slope of the transfer curve at faint light.
#[derive(Debug, Clone, Copy)]
struct Slope {
    /// Variance without light, in units of the sky's.
    sky: f64,
    /// Variance that a unit of light adds.
    photons: f64,
    /// Standard error of `photons`.
    error: f64,
}

/// Level and slope of the transfer curve at faint light.
fn slope(bins: &[Bin]) -> Option<Slope> {
    /// Relative error of the sky's variance round stars, before the fit.
    const SKY: f64 = 0.5;
    /// Times that the weights are computed from the curve.
    const ROUNDS: usize = 6;
    if bins.is_empty() {
        return None;
    }
    // Sky, photons, shape.
    let mut curve = [1.0, 0.0, 0.0];
    let mut error = f64::INFINITY;
    for _ in 0..ROUNDS {
        let mut solved = None;
        // The misfit of the model can only add to the variance: a negative term is left out.
        for terms in [3, 2] {
            let mut matrix = [[0.0; 3]; 3];
            let mut right = [0.0; 3];
            // The sky as known before.
            matrix[0][0] = SKY.powi(-2);
            right[0] = SKY.powi(-2);
            let mut chi2 = 0.0;
            for bin in bins {
                let powers = [1.0, bin.light, bin.light * bin.light];
                let expected = expected(&curve, bin.light).max(0.3);
                let sigma = expected * MEDIAN_OF_SQUARES * (2.0 / bin.pixels).sqrt();
                let weight = sigma.powi(-2);
                chi2 += weight * (bin.variance - expected).powi(2);
                for j in 0..terms {
                    right[j] += weight * powers[j] * bin.variance;
                    for k in 0..terms {
                        matrix[j][k] += weight * powers[j] * powers[k];
                    }
                }
            }
            let Some((solution, variance)) = solve(matrix, right, terms) else {
                continue;
            };
            let excess = (chi2 / (bins.len() as f64 - 2.0).max(1.0)).max(1.0);
            solved = Some((solution, (variance * excess).sqrt()));
            if solution[2] >= 0.0 {
                break;
            }
        }
        (curve, error) = solved?;
    }
    let slope = Slope {
        sky: curve[0],
        photons: curve[1],
        error,
    };
    Some(slope).filter(|slope| slope.photons.is_finite() && slope.error.is_finite())
}

fn expected(curve: &[f64; 3], light: f64) -> f64 {
    curve[0] + light * (curve[1].max(0.0) + light * curve[2].max(0.0))
}

/// Solves the first `terms` of three equations by Gauss's elimination; the solution, and the variance of
/// its second part. The equations are scaled first: powers of light are of very different size.
fn solve(matrix: [[f64; 3]; 3], right: [f64; 3], terms: usize) -> Option<([f64; 3], f64)> {
    let scale: Vec<f64> = (0..terms).map(|j| matrix[j][j].sqrt()).collect();
    if scale
        .iter()
        .any(|&scale| !(scale > 0.0 && scale.is_finite()))
    {
        return None;
    }
    // The right side, then the second column of the unit matrix.
    let mut rows: Vec<[f64; 5]> = (0..terms)
        .map(|j| {
            let mut row = [0.0; 5];
            for k in 0..terms {
                row[k] = matrix[j][k] / scale[j] / scale[k];
            }
            row[3] = right[j] / scale[j];
            row[4] = f64::from(u8::from(j == 1));
            row
        })
        .collect();
    for j in 0..terms {
        let pivot = rows[j][j];
        if pivot < 1e-9 {
            return None;
        }
        for k in 0..terms {
            if k != j {
                let factor = rows[k][j] / pivot;
                for at in 0..5 {
                    rows[k][at] -= factor * rows[j][at];
                }
            }
        }
    }
    let mut solution = [0.0; 3];
    for j in 0..terms {
        solution[j] = rows[j][3] / rows[j][j] / scale[j];
    }
    Some((solution, rows[1][4] / rows[1][1] / (scale[1] * scale[1])))
}
