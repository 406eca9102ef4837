//! Checks of planes of noise: the sky's noise before the fit of a stack and after the fit of an image,
//! chi-square after both.

use crate::catalog::Row;
use crate::error::Result;
use crate::fit::{FitStatus, Flags};
use crate::image::Image;
use crate::measure::Measured;
use crate::numbers::median;
use crate::planes::{SkyNoise, cutout_noise};
use ndarray::{Array3, ArrayView3, Axis};

use super::InputPlanes;

/// Noise of the sky in some cutouts of a stack, seen and by the planes.
pub(in crate::engine) struct SkySample {
    step: usize,
    low: Vec<f64>,
    high: Vec<f64>,
    variances: Vec<f64>,
}

impl SkySample {
    /// An empty sample for a stack of `n` cutouts.
    pub(super) fn new(n: usize) -> Self {
        const SAMPLE: usize = 1000;
        Self {
            step: n.div_ceil(SAMPLE).max(1),
            low: Vec::new(),
            high: Vec::new(),
            variances: Vec::new(),
        }
    }

    /// Takes cutouts; `first` is the number of the first one.
    pub(super) fn add(
        &mut self,
        first: usize,
        pixels: &Array3<f64>,
        variance: ArrayView3<'_, f64>,
    ) {
        let skip = first.next_multiple_of(self.step) - first;
        for at in (skip..pixels.len_of(Axis(0))).step_by(self.step) {
            let (pixels, variance) = (
                pixels.index_axis(Axis(0), at),
                variance.index_axis(Axis(0), at),
            );
            let usable = pixels
                .iter()
                .zip(variance)
                .filter(|(pixel, _)| pixel.is_finite());
            let mut variances: Vec<f64> = usable.map(|(_, variance)| *variance).collect();
            if let (Some(noise), Some(variance)) = (cutout_noise(pixels), median(&mut variances)) {
                self.low.push(noise.low);
                self.high.push(noise.high);
                self.variances.push(variance);
            }
        }
    }

    /// The sky's noise by the planes, one sigma, and as it is seen.
    pub(super) fn noise(mut self) -> Option<(f64, SkyNoise)> {
        let seen = SkyNoise {
            low: median(&mut self.low)?,
            high: median(&mut self.high)?,
        };
        Some((median(&mut self.variances)?.sqrt(), seen))
    }
}

/// The variance of the sky of an image that has variances: their median over some of its pixels
/// without a star.
fn sky_variance(image: &Image, level: f64, noise: f64) -> Option<f64> {
    /// Number of pixels that are looked at.
    const SAMPLE: usize = 40_000;
    let variance = image.variance.as_ref()?.as_standard_layout();
    let pixels = image.pixels.as_standard_layout();
    let (pixels, variance) = (pixels.as_slice()?, variance.as_slice()?);
    // Odd, so that it is not always the same columns of a detector.
    let step = (variance.len() / SAMPLE).max(1) | 1;
    let (mut sky, mut all) = (Vec::new(), Vec::new());
    for at in (0..pixels.len().min(variance.len())).step_by(step) {
        let (pixel, variance) = (pixels[at], variance[at]);
        if pixel.is_finite() {
            all.push(variance);
            if (pixel - level).abs() < 3.0 * noise {
                sky.push(variance);
            }
        }
    }
    // The level may differ too much from place to place to know the sky by it.
    if 4 * sky.len() >= all.len() {
        median(&mut sky)
    } else {
        median(&mut all)
    }
}

impl InputPlanes {
    /// Holds the variances of an image against what its measurement has found.
    ///
    /// # Errors
    ///
    /// An error where the planes are of another kind than they are given for.
    pub(in crate::engine) fn check_image(&self, image: &Image, measured: &Measured) -> Result<()> {
        let Some(file) = &self.noise else {
            return Ok(());
        };
        let (level, noise) = (measured.assumed.background, measured.assumed.noise);
        let (level, noise) = (level.unwrap_or(0.0), noise.unwrap_or(0.0));
        let mut is_off = false;
        if let Some(variance) = sky_variance(image, level, noise) {
            is_off = file.judge(&image.name, variance.sqrt(), SkyNoise::of(noise))?;
        }
        let mut check = NoiseCheck::default();
        check.add(&measured.rows);
        if !is_off {
            self.check_fits(&image.name, check);
        }
        Ok(())
    }

    /// Warns where stars fit far better or worse than their variances say.
    pub fn check_fits(&self, name: &str, check: NoiseCheck) {
        if let Some(chi2) = check.typical().filter(|_| self.noise.is_some())
            && !(0.5..=2.0).contains(&chi2)
        {
            let why = match chi2 < 1.0 {
                true => "the noise given is too large, or shared by neighbouring pixels",
                false => "the noise given is too small, or stars have another shape than the model",
            };
            tracing::warn!(
                "{name}: chi2/dof of clean stars is {chi2:.2} and not near 1: {why}; errors are off by a factor of about {:.1}",
                chi2.sqrt().max(chi2.sqrt().recip())
            );
        }
    }
}

/// Reduced chi-squares of the clean stars of an input.
#[derive(Debug, Default)]
pub struct NoiseCheck(Vec<f64>);

impl NoiseCheck {
    /// Takes rows of the input.
    pub fn add(&mut self, rows: &[Row]) {
        /// Most rows that are taken: as many tell as much as all.
        const MOST: usize = 10_000;
        // A bright star shows any flaw of the model, and a faint one may be none. Where quality bits
        // mask a hundredth of all pixels, hardly a cutout has none of them.
        let is_clean = |row: &&Row| {
            row.status == FitStatus::Converged
                && row.flags.0 & !Flags::MASKED.0 == 0
                && row
                    .get("snr")
                    .is_some_and(|snr| (8.0..100.0).contains(&snr))
        };
        let room = MOST.saturating_sub(self.0.len());
        let clean = rows.iter().filter(is_clean);
        self.0
            .extend(clean.filter_map(|row| row.get("reduced_chi2")).take(room));
    }

    /// Median of the chi-squares, where they are enough to tell.
    fn typical(mut self) -> Option<f64> {
        const FEWEST: usize = 8;
        if self.0.len() < FEWEST {
            return None;
        }
        median(&mut self.0)
    }
}
