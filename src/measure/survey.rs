//! A first look at an image: how wide its stars are, and which of them stand out.

use std::iter;
use std::ops::Range;

use ndarray::s;
use rayon::prelude::*;

use super::peak::Peak;
use super::scales::wide_stars;
use super::width_class::{StarWidth, star_width};
use super::{LARGEST_DEFAULT_SIZE, size_for};
use crate::backend::CpuBackend;
use crate::background::Background;
use crate::batch::{Batch, Start};
use crate::cutout::{Cutout, CutoutOptions, Noise};
use crate::detect::{DetectOptions, Detection, detect_in};
use crate::error::Result;
use crate::fit::{Fit, FitStatus, Flags};
use crate::fitter::Fitter;
use crate::image::Image;
use crate::model::{Gaussian, Model};
use crate::neighbours::Neighbours;
use crate::solver::LevenbergMarquardt;

/// Width assumed where no star can be measured, pixels.
const DEFAULT_FWHM: f64 = 3.0;

/// Rows of a strip of a large image. One strip in `EVERY` is looked at first: the whole image mostly has
/// far more stars than the width is taken from, and to detect them all only for that takes as long as
/// the detection proper.
const STRIP: usize = 64;
const EVERY: usize = 8;
/// Stars in these strips that tell the width as well as those of the whole image: the error of their median
/// is an eighth of that of one star.
const ENOUGH: usize = 100;

/// Result of a first look at the stars of an image.
#[derive(Debug, Clone)]
pub(super) struct Survey {
    /// Width of the stars.
    pub(super) width: StarWidth,
    /// Whether there were stars to measure the width of.
    pub(super) is_measured: bool,
    /// Isolated, unsaturated stars that stand out well, the brightest first; of a large image those of
    /// some of its rows.
    pub(super) stars: Vec<Detection>,
}

impl Survey {
    /// The width of the stars: the one that was `said` where none of them tells.
    pub(super) fn width_or(&self, said: Option<f64>) -> StarWidth {
        match said {
            Some(fwhm) if !self.is_measured => StarWidth::about(fwhm),
            _ => self.width,
        }
    }
}

/// Looks at the isolated, unsaturated stars of an image that stand out well. Peaks of a single pixel are no
/// stars.
pub(super) fn survey(
    image: &Image,
    background: &Background,
    options: &DetectOptions,
) -> Result<Survey> {
    const PASSES: usize = 3;
    // One or two stars may be a galaxy or a cosmic ray.
    const FEWEST_MEASURED: usize = 3;
    let mut survey = Survey {
        width: StarWidth::about(DEFAULT_FWHM),
        is_measured: false,
        stars: Vec::new(),
    };
    let mut count = 0;
    for _ in 0..PASSES {
        let fwhm = survey.width.typical;
        let options = DetectOptions {
            fwhm,
            ..options.clone()
        };
        let mut every = EVERY;
        let mut sample = loop {
            let strips = strips(image.height(), every);
            let sample = stars_in(&strips, image, background, &options)?;
            if sample.widths.len() >= ENOUGH || strips.len() == 1 {
                break sample;
            }
            // The number of strips that has a third more stars than enough.
            every = 3 * every * sample.widths.len() / (4 * ENOUGH);
        };
        survey.stars = sample.stars;
        count = sample.widths.len();
        let measured = star_width(&mut sample.widths).filter(|_| count >= FEWEST_MEASURED);
        let Some(measured) = measured else {
            break;
        };
        survey.is_measured = true;
        let change = measured.typical / fwhm;
        survey.width = measured.within(0.5, LARGEST_DEFAULT_SIZE as f64 / 4.0);
        // A filter half or twice as wide as the stars still finds them. To go on would end on the
        // widest galaxy, since each filter finds best what is as wide as itself.
        if (0.5..2.0).contains(&change) {
            break;
        }
    }
    // A few stars may be arcs of rings.
    let narrow = survey.is_measured.then_some(survey.width.typical);
    if count < ENOUGH
        && let Some(wide) = wide_stars(image, background, narrow)?
    {
        tracing::warn!("{}: {wide}", image.name);
        survey.width = StarWidth::about(wide.fwhm.min(LARGEST_DEFAULT_SIZE as f64 / 4.0));
        survey.is_measured = true;
        return Ok(survey);
    }
    if !survey.is_measured {
        tracing::info!(
            "{}: no star to measure the width of; {} pixels are assumed",
            image.name,
            survey.width.typical
        );
    }
    Ok(survey)
}

/// Some rows of a large image, one strip in `every`, or all.
fn strips(height: usize, every: usize) -> Vec<Range<usize>> {
    let count = height / (every.max(1) * STRIP);
    if every < 2 || count < 2 {
        return iter::once(0..height).collect();
    }
    let first = |at| (every * at + every / 2) * STRIP;
    (0..count).map(|at| first(at)..first(at) + STRIP).collect()
}

/// Stars of some rows, and the widths of those where a Gaussian can be fitted.
#[derive(Debug)]
struct Sample {
    stars: Vec<Detection>,
    widths: Vec<f64>,
}

/// The isolated, unsaturated stars that stand out well in some rows of an image.
fn stars_in(
    strips: &[Range<usize>],
    image: &Image,
    background: &Background,
    options: &DetectOptions,
) -> Result<Sample> {
    const STARS: usize = 300;
    const FEWEST: usize = 20;
    const SIGNIFICANCE: f64 = 15.0;
    let fwhm = options.fwhm;
    let mut found: Vec<Detection> = strips
        .par_iter()
        .flat_map_iter(|rows| {
            let pixels = image.pixels.slice(s![rows.clone(), ..]);
            let found = detect_in(pixels, &background.of_rows(rows), options);
            let top = rows.start as f64;
            found
                .into_iter()
                .map(move |d| Detection { y: d.y + top, ..d })
        })
        .collect();
    let positions: Vec<(f64, f64)> = found.iter().map(|d| (d.x, d.y)).collect();
    let neighbours = Neighbours::new(&positions, 2.0 * fwhm);
    let crowded: Vec<bool> = (0..found.len())
        .map(|i| neighbours.has_neighbour(i))
        .collect();
    let mut isolated = crowded.iter().map(|crowded| !crowded);
    let is_single_pixel = |d: &Detection| {
        Peak::at(image.pixels.view(), background, None, (d.x, d.y))
            .is_some_and(|peak| peak.is_single_pixel())
    };
    found.retain(|d| {
        isolated.next() == Some(true) && !d.saturated && !d.edge && !is_single_pixel(d)
    });
    found.sort_by(|a, b| b.significance.total_cmp(&a.significance));
    let clear = found.partition_point(|d| d.significance > SIGNIFICANCE);
    found.truncate(clear.max(FEWEST));
    // From bright to faint alike: the brightest alone are often broadened by the detector.
    let step = found.len().div_ceil(STARS).max(1);

    let size = size_for(fwhm);
    let mut batch = Batch::new(size, size);
    let cut = CutoutOptions {
        noise: Noise::Unit,
        saturation: options.saturation,
    };
    for star in found.iter().step_by(step) {
        let position = (star.x, star.y);
        let cutout = Cutout::from_image(image, background, &cut, position, size);
        let start = Start::Moments {
            position: Some(position),
            fwhm: Some(fwhm),
        };
        batch.push(&cutout, start)?;
    }
    let solver = Box::new(LevenbergMarquardt::default());
    let fitter = Fitter::new(&Gaussian, solver, Box::new(CpuBackend::default()));
    let fits = fitter.fit(&batch)?;
    let bad = Flags(Flags::NEAR_BOUND.0 | Flags::NEGATIVE_FLUX.0 | Flags::CENTROID_OUTSIDE.0);
    let usable = |fit: &&Fit| fit.status == FitStatus::Converged && fit.flags.0 & bad.0 == 0;
    let width = |fit: &Fit| {
        Gaussian
            .quantities(&fit.parameters)
            .into_iter()
            .find(|q| q.column == "fwhm")
    };
    let widths = fits.iter().filter(usable).filter_map(width);
    let widths = widths.map(|q| q.value).collect();
    Ok(Sample {
        stars: found,
        widths,
    })
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal};
    use rand_pcg::Pcg64;

    use super::*;

    const ROWS: usize = 2 * EVERY * STRIP;

    /// The width measured in an image with a lattice of stars, which are as wide as `width_at` says of
    /// their rows, if there are any.
    fn measured(width_at: impl Fn(usize) -> Option<f64>) -> f64 {
        let mut rng = Pcg64::seed_from_u64(1);
        let normal = Normal::new(1000.0, 1.0).unwrap();
        let mut pixels = Array2::from_shape_simple_fn((ROWS, 400), || normal.sample(&mut rng));
        for y in (10..ROWS - 10).step_by(16) {
            let Some(fwhm) = width_at(y) else { continue };
            for x in (10..390).step_by(16) {
                let mut near = pixels.slice_mut(s![y - 10..=y + 10, x - 10..=x + 10]);
                for ((row, column), pixel) in near.indexed_iter_mut() {
                    let r2 = (row as f64 - 10.2).powi(2) + (column as f64 - 9.7).powi(2);
                    *pixel += 100.0 * 2f64.powf(-4.0 * r2 / fwhm.powi(2));
                }
            }
        }
        let background = Background::estimate(pixels.view(), 64);
        let image = Image::from_pixels("lattice", pixels);
        survey(&image, &background, &DetectOptions::default())
            .unwrap()
            .width
            .typical
    }

    fn is_in_strip(y: usize) -> bool {
        (y / STRIP) % EVERY == EVERY / 2
    }

    #[test]
    fn strips_are_their_part_of_the_image() {
        for (height, every) in [(2048, 8), (1024, 8), (5000, 3), (1030, 2)] {
            let strips = strips(height, every);
            assert!(strips.windows(2).all(|pair| pair[0].end <= pair[1].start));
            assert!(strips.iter().all(|rows| rows.end <= height));
            let rows: usize = strips.iter().map(|rows| rows.len()).sum();
            assert!(rows.abs_diff(height / every) <= STRIP, "{height}, {every}");
        }
        for (height, every) in [(1000, 8), (5000, 1), (5000, 0), (0, 8)] {
            assert!(strips(height, every).into_iter().eq(iter::once(0..height)));
        }
    }

    #[test]
    fn strips_tell_the_width_where_they_have_stars_enough() {
        let fwhm = measured(|y| Some(if is_in_strip(y) { 3.4 } else { 4.6 }));
        assert!((fwhm / 3.4 - 1.0).abs() < 0.01, "{fwhm}");
    }

    #[test]
    fn all_stars_tell_it_where_the_strips_have_few() {
        let fwhm = measured(|y| (!is_in_strip(y)).then_some(4.6));
        assert!((fwhm / 4.6 - 1.0).abs() < 0.01, "{fwhm}");
        let none = measured(|_| None);
        assert_eq!(none, DEFAULT_FWHM);
    }
}
