//! A star of a batch: everything but its pixels.

use fearless_simd::{Level, dispatch};

use super::values::Value;
use super::{Scale, Start};
use crate::constraints::Constraints;
use crate::cutout::{Cutout, Weighting};
use crate::estimator::{Estimate, LeastSquares, Poisson};
use crate::fit::Flags;
use crate::fitter::start::flanks::moments_of_flanks;
use crate::model::Moments;

/// A star of a batch: everything but its pixels.
#[derive(Debug, Clone)]
pub struct BatchStar {
    /// The way back to the image.
    pub scale: Scale,
    /// Where the fit starts.
    pub start: Start,
    /// Moments of the star by its flanks, in its scaled cutout, where its core is missing: they replace
    /// the moments of its pixels.
    pub(crate) flanks: Option<Box<Moments>>,
    /// The user's constraints on the parameters.
    pub constraints: Option<Box<Constraints>>,
    /// Pixels in use.
    pub n_pixels: usize,
    /// The weight of every pixel, where all have the same.
    pub uniform_weight: Option<f64>,
    /// Sum of the squared data in units of their noise: with the rounding of a sum it says how
    /// small a difference of chi-square still means something.
    pub power: f64,
    /// Meaning of the weights.
    pub weighting: Weighting,
    /// Flags of the cutout.
    pub flags: Flags,
    /// Whether the pixels are the lowest one plus integers of 16 bits.
    pub is_integer: bool,
    /// The lowest of the pixels in use.
    pub(crate) lowest: f64,
    /// Divisor of the weights.
    divisor: f64,
}

/// Counts this far above their zero are known to a tenth of one in `f32`.
const LARGEST_LEVEL: f64 = 1e6;

impl BatchStar {
    /// A star, whose pixels are still to be stored.
    pub(super) fn new(cutout: &Cutout, start: Start, constraints: Option<Constraints>) -> Self {
        let Extent {
            low,
            high,
            weight: largest,
            n_pixels,
        } = dispatch!(Level::new(), _simd => extent(cutout));
        let range = if high > low { high - low } else { 1.0 };
        // The lowest pixel is a value of the data: for integers the difference is exact.
        let low = if low.is_finite() { low } else { 0.0 };
        // The divisor makes the largest weight 1; for counts it is 1 over the level.
        let (pedestal, divisor, weight) = match cutout.weighting {
            Weighting::Unit | Weighting::InverseVariance => {
                let largest = if largest > 0.0 { largest } else { 1.0 };
                (low, largest, largest * range * range)
            }
            Weighting::Counts { gain, zero } => {
                let level = ((low - zero) / range).max(1.0);
                (zero + level * range, level.recip(), gain * range / level)
            }
        };
        let scale = Scale {
            pedestal,
            range,
            weight,
            corner: (cutout.corner.0 as f64, cutout.corner.1 as f64),
        };
        let power = dispatch!(Level::new(), _simd => match cutout.weighting {
            Weighting::Unit | Weighting::InverseVariance => {
                power::<LeastSquares>(cutout, &scale, divisor)
            }
            Weighting::Counts { .. } => power::<Poisson>(cutout, &scale, divisor),
        });
        let first = cutout.weight.first().copied().unwrap_or(0.0);
        let is_uniform = first > 0.0 && cutout.weight.iter().all(|&weight| weight == first);
        Self {
            scale,
            start,
            flanks: moments_of_flanks(cutout, &start).map(|moments| {
                Box::new(Moments {
                    flux: moments.flux / range,
                    background: (moments.background - pedestal) / range,
                    ..moments
                })
            }),
            constraints: constraints.map(Box::new),
            n_pixels,
            uniform_weight: is_uniform.then_some(first / divisor),
            power,
            weighting: cutout.weighting,
            flags: cutout.flags,
            is_integer: range <= 65535.0
                && (pedestal - low).abs() < LARGEST_LEVEL
                && dispatch!(Level::new(), _simd => are_integers(cutout, low)),
            lowest: low,
            divisor,
        }
    }

    /// The values of its pixels as a batch stores them.
    pub(super) fn values(&self, cutout: &Cutout) -> impl Iterator<Item = f64> + Clone {
        let pixels = cutout.data.iter().zip(&cutout.weight);
        pixels.map(|(&data, &weight)| if weight > 0.0 { data } else { self.lowest })
    }

    /// Writes these values, and says whether all of them are exact.
    #[inline(always)]
    pub(super) fn write_values<V: Value>(&self, cutout: &Cutout, out: &mut [V]) -> bool {
        let mut are_exact = true;
        for (out, value) in out.iter_mut().zip(self.values(cutout)) {
            are_exact &= V::holds(value);
            *out = V::of(value);
        }
        are_exact
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

/// Lowest and highest of the pixels in use, their largest weight and their number.
#[derive(Debug, Clone, Copy)]
struct Extent {
    low: f64,
    high: f64,
    weight: f64,
    n_pixels: usize,
}

/// Pixels, or weights, side by side, which become a register.
type Several = [f64; AT_ONCE];
const AT_ONCE: usize = 8;

/// Adds the pixels of a cutout and their weights to sums side by side. Numbers that fill up the last
/// lanes have no weight.
#[inline(always)]
fn for_several(cutout: &Cutout, mut add: impl FnMut(&Several, &Several)) {
    let (data, last_data) = cutout.data.as_chunks();
    let (weights, last_weights) = cutout.weight.as_chunks();
    for (data, weights) in data.iter().zip(weights) {
        add(data, weights);
    }
    let fill_up = |last: &[f64]| {
        let mut several = [0.0; AT_ONCE];
        several[..last.len()].copy_from_slice(last);
        several
    };
    add(&fill_up(last_data), &fill_up(last_weights));
}

#[inline(always)]
fn extent(cutout: &Cutout) -> Extent {
    let (mut low, mut high) = ([f64::INFINITY; AT_ONCE], [f64::NEG_INFINITY; AT_ONCE]);
    let (mut largest, mut count) = ([0.0; AT_ONCE], [0.0; AT_ONCE]);
    for_several(cutout, |data, weights| {
        for lane in 0..AT_ONCE {
            let (data, weight) = (data[lane], weights[lane]);
            let is_used = weight > 0.0;
            low[lane] = if is_used & (data < low[lane]) {
                data
            } else {
                low[lane]
            };
            high[lane] = if is_used & (data > high[lane]) {
                data
            } else {
                high[lane]
            };
            largest[lane] = if weight > largest[lane] {
                weight
            } else {
                largest[lane]
            };
            count[lane] += if is_used { 1.0 } else { 0.0 };
        }
    });
    Extent {
        low: low.into_iter().fold(f64::INFINITY, f64::min),
        high: high.into_iter().fold(f64::NEG_INFINITY, f64::max),
        weight: largest.into_iter().fold(0.0, f64::max),
        n_pixels: count.iter().sum::<f64>() as usize,
    }
}

/// Sum of the squared data in units of their noise.
#[inline(always)]
fn power<E: Estimate>(cutout: &Cutout, scale: &Scale, divisor: f64) -> f64 {
    let mut sums = [0.0; AT_ONCE];
    for_several(cutout, |data, weights| {
        for lane in 0..AT_ONCE {
            let data = (data[lane] - scale.pedestal) / scale.range;
            let terms = E::terms(data, data, weights[lane] / divisor);
            let square = terms.curvature * data * data;
            sums[lane] += if weights[lane] > 0.0 { square } else { 0.0 };
        }
    });
    sums.iter().sum()
}

/// Whether all pixels in use are integers above the lowest.
#[inline(always)]
fn are_integers(cutout: &Cutout, low: f64) -> bool {
    let mut fractions = [0.0; AT_ONCE];
    for_several(cutout, |data, weights| {
        for lane in 0..AT_ONCE {
            let fraction = (data[lane] - low).fract();
            fractions[lane] += if weights[lane] > 0.0 { fraction } else { 0.0 };
        }
    });
    fractions == [0.0; AT_ONCE]
}
