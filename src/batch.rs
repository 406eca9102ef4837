//! Equal cutouts as flat arrays, scaled to order 1: what solvers and backends work on.

use std::ops::Range;

use rayon::prelude::*;

use crate::block::LANES;
use crate::constraints::Constraints;
use crate::cutout::{Cutout, Weighting};
use crate::error::{Error, Result};
use crate::estimator::Estimator;
use crate::fit::Flags;
use crate::kernel::Pixels;
use crate::model::{Parameter, Parameters, Role};
use crate::packed::PackedBlock;

/// Where a fit starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// From moments of the pixels, within a window.
    Moments {
        /// Where the star is expected, in the image; `None`: at the brightest spot of the cutout.
        position: Option<(f64, f64)>,
        /// Full width at half maximum expected, pixels; `None`: a quarter of the cutout's side.
        fwhm: Option<f64>,
    },
    /// From these parameters, in the image's units and coordinates.
    Given(Parameters),
}

/// How a star's scaled pixels go back to the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Subtracted from every pixel.
    pub pedestal: f64,
    /// Range of the usable pixels, by which they are divided then.
    pub range: f64,
    /// Chi-square of the image over that of the scaled pixels: the largest weight of the scaled
    /// pixels, by which all are divided.
    pub weight: f64,
    /// Column and row of the cutout's first pixel in the image.
    pub corner: (f64, f64),
}

impl Scale {
    /// Factor of one scaled parameter to its value in the image.
    pub fn factor(&self, role: Role) -> f64 {
        match role {
            Role::Flux | Role::Background => self.range,
            Role::X | Role::Y | Role::Shape => 1.0,
        }
    }

    /// Added to one scaled parameter after its factor.
    fn offset(&self, role: Role) -> f64 {
        match role {
            Role::Background => self.pedestal,
            Role::X => self.corner.0,
            Role::Y => self.corner.1,
            Role::Flux | Role::Shape => 0.0,
        }
    }

    /// From the scaled cutout to the image.
    pub fn to_image(&self, parameters: &[Parameter], scaled: &Parameters) -> Parameters {
        let mut values = *scaled;
        for (value, parameter) in values.iter_mut().zip(parameters) {
            *value = *value * self.factor(parameter.role) + self.offset(parameter.role);
        }
        values
    }

    /// From the image to the scaled cutout.
    pub fn to_scaled(&self, parameters: &[Parameter], values: &Parameters) -> Parameters {
        let mut scaled = *values;
        for (value, parameter) in scaled.iter_mut().zip(parameters) {
            *value = (*value - self.offset(parameter.role)) / self.factor(parameter.role);
        }
        scaled
    }
}

/// What the batch knows of one star beside its pixels.
#[derive(Debug, Clone)]
pub struct BatchStar {
    /// The way back to the image.
    pub scale: Scale,
    /// Where the fit starts.
    pub start: Start,
    /// What the user says of the parameters.
    pub constraints: Option<Box<Constraints>>,
    /// Pixels in use.
    pub n_pixels: usize,
    /// The weight of every pixel, where all have the same.
    pub uniform_weight: Option<f64>,
    /// Sum of the squared data in units of their noise: with the rounding of a sum it says how
    /// small a difference of chi-square still means something.
    pub power: f64,
    /// What the weights are.
    pub weighting: Weighting,
    /// Flags of the cutout.
    pub flags: Flags,
}

impl BatchStar {
    /// A star, and its pixels in `scaled` and `relative` as [`Batch::data`] and [`Batch::weight`]
    /// want them.
    fn scaled(
        cutout: &Cutout,
        start: Start,
        constraints: Option<Constraints>,
        scaled: &mut [f64],
        relative: &mut [f64],
    ) -> Self {
        let used = || {
            let pixels = cutout.data.iter().zip(&cutout.weight);
            pixels.filter(|(_, weight)| **weight > 0.0)
        };
        let (low, high) = used().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (d, _)| {
            (low.min(*d), high.max(*d))
        });
        let range = if high > low { high - low } else { 1.0 };
        // The lowest pixel is a value of the data: for integers the difference is exact.
        let low = if low.is_finite() { low } else { 0.0 };
        // What weights are divided by, so that the largest is 1 (of counts: 1 over the level).
        let (pedestal, divisor, weight) = match cutout.weighting {
            Weighting::Unit | Weighting::InverseVariance => {
                let largest = used().map(|(_, weight)| *weight).fold(0.0, f64::max);
                let largest = if largest > 0.0 { largest } else { 1.0 };
                (low, largest, largest * range * range)
            }
            Weighting::Counts { gain, zero } => {
                let level = ((low - zero) / range).max(1.0);
                (zero + level * range, level.recip(), gain * range / level)
            }
        };
        let estimator = match cutout.weighting {
            Weighting::Unit | Weighting::InverseVariance => Estimator::LeastSquares,
            Weighting::Counts { .. } => Estimator::Poisson,
        };
        let mut power = 0.0;
        let given = cutout.data.iter().zip(&cutout.weight);
        for ((&data, &weight), (scaled, relative)) in given.zip(scaled.iter_mut().zip(relative)) {
            let used = weight > 0.0;
            let data = if used { (data - pedestal) / range } else { 0.0 };
            let weight = weight / divisor;
            power += estimator.terms(data, data, weight).curvature * data * data;
            *scaled = data;
            *relative = weight;
        }
        let first = cutout.weight.first().copied().unwrap_or(0.0);
        let is_uniform = first > 0.0 && cutout.weight.iter().all(|&weight| weight == first);
        Self {
            scale: Scale {
                pedestal,
                range,
                weight,
                corner: (cutout.corner.0 as f64, cutout.corner.1 as f64),
            },
            start,
            constraints: constraints.map(Box::new),
            n_pixels: cutout.n_pixels(),
            uniform_weight: is_uniform.then_some(first / divisor),
            power,
            weighting: cutout.weighting,
            flags: cutout.flags,
        }
    }
}

/// Cutouts of one height and width.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Scaled values, star after star, row after row.
    pub data: Vec<f64>,
    /// Weights relative to the largest of each star, or the level that counts stand on (see
    /// [`Poisson`](crate::estimator::Poisson)); 0 = unused.
    pub weight: Vec<f64>,
    /// The stars, in order.
    pub stars: Vec<BatchStar>,
}

impl Batch {
    /// An empty batch.
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            data: Vec::new(),
            weight: Vec::new(),
            stars: Vec::new(),
        }
    }

    /// A batch of `n` stars, each made by `cut` of its number: a cutout, where its fit starts and
    /// what the user says of it. Several are made at once.
    ///
    /// # Errors
    ///
    /// Those of `cut`, of the first star that has one; [`Error::Option`] where a cutout is not of
    /// this width and height, or these are 0.
    pub fn build(
        width: usize,
        height: usize,
        n: usize,
        cut: impl Fn(usize) -> Result<(Cutout, Start, Option<Constraints>)> + Sync,
    ) -> Result<Self> {
        /// Stars below which another core is not worth waking.
        const LEAST: usize = 64;
        let mut batch = Self::new(width, height);
        let pixels = batch.pixels_per_star();
        if pixels == 0 {
            return Err(batch.wrong_shape(width, height));
        }
        batch.data = vec![0.0; n * pixels];
        batch.weight = vec![0.0; n * pixels];
        let data = batch.data.par_chunks_exact_mut(pixels);
        let places = data.zip(batch.weight.par_chunks_exact_mut(pixels));
        let stars: Vec<Result<BatchStar>> = places
            .enumerate()
            .with_min_len(LEAST)
            .map(|(star, (data, weight))| {
                let (cutout, start, constraints) = cut(star)?;
                if (cutout.width, cutout.height) != (width, height) {
                    return Err(Self::new(width, height).wrong_shape(cutout.width, cutout.height));
                }
                Ok(BatchStar::scaled(&cutout, start, constraints, data, weight))
            })
            .collect();
        batch.stars = stars.into_iter().collect::<Result<_>>()?;
        Ok(batch)
    }

    /// What to say of a cutout of another width and height, or of no pixel.
    fn wrong_shape(&self, width: usize, height: usize) -> Error {
        Error::Option {
            option: "cutout".into(),
            expected: match self.pixels_per_star() {
                0 => "at least one pixel".into(),
                _ => format!("{} x {} pixels", self.width, self.height),
            },
            found: format!("{width} x {height}"),
            hint: None,
        }
    }

    /// Pixels of a cutout.
    pub fn pixels_per_star(&self) -> usize {
        self.width * self.height
    }

    /// Adds a star. Its pixels lose their pedestal and get a range of 1 before anything becomes
    /// `f32`, so that neither a sky of 1e9 nor a flux of 1e-16 costs a digit.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] where the cutout is not of the batch's height and width.
    pub fn push(&mut self, cutout: &Cutout, start: Start) -> Result<()> {
        self.push_constrained(cutout, start, None)
    }

    /// Adds a star of which the user says something.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] where the cutout is not of the batch's height and width.
    pub fn push_constrained(
        &mut self,
        cutout: &Cutout,
        start: Start,
        constraints: Option<Constraints>,
    ) -> Result<()> {
        if (cutout.width, cutout.height) != (self.width, self.height) {
            return Err(self.wrong_shape(cutout.width, cutout.height));
        }
        self.push_unchecked(cutout, start, constraints);
        Ok(())
    }

    /// Adds a star whose cutout is known to have the batch's height and width.
    pub(crate) fn push_unchecked(
        &mut self,
        cutout: &Cutout,
        start: Start,
        constraints: Option<Constraints>,
    ) {
        let from = self.data.len();
        let pixels = cutout.data.len();
        self.data.resize(from + pixels, 0.0);
        self.weight.resize(from + pixels, 0.0);
        let (data, weight) = (&mut self.data[from..], &mut self.weight[from..]);
        self.stars
            .push(BatchStar::scaled(cutout, start, constraints, data, weight));
    }

    /// Number of stars.
    pub fn len(&self) -> usize {
        self.stars.len()
    }

    /// Whether there is no star.
    pub fn is_empty(&self) -> bool {
        self.stars.is_empty()
    }

    /// The stars `from..to` and their pixels.
    pub fn chunk(&self, from: usize, to: usize) -> Chunk<'_> {
        let n = self.pixels_per_star();
        Chunk {
            width: self.width,
            height: self.height,
            data: &self.data[from * n..to * n],
            weight: &self.weight[from * n..to * n],
            stars: &self.stars[from..to],
        }
    }
}

/// Neighbouring stars of a batch: what is on a device at once.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Scaled values, star after star, row after row.
    pub data: &'a [f64],
    /// As in [`Batch::weight`].
    pub weight: &'a [f64],
    /// The stars, in order.
    pub stars: &'a [BatchStar],
}

impl<'a> Chunk<'a> {
    /// Number of stars.
    pub fn len(&self) -> usize {
        self.stars.len()
    }

    /// Whether there is no star.
    pub fn is_empty(&self) -> bool {
        self.stars.is_empty()
    }

    /// The stars of a block, sixteen or what is left of them.
    pub(crate) fn stars_of_block(&self, block: usize) -> Range<usize> {
        block * LANES..((block + 1) * LANES).min(self.len())
    }

    /// The pixels of all stars, sixteen to a block.
    pub fn pack(&self) -> Vec<PackedBlock> {
        let mut blocks = Vec::new();
        self.pack_into(&mut blocks);
        blocks
    }

    /// As [`pack`](Self::pack), over what is in `blocks`.
    pub fn pack_into(&self, blocks: &mut Vec<PackedBlock>) {
        blocks.resize_with(self.len().div_ceil(LANES), PackedBlock::default);
        for (index, block) in blocks.iter_mut().enumerate() {
            block.pack(self, self.stars_of_block(index));
        }
    }

    /// The pixels of one star.
    pub fn pixels(&self, star: usize) -> Pixels<'a> {
        let n = self.width * self.height;
        Pixels {
            width: self.width,
            data: &self.data[star * n..(star + 1) * n],
            weight: &self.weight[star * n..(star + 1) * n],
        }
    }
}
