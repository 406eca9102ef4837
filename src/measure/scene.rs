//! Assumptions about an image, with or without a mosaic, and the way of its stars to rows of the catalogue.

use std::time::{Duration, Instant};

use super::beliefs::{Gain, believed_read_noise};
use super::counts::{Sky, counts};
use super::resolve::{Frame, Resolver};
use super::rows::{number_from_one, rows};
use super::width_class::StarWidth;
use super::{MeasureOptions, Measured, StageTimes, size_for};
use crate::catalog::{Assumptions, Row};
use crate::cutout::Noise;
use crate::detect::Detection;
use crate::error::Result;
use crate::estimator::Estimator;
use crate::fit::{Fit, Flags};
use crate::fitter::Fitter;
use crate::image::Image;
use crate::star::{Star, StarList};

/// An image whose stars are to be measured.
pub(super) struct Scene<'a> {
    pub(super) image: &'a Image,
    pub(super) list: Option<&'a StarList>,
    pub(super) options: &'a MeasureOptions,
    pub(super) fitter: &'a Fitter,
    pub(super) gain: Gain,
    /// Level and noise of the sky.
    pub(super) level: f64,
    pub(super) noise: f64,
    /// Value from which pixels are saturated; infinity where none is.
    pub(super) saturation: f64,
    pub(super) width: StarWidth,
}

/// The stars that are fitted.
pub(super) struct Targets {
    pub(super) stars: Vec<Star>,
    pub(super) positions: Vec<(f64, f64)>,
    /// Detections, where no list gives the stars.
    found: Option<Vec<Detection>>,
}

impl Targets {
    /// Whether each star is where it was seen, and not where a list expects it.
    pub(super) fn are_detected(&self) -> bool {
        self.found.is_some()
    }
}

impl<'a> Scene<'a> {
    /// Full width at half maximum that stars are expected to have, pixels.
    pub(super) fn fwhm(&self) -> f64 {
        self.options.fwhm.unwrap_or(self.width.typical)
    }

    /// Side of the cutouts, pixels.
    pub(super) fn size(&self) -> usize {
        self.options.size.unwrap_or_else(|| size_for(self.fwhm()))
    }

    /// Constraints of the user on the parameters of each star.
    pub(super) fn constraints(&self) -> Result<Resolver<'a>> {
        let frame = Frame {
            name: &self.image.name,
            side: self.size() as f64,
            bias: 0.0,
        };
        Resolver::new(self.fitter.model, self.options, self.list, frame)
    }

    /// The stars of the list, or those that `detect` finds.
    pub(super) fn targets(&self, detect: impl FnOnce() -> Vec<Detection>) -> Targets {
        let found = self.list.is_none().then(detect);
        let stars: Vec<Star> = match (self.list, &found) {
            (Some(list), _) => list.stars.clone(),
            (None, found) => {
                let found = found.iter().flatten().enumerate();
                found.map(|(id, d)| Star { id, x: d.x, y: d.y }).collect()
            }
        };
        Targets {
            positions: stars.iter().map(|star| (star.x, star.y)).collect(),
            stars,
            found,
        }
    }

    /// Noise of a pixel, as the weights take it.
    pub(super) fn pixel_noise(&self) -> Result<Noise> {
        let (options, gain) = (self.options, self.gain);
        Ok(match (self.fitter.estimator, options.weighted) {
            (Estimator::Poisson, _) => counts(&Sky {
                name: &self.image.name,
                gain: gain.stated(),
                found: gain.found(),
                read_noise: believed_read_noise(options.read_noise, &self.image.header),
                bias: options.bias,
                level: self.level,
                noise: self.noise,
            })?,
            (Estimator::LeastSquares, false) => Noise::Unit,
            (Estimator::LeastSquares, true) if self.image.variance.is_some() => Noise::Variance,
            (Estimator::LeastSquares, true) if gain == Gain::Unclear => Noise::Unit,
            (Estimator::LeastSquares, true) => Noise::Known {
                gain: gain.value(),
                read_noise: 0.0,
            },
        })
    }

    /// The rows of fits, without the flags that compare stars, positions counted from 0.
    pub(super) fn rows(
        &self,
        targets: &Targets,
        fits: &mut [Fit],
        constraints: &Resolver<'_>,
    ) -> Result<Vec<Row>> {
        // A star whose saturated core is wider than the cutout has no saturated pixel left to tell.
        for (fit, found) in fits.iter_mut().zip(targets.found.iter().flatten()) {
            fit.flags.set(Flags::SATURATED, found.saturated);
        }
        rows(
            &targets.stars,
            fits,
            self.fitter.model,
            self.options,
            constraints,
            self.image.wcs.as_ref(),
        )
    }

    /// Rows, assumptions and times of the image: it was measured from `start` on, and fitted from `detected`
    /// on.
    pub(super) fn measured(
        &self,
        mut rows: Vec<Row>,
        noise: Noise,
        (start, detected): (Instant, Instant),
    ) -> Measured {
        number_from_one(&mut rows, self.options.one_based);
        let size = self.size();
        Measured {
            rows,
            assumed: Assumptions {
                background: Some(self.level),
                noise: Some(self.noise),
                gain: self.gain.value(),
                gain_err: self.gain.error(),
                by_residuals: noise == Noise::Unit,
                saturation: Some(self.saturation).filter(|level| level.is_finite()),
                fwhm: Some(self.fwhm()),
                size: (size, size),
            },
            times: StageTimes {
                read: Duration::ZERO,
                detect: detected - start,
                fit: detected.elapsed(),
            },
        }
    }
}
