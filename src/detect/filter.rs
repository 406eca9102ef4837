//! The matched filter.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::background::{Background, par_rows};

/// The kernel ends where it has fallen to exp(-8).
const RADIUS_SIGMA: f64 = 4.0;
/// Where less than this part of the kernel (squared) falls on pixels, nothing is said.
const MIN_SUPPORT: f32 = 1e-3;
/// Below this part of the noise of independent pixels the noise of the filtered image is not
/// believed.
const MIN_NOISE: f64 = 0.25;

/// A filtered image.
#[derive(Debug)]
pub(super) struct Filtered {
    /// Significance of a star at each pixel; NaN where too few pixels say anything.
    pub(super) value: Array2<f32>,
    /// How many sigma of one pixel an extended source of significance 1 rises above the sky.
    pub(super) pixel_sigma: f64,
}

/// Filters the image with a Gaussian of width `fwhm`, pixels, and measures the noise that is left.
pub(super) fn significance(
    pixels: ArrayView2<'_, f64>,
    background: &Background,
    fwhm: f64,
) -> Filtered {
    let (height, width) = pixels.dim();
    let kernel = gaussian(fwhm, height.max(width));
    let squared: Vec<f32> = kernel.iter().map(|k| k * k).collect();

    // Rows first: the deviation from the background, and the weights where a pixel is missing.
    let mut sums = Array2::<f32>::zeros((height, width));
    let missing: Vec<bool> = par_rows(&mut sums)
        .enumerate()
        .map_init(
            || (vec![0.0; width], vec![0.0; width], Vec::new()),
            |(level, noise, padded), (y, out)| {
                background.level_row(y, level);
                background.noise_row(y, noise);
                let mut missing = false;
                pad(padded, width, kernel.len());
                let deviations = padded[kernel.len() / 2..].iter_mut();
                for (((out, &pixel), level), noise) in
                    deviations.zip(pixels.row(y)).zip(&*level).zip(&*noise)
                {
                    // One pixel of 1e40 must not make its neighbours infinite.
                    *out = ((pixel - level) / noise).clamp(-1e30, 1e30) as f32;
                    if !pixel.is_finite() || out.is_nan() {
                        *out = 0.0;
                        missing = true;
                    }
                }
                convolve(padded, &kernel, out);
                missing
            },
        )
        .collect();
    let mut value = columns(&sums, &kernel);

    // The noise of those sums, were pixels independent, is the root of the sum of squared weights.
    if missing.contains(&true) {
        par_rows(&mut sums)
            .enumerate()
            .for_each_init(Vec::new, |padded, (y, out)| {
                pad(padded, width, kernel.len());
                for (out, pixel) in padded[kernel.len() / 2..].iter_mut().zip(pixels.row(y)) {
                    *out = f32::from(u8::from(pixel.is_finite()));
                }
                convolve(padded, &squared, out);
            });
        let variance = columns(&sums, &squared);
        let whole: f32 = squared.iter().sum::<f32>().powi(2);
        par_rows(&mut value).enumerate().for_each(|(y, value)| {
            for (value, &variance) in value.iter_mut().zip(variance.row(y)) {
                *value = if variance > MIN_SUPPORT * whole {
                    *value / variance.sqrt()
                } else {
                    f32::NAN
                };
            }
        });
    } else {
        let (across, down) = (
            border_noise(&squared, width),
            border_noise(&squared, height),
        );
        par_rows(&mut value).zip(&down).for_each(|(row, down)| {
            for (value, across) in row.iter_mut().zip(&across) {
                *value /= across * down;
            }
        });
    }

    let mesh = Background::estimate_convolved(value.view(), background.cell());
    par_rows(&mut value).enumerate().for_each_init(
        || vec![0f64; width],
        |noise, (y, row)| {
            mesh.noise_row(y, noise);
            for (value, noise) in row.iter_mut().zip(&*noise) {
                *value /= noise.max(MIN_NOISE) as f32;
            }
        },
    );
    let sum: f64 = kernel.iter().copied().map(f64::from).sum();
    let root: f64 = squared.iter().copied().map(f64::from).sum();
    Filtered {
        value,
        pixel_sigma: mesh.median_noise().max(MIN_NOISE) * root / (sum * sum),
    }
}

/// A Gaussian, 1 in the middle, sampled at pixel centres; of no use beyond `length` pixels.
fn gaussian(fwhm: f64, length: usize) -> Vec<f32> {
    let sigma = fwhm / (8.0 * 2f64.ln()).sqrt();
    let radius = ((RADIUS_SIGMA * sigma).ceil() as usize).clamp(1, length.max(1));
    (0..=2 * radius)
        .map(|i| (-0.5 * ((i as f64 - radius as f64) / sigma).powi(2)).exp() as f32)
        .collect()
}

/// Zeros for a row with half a kernel before and after it.
fn pad(padded: &mut Vec<f32>, width: usize, kernel: usize) {
    padded.clear();
    padded.resize(width + kernel - 1, 0.0);
}

/// Convolves a padded row. The kernel is symmetric; whole rows at a time become SIMD.
fn convolve(padded: &[f32], kernel: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for (shift, &k) in kernel.iter().enumerate() {
        for (out, &value) in out.iter_mut().zip(&padded[shift..]) {
            *out += k * value;
        }
    }
}

/// Convolves down the columns.
fn columns(rows: &Array2<f32>, kernel: &[f32]) -> Array2<f32> {
    let (height, width) = rows.dim();
    let radius = kernel.len() / 2;
    let mut result = Array2::zeros((height, width));
    par_rows(&mut result).enumerate().for_each(|(y, out)| {
        for (i, &k) in kernel.iter().enumerate() {
            // Row y + i - radius, where there is one.
            let source = (y + i).checked_sub(radius).filter(|&row| row < height);
            if let Some(source) = source.and_then(|source| rows.row(source).to_slice()) {
                for (out, value) in out.iter_mut().zip(source) {
                    *out += k * value;
                }
            }
        }
    });
    result
}

/// Root of the sum of the squared kernel that falls on each of `length` pixels in a line.
fn border_noise(squared: &[f32], length: usize) -> Vec<f32> {
    let mut padded = Vec::new();
    pad(&mut padded, length, squared.len());
    padded[squared.len() / 2..][..length].fill(1.0);
    let mut noise = vec![0.0; length];
    convolve(&padded, squared, &mut noise);
    noise.iter().map(|sum| sum.sqrt()).collect()
}
