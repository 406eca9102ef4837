//! The level and noise of the sky over an image, as SExtractor estimates them.
//!
//! The image is divided into cells. In each, pixels are clipped at 3 sigma round the median until
//! nothing changes; the level is Pearson's mode, `2.5 median - 1.5 mean`, where mean and median are
//! within 0.3 sigma, else the median. Cells that say nothing about the sky take the values of
//! their neighbours, a median filter removes cells spoiled by bright stars, and natural cubic
//! splines join the cell centres (Bertin & Arnouts 1996, A&AS 117, 393).

mod cell;
mod spline;

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use crate::numbers::median;
use cell::{Cell, Sky};
use spline::Mesh;

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
    /// The row of the mesh's image that is row 0.
    first_row: usize,
    cell: usize,
    level: Mesh,
    noise: Mesh,
    median_level: f64,
    median_noise: f64,
}

impl Background {
    /// Side of a cell, pixels, for an image of `width` x `height`: several times a star, smaller than
    /// gradients and halos. The side is 64, as in SExtractor, but a tenth of a small image, whose few cells
    /// could not follow the noise from the middle of a cluster to its outskirts, and at least 32.
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
        Self::measure::<T, 1>(pixels, cell, |_, sky| sky)
    }

    /// Level and noise of an image convolved with the shape of a star.
    ///
    /// Convolved pixels are alike, so that every fourth says as much as all. Faint stars stand
    /// out from convolved noise and would count as noise in a crowded field: there are none below
    /// the level, so the noise is taken from the pixels there where that is less.
    pub(crate) fn estimate_convolved(pixels: ArrayView2<'_, f32>, cell: usize) -> Self {
        Self::measure::<f32, 2>(pixels, cell, |cell, sky| Sky {
            noise: sky.noise.min(cell.noise_below(sky)),
            ..sky
        })
    }

    /// Measures every `STEP`-th pixel of every `STEP`-th row; `refine` sees the values of each cell.
    fn measure<T, const STEP: usize>(
        pixels: ArrayView2<'_, T>,
        cell: usize,
        refine: impl Fn(&Cell, Sky) -> Sky + Sync,
    ) -> Self
    where
        T: Copy + Into<f64> + Sync,
    {
        let (height, width) = pixels.dim();
        let (rows, columns) = (cells(height, cell), cells(width, cell));
        let pixels = pixels.as_standard_layout();
        let pixels = pixels.as_slice().unwrap_or_default();
        let mut sky: Vec<(Option<Sky>, bool)> = (0..rows * columns)
            .into_par_iter()
            .map_init(Cell::default, |cell, index| {
                let (row, column) = (index / columns, index % columns);
                let (y0, y1) = (row * height / rows, (row + 1) * height / rows);
                let (x0, x1) = (column * width / columns, (column + 1) * width / columns);
                let lines = (y0..y1).map(|y| &pixels[y * width..][x0..x1]);
                let (usable, count) = cell.fill::<T, STEP>(lines);
                (cell.sky().map(|sky| refine(cell, sky)), 2 * usable >= count)
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

    /// A level that part `below` of the pixels of each cell lies below, cell by cell, without noise.
    pub(crate) fn of_quantiles(pixels: ArrayView2<'_, f64>, cell: usize, below: f64) -> Self {
        let (height, width) = pixels.dim();
        let (rows, columns) = (cells(height, cell), cells(width, cell));
        let levels: Vec<Option<Sky>> = (0..rows * columns)
            .into_par_iter()
            .map(|index| {
                let (row, column) = (index / columns, index % columns);
                let part = s![
                    row * height / rows..(row + 1) * height / rows,
                    column * width / columns..(column + 1) * width / columns
                ];
                let part = pixels.slice(part);
                let values = part.iter().copied().filter(|value| value.is_finite());
                let mut values: Vec<f64> = values.collect();
                let place = (below * values.len() as f64) as usize;
                (place < values.len()).then(|| Sky {
                    level: *values.select_nth_unstable_by(place, f64::total_cmp).1,
                    noise: 0.0,
                })
            })
            .collect();
        let Ok(levels) = Array2::from_shape_vec((rows, columns), levels) else {
            unreachable!("one value was made for each cell")
        };
        let levels = fill(levels).map(|sky| sky.level);
        Self {
            width,
            height,
            first_row: 0,
            cell,
            median_level: median(&mut levels.iter().copied().collect::<Vec<_>>()).unwrap_or(0.0),
            median_noise: 0.0,
            noise: Mesh::new(Array2::zeros(levels.dim()), width, height),
            level: Mesh::new(levels, width, height),
        }
    }

    fn from_cells(width: usize, height: usize, cell: usize, sky: Array2<Sky>) -> Self {
        let level = median_filter(&sky.map(|sky| sky.level));
        let noise = median_filter(&sky.map(|sky| sky.noise));
        let middle = |mesh: &Array2<f64>| median(&mut mesh.iter().copied().collect::<Vec<_>>());
        Self {
            width,
            height,
            first_row: 0,
            cell,
            median_level: middle(&level).unwrap_or(0.0),
            median_noise: middle(&noise).unwrap_or(0.0),
            level: Mesh::new(level, width, height),
            // A spline may swing below zero between cells of very different noise.
            noise: Mesh::new(noise, width, height).bounded(),
        }
    }

    /// The background of an image without a level and with a noise of 1 everywhere.
    pub(crate) fn flat(width: usize, height: usize, cell: usize) -> Self {
        let sky = Sky {
            level: 0.0,
            noise: 1.0,
        };
        Self::from_cells(width, height, cell, Array2::from_elem((1, 1), sky))
    }

    /// The background of some rows of the image; the medians stay those of the whole image.
    pub(crate) fn of_rows(&self, rows: &Range<usize>) -> Self {
        Self {
            height: rows.len(),
            first_row: self.first_row + rows.start,
            ..self.clone()
        }
    }

    /// Level at (x, y), pixels, in units of the image.
    pub fn level(&self, x: f64, y: f64) -> f64 {
        self.level.at(x, y + self.first_row as f64)
    }

    /// Standard deviation of the sky in one pixel at (x, y), in units of the image.
    pub fn noise(&self, x: f64, y: f64) -> f64 {
        self.noise.at(x, y + self.first_row as f64)
    }

    /// Level along row `y`, for as many pixels from x = 0 on as `out` is long.
    pub fn level_row(&self, y: usize, out: &mut [f64]) {
        self.level.row(y + self.first_row, out);
    }

    /// Noise along row `y`, for as many pixels from x = 0 on as `out` is long.
    pub fn noise_row(&self, y: usize, out: &mut [f64]) {
        self.noise.row(y + self.first_row, out);
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
            .for_each(|(y, row)| mesh.row(y + self.first_row, row));
        map
    }

    /// `pixels` less the level.
    pub fn subtract(&self, pixels: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut difference = Array2::zeros(pixels.dim());
        par_rows(&mut difference).enumerate().for_each(|(y, row)| {
            self.level_row(y, row);
            for (out, pixel) in row.iter_mut().zip(pixels.row(y)) {
                *out = pixel - *out;
            }
        });
        difference
    }

    /// Level and noise of each cell of the mesh.
    pub(crate) fn cells(&self) -> Vec<(f64, f64)> {
        let noises = self.noise.values().iter().copied();
        self.level.values().iter().copied().zip(noises).collect()
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

#[cfg(test)]
mod tests;
