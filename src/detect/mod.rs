//! Finds stars: a matched filter, a threshold in sigma of the filtered image, and the peaks that
//! stand out from their surroundings.
//!
//! The filtered image is the significance of a star of the expected width at each pixel, were the
//! noise of the pixels independent. A second background mesh, of the filtered image, measures by
//! how much it is not (photographic grain, resampled frames) and corrects the scale.
//!
//! Peaks are told apart by topological persistence (Edelsbrunner & Harer 2010, ch. VII): see
//! [`DetectOptions`].

mod filter;
mod groups;
mod peaks;

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::background::Background;
use crate::image::Image;
use crate::star::WORTH_A_CORE;

use peaks::Peak;

/// Least rise of a peak above the saddle to a brighter one, in sigma.
const PROMINENCE: f64 = 4.0;
/// Largest part of the threshold that the least rise may be: who asks for faint peaks gets them side by side
/// too.
const PROMINENCE_OF_THRESHOLD: f64 = 0.8;
/// Least rise of a peak as a part of the height of the saddle: halos, spikes and plateaus are not smooth.
const RELATIVE_PROMINENCE: f64 = 0.05;
/// Electrons to one sigma of the sky where the gain is unknown: about the least that cameras
/// have, so that a star's own noise is rather over- than underestimated.
const SKY_ELECTRONS: f64 = 10.0;

/// Options of the detection: they set what counts as a star.
///
/// A detection is a local maximum of the filtered image above `threshold` that rises above the
/// saddle to a brighter maximum by 4 sigma (0.8 times a threshold below 5), photon noise included,
/// and by 5 % of the height of the saddle.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectOptions {
    /// Expected full width of stars at half maximum, pixels. Twice or half the true one still
    /// finds nearly all. Brought into 0.5 to 100.
    pub fwhm: f64,
    /// Least significance, in sigma of the filtered image.
    pub threshold: f64,
    /// Pixels of this value and above, in units of the image, are saturated.
    pub saturation: f64,
    /// Electrons for each unit of the image, if known.
    pub gain: Option<f64>,
}

impl Default for DetectOptions {
    fn default() -> Self {
        Self {
            fwhm: 3.0,
            threshold: 5.0,
            saturation: f64::INFINITY,
            gain: None,
        }
    }
}

/// A star found, or a hot pixel, cosmic ray or galaxy.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// Position, pixels: the refined peak of the filtered image, or the centroid of the saturated
    /// pixels.
    pub x: f64,
    /// See `x`.
    pub y: f64,
    /// Height of the peak of the filtered image in units of its noise.
    pub significance: f64,
    /// The brightest pixel within one pixel of the peak, less the background, in units of the
    /// image.
    pub peak: f64,
    /// Whether some pixels are saturated or, in the middle of a star, have no value.
    pub saturated: bool,
    /// Whether the star is less than one expected FWHM from the border of the image.
    pub edge: bool,
}

/// Finds the stars of an image, sorted by y, then x.
///
/// `background` is that of `image`. Pixels without a finite value are left out; a hole in the
/// middle of a star counts as saturated pixels. An image without noise (all pixels equal, or none)
/// has no stars.
pub fn detect(image: &Image, background: &Background, options: &DetectOptions) -> Vec<Detection> {
    detect_in(image.pixels.view(), background, options)
}

/// [`detect`] of pixels alone, `[[y, x]]`.
pub(crate) fn detect_in(
    pixels: ArrayView2<'_, f64>,
    background: &Background,
    options: &DetectOptions,
) -> Vec<Detection> {
    let (height, width) = pixels.dim();
    if height == 0 || width == 0 || background.median_noise() <= 0.0 {
        return Vec::new();
    }
    let fwhm = if options.fwhm.is_finite() {
        options.fwhm.clamp(0.5, 100.0)
    } else {
        DetectOptions::default().fwhm
    };
    let filtered = filter::significance(pixels, background, fwhm);

    let gain = options
        .gain
        .filter(|gain| gain.is_finite() && *gain > 0.0)
        .unwrap_or(SKY_ELECTRONS / background.median_noise());
    let rule = peaks::Rule {
        threshold: options.threshold,
        prominence: PROMINENCE.min(PROMINENCE_OF_THRESHOLD * options.threshold),
        relative: RELATIVE_PROMINENCE,
        photon_variance: filtered.pixel_sigma / (gain * background.median_noise()),
    };
    let mut value = filtered.value;
    let plateaus = peaks::level_plateaus(&mut value, pixels, options.saturation, &rule);
    let mut detections: Vec<Detection> = peaks::find(value.view(), plateaus.as_ref(), &rule)
        .par_iter()
        .with_min_len(WORTH_A_CORE)
        .map(|peak| {
            let (x, y) = position(value.view(), peak);
            let border = x
                .min(y)
                .min((width - 1) as f64 - x)
                .min((height - 1) as f64 - y);
            let brightest = brightest(pixels, peak, background);
            Detection {
                x,
                y,
                significance: f64::from(peak.value),
                peak: brightest.0,
                saturated: peak.plateau.is_some() || brightest.1 >= options.saturation,
                edge: border < fwhm,
            }
        })
        .collect();
    detections.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x.total_cmp(&b.x)));
    detections
}

/// Position of a peak, to a fraction of a pixel.
fn position(value: ArrayView2<'_, f32>, peak: &Peak) -> (f64, f64) {
    if let Some(middle) = peak.plateau {
        return middle;
    }
    let (x, y) = (peak.x, peak.y);
    let at = |x: Option<usize>, y: Option<usize>| value.get((y?, x?)).copied();
    let offset = |before: Option<f32>, after: Option<f32>| match (before, after) {
        (Some(before), Some(after)) => vertex(before.into(), peak.value.into(), after.into()),
        _ => 0.0,
    };
    (
        x as f64 + offset(at(x.checked_sub(1), Some(y)), at(Some(x + 1), Some(y))),
        y as f64 + offset(at(Some(x), y.checked_sub(1)), at(Some(x), Some(y + 1))),
    )
}

/// Vertex of the parabola through values at -1, 0 and 1, of which the middle one is the highest.
fn vertex(before: f64, middle: f64, after: f64) -> f64 {
    let bend = (middle - before) + (middle - after);
    let offset = 0.5 * (after - before) / bend;
    if bend > 0.0 {
        offset.clamp(-0.5, 0.5)
    } else {
        0.0
    }
}

/// The brightest pixel round a peak: its value above the background, and as it is.
fn brightest(pixels: ArrayView2<'_, f64>, peak: &Peak, background: &Background) -> (f64, f64) {
    let (height, width) = pixels.dim();
    let mut brightest = f64::NEG_INFINITY;
    for y in peak.y.saturating_sub(1)..(peak.y + 2).min(height) {
        for x in peak.x.saturating_sub(1)..(peak.x + 2).min(width) {
            // The maximum of a number and NaN is the number.
            brightest = brightest.max(pixels[[y, x]]);
        }
    }
    let level = background.level(peak.x as f64, peak.y as f64);
    if brightest.is_finite() {
        (brightest - level, brightest)
    } else {
        (f64::NAN, f64::NAN)
    }
}

#[cfg(test)]
mod tests;
