//! The pixels of a mosaic round a star.

use super::gray::normalized;
use super::sky::Sky;
use crate::background::Background;
use crate::cutout::{Cutout, CutoutOptions, Noise, Weighting, sums_of_nine};
use crate::image::Image;
use crate::model::{Model, Role};
use crate::mosaic::{BayerPattern, Color};
use crate::numbers::matrix::Parameters;

/// Image, sky and settings from which the cutouts of all stars are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(super) image: &'a Image,
    pub(super) sky: &'a Sky,
    pub(super) pattern: BayerPattern,
    pub(super) noise: Noise,
    pub(super) saturation: f64,
    /// Side of a cutout, pixels.
    pub(super) size: usize,
}

/// The raw pixels round a star, of all colours.
#[derive(Debug, Clone)]
pub(super) struct StarPixels {
    /// Values as they are; weights are 1, or the inverse variances that the user gives.
    pub(super) raw: Cutout,
    noise: Noise,
    /// Pattern from the cutout's first pixel on.
    pattern: BayerPattern,
    /// Levels and noises of the sky in the phases of the pattern.
    levels: [f64; 4],
    noises: [f64; 4],
}

/// Light and level of each colour for a star of a known shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Colors {
    /// The model's parameter that is linear in the star's light, its flux or height.
    pub(super) amplitudes: [f64; 3],
    /// Level under the star above that of the sky.
    pub(super) offsets: [f64; 3],
}

impl Colors {
    /// Colours of these shares, before any fit.
    pub(super) fn of_shares(shares: [f64; 3]) -> Self {
        Self {
            amplitudes: shares,
            offsets: [0.0; 3],
        }
    }

    /// The part of the star's light that each colour has.
    pub(super) fn shares(&self) -> [f64; 3] {
        normalized(self.amplitudes)
    }
}

impl<'a> Frame<'a> {
    /// The pixels round (`x`, `y`).
    pub(super) fn cut(&self, (x, y): (f64, f64)) -> StarPixels {
        // Weights that need a sky are set later, by colour.
        let noise = match self.noise {
            Noise::Known { .. } => Noise::Unit,
            noise => noise,
        };
        let options = CutoutOptions {
            noise,
            saturation: self.saturation,
        };
        let any: &Background = self.sky.brightest();
        let raw = Cutout::from_image(self.image, any, &options, (x, y), self.size);
        let first = |corner: i64| usize::from(corner.rem_euclid(2) == 1);
        let corner = (first(raw.corner.0), first(raw.corner.1));
        let (levels, noises) = (self.sky.levels(x, y), self.sky.noises(x, y));
        let moved = |of: [f64; 4]| -> [f64; 4] {
            std::array::from_fn(|phase| {
                of[crate::mosaic::phase(phase % 2 + corner.0, phase / 2 + corner.1)]
            })
        };
        StarPixels {
            noise: self.noise,
            pattern: self.pattern.moved(corner.0, corner.1),
            levels: moved(levels),
            noises: moved(noises),
            raw,
        }
    }
}

impl StarPixels {
    /// Phase of each pixel, in the order of the pixels.
    pub(super) fn phases(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        let width = self.raw.width;
        let rows = 0..self.raw.height;
        rows.flat_map(move |y| (0..width).map(move |x| crate::mosaic::phase(x, y)))
    }

    /// Place in [`Color::ALL`] of each pixel's colour.
    pub(super) fn colors(&self) -> impl Iterator<Item = usize> + Clone + use<> {
        let places = self.pattern.phases().map(Color::place);
        self.phases().map(move |phase| places[phase])
    }

    /// Level of the sky in the pixels of a colour.
    pub(super) fn level(&self, color: Color) -> f64 {
        self.mean_of(color, &self.levels)
    }

    /// Noise of the sky in the pixels of a colour.
    pub(super) fn noise(&self, color: Color) -> f64 {
        self.mean_of(color, &self.noises)
    }

    fn mean_of(&self, color: Color, values: &[f64; 4]) -> f64 {
        let phases = self.pattern.phases();
        let of = (0..4).filter(|&phase| phases[phase] == color);
        let of: Vec<f64> = of.map(|phase| values[phase]).collect();
        of.iter().sum::<f64>() / of.len() as f64
    }

    /// Values above the sky of each phase; 0 where a pixel is not used.
    pub(super) fn above_sky(&self) -> Vec<f64> {
        let pixels = self.raw.data.iter().zip(&self.raw.weight);
        let above = pixels.zip(self.phases()).map(|((&data, &weight), phase)| {
            if weight > 0.0 {
                data - self.levels[phase]
            } else {
                0.0
            }
        });
        above.collect()
    }

    /// The star's profile in each pixel: the derivative of the model by the parameter that is linear in its
    /// light.
    pub(super) fn profile(&self, model: &dyn Model, parameters: &Parameters) -> Option<Vec<f64>> {
        let light = model
            .parameters()
            .iter()
            .position(|p| p.role == Role::Flux)?;
        let parameters = self.in_cutout(model, parameters, -1.0);
        let (width, height) = (self.raw.width, self.raw.height);
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x as f64, y as f64)));
        let value = |(x, y): (f64, f64)| model.evaluate(&parameters, x, y).1[light];
        Some(pixels.map(value).collect())
    }

    /// Weights of the pixels for a star of these colours, and their meaning.
    ///
    /// Photon noise comes from the star's light in a pixel: from its profile, where that is known, and from
    /// the mean of the remaining light in the pixel and its neighbours, all colours on one scale, where this
    /// mean stands out by 3 sigma. As in images without a mosaic, weights that follow each pixel's noise
    /// would pull every fit low.
    pub(super) fn weights(
        &self,
        colors: &Colors,
        profile: Option<&[f64]>,
    ) -> (Vec<f64>, Weighting) {
        let Noise::Known { gain, .. } = self.noise else {
            return (self.raw.weight.clone(), self.raw.weighting);
        };
        let variances = self.noises.map(|noise| noise * noise);
        let used = |weight: f64| weight > 0.0;
        if variances.iter().any(|v| !(*v > 0.0 && v.is_finite())) {
            return (self.raw.weight.clone(), Weighting::Unit);
        }
        let places = self.pattern.phases().map(Color::place);
        let shares = colors.shares();
        let photons = gain.map_or(0.0, f64::recip);
        let pixels = || self.raw.weight.iter().zip(self.phases());
        let certainty = [0, 1, 2, 3].map(|phase| shares[places[phase]].powi(2) / variances[phase]);
        let certainties: Vec<f64> = pixels()
            .map(|(&weight, phase)| if used(weight) { certainty[phase] } else { 0.0 })
            .collect();
        let amplitude: f64 = colors.amplitudes.iter().sum();
        let known = |at: usize| profile.map_or(0.0, |profile| amplitude * profile[at]);
        let light = self.above_sky().into_iter().zip(self.phases()).enumerate();
        let light = light
            .zip(&certainties)
            .map(|((at, (above, phase)), certainty)| {
                let color = places[phase];
                ((above - colors.offsets[color]) / shares[color] - known(at)) * certainty
            });
        let light = sums_of_nine(light.collect(), self.raw.width);
        let certainties = sums_of_nine(certainties, self.raw.width);
        let weights = pixels().zip(light.into_iter().zip(certainties));
        let weights = weights.enumerate();
        let weights = weights.map(|(at, ((&weight, phase), (light, certainty)))| {
            if !used(weight) {
                return 0.0;
            }
            // The mean is their quotient, its error one over the root of the certainty.
            let rest = if light.abs() > 3.0 * certainty.sqrt() {
                light / certainty
            } else {
                0.0
            };
            let star = (known(at) + rest).max(0.0);
            let weight = (variances[phase] + photons * star * shares[places[phase]]).recip();
            if weight.is_normal() { weight } else { 0.0 }
        });
        (weights.collect(), Weighting::InverseVariance)
    }

    /// The star as if all its light were in each pixel: pixels above the sky of their colour, divided by the
    /// part of the light that the colour has.
    pub(super) fn gray(&self, colors: &Colors, profile: Option<&[f64]>) -> Cutout {
        let shares = colors.shares();
        let (weights, weighting) = self.weights(colors, profile);
        let mut gray = self.raw.clone();
        gray.weighting = weighting;
        let pixels = self.above_sky().into_iter().zip(weights).zip(self.colors());
        let out = gray.data.iter_mut().zip(&mut gray.weight);
        for ((data, out), ((above, weight), color)) in out.zip(pixels) {
            *out = weight * shares[color].powi(2);
            *data = if weight > 0.0 {
                (above - colors.offsets[color]) / shares[color]
            } else {
                0.0
            };
        }
        gray
    }

    /// The value of a pixel of the gray star, from the value `raw` of the pixel.
    #[cfg(feature = "report")]
    pub(super) fn gray_value(&self, raw: f64, row: usize, column: usize, colors: &Colors) -> f64 {
        let phase = crate::mosaic::phase(column, row);
        let color = self.pattern.phases()[phase].place();
        (raw - self.levels[phase] - colors.offsets[color]) / colors.shares()[color]
    }

    /// The pixels of one colour; the others have no weight.
    pub(super) fn only(&self, color: Color, colors: &Colors, profile: Option<&[f64]>) -> Cutout {
        let mut only = self.raw.clone();
        let (weights, weighting) = self.weights(colors, profile);
        only.weighting = weighting;
        let pixels = only.data.iter_mut().zip(&mut only.weight);
        for ((data, out), (weight, of)) in pixels.zip(weights.into_iter().zip(self.colors())) {
            *out = if of == color.place() { weight } else { 0.0 };
            if *out <= 0.0 {
                *data = 0.0;
            }
        }
        only
    }

    /// Light of each colour under a star of this profile, and the levels under it: a straight line through
    /// the pixels of each. `None` where the pixels do not determine a line.
    pub(super) fn colors_of(&self, profile: &[f64], weights: &[f64]) -> Option<Colors> {
        /// Share of its information that an amplitude must keep beside the level.
        const SMALLEST: f64 = 1e-9;
        let mut sums = [[0.0; 5]; 3];
        let pixels = self.above_sky().into_iter().zip(weights).zip(self.colors());
        for (((above, &weight), color), &profile) in pixels.zip(profile) {
            if weight > 0.0 {
                let terms = [1.0, profile, profile * profile, above, above * profile];
                for (sum, term) in sums[color].iter_mut().zip(terms) {
                    *sum += weight * term;
                }
            }
        }
        let mut colors = Colors::of_shares([0.0; 3]);
        for (color, [one, p, pp, d, dp]) in sums.into_iter().enumerate() {
            let determinant = one * pp - p * p;
            let is_determined = determinant > SMALLEST * one * pp;
            let amplitude = (one * dp - p * d) / determinant;
            let offset = (pp * d - p * dp) / determinant;
            if !(is_determined && amplitude.is_finite() && offset.is_finite()) {
                return None;
            }
            colors.amplitudes[color] = amplitude;
            colors.offsets[color] = offset;
        }
        Some(colors)
    }

    /// Parameters moved by `sign` times the corner of the cutout.
    pub(super) fn in_cutout(
        &self,
        model: &dyn Model,
        parameters: &Parameters,
        sign: f64,
    ) -> Parameters {
        let mut moved = *parameters;
        for (value, parameter) in moved.iter_mut().zip(model.parameters()) {
            match parameter.role {
                Role::X => *value += sign * self.raw.corner.0 as f64,
                Role::Y => *value += sign * self.raw.corner.1 as f64,
                Role::Flux | Role::Background | Role::Shape => {}
            }
        }
        moved
    }
}
