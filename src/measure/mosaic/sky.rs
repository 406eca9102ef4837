//! The sky of a mosaic, in each of its four phases.

use ndarray::{ArrayView2, s};
use rayon::prelude::*;

use crate::background::Background;
use crate::mosaic::{BayerPattern, Color};

/// Level and noise of the sky in the pixels of each phase.
#[derive(Debug, Clone)]
pub(crate) struct Sky {
    /// Backgrounds of the four images that every second pixel of every second row makes up.
    phases: Vec<Background>,
}

impl Sky {
    /// Measures the sky of `pixels`, `[[y, x]]`. Cells cover as much of the image as they do without a
    /// mosaic.
    pub(crate) fn estimate(pixels: ArrayView2<'_, f64>) -> Self {
        let (height, width) = pixels.dim();
        let cell = Background::cell_for(width, height) / 2;
        let phases = (0..4_usize).into_par_iter().map(|phase| {
            // A slice must not begin beyond the end.
            let (y, x) = ((phase / 2).min(height), (phase % 2).min(width));
            Background::estimate(pixels.slice(s![y..;2, x..;2]), cell)
        });
        Self {
            phases: phases.collect(),
        }
    }

    /// Sky in the pixels of a phase, in coordinates of half the size.
    pub(super) fn phase(&self, phase: usize) -> &Background {
        &self.phases[phase]
    }

    /// Levels of the phases at (x, y), pixels of the image.
    pub(super) fn levels(&self, x: f64, y: f64) -> [f64; 4] {
        self.at(x, y, Background::level)
    }

    /// Noises of the phases at (x, y), pixels of the image.
    pub(super) fn noises(&self, x: f64, y: f64) -> [f64; 4] {
        self.at(x, y, Background::noise)
    }

    fn at(&self, x: f64, y: f64, of: impl Fn(&Background, f64, f64) -> f64) -> [f64; 4] {
        std::array::from_fn(|phase| {
            let along = |at: f64, first: usize| (at - first as f64) / 2.0;
            let (x, y) = (along(x, phase % 2), along(y, phase / 2));
            of(&self.phases[phase], x, y)
        })
    }

    /// Median noises of the phases.
    pub(super) fn median_noises(&self) -> [f64; 4] {
        std::array::from_fn(|phase| self.phases[phase].median_noise())
    }

    /// Level and noise of each cell of each phase, and the pixels of a cell.
    pub(super) fn cells(&self) -> (Vec<(f64, f64)>, f64) {
        let cells = self.phases.iter().flat_map(Background::cells).collect();
        let side = self.phases[0].cell() as f64;
        (cells, side * side)
    }

    /// Level and noise of a typical pixel of the colour, or of all: means over the phases.
    pub(super) fn typical(&self, pattern: BayerPattern, color: Option<Color>) -> (f64, f64) {
        let is_of = |phase: &usize| color.is_none_or(|color| pattern.phases()[*phase] == color);
        let of: Vec<&Background> = (0..4)
            .filter(is_of)
            .map(|phase| &self.phases[phase])
            .collect();
        let n = of.len() as f64;
        let level = of.iter().map(|phase| phase.median_level()).sum::<f64>() / n;
        let variance = of
            .iter()
            .map(|phase| phase.median_noise().powi(2))
            .sum::<f64>()
            / n;
        (level, variance.sqrt())
    }

    /// The phase with the brightest sky.
    pub(super) fn brightest(&self) -> &Background {
        let mut brightest = &self.phases[0];
        for phase in &self.phases[1..] {
            if phase.median_level() > brightest.median_level() {
                brightest = phase;
            }
        }
        brightest
    }
}
