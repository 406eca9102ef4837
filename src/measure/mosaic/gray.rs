//! A mosaic as an image that detection understands: without the skies of its colours, and with their
//! light on one scale.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::sky::Sky;
use crate::background::{Background, par_rows};
use crate::detect::{DetectOptions, Detection, detect, detect_in};
use crate::image::Image;
use crate::model::FWHM_OF_SIGMA;
use crate::mosaic::{BayerPattern, Color, phase};
use crate::numbers::median;

/// The least part of a star's light that a colour is taken to have where pixels are divided by it.
pub(super) const LEAST_SHARE: f64 = 0.02;

/// Pixels of a mosaic above their skies, on a sky of level 0 and noise 1.
#[derive(Debug)]
pub(super) struct Gray {
    pub(super) image: Image,
    pub(super) sky: Background,
    /// Saturated pixels have this value and above, others less.
    pub(super) saturation: f64,
    /// Factors by which the pixels of each phase were multiplied.
    factors: [f64; 4],
}

impl Gray {
    /// The pixels in units of the noise of their own phase.
    pub(super) fn new(image: &Image, sky: &Sky, saturation: f64) -> Self {
        let (height, width) = image.pixels.dim();
        let top = if saturation.is_finite() {
            let reach = |phase: usize| {
                let of = sky.phase(phase);
                let noise = of.median_noise();
                let above = (saturation - of.median_level()) / noise;
                if above.is_finite() { above.abs() } else { 0.0 }
            };
            // Level and noise are not the same everywhere.
            2.0 * (0..4).map(reach).fold(1.0, f64::max)
        } else {
            f64::INFINITY
        };
        let mut pixels = Array2::zeros((height, width));
        let half = width.div_ceil(2);
        par_rows(&mut pixels).enumerate().for_each_init(
            || [(); 4].map(|()| vec![0.0; half]),
            |rows, (y, out)| {
                for (x, rows) in rows.chunks_exact_mut(2).enumerate() {
                    let of = sky.phase(phase(x, y));
                    of.level_row(y / 2, &mut rows[0]);
                    of.noise_row(y / 2, &mut rows[1]);
                }
                let raw = image.pixels.row(y);
                for (x, (out, &raw)) in out.iter_mut().zip(raw).enumerate() {
                    let (level, noise) = (rows[2 * (x % 2)][x / 2], rows[2 * (x % 2) + 1][x / 2]);
                    let above = if noise > 0.0 {
                        (raw - level) / noise
                    } else {
                        raw * 0.0
                    };
                    *out = if raw >= saturation {
                        above.max(top)
                    } else {
                        // NaN stays NaN.
                        if above >= top { 0.999 * top } else { above }
                    };
                }
            },
        );
        Self {
            image: Image::from_pixels(image.name.clone(), pixels),
            sky: Background::flat(width, height, Background::cell_for(width, height)),
            saturation: top,
            factors: [1.0; 4],
        }
    }

    /// Multiplies the pixels of each phase, such that the mean square of the factors is 1.
    pub(super) fn scale(&mut self, factors: [f64; 4]) {
        let square = factors.iter().map(|factor| factor * factor).sum::<f64>() / 4.0;
        let root = square.sqrt();
        let factors = match root > 0.0 && root.is_finite() {
            true => factors.map(|factor| factor / root),
            false => [1.0; 4],
        };
        let before = self.saturation;
        // Phases without information stay 0.
        let by: [f64; 4] = std::array::from_fn(|phase| match self.factors[phase] > 0.0 {
            true => factors[phase] / self.factors[phase],
            false => 0.0,
        });
        let after = before * by.into_iter().fold(0.0, f64::max);
        par_rows(&mut self.image.pixels)
            .enumerate()
            .for_each(|(y, row)| {
                for (x, pixel) in row.iter_mut().enumerate() {
                    let value = *pixel * by[phase(x, y)];
                    *pixel = if *pixel >= before {
                        after.max(value)
                    } else {
                        value
                    };
                }
            });
        (self.saturation, self.factors) = (after, factors);
    }

    /// Electrons to a unit of this image, where the raw image has the given gain.
    pub(super) fn gain(&self, gain: Option<f64>, sky: &Sky, pattern: BayerPattern) -> Option<f64> {
        let noises = sky.median_noises();
        let green = pattern
            .phases()
            .iter()
            .position(|color| *color == Color::Green)?;
        let gain = gain? * noises[green] / self.factors[green];
        (gain.is_finite() && gain > 0.0).then_some(gain)
    }

    /// Light of all colours to a unit of this image, whose pixels are scaled such that a star of these shares
    /// is as bright in all.
    pub(super) fn unit(&self, sky: &Sky, pattern: BayerPattern, shares: [f64; 3]) -> f64 {
        let noises = sky.median_noises();
        let units = (0..4)
            .filter(|&phase| self.factors[phase] > 0.0)
            .map(|phase| {
                noises[phase] / (shares[pattern.phases()[phase].place()] * self.factors[phase])
            });
        units.fold(0.0, f64::max)
    }

    /// Detections in the image, and those in the green pixels alone that are near none of the former.
    pub(super) fn detect(&self, pattern: BayerPattern, options: &DetectOptions) -> Vec<Detection> {
        /// Least width of the filter: a narrower one sees one pixel, with the noise of its colour, while
        /// significance is in units of the mean noise.
        const NARROWEST: f64 = 2.0;
        let options = &DetectOptions {
            fwhm: options.fwhm.max(NARROWEST),
            ..options.clone()
        };
        let mut found = detect(&self.image, &self.sky, options);
        let colors = pattern.phases();
        let mut green = self.image.pixels.clone();
        par_rows(&mut green).enumerate().for_each(|(y, row)| {
            for (x, pixel) in row.iter_mut().enumerate() {
                // Not NaN: holes are looked at one by one.
                if colors[phase(x, y)] != Color::Green && pixel.is_finite() {
                    *pixel = 0.0;
                }
            }
        });
        let green = detect_in(green.view(), &self.sky, options);
        // Detections nearer than this are one star.
        let apart = 1.5 * options.fwhm;
        let is_new = |star: &Detection| {
            // Detections are sorted by y.
            let first = found.partition_point(|other| other.y < star.y - apart);
            let near = found[first..].iter().take_while(|o| o.y <= star.y + apart);
            !near
                .into_iter()
                .any(|o| (o.x - star.x).hypot(o.y - star.y) < apart)
        };
        let new: Vec<Detection> = green.into_iter().filter(is_new).collect();
        found.extend(new);
        found.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x.total_cmp(&b.x)));
        found
    }

    /// The part of the light of typical stars that each colour has, in the order of [`Color::ALL`]; their sum
    /// is 1. The image is in units of noise.
    pub(super) fn shares(
        &self,
        sky: &Sky,
        pattern: BayerPattern,
        options: &DetectOptions,
    ) -> [f64; 3] {
        const STARS: usize = 300;
        const ENOUGH: usize = 60;
        const FEWEST: usize = 3;
        let height = self.image.height();
        let mut found = self.brightest(strips(height), options);
        if found.len() < ENOUGH {
            found = self.brightest(std::iter::once(0..height).collect(), options);
        }
        found.truncate(STARS);
        let mut shares: [Vec<f64>; 3] = Default::default();
        for star in &found {
            let Some(of_star) = shares_of(self.image.pixels.view(), star, sky, pattern) else {
                continue;
            };
            for (all, share) in shares.iter_mut().zip(of_star) {
                all.push(share);
            }
        }
        if shares[0].len() < FEWEST {
            return [1.0 / 3.0; 3];
        }
        normalized(shares.map(|mut all| median(&mut all).unwrap_or(0.0)))
    }

    /// The detections of some rows that are no blend, brightest first.
    fn brightest(&self, strips: Vec<Range<usize>>, options: &DetectOptions) -> Vec<Detection> {
        const SIGNIFICANCE: f64 = 10.0;
        let options = DetectOptions {
            threshold: SIGNIFICANCE,
            saturation: self.saturation,
            ..options.clone()
        };
        let mut found: Vec<Detection> = strips
            .par_iter()
            .flat_map_iter(|rows| {
                let pixels = self.image.pixels.slice(s![rows.clone(), ..]);
                let top = rows.start as f64;
                let found = detect_in(pixels, &self.sky.of_rows(rows), &options);
                let usable = found.into_iter().filter(|d| !d.saturated && !d.edge);
                usable.map(move |d| Detection { y: d.y + top, ..d })
            })
            .collect();
        found.sort_by(|a, b| b.significance.total_cmp(&a.significance));
        found
    }
}

/// Eight strips of a large image, or all of it.
fn strips(height: usize) -> Vec<Range<usize>> {
    const STRIP: usize = 64;
    const STRIPS: usize = 8;
    if height < 2 * STRIP * STRIPS {
        return std::iter::once(0..height).collect();
    }
    let step = height / STRIPS;
    (0..STRIPS)
        .map(|at| {
            // On even rows, for phases to be the same.
            let first = (at * step + step / 2 - STRIP / 2) & !1;
            first..first + STRIP
        })
        .collect()
}

/// Shares of a star: how much of a typical profile fits the pixels of each colour.
fn shares_of(
    pixels: ArrayView2<'_, f64>,
    star: &Detection,
    sky: &Sky,
    pattern: BayerPattern,
) -> Option<[f64; 3]> {
    const FWHM: f64 = 3.0;
    const RADIUS: f64 = 3.0;
    let (mut light, mut squares) = ([0.0; 3], [0.0; 3]);
    let noises = sky.noises(star.x, star.y);
    let span = |at: f64, length: usize| {
        let first = (at - RADIUS).max(0.0) as usize;
        first..((at + RADIUS) as usize + 1).min(length)
    };
    for y in span(star.y, pixels.nrows()) {
        for x in span(star.x, pixels.ncols()) {
            let r2 = (x as f64 - star.x).powi(2) + (y as f64 - star.y).powi(2);
            let profile = (-0.5 * r2 * (FWHM_OF_SIGMA / FWHM).powi(2)).exp();
            let value = pixels[[y, x]] * noises[phase(x, y)];
            if value.is_finite() {
                let color = pattern.at(x, y).place();
                light[color] += profile * value;
                squares[color] += profile * profile;
            }
        }
    }
    let fluxes: [f64; 3] = std::array::from_fn(|color| light[color] / squares[color]);
    let total: f64 = fluxes.iter().sum();
    let shares = fluxes.map(|flux| flux / total);
    (total > 0.0 && shares.iter().all(|share| share.is_finite())).then_some(shares)
}

/// Shares whose sum is 1, none of them too small to divide by; without a star, a third each.
pub(super) fn normalized(fluxes: [f64; 3]) -> [f64; 3] {
    let total: f64 = fluxes.iter().map(|flux| flux.max(0.0)).sum();
    if !(total > 0.0 && total.is_finite()) {
        return [1.0 / 3.0; 3];
    }
    let shares = fluxes.map(|flux| (flux / total).max(LEAST_SHARE));
    let total: f64 = shares.iter().sum();
    shares.map(|share| share / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_can_be_divided_by() {
        for fluxes in [[1.0, 2.0, 1.0], [5.0, -1.0, 0.0], [0.0, 0.0, 1e300]] {
            let shares = normalized(fluxes);
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(shares.iter().all(|share| *share > 0.9 * LEAST_SHARE));
        }
        assert_eq!(normalized([1.0, 2.0, 1.0]), [0.25, 0.5, 0.25]);
        for none in [[0.0; 3], [-1.0; 3], [f64::NAN; 3]] {
            assert_eq!(normalized(none), [1.0 / 3.0; 3]);
        }
    }

    #[test]
    fn strips_begin_on_even_rows() {
        for height in [1024, 2047, 4176] {
            let strips = strips(height);
            assert_eq!(strips.len(), 8);
            assert!(
                strips
                    .iter()
                    .all(|rows| rows.start % 2 == 0 && rows.end <= height)
            );
        }
        assert!(strips(900).into_iter().eq(std::iter::once(0..900)));
    }
}
