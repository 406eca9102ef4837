//! The level and noise of the sky over an image, as SExtractor estimates them.
//!
//! The image is divided into cells. In each, pixels are clipped at 3 sigma round the median until
//! nothing changes; the level is Pearson's mode, `2.5 median - 1.5 mean`, where mean and median are
//! within 0.3 sigma, else the median. Cells that say nothing about the sky take the values of
//! their neighbours, a median filter removes cells spoiled by bright stars, and natural cubic
//! splines join the cell centres (Bertin & Arnouts 1996, A&AS 117, 393).

mod spline;

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use crate::moments::median;
use spline::Mesh;

/// Clipping, in sigma.
const CLIP: f64 = 3.0;
/// Clipping moves pixels in and out of the sample: enough rounds to settle, and an end if it does not.
const ROUNDS: usize = 50;
/// Cells of fewer pixels a side give no statistics.
const MIN_CELL: usize = 8;
/// A cell with less noise than this part of the typical one holds no sky: the padding of an
/// aligned frame, a wide saturated core.
const MIN_NOISE: f64 = 0.01;

/// Level and noise of the sky at every pixel of an image.
#[derive(Debug, Clone)]
pub struct Background {
    width: usize,
    height: usize,
    cell: usize,
    level: Mesh,
    noise: Mesh,
    median_level: f64,
    median_noise: f64,
}

/// What the pixels of one cell say.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sky {
    level: f64,
    noise: f64,
}

impl Background {
    /// Side of a cell, pixels, for an image of `width` x `height`: several times a star, smaller
    /// than gradients and halos. That is 64, as in SExtractor, but a tenth of a small image, whose
    /// few cells could not follow the noise from the middle of a cluster to its outskirts, and at
    /// least 32.
    pub fn cell_for(width: usize, height: usize) -> usize {
        (width.min(height) / 10).clamp(32, 64)
    }

    /// Measures the background of `pixels`, `[[y, x]]`, in cells of about `cell` pixels a side
    /// (8 at least).
    ///
    /// Pixels without a finite value are left out. Without any usable pixel level and noise are 0;
    /// where every cell is constant the noise is 0. Digitised data have at least the noise of
    /// rounding, the step over the root of 12.
    pub fn estimate<T>(pixels: ArrayView2<'_, T>, cell: usize) -> Self
    where
        T: Copy + Into<f64> + Sync,
    {
        Self::measure(pixels, cell, 1, |_, sky| sky)
    }

    /// The same of an image convolved with the shape of a star.
    ///
    /// Convolved pixels are alike, so that every fourth says as much as all. Faint stars stand
    /// out from convolved noise and would count as noise in a crowded field: there are none below
    /// the level, so the noise is taken from the pixels there where that is less.
    pub(crate) fn estimate_convolved(pixels: ArrayView2<'_, f32>, cell: usize) -> Self {
        Self::measure(pixels, cell, 2, |values, sky| Sky {
            noise: sky.noise.min(noise_below(values, sky)),
            ..sky
        })
    }

    /// Every `step`-th pixel of every `step`-th row; `refine` sees the sorted values of a cell.
    fn measure<T>(
        pixels: ArrayView2<'_, T>,
        cell: usize,
        step: usize,
        refine: impl Fn(&[f64], Sky) -> Sky + Sync,
    ) -> Self
    where
        T: Copy + Into<f64> + Sync,
    {
        let (height, width) = pixels.dim();
        let (rows, columns) = (cells(height, cell), cells(width, cell));
        let mut sky: Vec<(Option<Sky>, bool)> = (0..rows * columns)
            .into_par_iter()
            .map_init(Vec::new, |values, index| {
                let (row, column) = (index / columns, index % columns);
                let (y0, y1) = (row * height / rows, (row + 1) * height / rows);
                let (x0, x1) = (column * width / columns, (column + 1) * width / columns);
                values.clear();
                let sample = pixels.slice(s![y0..y1;step, x0..x1;step]);
                for row in sample.rows() {
                    values.extend(
                        row.iter()
                            .map(|&value| value.into())
                            .filter(|value: &f64| value.abs() < f64::MAX / 4.0),
                    );
                }
                let trusted = 2 * values.len() >= sample.len();
                (cell_sky(values).map(|sky| refine(values, sky)), trusted)
            })
            .collect();

        // Cells mostly without pixels are used only where there are no others.
        if sky.iter().any(|(sky, trusted)| sky.is_some() && *trusted) {
            for (sky, trusted) in &mut sky {
                *sky = sky.filter(|_| *trusted);
            }
        }
        let mut noises: Vec<f64> = sky
            .iter()
            .filter_map(|(sky, _)| sky.map(|sky| sky.noise))
            .filter(|&noise| noise > 0.0)
            .collect();
        let least = MIN_NOISE * median(&mut noises).unwrap_or(0.0);
        let sky = sky
            .into_iter()
            .map(|(sky, _)| sky.filter(|sky| sky.noise >= least))
            .collect();
        let Ok(sky) = Array2::from_shape_vec((rows, columns), sky) else {
            unreachable!("one value was made for each cell")
        };
        Self::from_cells(width, height, cell, fill(sky))
    }

    fn from_cells(width: usize, height: usize, cell: usize, sky: Array2<Sky>) -> Self {
        let level = median_filter(&sky.map(|sky| sky.level));
        let noise = median_filter(&sky.map(|sky| sky.noise));
        let middle = |mesh: &Array2<f64>| median(&mut mesh.iter().copied().collect::<Vec<_>>());
        Self {
            width,
            height,
            cell,
            median_level: middle(&level).unwrap_or(0.0),
            median_noise: middle(&noise).unwrap_or(0.0),
            level: Mesh::new(level, width, height),
            // A spline may swing below zero between cells of very different noise.
            noise: Mesh::new(noise, width, height).bounded(),
        }
    }

    /// Level at (x, y), pixels, in units of the image.
    pub fn level(&self, x: f64, y: f64) -> f64 {
        self.level.at(x, y)
    }

    /// Standard deviation of the sky in one pixel at (x, y), in units of the image.
    pub fn noise(&self, x: f64, y: f64) -> f64 {
        self.noise.at(x, y)
    }

    /// Level along row `y`, for as many pixels from x = 0 on as `out` is long.
    pub fn level_row(&self, y: usize, out: &mut [f64]) {
        self.level.row(y, out);
    }

    /// Noise along row `y`, for as many pixels from x = 0 on as `out` is long.
    pub fn noise_row(&self, y: usize, out: &mut [f64]) {
        self.noise.row(y, out);
    }

    /// The level of every pixel, `[[y, x]]`.
    pub fn level_map(&self) -> Array2<f64> {
        self.map(&self.level)
    }

    /// The noise of every pixel, `[[y, x]]`.
    pub fn noise_map(&self) -> Array2<f64> {
        self.map(&self.noise)
    }

    fn map(&self, mesh: &Mesh) -> Array2<f64> {
        let mut map = Array2::zeros((self.height, self.width));
        par_rows(&mut map)
            .enumerate()
            .for_each(|(y, row)| mesh.row(y, row));
        map
    }

    /// `pixels` less the level.
    pub fn subtract(&self, pixels: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut difference = Array2::zeros(pixels.dim());
        par_rows(&mut difference).enumerate().for_each(|(y, row)| {
            self.level.row(y, row);
            for (out, pixel) in row.iter_mut().zip(pixels.row(y)) {
                *out = pixel - *out;
            }
        });
        difference
    }

    /// The side of a cell that was asked for, pixels.
    pub fn cell(&self) -> usize {
        self.cell
    }

    /// Median of the levels of the cells.
    pub fn median_level(&self) -> f64 {
        self.median_level
    }

    /// Median of the noises of the cells.
    pub fn median_noise(&self) -> f64 {
        self.median_noise
    }
}

/// The rows of a whole array in memory order, in parallel.
pub(crate) fn par_rows<T: Send>(
    array: &mut Array2<T>,
) -> impl IndexedParallelIterator<Item = &mut [T]> {
    let width = array.ncols().max(1);
    array
        .as_slice_mut()
        .unwrap_or_default()
        .par_chunks_mut(width)
}

/// How many cells of about `cell` pixels make up `length` pixels.
fn cells(length: usize, cell: usize) -> usize {
    let cell = cell.max(MIN_CELL);
    (length / cell + usize::from(length % cell >= cell.div_ceil(2))).max(1)
}

/// Level and noise of the values of one cell, which it sorts.
fn cell_sky(values: &mut [f64]) -> Option<Sky> {
    values.sort_unstable_by(f64::total_cmp);
    let count = values.len();
    let (first, last) = (*values.first()?, *values.last()?);
    let range = last - first;
    if range <= 0.0 {
        return Some(Sky {
            level: first,
            noise: 0.0,
        });
    }
    let middle = sorted_median(values);
    // The half with fewer stars (or less padding) starts the clipping close to the sky.
    let (below, above) = (
        middle - values[count * 16 / 100],
        values[(count * 84 / 100).min(count - 1)] - middle,
    );
    let (mut centre, mut sigma) = (middle, below.min(above));
    if sigma <= 0.0 {
        sigma = range;
    }
    let (mut mean, mut bounds) = (middle, (0, 0));
    for _ in 0..ROUNDS {
        let clipped = (
            values.partition_point(|&value| value < centre - CLIP * sigma),
            values.partition_point(|&value| value <= centre + CLIP * sigma),
        );
        let sample = values.get(clipped.0..clipped.1).unwrap_or_default();
        if clipped == bounds || sample.is_empty() {
            break;
        }
        bounds = clipped;
        centre = sorted_median(sample);
        let unit = sigma;
        // Taken from the centre in units of the sigma so far, squares neither cancel nor leave f64.
        let (sum, squares) = sample.iter().fold((0.0, 0.0), |(sum, squares), &value| {
            let deviation = (value - centre) / unit;
            (sum + deviation, squares + deviation * deviation)
        });
        let n = sample.len() as f64;
        let shift: f64 = sum / n;
        mean = centre + unit * shift;
        sigma = unit * (squares / n - shift * shift).max(0.0).sqrt();
        if sigma <= 0.0 {
            break;
        }
    }
    let step = values
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .filter(|&gap| gap > 0.0)
        .fold(range, f64::min);
    let level = if (mean - centre).abs() < 0.3 * sigma {
        2.5 * centre - 1.5 * mean
    } else {
        centre
    };
    Some(Sky {
        level,
        noise: sigma.max(step / 12f64.sqrt()),
    })
}

/// Standard deviation of the sorted `values` that are lower than the level.
fn noise_below(values: &[f64], sky: Sky) -> f64 {
    let least = values.partition_point(|&value| value < sky.level - CLIP * sky.noise);
    let level = values.partition_point(|&value| value < sky.level);
    let below = values.get(least..level).unwrap_or_default();
    if below.is_empty() {
        return sky.noise;
    }
    let mean = below
        .iter()
        .map(|value| ((value - sky.level) / sky.noise).powi(2))
        .sum::<f64>()
        / below.len() as f64;
    // A normal deviate cut off at 3 sigma varies by 0.9866 sigma.
    sky.noise * mean.sqrt() / 0.9866
}

/// Gives cells without a value the mean of their nearest neighbours' values, ring by ring.
fn fill(mut sky: Array2<Option<Sky>>) -> Array2<Sky> {
    let dim = sky.dim();
    let mut missing: Vec<(usize, usize)> = sky
        .indexed_iter()
        .filter(|(_, sky)| sky.is_none())
        .map(|(index, _)| index)
        .collect();
    while !missing.is_empty() {
        let (filled, rest): (Vec<_>, Vec<_>) = missing
            .iter()
            .map(|&index| {
                let near: Vec<Sky> = window(dim, index).filter_map(|near| sky[near]).collect();
                let n = near.len() as f64;
                let mean = (!near.is_empty()).then(|| Sky {
                    level: near.iter().map(|sky| sky.level / n).sum(),
                    noise: near.iter().map(|sky| sky.noise / n).sum(),
                });
                (index, mean)
            })
            .partition(|(_, mean)| mean.is_some());
        if filled.is_empty() {
            break;
        }
        for (index, mean) in filled {
            sky[index] = mean;
        }
        missing = rest.into_iter().map(|(index, _)| index).collect();
    }
    sky.map(|sky| {
        sky.unwrap_or(Sky {
            level: 0.0,
            noise: 0.0,
        })
    })
}

/// The median of each cell and its neighbours.
fn median_filter(mesh: &Array2<f64>) -> Array2<f64> {
    Array2::from_shape_fn(mesh.dim(), |index| {
        let mut near: Vec<f64> = window(mesh.dim(), index).map(|near| mesh[near]).collect();
        median(&mut near).unwrap_or(mesh[index])
    })
}

/// The up to 3 x 3 cells round one.
fn window(
    (rows, columns): (usize, usize),
    (row, column): (usize, usize),
) -> impl Iterator<Item = (usize, usize)> {
    let across = column.saturating_sub(1)..(column + 2).min(columns);
    (row.saturating_sub(1)..(row + 2).min(rows))
        .flat_map(move |row| across.clone().map(move |column| (row, column)))
}

fn sorted_median(values: &[f64]) -> f64 {
    let half = values.len() / 2;
    if values.len() % 2 == 1 {
        values[half]
    } else {
        // Halves first: the sum may overflow.
        0.5 * values[half - 1] + 0.5 * values[half]
    }
}

#[cfg(test)]
mod tests;
