//! The pixels that are missing in the middle of a star.

use crate::cutout::Cutout;
use crate::model::{FWHM_OF_SIGMA, Moments};
use crate::numbers::median;
use crate::pixels::Pixels;
use crate::rim::rim_noise;

/// Fewest pixels of a hole that is a core.
const SMALLEST_HOLE: usize = 4;

/// Least light round a hole that is a core, and round a few saturated pixels that are in a star, as
/// parts of the brightest light.
const BRIGHT: f64 = 0.5;
const LIT: f64 = 0.3;

/// Pixels side by side that are missing in the middle of a star.
pub(super) struct Core {
    /// Whether a pixel of the cutout is one of the core.
    pub(super) is_in: Vec<bool>,
    pixels: Vec<usize>,
    /// Centroid of the pixels.
    pub(super) x: f64,
    pub(super) y: f64,
    /// Radius of a disc of as many pixels, and the distance of the furthest from the centroid.
    radius: f64,
    pub(super) reach: f64,
    is_saturated: bool,
}

/// All unused pixels that are connected to the unused pixel `seed`.
fn grown(cutout: &Cutout, seed: usize, seen: &mut [bool]) -> Vec<usize> {
    let mut pixels = vec![seed];
    seen[seed] = true;
    let mut next = 0;
    while let Some(&at) = pixels.get(next) {
        next += 1;
        for near in neighbours(cutout, at) {
            if cutout.weight[near] <= 0.0 && !seen[near] {
                seen[near] = true;
                pixels.push(near);
            }
        }
    }
    pixels
}

impl Core {
    /// The core nearest to the place where the star is expected, or the largest if no place is given.
    pub(super) fn of(
        cutout: &Cutout,
        expected: Option<(f64, f64)>,
        fwhm: Option<f64>,
    ) -> Option<Self> {
        let mut seen = vec![false; cutout.data.len()];
        let holes: Vec<usize>;
        let is_saturated = !cutout.saturated.is_empty();
        let seeds = match is_saturated {
            true => &cutout.saturated,
            false => {
                holes = (0..seen.len())
                    .filter(|&at| cutout.weight[at] <= 0.0)
                    .collect();
                &holes
            }
        };
        let mut best: Option<(f64, Self)> = None;
        for &seed in seeds {
            if seen[seed] {
                continue;
            }
            let pixels = grown(cutout, seed, &mut seen);
            if !is_saturated && pixels.len() < SMALLEST_HOLE {
                continue;
            }
            let core = Self::new(cutout, pixels);
            if !core.is_in_star(cutout) {
                continue;
            }
            let distance = match expected {
                Some((x, y)) => core.distance(cutout.width, x, y),
                None => -(core.pixels.len() as f64),
            };
            if best.as_ref().is_none_or(|(least, _)| distance < *least) {
                best = Some((distance, core));
            }
        }
        let (distance, core) = best?;
        // The core of a neighbour is no reason to start there.
        let is_its_own = expected.is_none() || distance <= fwhm.unwrap_or(core.radius).max(2.0);
        is_its_own.then_some(core)
    }

    fn new(cutout: &Cutout, pixels: Vec<usize>) -> Self {
        let mut is_in = vec![false; cutout.data.len()];
        for &at in &pixels {
            is_in[at] = true;
        }
        // Pixels outside the image, or without a value, may be connected to a saturated core.
        let is_saturated = |at: &&usize| cutout.saturated.binary_search(at).is_ok();
        let saturated: Vec<usize> = pixels.iter().filter(is_saturated).copied().collect();
        let inner = if saturated.is_empty() {
            &pixels
        } else {
            &saturated
        };
        let n = inner.len() as f64;
        let place = |at: &usize| ((at % cutout.width) as f64, (at / cutout.width) as f64);
        let x = inner.iter().map(|at| place(at).0).sum::<f64>() / n;
        let y = inner.iter().map(|at| place(at).1).sum::<f64>() / n;
        let furthest = inner
            .iter()
            .map(place)
            .map(|(px, py)| (px - x).hypot(py - y));
        Self {
            x,
            y,
            radius: (n / std::f64::consts::PI).sqrt(),
            reach: furthest.fold(0.0, f64::max),
            is_saturated: !saturated.is_empty(),
            is_in,
            pixels,
        }
    }

    /// Distance of the core's nearest pixel.
    fn distance(&self, width: usize, x: f64, y: f64) -> f64 {
        let distance = |&at: &usize| ((at % width) as f64 - x).hypot((at / width) as f64 - y);
        self.pixels
            .iter()
            .map(distance)
            .fold(f64::INFINITY, f64::min)
    }

    /// Used pixels next to the core.
    pub(super) fn ring(&self, cutout: &Cutout) -> Vec<usize> {
        let near = self.pixels.iter().flat_map(|&at| neighbours(cutout, at));
        let mut ring: Vec<usize> = near.filter(|&at| cutout.weight[at] > 0.0).collect();
        ring.sort_unstable();
        ring.dedup();
        ring
    }

    /// Whether the missing pixels are where the star is brightest. A few saturated pixels may be a hot
    /// pixel beside it. Pixels without a value may be bad, but some observatories give saturated pixels
    /// no value.
    fn is_in_star(&self, cutout: &Cutout) -> bool {
        let (width, height) = (cutout.width, cutout.height);
        let is_inside = |&at: &usize| {
            let (x, y) = (at % width, at / width);
            x > 0 && y > 0 && x + 1 < width && y + 1 < height
        };
        let is_large = self.pixels.len() >= SMALLEST_HOLE;
        let share = match (self.is_saturated, is_large) {
            (true, true) => return true,
            (true, false) => LIT,
            (false, true) if self.pixels.iter().all(is_inside) => BRIGHT,
            (false, _) => return false,
        };
        let ring = self.ring(cutout);
        let mut round: Vec<f64> = ring.iter().map(|&at| cutout.data[at]).collect();
        let (Some(round), Some(sky)) = (median(&mut round), lowest(cutout)) else {
            return false;
        };
        let used = cutout.data.iter().zip(&cutout.weight);
        let used = used.filter(|(_, weight)| **weight > 0.0);
        let highest = used
            .map(|(value, _)| *value)
            .fold(f64::NEG_INFINITY, f64::max);
        round - sky > share * (highest - sky) && round - sky > 5.0 * noise_of(cutout)
    }

    /// A guess for too few pixels that stand out: a star of the expected width, as high at the edge of
    /// the core as the brightest pixel there.
    pub(super) fn guess(
        &self,
        cutout: &Cutout,
        background: f64,
        fwhm: Option<f64>,
    ) -> Option<Moments> {
        /// Largest logarithm of a star's height over its light at the edge of the core.
        const HIGHEST: f64 = 4.0;
        let ring = self.ring(cutout);
        let highest = ring
            .iter()
            .map(|&at| cutout.data[at])
            .fold(f64::NEG_INFINITY, f64::max);
        let light = Some(highest - background).filter(|&light| light > 0.0)?;
        let sigma = fwhm
            .map_or(0.5 * self.radius, |fwhm| fwhm / FWHM_OF_SIGMA)
            .max(0.5);
        let edge = 0.5 * ((self.radius + 0.5) / sigma).powi(2);
        let peak = light * edge.min(HIGHEST).exp();
        let flux = peak * std::f64::consts::TAU * sigma * sigma;
        Some(Moments::round(flux, (self.x, self.y), sigma, background))
    }
}

/// The up to eight pixels next to one.
pub(super) fn neighbours(cutout: &Cutout, at: usize) -> impl Iterator<Item = usize> + use<> {
    let (width, height) = (cutout.width, cutout.height);
    let (x, y) = (at % width, at / width);
    let rows = y.saturating_sub(1)..(y + 2).min(height);
    let columns = x.saturating_sub(1)..(x + 2).min(width);
    rows.flat_map(move |y| columns.clone().map(move |x| y * width + x))
        .filter(move |&near| near != at)
}

/// A level that a tenth of the pixels are below: a bright star may reach to all of the rim.
pub(super) fn lowest(cutout: &Cutout) -> Option<f64> {
    let used = cutout
        .data
        .iter()
        .zip(&cutout.weight)
        .filter(|(_, w)| **w > 0.0);
    let mut values: Vec<f64> = used.map(|(value, _)| *value).collect();
    let tenth = values.len() / 10;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(tenth, f64::total_cmp).1)
}

/// Standard deviation of the noise on the rim.
pub(super) fn noise_of(cutout: &Cutout) -> f64 {
    let pixels = Pixels {
        width: cutout.width,
        data: cutout.data.as_slice().into(),
        weight: cutout.weight.as_slice().into(),
    };
    rim_noise(&pixels, cutout.height).sigma
}
