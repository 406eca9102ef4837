//! Where the fit of a star starts, and the box that it stays in.

use crate::batch::{BatchStar, Chunk, Start};
use crate::chart::{Chart, values};
use crate::constraints::Constraints;
use crate::cutout::Weighting;
use crate::estimator::Estimator;
use crate::finish::is_outside;
use crate::kernel::Pixels;
use crate::model::{Model, Parameters, Role};
use crate::moments::moments;
use crate::solver::{Bounds, StarState};

/// Part of the level of counts below which no background may fall: where there is no light at all,
/// no count is possible.
const DARKEST: f64 = 1e-6;

/// A star that has nearly no angle gets one from this ratio of its axes: the angle of a circle
/// moves nothing, and would never be found.
const HARDLY_ROUND: f64 = 1.05;

/// The state of a star before its first evaluation.
pub(crate) fn starting_state(
    chunk: &Chunk<'_>,
    index: usize,
    chart: &Chart,
    estimator: Estimator,
) -> StarState {
    let (star, pixels) = (&chunk.stars[index], chunk.pixels(index));
    let model = chart.model;
    let (width, height) = (chunk.width, chunk.height);
    let mut parameters = from_pixels(model, star, &pixels, height, estimator);
    let starts_outside = is_outside(model.parameters(), &parameters, width, height);
    if starts_outside {
        put_in_the_middle(model, &mut parameters, width, height);
    }
    let mut bounds = model_bounds(chart, star, width, height);
    let mut coordinates = parameters;
    if star.constraints.is_some() || !chart.is_model() {
        let none = Constraints::default();
        let constraints = star.constraints.as_deref().unwrap_or(&none);
        constrain(&mut bounds, constraints, chart, star);
        let columns = start_columns(model, &parameters, constraints, star, chart);
        if is_circle(model, constraints, &columns) {
            bounds.fixed |= angle(model);
        }
        coordinates = chart.coordinates_of(&columns);
    }
    // What is fixed is fixed at the start.
    for j in 0..bounds.n {
        if bounds.fixed >> j & 1 == 1 {
            (bounds.low[j], bounds.high[j]) = (coordinates[j], coordinates[j]);
        }
    }
    bounds.project(&mut coordinates);
    let power = pixels
        .data
        .iter()
        .zip(pixels.weight)
        .map(|(&data, &weight)| estimator.terms(data, data, weight).curvature * data * data)
        .sum();
    let mut state = StarState::new(coordinates, bounds, star.n_pixels, power);
    state.starts_outside = starts_outside;
    state
}

/// The parameters that the pixels, or the batch, say to start from; scaled.
fn from_pixels(
    model: &dyn Model,
    star: &BatchStar,
    pixels: &Pixels<'_>,
    height: usize,
    estimator: Estimator,
) -> Parameters {
    match star.start {
        Start::Given(parameters) => star.scale.to_scaled(model.parameters(), &parameters),
        Start::Moments { position, fwhm } => {
            let corner = star.scale.corner;
            let position = position.map(|(x, y)| (x - corner.0, y - corner.1));
            let mut moments = moments(pixels, height, position, fwhm);
            if estimator == Estimator::Poisson {
                // A star that takes light away would leave pixels with less than none.
                moments.flux = moments.flux.max(1e-3);
            }
            model.start(&moments)
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

/// The box that model and estimator set, in scaled coordinates.
fn model_bounds(chart: &Chart, star: &BatchStar, width: usize, height: usize) -> Bounds {
    let coordinates = chart.coordinates();
    let mut bounds = Bounds {
        n: coordinates.len(),
        low: Parameters::default(),
        high: Parameters::default(),
        fixed: 0,
        angle: (0..coordinates.len())
            .find(|&j| chart.is_ratio(j))
            .zip(coordinates.iter().position(|c| c.name == "theta")),
    };
    for (j, coordinate) in coordinates.iter().enumerate() {
        let side = match coordinate.role {
            Role::X => width,
            Role::Y => height,
            Role::Flux | Role::Background | Role::Shape => width.max(height),
        };
        (bounds.low[j], bounds.high[j]) = (coordinate.bounds)(side as f64);
        if let (Role::Background, Weighting::Counts { zero, .. }) =
            (coordinate.role, star.weighting)
        {
            let level = (star.scale.pedestal - zero) / star.scale.range;
            bounds.low[j] = (DARKEST - 1.0) * level;
        }
    }
    bounds
}

/// Narrows the box to what the user allows.
fn constrain(bounds: &mut Bounds, constraints: &Constraints, chart: &Chart, star: &BatchStar) {
    let columns = chart.model.columns();
    let (low, high) = (
        star.scale.to_scaled(columns, &constraints.low),
        star.scale.to_scaled(columns, &constraints.high),
    );
    for (j, column) in columns.iter().enumerate() {
        // In the model's own coordinates what is bound is a column too.
        if chart.coordinates()[j].name == column.name {
            bounds.low[j] = bounds.low[j].max(low[j]);
            bounds.high[j] = bounds.high[j].min(high[j]);
        }
    }
    bounds.fixed = constraints.fixed;
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
