//! Images whose sky is no plain: a nebula or a galaxy that fills many cells of the background's mesh with
//! structure. There the mesh calls structure noise, in which stars drown. A finer mesh follows structure
//! wider than a few stars, and is subtracted before stars are looked for and fitted.

use ndarray::Array2;
use rayon::prelude::*;

use crate::background::Background;
use crate::image::Image;
use crate::numbers::median;

/// Least ratio of the noise of a cell with structure to the noise of its neighbouring pixels, in units of the
/// ratio where the sky is plain; and the most that the latter ratio is taken to be.
const STRUCTURE: f64 = 4.0;
const MOST_ALIKE: f64 = 2.5;
/// Part of an image's cells that have structure where it is worth a finer mesh.
const MANY: f64 = 0.25;
/// One in so many rows of a cell is looked at.
const ROWS: usize = 16;
/// Side of a fine cell in widths of a star: it has more sky than star.
const FINE: f64 = 4.0;
/// Part of the pixels of a fine cell that are below its level: those above may be a star's.
const BELOW: f64 = 0.3;
/// Value of saturated pixels in a flat image, and their level of saturation there.
pub(super) const SATURATED: f64 = 1e30;

/// An image without structure wider than its stars.
#[derive(Debug)]
pub(super) struct Flat {
    /// The image less `relief`; saturated pixels are [`SATURATED`].
    pub(super) image: Image,
    /// Background that was subtracted.
    pub(super) relief: Background,
}

/// The image without structure wider than stars of this width, if it is full of such structure.
pub(super) fn flattened(
    image: &Image,
    background: &Background,
    fwhm: f64,
    saturation: f64,
) -> Option<Flat> {
    if !is_structured(image, background) {
        return None;
    }
    let cell = (FINE * fwhm).round() as usize;
    let relief = Background::of_quantiles(image.pixels.view(), cell, BELOW);
    let mut pixels = relief.subtract(image.pixels.view());
    pixels.zip_mut_with(&image.pixels, |flat, &pixel| {
        if pixel >= saturation {
            *flat = SATURATED;
        }
    });
    tracing::info!(
        "{}: the sky is full of structure; what is wider than {cell} pixels is taken away",
        image.name
    );
    Some(Flat {
        image: Image {
            pixels,
            ..image.clone()
        },
        relief,
    })
}

/// Whether many cells have far more noise than their neighbouring pixels.
fn is_structured(image: &Image, background: &Background) -> bool {
    let (height, width) = image.pixels.dim();
    let side = background.cell().max(1);
    let places: Vec<(usize, usize)> = (0..height / side)
        .flat_map(|row| (0..width / side).map(move |column| (row * side, column * side)))
        .collect();
    // Ratio of the noise of a cell to the noise of its neighbouring pixels.
    let ratio = |&(y, x): &(usize, usize)| {
        let middle = (x as f64 + 0.5 * side as f64, y as f64 + 0.5 * side as f64);
        let own = pixel_noise(&image.pixels, (y, x), side)?;
        Some(background.noise(middle.0, middle.1) / own)
    };
    let mut ratios: Vec<f64> = places.par_iter().filter_map(ratio).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    // Neighbouring pixels of a plate or a resampled image are alike everywhere, where the sky is plain too.
    let Some(&plain) = ratios.get(ratios.len() / 10) else {
        return false;
    };
    let least = STRUCTURE * plain.clamp(1.0, MOST_ALIKE);
    let structured = ratios.len() - ratios.partition_point(|&ratio| ratio <= least);
    structured as f64 > MANY * ratios.len() as f64
}

/// Noise of a pixel against its neighbours on a row: `a - 2 b + c` has the root of 6 times this noise, and
/// nothing that is smooth.
fn pixel_noise(pixels: &Array2<f64>, (y, x): (usize, usize), side: usize) -> Option<f64> {
    let mut bends: Vec<f64> = (y..y + side)
        .step_by(ROWS)
        .flat_map(|y| (x + 1..x + side - 1).map(move |x| (y, x)))
        .map(|(y, x)| (pixels[[y, x - 1]] - 2.0 * pixels[[y, x]] + pixels[[y, x + 1]]).abs())
        .filter(|bend| bend.is_finite())
        .collect();
    let noise = 1.4826 * median(&mut bends)? / 6f64.sqrt();
    (noise > 0.0).then_some(noise)
}
