//! How wide the stars of an image are.

use super::{LARGEST_DEFAULT_SIZE, size_for};
use crate::backend::CpuBackend;
use crate::background::Background;
use crate::batch::{Batch, Start};
use crate::cutout::{Cutout, CutoutOptions, Noise};
use crate::detect::{DetectOptions, Detection, detect};
use crate::error::Result;
use crate::fit::{Fit, FitStatus, Flags};
use crate::fitter::Fitter;
use crate::image::Image;
use crate::model::{Gaussian, Model};
use crate::moments::median;
use crate::neighbours::Neighbours;
use crate::solver::LevenbergMarquardt;

/// Width assumed where no star can be measured, pixels.
const DEFAULT_FWHM: f64 = 3.0;

/// Median width of the isolated, unsaturated stars of the image that stand out well.
pub(super) fn measured_fwhm(
    image: &Image,
    background: &Background,
    options: &DetectOptions,
) -> Result<f64> {
    const STARS: usize = 300;
    const FEWEST: usize = 20;
    const SIGNIFICANCE: f64 = 15.0;
    const PASSES: usize = 3;
    // One or two may be a galaxy or a hot pixel.
    const FEWEST_MEASURED: usize = 3;
    let solver = Box::new(LevenbergMarquardt::default());
    let fitter = Fitter::new(&Gaussian, solver, Box::new(CpuBackend::default()));
    let mut fwhm = DEFAULT_FWHM;
    let mut found_any = false;
    for _ in 0..PASSES {
        let mut found = detect(
            image,
            background,
            &DetectOptions {
                fwhm,
                ..options.clone()
            },
        );
        let positions: Vec<(f64, f64)> = found.iter().map(|d| (d.x, d.y)).collect();
        let neighbours = Neighbours::new(&positions, 2.0 * fwhm);
        let crowded: Vec<bool> = (0..found.len())
            .map(|i| neighbours.has_neighbour(i))
            .collect();
        let mut isolated = crowded.iter().map(|crowded| !crowded);
        found.retain(|d| isolated.next() == Some(true) && !d.saturated && !d.edge);
        found.sort_by(|a, b| b.significance.total_cmp(&a.significance));
        let clear = found.partition_point(|d| d.significance > SIGNIFICANCE);
        found.truncate(clear.max(FEWEST));
        // From bright to faint alike: the brightest alone are often broadened by the detector.
        let step = found.len().div_ceil(STARS).max(1);
        let found: Vec<Detection> = found.into_iter().step_by(step).collect();

        let size = size_for(fwhm);
        let mut batch = Batch::new(size, size);
        let cut = CutoutOptions {
            noise: Noise::Unit,
            saturation: options.saturation,
        };
        for star in &found {
            let position = (star.x, star.y);
            let cutout = Cutout::from_image(image, background, &cut, position, size);
            batch.push(
                &cutout,
                Start::Moments {
                    position: Some(position),
                    fwhm: Some(fwhm),
                },
            )?;
        }
        let fits = fitter.fit(&batch)?;
        let bad = Flags(Flags::NEAR_BOUND.0 | Flags::NEGATIVE_FLUX.0 | Flags::CENTROID_OUTSIDE.0);
        let usable = |fit: &&Fit| fit.status == FitStatus::Converged && fit.flags.0 & bad.0 == 0;
        let width = |fit: &Fit| {
            Gaussian
                .quantities(&fit.parameters)
                .into_iter()
                .find(|q| q.column == "fwhm")
        };
        let mut widths: Vec<f64> = fits
            .iter()
            .filter(usable)
            .filter_map(width)
            .map(|q| q.value)
            .collect();
        let count = widths.len();
        let Some(measured) = median(&mut widths).filter(|_| count >= FEWEST_MEASURED) else {
            break;
        };
        found_any = true;
        let change = measured / fwhm;
        fwhm = measured.clamp(0.5, LARGEST_DEFAULT_SIZE as f64 / 4.0);
        // A filter half or twice as wide as the stars still finds them. To go on would end on the
        // widest galaxy, since each filter finds best what is as wide as itself.
        if (0.5..2.0).contains(&change) {
            break;
        }
    }
    if !found_any {
        tracing::info!(
            "{}: no star to measure the width of; {fwhm} pixels are assumed",
            image.name
        );
    }
    Ok(fwhm)
}
