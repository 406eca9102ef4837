//! Where the fit of a star starts, and the box that it stays in.

use std::ops::Range;

use fearless_simd::Level;

use crate::batch::{BatchStar, Chunk, Start};
use crate::block::{LANES, StarBlock};
use crate::chart::{Chart, values};
use crate::constraints::Constraints;
use crate::cutout::Weighting;
use crate::estimator::Estimator;
use crate::finish::is_outside;
use crate::fit::FitStatus;
use crate::model::{Model, Moments, Parameters, Role};
use crate::moments::{Expected, moments_of_block};
use crate::packed::PackedBlock;

/// Part of the level of counts below which no background may fall: where there is no light at all,
/// no count is possible.
const DARKEST: f64 = 1e-6;

/// A star that has nearly no angle gets one from this ratio of its axes: the angle of a circle
/// moves nothing, and would never be found.
const HARDLY_ROUND: f64 = 1.05;

/// Puts stars at their start values, in the coordinates of a chart.
#[derive(Debug)]
pub(crate) struct Starter<'a> {
    chunk: Chunk<'a>,
    chart: &'a Chart,
    estimator: Estimator,
    level: Level,
    /// The box that the model sets, in scaled coordinates.
    low: Parameters,
    high: Parameters,
}

impl<'a> Starter<'a> {
    pub(crate) fn new(
        chunk: Chunk<'a>,
        chart: &'a Chart,
        estimator: Estimator,
        level: Level,
    ) -> Self {
        let (mut low, mut high) = (Parameters::default(), Parameters::default());
        for (j, coordinate) in chart.coordinates().iter().enumerate() {
            let side = match coordinate.role {
                Role::X => chunk.width,
                Role::Y => chunk.height,
                Role::Flux | Role::Background | Role::Shape => chunk.width.max(chunk.height),
            };
            (low[j], high[j]) = (coordinate.bounds)(side as f64);
        }
        Self {
            chunk,
            chart,
            estimator,
            level,
            low,
            high,
        }
    }

    /// Puts stars into an empty block, in the states before their first evaluation.
    pub(crate) fn fill(&self, stars: Range<usize>, pixels: &PackedBlock, block: &mut StarBlock) {
        let stars = &self.chunk.stars[stars];
        let moments = self.moments(stars, pixels);
        for (lane, star) in stars.iter().enumerate() {
            self.start(lane, star, &moments[lane], block);
        }
    }

    /// The moments of the stars that start from theirs.
    fn moments(&self, stars: &[BatchStar], pixels: &PackedBlock) -> [Moments; LANES] {
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

    fn start(&self, lane: usize, star: &BatchStar, moments: &Moments, block: &mut StarBlock) {
        let Self { chart, chunk, .. } = *self;
        let (model, width, height) = (chart.model, chunk.width, chunk.height);
        let mut parameters = match star.start {
            Start::Given(parameters) => star.scale.to_scaled(model.parameters(), &parameters),
            Start::Moments { .. } => {
                let mut moments = *moments;
                if self.estimator == Estimator::Poisson {
                    // A star that takes light away would leave pixels with less than none.
                    moments.flux = moments.flux.max(1e-3);
                }
                model.start(&moments)
            }
        };
        if is_outside(model.parameters(), &parameters, width, height) {
            block.starts_outside |= 1 << lane;
            put_in_the_middle(model, &mut parameters, width, height);
        }
        let (mut low, mut high, mut fixed) = (self.low, self.high, 0);
        if let Weighting::Counts { zero, .. } = star.weighting {
            let level = (star.scale.pedestal - zero) / star.scale.range;
            for (j, coordinate) in chart.coordinates().iter().enumerate() {
                if coordinate.role == Role::Background {
                    low[j] = (DARKEST - 1.0) * level;
                }
            }
        }
        let mut coordinates = parameters;
        if star.constraints.is_some() || !chart.is_model() {
            let none = Constraints::default();
            let constraints = star.constraints.as_deref().unwrap_or(&none);
            constrain(&mut low, &mut high, constraints, chart, star);
            fixed = constraints.fixed;
            let columns = start_columns(model, &parameters, constraints, star, chart);
            if is_circle(model, constraints, &columns) {
                fixed |= angle(model);
            }
            coordinates = chart.coordinates_of(&columns);
        }
        let n = chart.coordinates().len();
        for j in 0..n {
            // What is fixed is fixed at the start.
            if fixed >> j & 1 == 1 {
                (low[j], high[j]) = (coordinates[j], coordinates[j]);
                block.fixed[j] |= 1 << lane;
            }
            // Not clamp(): it panics on a box that is not one.
            coordinates[j] = coordinates[j].max(low[j]).min(high[j]);
            (block.low[j][lane], block.high[j][lane]) = (low[j], high[j]);
        }
        block.start(lane, &coordinates);
        block.power[lane] = star.power;
        block.n_pixels[lane] = star.n_pixels as f64;
        let free = n - fixed.count_ones() as usize;
        if star.n_pixels < free.max(1) {
            block.finish(1 << lane, FitStatus::TooFewPixels);
        }
    }
}

fn put_in_the_middle(model: &dyn Model, parameters: &mut Parameters, width: usize, height: usize) {
    for (value, parameter) in parameters.iter_mut().zip(model.parameters()) {
        match parameter.role {
            Role::X => *value = (width as f64 - 1.0) / 2.0,
            Role::Y => *value = (height as f64 - 1.0) / 2.0,
            Role::Flux | Role::Background | Role::Shape => {}
        }
    }
}

/// Narrows the box to what the user allows.
fn constrain(
    low: &mut Parameters,
    high: &mut Parameters,
    constraints: &Constraints,
    chart: &Chart,
    star: &BatchStar,
) {
    let columns = chart.model.columns();
    let (lowest, highest) = (
        star.scale.to_scaled(columns, &constraints.low),
        star.scale.to_scaled(columns, &constraints.high),
    );
    for (j, column) in columns.iter().enumerate() {
        // In the model's own coordinates what is bound is a column too.
        if chart.coordinates()[j].name == column.name {
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
    chart: &Chart,
) -> Parameters {
    let mut columns = values(&model.columns_at(parameters));
    let place = |name: &str| model.columns().iter().position(|c| c.name == name);
    let theta = place("theta");
    if let Some(theta) = theta.filter(|&theta| columns[theta].is_nan()) {
        columns[theta] = 0.0;
    }
    let axes = place("fwhm_major").zip(place("fwhm_minor"));
    if let Some((major, minor)) = axes.filter(|_| !chart.is_model())
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
        // An angle means the same half a turn on: the one that the bounds allow is meant.
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
