//! Where the fit of a star starts, and the box that it stays in.

pub(crate) mod flanks;
pub mod moments;

use std::ops::Range;

use fearless_simd::Level;
use fearless_simd::prelude::*;

use crate::batch::{BatchStar, Chunk, Scales, Start};
use crate::constraints::Constraints;
use crate::cutout::Weighting;
use crate::estimator::Estimator;
use crate::fit::FitStatus;
use crate::fitter::coordinates::{CoordinateSystem, values};
use crate::fitter::footprint::Footprint;
use crate::fitter::start::moments::{Expected, moments_of_block};
use crate::fitter::state::StarBlock;
use crate::model::{Model, Moments, Role};
use crate::numbers::lanes::{LANES, Part, Row, lane_bits, lane_of, set_lane};
use crate::numbers::matrix::Parameters;
use crate::numbers::simd::vectorized;
use crate::pixels::PixelBlock;

/// Part of the level of counts below which no background may fall: where there is no light at all,
/// no count is possible.
const DARKEST: f64 = 1e-6;

/// Ratio of axes that a nearly round star starts from, so that it has an angle: the angle of a circle
/// moves nothing, and would never be found.
const HARDLY_ROUND: f64 = 1.05;

/// Puts stars at their start values, in the coordinates of a system.
#[derive(Debug)]
pub(crate) struct Starter<'a> {
    chunk: Chunk<'a>,
    system: &'a CoordinateSystem,
    estimator: Estimator,
    level: Level,
    /// The box that the model sets, in scaled coordinates.
    low: Parameters,
    high: Parameters,
}

impl<'a> Starter<'a> {
    pub(crate) fn new(
        chunk: Chunk<'a>,
        system: &'a CoordinateSystem,
        estimator: Estimator,
        level: Level,
    ) -> Self {
        let (mut low, mut high) = (Parameters::default(), Parameters::default());
        for (j, coordinate) in system.coordinates().iter().enumerate() {
            let side = match coordinate.role {
                Role::X => chunk.width,
                Role::Y => chunk.height,
                Role::Flux | Role::Background | Role::Shape => chunk.width.max(chunk.height),
            };
            (low[j], high[j]) = (coordinate.bounds)(side as f64);
        }
        Self {
            chunk,
            system,
            estimator,
            level,
            low,
            high,
        }
    }

    /// Puts stars into an empty block, in the states before their first evaluation.
    pub(crate) fn fill(&self, stars: Range<usize>, pixels: &PixelBlock, block: &mut StarBlock) {
        let stars = &self.chunk.stars[stars];
        self.place(stars, pixels, block);
        let n = self.system.coordinates().len();
        for (j, (&low, &high)) in self.low.iter().zip(&self.high).enumerate().take(n) {
            (block.low[j], block.high[j]) = (Row::filled(low), Row::filled(high));
        }
        for (lane, star) in stars.iter().enumerate() {
            if let Weighting::Counts { zero, .. } = star.weighting {
                let level = (star.scale.pedestal - zero) / star.scale.range;
                for (j, coordinate) in self.system.coordinates().iter().enumerate() {
                    if coordinate.role == Role::Background {
                        block.low[j][lane] = (DARKEST - 1.0) * level;
                    }
                }
            }
            if star.constraints.is_some() || !self.system.is_model() {
                self.constrain(lane, star, block);
            }
            block.power[lane] = star.power;
            block.per_pixel[lane] = (star.n_pixels as f64).recip();
            block.running |= 1 << lane;
        }
        vectorized!(self.level, _simd => {
            for j in 0..n {
                let (low, high) = (&block.low[j], &block.high[j]);
                for (lane, value) in block.parameters[j].iter_mut().enumerate() {
                    // Not clamp(): it panics where the low bound is above the high one.
                    *value = value.max(low[lane]).min(high[lane]);
                }
                block.trial[j] = block.parameters[j];
            }
        });
        for (lane, star) in stars.iter().enumerate() {
            let free = n - lane_bits(&block.fixed, lane).count_ones() as usize;
            if star.n_pixels < free.max(1) {
                block.finish(1 << lane, FitStatus::TooFewPixels);
            }
        }
    }

    /// Sets the model's parameters of a block to the start values of its stars, in their cutouts.
    fn place(&self, stars: &[BatchStar], pixels: &PixelBlock, block: &mut StarBlock) {
        let (model, parameters) = (self.system.model, &mut block.parameters);
        let moments = self.moments(stars, pixels);
        let (mut given, mut present) = (0, 0);
        for (lane, star) in stars.iter().enumerate() {
            present |= 1 << lane;
            let start = match star.start {
                Start::Given(parameters) => {
                    given |= 1 << lane;
                    parameters
                }
                Start::Moments { .. } => {
                    let mut moments = match &star.flanks {
                        Some(flanks) => **flanks,
                        None => moments[lane],
                    };
                    if self.estimator == Estimator::Poisson {
                        // A star of negative flux would leave pixels with less than no light.
                        moments.flux = moments.flux.max(1e-3);
                    }
                    model.start(&moments)
                }
            };
            set_lane(parameters, lane, &start);
        }
        let (footprint, scales) = (
            Footprint::of(&self.chunk, model),
            Scales::of(stars.iter().map(|star| &star.scale)),
        );
        vectorized!(self.level, simd => {
            for part in Part::all(simd) {
                let given = part.mask(given);
                for (parameter, row) in footprint.parameters.iter().zip(&mut *parameters) {
                    let value = part.load(row);
                    let scaled = scales.to_scaled(part, parameter.role, value);
                    part.store(row, given.select(scaled, value));
                }
                block.starts_outside |= part.bits(footprint.outside(part, parameters));
            }
        });
        // A lane without a star keeps its old values.
        block.starts_outside &= present;
        footprint.center(block.starts_outside, parameters);
    }

    /// The moments of the stars whose fits start from moments.
    fn moments(&self, stars: &[BatchStar], pixels: &PixelBlock) -> [Moments; LANES] {
        let quarter = self.chunk.width.min(self.chunk.height) as f64 / 4.0;
        let mut expected = Expected::anywhere(quarter);
        let mut is_needed = false;
        for (lane, star) in stars.iter().enumerate() {
            let Start::Moments { position, fwhm } = star.start else {
                continue;
            };
            is_needed = true;
            let corner = star.scale.corner;
            if let Some((x, y)) = position {
                (expected.x[lane], expected.y[lane]) = (x - corner.0, y - corner.1);
            }
            expected.fwhm[lane] = fwhm.unwrap_or(quarter);
        }
        if is_needed {
            moments_of_block(self.level, pixels, &expected)
        } else {
            [Moments::round(0.0, (0.0, 0.0), 1.0, 0.0); LANES]
        }
    }

    /// Turns the parameters of a star into coordinates, within the user's constraints.
    fn constrain(&self, lane: usize, star: &BatchStar, block: &mut StarBlock) {
        let system = self.system;
        let none = Constraints::default();
        let constraints = star.constraints.as_deref().unwrap_or(&none);
        let (mut low, mut high) = (lane_of(&block.low, lane), lane_of(&block.high, lane));
        narrow(&mut low, &mut high, constraints, system, star);
        let parameters = lane_of(&block.parameters, lane);
        let columns = start_columns(system.model, &parameters, constraints, star, system);
        let mut fixed = constraints.fixed;
        if is_circle(system.model, constraints, &columns) {
            fixed |= angle(system.model);
        }
        let coordinates = system.coordinates_of(&columns);
        for j in 0..system.coordinates().len() {
            // A fixed coordinate is fixed at its start.
            if fixed >> j & 1 == 1 {
                (low[j], high[j]) = (coordinates[j], coordinates[j]);
                block.fixed[j] |= 1 << lane;
            }
        }
        set_lane(&mut block.low, lane, &low);
        set_lane(&mut block.high, lane, &high);
        set_lane(&mut block.parameters, lane, &coordinates);
    }
}

/// Narrows the box to the user's bounds.
fn narrow(
    low: &mut Parameters,
    high: &mut Parameters,
    constraints: &Constraints,
    system: &CoordinateSystem,
    star: &BatchStar,
) {
    let columns = system.model.columns();
    let (lowest, highest) = (
        star.scale.to_scaled(columns, &constraints.low),
        star.scale.to_scaled(columns, &constraints.high),
    );
    for (j, column) in columns.iter().enumerate() {
        // In the model's own coordinates a bounded coordinate is a column too.
        if system.coordinates()[j].name == column.name {
            low[j] = low[j].max(lowest[j]);
            high[j] = high[j].min(highest[j]);
        }
    }
}

/// The columns to start from: those of `parameters`, unless the user says otherwise.
fn start_columns(
    model: &dyn Model,
    parameters: &Parameters,
    constraints: &Constraints,
    star: &BatchStar,
    system: &CoordinateSystem,
) -> Parameters {
    let mut columns = values(&model.columns_at(parameters));
    let place = |name: &str| model.columns().iter().position(|c| c.name == name);
    let theta = place("theta");
    if let Some(theta) = theta.filter(|&theta| columns[theta].is_nan()) {
        columns[theta] = 0.0;
    }
    let axes = place("fwhm_major").zip(place("fwhm_minor"));
    if let Some((major, minor)) = axes.filter(|_| !system.is_model())
        && columns[major] < HARDLY_ROUND * columns[minor]
    {
        columns[major] *= HARDLY_ROUND;
    }
    let given = star.scale.to_scaled(model.columns(), &constraints.start);
    for j in 0..model.columns().len() {
        if !given[j].is_nan() {
            columns[j] = given[j];
        }
    }
    if let Some(theta) = theta {
        // An angle means the same half a turn on: take the one within the bounds.
        let low = constraints.low[theta];
        if low.is_finite() {
            columns[theta] = low + (columns[theta] - low).rem_euclid(180.0);
        }
    }
    columns
}

/// Whether both axes are fixed at one length.
fn is_circle(model: &dyn Model, constraints: &Constraints, columns: &Parameters) -> bool {
    let place = |name: &str| model.columns().iter().position(|c| c.name == name);
    let axes = place("fwhm_major").zip(place("fwhm_minor"));
    axes.is_some_and(|(major, minor)| {
        let are_fixed = constraints.is_fixed(major) && constraints.is_fixed(minor);
        are_fixed && columns[major] == columns[minor]
    })
}

/// The bit of the angle, which means nothing on a circle and would make its fit singular.
fn angle(model: &dyn Model) -> u8 {
    let mut columns = model.columns().iter();
    columns
        .position(|c| c.name == "theta")
        .map_or(0, |j| 1 << j)
}
