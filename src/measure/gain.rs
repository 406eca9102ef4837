//! The gain as the noise of the image itself shows it: in the scatter of the pixels of bright stars round
//! their fits, and in the noise of a sky whose level varies.
//!
//! In a pixel where a star stands `m` above the sky, the variance is the sky's plus `m / gain`; the part of
//! the star's shape that the model misses adds a term that goes as the square of `m`. A photon transfer curve
//! (J. R. Janesick 2007, *Photon Transfer*) tells the two apart where stars differ in brightness.

mod curve;

use std::fmt;

use rayon::prelude::*;

use super::size_for;
use super::survey::Survey;
use crate::backend::CpuBackend;
use crate::background::Background;
use crate::batch::{Batch, Start};
use crate::cutout::{Cutout, CutoutOptions, Noise};
use crate::detect::Detection;
use crate::error::Result;
use crate::fitter::Fitter;
use crate::image::Image;
use crate::model::{EllipticalGaussian, EllipticalMoffat, Model};
use crate::solver::LevenbergMarquardt;
use curve::TransferCurve;

/// Stars that are looked at, the brightest: they hold nearly all the information.
const STARS: usize = 64;
/// Largest relative error of a gain that counts as found.
const MOST_UNCERTAIN: f64 = 0.5;

/// Result of the search for photon noise in an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum PhotonNoise {
    /// Photon noise is seen, which gives the gain.
    Seen(FoundGain),
    /// No star is bright enough for its photons to matter beside the noise of the sky.
    Hidden,
    /// There are bright stars, whose residuals are something else than photon noise.
    Unclear,
}

/// A gain that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct FoundGain {
    /// Electrons for each unit of the image.
    pub(super) value: f64,
    /// Standard error of the gain, in its unit.
    pub(super) error: f64,
    /// Where the gain was found.
    pub(super) source: GainSource,
}

/// Where a gain was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GainSource {
    /// The scatter of the pixels of so many stars round their fits.
    Stars(usize),
    /// Level and noise of the sky over the image.
    Sky,
}

impl fmt::Display for GainSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stars(n) => write!(f, "{n} bright stars"),
            Self::Sky => f.write_str("the sky"),
        }
    }
}

impl FoundGain {
    /// A gain from `photons`, the variance that a unit of light adds, in units of the image.
    fn new(photons: f64, error: f64, source: GainSource) -> Option<Self> {
        let value = photons.recip();
        let is_known = photons > 0.0 && value.is_finite() && error < MOST_UNCERTAIN * photons;
        is_known.then_some(Self {
            value,
            error: value * error / photons,
            source,
        })
    }

    /// Whether another gain may be the right one.
    pub(super) fn agrees(&self, gain: f64) -> bool {
        /// Errors of stars go with the root of the gain: a tenth off is as good as right.
        const AS_GOOD: f64 = 1.25;
        const SIGMA: f64 = 3.5;
        let off = (gain / self.value).ln().abs();
        off < AS_GOOD.ln().max(SIGMA * self.error / self.value)
    }
}

/// Looks for photon noise in an image.
///
/// # Errors
///
/// The errors of [`Fitter::fit`].
pub(super) fn photon_noise(
    image: &Image,
    background: &Background,
    survey: &Survey,
    saturation: f64,
) -> Result<PhotonNoise> {
    let size = size_for(survey.width.typical);
    let of_stars = in_stars(survey, |star, noise| {
        let options = CutoutOptions { noise, saturation };
        let place = (star.x, star.y);
        let cutout = Cutout::from_image(image, background, &options, place, size);
        (cutout, background.noise(star.x, star.y))
    })?;
    if let PhotonNoise::Seen(_) = of_stars {
        return Ok(of_stars);
    }
    let pixels = (background.cell() * background.cell()) as f64;
    Ok(in_sky(&background.cells(), pixels).map_or(of_stars, PhotonNoise::Seen))
}

/// Photon noise in the scatter of bright stars round their fits; `cut` makes the cutout of a star, weighted
/// by a noise, and tells the noise of the sky there.
///
/// # Errors
///
/// The errors of [`Fitter::fit`].
pub(super) fn in_stars(
    survey: &Survey,
    cut: impl Fn(&Detection, Noise) -> (Cutout, f64),
) -> Result<PhotonNoise> {
    let stars = &survey.stars[..survey.stars.len().min(STARS)];
    // A Moffat has the wings of most stars, but is no Gaussian, which some stars nearly are.
    let models: [&'static dyn Model; 2] = [&EllipticalMoffat, &EllipticalGaussian];
    let mut found = PhotonNoise::Hidden;
    let mut gain = None;
    // The shape of a star is known best where its brightest pixels have no more weight than their noise
    // allows.
    for _ in 0..2 {
        let noise = Noise::Known {
            gain,
            read_noise: 0.0,
        };
        let cutouts: Vec<(Cutout, f64)> = stars.iter().map(|star| cut(star, noise)).collect();
        let side = cutouts.first().map_or(0, |(cutout, _)| cutout.width);
        let mut batch = Batch::new(side, side);
        for (star, (cutout, _)) in stars.iter().zip(&cutouts) {
            let start = Start::Moments {
                position: Some((star.x, star.y)),
                fwhm: Some(survey.width.typical),
            };
            batch.push(cutout, start)?;
        }
        let curves: Result<Vec<_>> = models
            .par_iter()
            .map(|&model| {
                let solver = Box::new(LevenbergMarquardt::default());
                let fitter = Fitter::new(model, solver, Box::new(CpuBackend::default()));
                let fits = fitter.fit(&batch)?;
                let mut curve = TransferCurve::default();
                for (number, ((cutout, noise), fit)) in cutouts.iter().zip(&fits).enumerate() {
                    curve.add(number, cutout, model, fit, *noise);
                }
                Ok((curve.misfit(), curve))
            })
            .collect();
        let curves = curves?.into_iter().filter(|curve| curve.0.is_finite());
        let best = curves.min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, mut curve)) = best else {
            break;
        };
        found = curve.judge();
        match found {
            PhotonNoise::Seen(seen) => gain = Some(seen.value),
            PhotonNoise::Hidden | PhotonNoise::Unclear => break,
        }
    }
    Ok(found)
}

/// Photon noise in a sky whose level varies over the `cells` of a mesh, level and noise of each, of `pixels`
/// pixels: the variance of a cell grows with its level.
pub(super) fn in_sky(cells: &[(f64, f64)], pixels: f64) -> Option<FoundGain> {
    /// Cells that tell a line from something else.
    const FEWEST: usize = 30;
    /// Least slope of the line, sigma, and most scatter round it, in units of the cells' own noise.
    const CLEAR: f64 = 8.0;
    const SCATTER: f64 = 2.0;
    let n = cells.len() as f64;
    if cells.len() < FEWEST {
        return None;
    }
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| cells.iter().map(of).sum::<f64>() / n;
    let (level, variance) = (mean(&|cell| cell.0), mean(&|cell| cell.1.powi(2)));
    let spread = mean(&|cell| (cell.0 - level).powi(2));
    let slope = mean(&|cell| (cell.0 - level) * (cell.1.powi(2) - variance)) / spread;
    let off = |cell: &(f64, f64)| cell.1.powi(2) - variance - slope * (cell.0 - level);
    let scatter = mean(&|cell| off(cell).powi(2)).sqrt();
    // A cell is the median of nine.
    let error = 3.0 * scatter / (n * spread).sqrt();
    let own = variance * (2.0 / pixels).sqrt();
    let is_line = slope > CLEAR * error && scatter < SCATTER * own;
    FoundGain::new(slope, error, GainSource::Sky).filter(|_| is_line)
}
