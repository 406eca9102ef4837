//! The matched filter.

use fearless_simd::{Level, dispatch};
use ndarray::{Array2, ArrayView2, CowArray, Ix2};
use rayon::prelude::*;

use crate::background::{Background, par_rows};
use crate::memory::zeros;

/// Radius of the kernel, sigma: it ends where it has fallen to exp(-8).
const RADIUS_SIGMA: f64 = 4.0;
/// Least part of the squared kernel that must fall on pixels: with less there is no significance.
const MIN_SUPPORT: f32 = 1e-3;
/// Least noise of the filtered image that is believed, as a part of the noise of independent pixels.
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
    let filter = Filter {
        pixels: pixels.as_standard_layout(),
        background,
        across: border_noise(&squared, width),
        down: border_noise(&squared, height),
        kernel,
        squared,
    };
    // Rows convolved across stay in the cache until they are convolved down; two bands share few rows.
    let band = 64.max(4 * filter.kernel.len());
    let mut value = zeros(height * width);
    value
        .par_chunks_mut((band * width).max(1))
        .enumerate()
        .for_each_init(Scratch::default, |scratch, (index, out)| {
            filter.band(index * band, out, scratch);
        });

    let Ok(mut value) = Array2::from_shape_vec((height, width), value) else {
        unreachable!("there is one value for each pixel")
    };
    let mesh = Background::estimate_convolved(value.view(), background.cell());
    par_rows(&mut value).enumerate().for_each_init(
        || vec![0f64; width],
        |noise, (y, row)| {
            mesh.noise_row(y, noise);
            dispatch!(Level::new(), _simd => divide(row, noise));
        },
    );
    let sum: f64 = filter.kernel.iter().copied().map(f64::from).sum();
    let root: f64 = filter.squared.iter().copied().map(f64::from).sum();
    Filtered {
        value,
        pixel_sigma: mesh.median_noise().max(MIN_NOISE) * root / (sum * sum),
    }
}

/// Image, background and kernel, the same for all rows.
struct Filter<'a> {
    pixels: CowArray<'a, f64, Ix2>,
    background: &'a Background,
    kernel: Vec<f32>,
    squared: Vec<f32>,
    /// Noise of the sums over columns and rows where no pixel is missing.
    across: Vec<f32>,
    down: Vec<f32>,
}

/// Memory that one band after the other uses.
#[derive(Default)]
struct Scratch {
    level: Vec<f64>,
    noise: Vec<f64>,
    padded: Vec<f32>,
    sums: Vec<f32>,
    variance: Vec<f32>,
}

impl Filter<'_> {
    /// Filters the rows from `start` on, as many as `out` holds.
    fn band(&self, start: usize, out: &mut [f32], scratch: &mut Scratch) {
        let (height, width) = self.pixels.dim();
        let pixels = self.pixels.as_slice().unwrap_or_default();
        let radius = self.kernel.len() / 2;
        let first = start.saturating_sub(radius);
        let last = (start + out.len() / width + radius).min(height);
        let Scratch {
            level,
            noise,
            padded,
            sums,
            variance,
        } = scratch;
        level.resize(width, 0.0);
        noise.resize(width, 0.0);
        sums.resize((last - first) * width, 0.0);
        let rows = || (first..last).zip(pixels[first * width..].chunks_exact(width));

        // The deviation from the background, across and then down.
        pad(padded, width, self.kernel.len());
        let scale = self.background.median_noise().recip();
        let mut any_missing = false;
        for ((y, pixels), sums) in rows().zip(sums.chunks_exact_mut(width)) {
            self.background.level_row(y, level);
            self.background.noise_row(y, noise);
            any_missing |= dispatch!(Level::new(), _simd => {
                let out = &mut padded[radius..];
                let any_missing = deviations(pixels, level, noise, scale, out);
                add_up(&self.kernel, padded.windows(width), sums);
                any_missing
            });
        }
        self.convolve_down(&self.kernel, sums, start, first, out);

        // The noise of those sums, were pixels independent, is the root of the sum of squared weights.
        if !any_missing {
            for (out, down) in out.chunks_exact_mut(width).zip(&self.down[start..]) {
                for (value, across) in out.iter_mut().zip(&self.across) {
                    *value /= across * down;
                }
            }
            return;
        }
        for ((_, pixels), sums) in rows().zip(sums.chunks_exact_mut(width)) {
            for (out, pixel) in padded[radius..].iter_mut().zip(pixels) {
                *out = f32::from(u8::from(pixel.is_finite()));
            }
            add_up(&self.squared, padded.windows(width), sums);
        }
        variance.resize(out.len(), 0.0);
        self.convolve_down(&self.squared, sums, start, first, variance);
        let whole: f32 = self.squared.iter().sum::<f32>().powi(2);
        for (value, &variance) in out.iter_mut().zip(&*variance) {
            *value = if variance > MIN_SUPPORT * whole {
                *value / variance.sqrt()
            } else {
                f32::NAN
            };
        }
    }

    /// Convolves `sums`, rows from `first` on, down the columns into `out`, rows from `start` on.
    fn convolve_down(
        &self,
        kernel: &[f32],
        sums: &[f32],
        start: usize,
        first: usize,
        out: &mut [f32],
    ) {
        let width = self.pixels.ncols();
        let radius = kernel.len() / 2;
        for (y, out) in (start..).zip(out.chunks_exact_mut(width)) {
            // Row y + i - radius, from the first that there is.
            let kernel = &kernel[radius.saturating_sub(y)..];
            let rows = sums
                .chunks_exact(width)
                .skip(y.saturating_sub(first + radius));
            dispatch!(Level::new(), _simd => add_up(kernel, rows, out));
        }
    }
}

/// How far pixels are from the background, in sigma, 0 where they have no value. Returns whether
/// there is such a pixel. `scale` times the noise is about 1, so that `f32`, twice as many of which are
/// divided at a time, holds what is divided.
#[inline(always)]
fn deviations(pixels: &[f64], level: &[f64], noise: &[f64], scale: f64, out: &mut [f32]) -> bool {
    let mut any_missing = false;
    for (((out, &pixel), level), noise) in out.iter_mut().zip(pixels).zip(level).zip(noise) {
        let deviation = ((pixel - level) * scale) as f32 / (noise * scale) as f32;
        // One pixel of 1e40 must not make its neighbours infinite.
        let deviation = deviation.clamp(-1e30, 1e30);
        let is_missing = !pixel.is_finite() | deviation.is_nan();
        any_missing |= is_missing;
        *out = if is_missing { 0.0 } else { deviation };
    }
    any_missing
}

#[inline(always)]
fn divide(values: &mut [f32], noise: &[f64]) {
    for (value, noise) in values.iter_mut().zip(noise) {
        *value /= noise.max(MIN_NOISE) as f32;
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

/// Sum of `rows`, each times its part of the kernel: a convolution, as the kernel is symmetric.
#[inline(always)]
fn add_up<'a>(kernel: &[f32], rows: impl Iterator<Item = &'a [f32]> + Clone, out: &mut [f32]) {
    /// Pixels whose sums stay in registers.
    const BLOCK: usize = 64;
    let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
    let after = blocks.len() * BLOCK;
    for (index, out) in blocks.iter_mut().enumerate() {
        let mut sums = [0.0; BLOCK];
        for (&k, row) in kernel.iter().zip(rows.clone()) {
            for (sum, &value) in sums.iter_mut().zip(&row[index * BLOCK..][..BLOCK]) {
                *sum += k * value;
            }
        }
        *out = sums;
    }
    rest.fill(0.0);
    for (&k, row) in kernel.iter().zip(rows) {
        for (out, &value) in rest.iter_mut().zip(&row[after..]) {
            *out += k * value;
        }
    }
}

/// Root of the sum of the squared kernel that falls on each of `length` pixels in a line.
fn border_noise(squared: &[f32], length: usize) -> Vec<f32> {
    let mut padded = Vec::new();
    pad(&mut padded, length, squared.len());
    padded[squared.len() / 2..][..length].fill(1.0);
    let mut noise = vec![0.0; length];
    add_up(squared, padded.windows(length), &mut noise);
    noise.iter().map(|sum| sum.sqrt()).collect()
}
