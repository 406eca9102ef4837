//! The pixels round a star, with their weights.

use std::borrow::Cow;

use fearless_simd::{Level, dispatch};
use ndarray::{Array2, ArrayView2, aview_mut1, s};

use crate::background::Background;
use crate::fit::Flags;
use crate::image::Image;
use crate::pixels::Pixels;
use crate::rim::{rim_median, rim_noise};

/// Composition of the noise of a pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Noise {
    /// Unknown: every pixel counts the same and errors come from the residuals.
    Unit,
    /// The background's rms (of an image) or the read noise (of a ready cutout), and photons.
    Known {
        /// Electrons for each unit of the image; `None`: no photon noise is added.
        gain: Option<f64>,
        /// Read noise, electrons. Of no use where a background has been measured, which contains it.
        read_noise: f64,
    },
    /// A variance for each pixel is given with the pixels.
    Variance,
    /// The pixels are counts, to be fitted by [`Estimator::Poisson`](crate::estimator::Estimator).
    Counts {
        /// Electrons for each unit of the image.
        gain: f64,
        /// Value of a pixel of no counts. Read noise moves it: `bias - read_noise^2 / gain`, so
        /// that the counts have their variance for their mean (D. L. Snyder et al. 1993, JOSA A
        /// 10, 1014).
        zero: f64,
    },
}

impl Noise {
    /// Pixels as counts: `bias` is the level without light, the read noise is in electrons.
    pub fn counts(gain: f64, bias: f64, read_noise: f64) -> Self {
        Self::Counts {
            gain,
            zero: bias - read_noise.powi(2) / gain,
        }
    }

    /// The noise of pixels that this level has been subtracted from.
    pub(crate) fn less(self, level: f64) -> Self {
        match self {
            Self::Counts { gain, zero } => Self::Counts {
                gain,
                zero: zero - level,
            },
            noise => noise,
        }
    }
}

/// Meaning of the weights of a cutout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weighting {
    /// 1 where a pixel is used: errors come from the residuals.
    Unit,
    /// Inverse variances: chi-square and errors have a scale.
    InverseVariance,
    /// 1 where a pixel is used; it counts `gain` electrons for each unit above `zero`.
    Counts {
        /// Electrons for each unit of the image.
        gain: f64,
        /// Value of a pixel of no counts.
        zero: f64,
    },
}

/// Least ratio of the variance of a rim to the variance by gain and read noise from which the rim is believed
/// instead: in a rim of 30 pixels the scatter itself is uncertain by a quarter.
const LYING_SCATTER: f64 = 2.5;

/// How cutouts are made: the same for all stars of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutoutOptions {
    /// Noise of a pixel.
    pub noise: Noise,
    /// Pixels at or above this value are saturated; infinity: none.
    pub saturation: f64,
}

/// The pixels round a star.
///
/// A pixel that is outside the image, without a finite value, masked or saturated has weight 0.
#[derive(Debug, Clone)]
pub struct Cutout {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Column and row of the first pixel in the image; may be negative.
    pub corner: (i64, i64),
    /// Values in the image's units, row after row; 0 where the weight is 0.
    pub data: Vec<f64>,
    /// Inverse variances, or 1 where the weighting says so; 0 = unused.
    pub weight: Vec<f64>,
    /// Places of the saturated pixels among all, in order.
    pub saturated: Vec<usize>,
    /// Meaning of the weights.
    pub weighting: Weighting,
    /// [`Flags::TRUNCATED`], [`Flags::MASKED`], [`Flags::SATURATED`].
    pub flags: Flags,
}

impl Cutout {
    /// The `size` x `size` pixels of `image` round (`x`, `y`), which is rounded half up.
    pub fn from_image(
        image: &Image,
        background: &Background,
        options: &CutoutOptions,
        (x, y): (f64, f64),
        size: usize,
    ) -> Self {
        let half = (size / 2) as i64;
        // A position far outside, or none (NaN), gives a cutout without a pixel.
        let first = |center: f64| match center.is_finite() {
            true => ((center + 0.5).floor().clamp(-1e15, 1e15) as i64) - half,
            false => i64::MIN / 2,
        };
        let corner = (first(x), first(y));
        let (rows, columns) = (
            span(corner.1, size, image.height()),
            span(corner.0, size, image.width()),
        );
        let mut data = vec![f64::NAN; size * size];
        let given = image.variance.as_ref();
        let mut variances = vec![f64::NAN; if given.is_some() { size * size } else { 0 }];
        for row in rows.clone().filter(|_| !columns.is_empty()) {
            let first = (row as i64 - corner.1) as usize * size;
            let place = |column: usize| first + (column as i64 - corner.0) as usize;
            let places = place(columns.start)..place(columns.end);
            let copy = |from: &Array2<f64>, to: &mut [f64]| {
                aview_mut1(to).assign(&from.slice(s![row, columns.clone()]));
            };
            copy(&image.pixels, &mut data[places.clone()]);
            if let Some(given) = given {
                copy(given, &mut variances[places]);
            }
        }
        let mut flags = Flags::default();
        flags.set(Flags::TRUNCATED, rows.len() < size || columns.len() < size);
        // Pixels outside the image are missing, but only those missing inside are masked.
        let inside = rows.len() * columns.len();
        dispatch!(Level::new(), _simd => {
            let mut cutout = Self::new((size, size), corner, data, flags, options.saturation);
            let valued = cutout.data.iter().filter(|value| value.is_finite()).count();
            cutout.flags.set(Flags::MASKED, valued < inside);
            match options.noise {
                Noise::Known { gain, .. } => {
                    let (x, y) = ((x + 0.5).floor(), (y + 0.5).floor());
                    let variance = background.noise(x, y).powi(2);
                    cutout.weigh_by_noise(gain, background.level(x, y), variance);
                }
                noise => cutout.weigh(noise, &variances),
            }
            cutout.drop_unusable();
            cutout
        })
    }

    /// A ready cutout of any height and width, from which the bias level has been subtracted;
    /// `variance`, of the same shape, is that of each pixel for [`Noise::Variance`].
    pub fn from_pixels(
        pixels: ArrayView2<'_, f64>,
        variance: Option<ArrayView2<'_, f64>>,
        options: &CutoutOptions,
    ) -> Self {
        let (height, width) = pixels.dim();
        let data: Vec<f64> = pixels.iter().copied().collect();
        let mut cutout = Self::new(
            (width, height),
            (0, 0),
            data,
            Flags::default(),
            options.saturation,
        );
        cutout.flags.set(
            Flags::MASKED,
            cutout.data.iter().any(|value| !value.is_finite()),
        );
        match options.noise {
            Noise::Known {
                gain: Some(gain),
                read_noise,
            } => {
                let view = Pixels {
                    width,
                    data: cutout.data.as_slice().into(),
                    weight: cutout.weight.as_slice().into(),
                };
                let (sky, rim) = (rim_median(&view, height), rim_noise(&view, height));
                let told = |level: f64| (read_noise / gain).powi(2) + level.max(0.0) / gain;
                // Once a sky has been subtracted, its level no longer tells of its noise.
                let seen = rim.sigma.powi(2);
                let (level, variance) = if seen > LYING_SCATTER * told(sky) {
                    (sky, seen)
                } else if rim.is_lit {
                    // The rim is no sky: the sky is at most as bright as the darkest spot.
                    let darkest = cutout.darkest();
                    (darkest, told(darkest))
                } else {
                    (sky, told(sky))
                };
                cutout.weigh_by_noise(Some(gain), level, variance);
            }
            noise => {
                let variances: Vec<f64> = variance.iter().flatten().copied().collect();
                cutout.weigh(noise, &variances);
            }
        }
        cutout.drop_unusable();
        cutout
    }

    #[inline(always)]
    fn new(
        (width, height): (usize, usize),
        corner: (i64, i64),
        data: Vec<f64>,
        mut flags: Flags,
        saturation: f64,
    ) -> Self {
        let weight = data
            .iter()
            .map(|&value| f64::from(u8::from(value < saturation)))
            .collect();
        let is_saturated = |value: f64| value.is_finite() && value >= saturation;
        let mut saturated = Vec::new();
        if data.iter().any(|&value| is_saturated(value)) {
            flags.set(Flags::SATURATED, true);
            saturated.extend((0..data.len()).filter(|&at| is_saturated(data[at])));
        }
        Self {
            width,
            height,
            corner,
            data,
            weight,
            saturated,
            weighting: Weighting::Unit,
            flags,
        }
    }

    /// Sets the weights to inverse variances: `variance`, of the sky of this `level`, plus the photon noise
    /// of the light above it. The light is the mean of a pixel and its neighbours, and counts only where this
    /// mean stands out by 3 sigma of its own: weights that follow each pixel's noise pull every fit low.
    #[inline(always)]
    fn weigh_by_noise(&mut self, gain: Option<f64>, level: f64, variance: f64) {
        let photons = gain.map_or(0.0, f64::recip);
        let mean_of_nine = variance.sqrt() / 3.0;
        let variances: Vec<f64> = self
            .smoothed()
            .map(|smoothed| {
                let star = smoothed - level;
                if star > 3.0 * mean_of_nine {
                    variance + photons * star
                } else {
                    variance
                }
            })
            .collect();
        // No noise at all, as in a flat or a made-up image, says nothing about the errors.
        let mut used = variances
            .iter()
            .zip(&self.weight)
            .filter(|(_, w)| **w > 0.0);
        if used.all(|(v, _)| *v > 0.0 && v.is_finite()) {
            for (weight, variance) in self.weight.iter_mut().zip(variances) {
                *weight = if *weight > 0.0 { variance.recip() } else { 0.0 };
            }
            self.weighting = Weighting::InverseVariance;
        }
    }

    /// Sets the weights where the noise need not be worked out.
    fn weigh(&mut self, noise: Noise, variances: &[f64]) {
        match noise {
            Noise::Counts { gain, zero } => self.weighting = Weighting::Counts { gain, zero },
            Noise::Variance if variances.len() == self.data.len() => {
                for (weight, &variance) in self.weight.iter_mut().zip(variances) {
                    let usable = variance > 0.0 && variance.is_finite();
                    let unusable = *weight > 0.0 && !usable;
                    self.flags.set(Flags::MASKED, unusable);
                    *weight = if *weight > 0.0 && usable {
                        variance.recip()
                    } else {
                        0.0
                    };
                }
                self.weighting = Weighting::InverseVariance;
            }
            Noise::Variance | Noise::Known { .. } | Noise::Unit => {}
        }
    }

    /// Weights that overflow or vanish, and values that are none, would poison every sum.
    #[inline(always)]
    fn drop_unusable(&mut self) {
        for (data, weight) in self.data.iter_mut().zip(&mut self.weight) {
            if !weight.is_normal() || !data.is_finite() {
                (*data, *weight) = (0.0, 0.0);
            }
        }
    }

    /// Lowest mean of a usable pixel and its usable neighbours.
    fn darkest(&self) -> f64 {
        let used = self.smoothed().zip(&self.weight).filter(|(_, w)| **w > 0.0);
        let darkest = used.map(|(mean, _)| mean).fold(f64::INFINITY, f64::min);
        if darkest.is_finite() { darkest } else { 0.0 }
    }

    /// Means of the usable pixels among each pixel and its eight neighbours, 0 where there are none. A
    /// saturated pixel counts: it is at least as bright as it seems, and next to the core of a star the mean
    /// of the others would be that of fainter pixels.
    #[inline(always)]
    fn smoothed(&self) -> impl Iterator<Item = f64> {
        let mut weight = Cow::Borrowed(&self.weight);
        for &at in &self.saturated {
            weight.to_mut()[at] = 1.0;
        }
        let pixels = || self.data.iter().zip(&*weight);
        let usable = |weight: f64| weight > 0.0;
        let values = pixels().map(|(&data, &weight)| if usable(weight) { data } else { 0.0 });
        let counts = pixels().map(|(_, &weight)| f64::from(u8::from(usable(weight))));
        let sums = sums_of_nine(values.collect(), self.width);
        let counts = sums_of_nine(counts.collect(), self.width);
        let means = sums.into_iter().zip(counts);
        means.map(|(sum, count)| if count > 0.0 { sum / count } else { 0.0 })
    }

    /// Number of pixels in use.
    pub fn n_pixels(&self) -> usize {
        self.weight.iter().filter(|weight| **weight > 0.0).count()
    }
}

/// Sums of each value of an image and its up to eight neighbours.
#[inline(always)]
pub(crate) fn sums_of_nine(values: Vec<f64>, width: usize) -> Vec<f64> {
    if values.is_empty() {
        return values;
    }
    // Three along the rows, then three of these down the columns.
    let mut across = values.clone();
    for (sums, values) in across.chunks_mut(width).zip(values.chunks(width)) {
        add(&mut sums[1..], values);
        add(sums, &values[1..]);
    }
    let mut sums = across.clone();
    add(&mut sums[width..], &across);
    add(&mut sums, &across[width..]);
    sums
}

/// Adds the values in their order, as many as there are.
#[inline(always)]
fn add(sums: &mut [f64], values: &[f64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// The part of `start..start + size` that lies in `0..limit`.
fn span(start: i64, size: usize, limit: usize) -> std::ops::Range<usize> {
    let end = start.saturating_add(size as i64).clamp(0, limit as i64) as usize;
    (start.clamp(0, limit as i64) as usize).min(end)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_nine_are_those_of_neighbours() {
        for (width, height) in [(1, 1), (1, 4), (4, 1), (2, 2), (3, 5), (7, 4)] {
            let value = |at: usize| (at * at % 7) as f64 + 1.0;
            let sums = sums_of_nine((0..width * height).map(value).collect(), width);
            for (at, sum) in sums.into_iter().enumerate() {
                let is_near = |other: &usize| {
                    (other / width).abs_diff(at / width) <= 1
                        && (other % width).abs_diff(at % width) <= 1
                };
                let expected: f64 = (0..width * height).filter(is_near).map(value).sum();
                assert_eq!(sum, expected, "{width} x {height}, {at}");
            }
        }
        assert!(sums_of_nine(Vec::new(), 3).is_empty());
    }
}
