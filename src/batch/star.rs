//! What a batch knows of a star beside its pixels.

use super::Scale;
use crate::constraints::Constraints;
use crate::cutout::{Cutout, Weighting};
use crate::estimator::Estimator;
use crate::fit::Flags;
use crate::model::Parameters;

/// Where a fit starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// From moments of the pixels, within a window.
    Moments {
        /// Where the star is expected, in the image; `None`: at the brightest spot of the cutout.
        position: Option<(f64, f64)>,
        /// Full width at half maximum expected, pixels; `None`: a quarter of the cutout's side.
        fwhm: Option<f64>,
    },
    /// From these parameters, in the image's units and coordinates.
    Given(Parameters),
}

/// What the batch knows of one star beside its pixels.
#[derive(Debug, Clone)]
pub struct BatchStar {
    /// The way back to the image.
    pub scale: Scale,
    /// Where the fit starts.
    pub start: Start,
    /// What the user says of the parameters.
    pub constraints: Option<Box<Constraints>>,
    /// Pixels in use.
    pub n_pixels: usize,
    /// The weight of every pixel, where all have the same.
    pub uniform_weight: Option<f64>,
    /// Sum of the squared data in units of their noise: with the rounding of a sum it says how
    /// small a difference of chi-square still means something.
    pub power: f64,
    /// What the weights are.
    pub weighting: Weighting,
    /// Flags of the cutout.
    pub flags: Flags,
    /// Whether its pixels are the lowest one and integers of 16 bits above it.
    pub is_integer: bool,
    /// The lowest of the pixels in use.
    pub(crate) lowest: f64,
    /// By what weights are divided.
    divisor: f64,
}

/// Counts this far above their zero are known to a tenth of one in `f32`.
const LARGEST_LEVEL: f64 = 1e6;

impl BatchStar {
    /// A star, whose pixels are still to be stored.
    pub(super) fn new(cutout: &Cutout, start: Start, constraints: Option<Constraints>) -> Self {
        let used = || cutout.used();
        let (low, high) = used().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (d, _)| {
            (low.min(d), high.max(d))
        });
        let range = if high > low { high - low } else { 1.0 };
        // The lowest pixel is a value of the data: for integers the difference is exact.
        let low = if low.is_finite() { low } else { 0.0 };
        // What weights are divided by, so that the largest is 1 (of counts: 1 over the level).
        let (pedestal, divisor, weight) = match cutout.weighting {
            Weighting::Unit | Weighting::InverseVariance => {
                let largest = used().map(|(_, weight)| weight).fold(0.0, f64::max);
                let largest = if largest > 0.0 { largest } else { 1.0 };
                (low, largest, largest * range * range)
            }
            Weighting::Counts { gain, zero } => {
                let level = ((low - zero) / range).max(1.0);
                (zero + level * range, level.recip(), gain * range / level)
            }
        };
        let estimator = match cutout.weighting {
            Weighting::Unit | Weighting::InverseVariance => Estimator::LeastSquares,
            Weighting::Counts { .. } => Estimator::Poisson,
        };
        let power = used().map(|(data, weight)| {
            let (data, weight) = ((data - pedestal) / range, weight / divisor);
            estimator.terms(data, data, weight).curvature * data * data
        });
        let first = cutout.weight.first().copied().unwrap_or(0.0);
        let is_uniform = first > 0.0 && cutout.weight.iter().all(|&weight| weight == first);
        Self {
            scale: Scale {
                pedestal,
                range,
                weight,
                corner: (cutout.corner.0 as f64, cutout.corner.1 as f64),
            },
            start,
            constraints: constraints.map(Box::new),
            n_pixels: cutout.n_pixels(),
            uniform_weight: is_uniform.then_some(first / divisor),
            power: power.sum(),
            weighting: cutout.weighting,
            flags: cutout.flags,
            is_integer: range <= 65535.0
                && (pedestal - low).abs() < LARGEST_LEVEL
                && used().all(|(data, _)| (data - low).fract() == 0.0),
            lowest: low,
            divisor,
        }
    }

    /// The values of its pixels as a batch stores them.
    pub(super) fn values(&self, cutout: &Cutout) -> impl Iterator<Item = f64> + Clone {
        let pixels = cutout.data.iter().zip(&cutout.weight);
        pixels.map(|(&data, &weight)| if weight > 0.0 { data } else { self.lowest })
    }

    /// Writes the weights of its pixels as a batch stores them, if they are not all the same.
    pub(super) fn write_weights(&self, cutout: &Cutout, out: &mut [f64]) {
        if self.uniform_weight.is_none() {
            for (out, weight) in out.iter_mut().zip(&cutout.weight) {
                *out = weight / self.divisor;
            }
        }
    }
}
