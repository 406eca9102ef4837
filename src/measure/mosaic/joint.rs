//! The optimum of a star of three colours: one shape and place, a flux and a level for each colour.

use super::dense::{MAX_JOINT, Matrix, Vector, invert, sandwich};
use super::star::{Colors, StarPixels};
use crate::cutout::Weighting;
use crate::estimator::Estimator;
use crate::fit::{Fit, FitStatus, Flags};
use crate::fitter::coordinates::{CoordinateSystem, values};
use crate::model::{Model, Role};
use crate::mosaic::Color;
use crate::numbers::matrix::{MAX_PACKED, Parameters, Symmetric, packed_index};
use crate::pixels::Pixels;
use crate::sums::{NormalEquations, ResidualSums};

/// A star and its colours.
#[derive(Debug, Clone)]
pub(super) struct ColorFit {
    /// Flux, height and background are sums over the colours.
    pub(super) fit: Fit,
    pub(super) colors: ByColor,
}

/// Results of a fit for each colour, in the order of [`Color::ALL`].
#[derive(Debug, Clone, Copy)]
pub(super) struct ByColor {
    /// Flux and its error; NaN where there is none.
    pub(super) fluxes: [(f64, f64); 3],
    /// Light and levels at the shape that was found, from which the joint fit starts.
    pub(super) light: Option<Colors>,
}

impl ByColor {
    /// Colours of which nothing is known.
    pub(super) const NONE: Self = Self {
        fluxes: [(f64::NAN, f64::NAN); 3],
        light: None,
    };
}

impl ColorFit {
    /// A fit whose colours are not known.
    pub(super) fn without_colors(fit: Fit) -> Self {
        Self {
            fit,
            colors: ByColor::NONE,
        }
    }
}

/// The places of a coordinate system's coordinates among those of a joint fit: the light of the three
/// colours, then their levels, then what they share.
struct Layout {
    n: usize,
    light: usize,
    level: usize,
}

impl Layout {
    fn new(system: &CoordinateSystem) -> Option<Self> {
        let coordinates = system.coordinates();
        let place = |role: Role| coordinates.iter().position(|c| c.role == role);
        Some(Self {
            n: coordinates.len(),
            light: place(Role::Flux)?,
            level: place(Role::Background)?,
        })
    }

    fn joint(&self) -> usize {
        self.n + 4
    }

    /// The place of a colour's coordinate.
    fn place(&self, color: usize, j: usize) -> usize {
        match j {
            j if j == self.light => color,
            j if j == self.level => 3 + color,
            j => 6 + j - usize::from(j > self.light) - usize::from(j > self.level),
        }
    }

    /// The places of the joint coordinates that make up a coordinate of the sum of all colours.
    fn places(&self, j: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        let range = match j {
            j if j == self.light => 0..3,
            j if j == self.level => 3..6,
            j => {
                let place = self.place(0, j);
                place..place + 1
            }
        };
        range.into_iter()
    }
}

/// A star's pixels by colour, and the coordinates of its joint fit.
struct Joint<'a> {
    model: &'static dyn Model,
    system: &'a CoordinateSystem,
    layout: Layout,
    width: usize,
    data: Vec<f64>,
    /// Weights for each colour; 0 in the pixels of the other colours.
    weights: [Vec<f64>; 3],
    free: Vec<bool>,
}

/// Normal equations in the joint coordinates.
struct Sums {
    chi2: f64,
    gradient: Vector,
    curvature: Matrix,
}

/// Takes a fit of the gray star, whose shape is right but for the last digits, to the joint optimum, with the
/// covariance there. `steps` says whether steps are made: no bound is in their way.
pub(super) fn finish(
    star: &StarPixels,
    fit: &Fit,
    colors: &Colors,
    (weights, weighting): (&[f64], Weighting),
    model: &'static dyn Model,
    (system, steps): (&CoordinateSystem, bool),
) -> ColorFit {
    /// Decrease of chi-square, in units of its noise, below which a step needs no second look.
    const SETTLED: f64 = 1e-3;
    const MOST_STEPS: usize = 3;
    let ended = |status: FitStatus| {
        let mut fit = fit.clone();
        fit.status = status;
        fit.covariance = None;
        ColorFit::without_colors(fit)
    };
    if !fit.status.has_values() {
        return ColorFit::without_colors(fit.clone());
    }
    let Some(layout) = Layout::new(system) else {
        return ended(FitStatus::SingularCurvature);
    };
    let n_joint = layout.joint();
    let mut free = vec![true; n_joint];
    let ends = match system.is_model() {
        true => fit.parameters,
        false => system.coordinates_of(&values(&model.columns_at(&fit.parameters))),
    };
    for j in (0..layout.n).filter(|&j| j != layout.light && j != layout.level) {
        let is_bound = system.coordinates()[j].is_wingless(ends[j]);
        free[layout.place(0, j)] = fit.free >> j & 1 == 1 && !is_bound;
    }
    let n_free = free.iter().filter(|free| **free).count();
    if fit.n_pixels < n_free {
        return ended(FitStatus::TooFewPixels);
    }
    let mut by_color = [(); 3].map(|()| vec![0.0; weights.len()]);
    for (at, color) in star.colors().enumerate() {
        by_color[color][at] = weights[at];
    }
    let joint = Joint {
        model,
        system,
        width: star.raw.width,
        data: star.above_sky(),
        weights: by_color,
        free,
        layout,
    };
    let shape = star.in_cutout(model, &fit.parameters, -1.0);
    let mut coordinates: [Parameters; 3] = std::array::from_fn(|color| {
        let mut parameters = shape;
        for (value, parameter) in parameters.iter_mut().zip(model.parameters()) {
            match parameter.role {
                Role::Flux => *value = colors.amplitudes[color],
                Role::Background => *value = colors.offsets[color],
                Role::X | Role::Y | Role::Shape => {}
            }
        }
        if system.is_model() {
            return parameters;
        }
        system.coordinates_of(&values(&model.columns_at(&parameters)))
    });

    let mut sums = joint.evaluate(&coordinates);
    let Some(mut inverse) = invert(&sums.curvature, &joint.free) else {
        return ended(FitStatus::SingularCurvature);
    };
    let steps = if steps { MOST_STEPS } else { 0 };
    let dof = fit.n_pixels.saturating_sub(n_free).max(1) as f64;
    for _ in 0..steps {
        let step = joint.step(&inverse, &sums.gradient);
        let decrease: f64 = step.iter().zip(&sums.gradient).map(|(s, g)| s * g).sum();
        let unit = if weighting == Weighting::Unit {
            sums.chi2 / dof
        } else {
            1.0
        };
        let moved = joint.moved(&coordinates, &step);
        if decrease < SETTLED * unit {
            coordinates = moved;
            sums.chi2 -= decrease.max(0.0);
            break;
        }
        let next = joint.evaluate(&moved);
        if next.chi2.is_nan() || next.chi2 > sums.chi2 {
            break;
        }
        let Some(next_inverse) = invert(&next.curvature, &joint.free) else {
            break;
        };
        (coordinates, sums, inverse) = (moved, next, next_inverse);
    }
    let mut end = joint.end(star, fit, &coordinates, &sums, &inverse, weighting, n_free);
    end.colors.light = Some(*colors);
    end
}

impl Joint<'_> {
    fn pixels(&self, color: usize) -> Pixels<'_> {
        Pixels {
            width: self.width,
            data: self.data.as_slice().into(),
            weight: self.weights[color].as_slice().into(),
        }
    }

    fn evaluate(&self, coordinates: &[Parameters; 3]) -> Sums {
        let mut sums = Sums {
            chi2: 0.0,
            gradient: [0.0; MAX_JOINT],
            curvature: [[0.0; MAX_JOINT]; MAX_JOINT],
        };
        for (color, coordinates) in coordinates.iter().enumerate() {
            let parameters = self.system.parameters(coordinates);
            let pixels = self.pixels(color);
            let least_squares = Estimator::LeastSquares;
            let mut of: NormalEquations =
                self.model
                    .normal_equations(least_squares, &pixels, &parameters);
            self.system.pull_back(coordinates, &mut of);
            sums.chi2 += of.chi2;
            for j in 0..self.layout.n {
                sums.gradient[self.layout.place(color, j)] += of.gradient[j];
            }
            self.scatter(color, &of.curvature, &mut sums.curvature);
        }
        sums
    }

    /// Adds a matrix of one colour to one of all.
    fn scatter(&self, color: usize, of: &Symmetric, sums: &mut Matrix) {
        for j in 0..self.layout.n {
            for k in 0..self.layout.n {
                let place = (self.layout.place(color, j), self.layout.place(color, k));
                sums[place.0][place.1] += of[packed_index(j, k)];
            }
        }
    }

    fn step(&self, inverse: &Matrix, gradient: &Vector) -> Vector {
        let mut step = [0.0; MAX_JOINT];
        for (step, row) in step.iter_mut().zip(inverse) {
            *step = row.iter().zip(gradient).map(|(a, g)| a * g).sum();
        }
        step
    }

    fn moved(&self, coordinates: &[Parameters; 3], step: &Vector) -> [Parameters; 3] {
        let mut moved = *coordinates;
        for (color, coordinates) in moved.iter_mut().enumerate() {
            for (j, value) in coordinates.iter_mut().enumerate().take(self.layout.n) {
                *value += step[self.layout.place(color, j)];
            }
        }
        moved
    }

    /// The fit at the optimum: covariance, residuals, fluxes.
    #[expect(
        clippy::too_many_arguments,
        reason = "what the last step left, each of which is one thing"
    )]
    fn end(
        &self,
        star: &StarPixels,
        before: &Fit,
        coordinates: &[Parameters; 3],
        sums: &Sums,
        inverse: &Matrix,
        weighting: Weighting,
        n_free: usize,
    ) -> ColorFit {
        let mut middle: Matrix = [[0.0; MAX_JOINT]; MAX_JOINT];
        let is_unit = weighting == Weighting::Unit;
        let (mut absolute, mut central) = (0.0, f64::NAN);
        let parameters = coordinates.map(|coordinates| self.system.parameters(&coordinates));
        for (color, parameters) in parameters.iter().enumerate() {
            // Leverages are those of the model's own parameters.
            let own = self.of_color(inverse, color);
            let own = self.system.push_forward(&coordinates[color], &own);
            let ResidualSums {
                absolute: sum,
                central: residual,
                sandwich,
                leverage: _,
            } = self
                .model
                .residual_sums(&self.pixels(color), parameters, is_unit.then_some(&own));
            absolute += sum;
            if residual.is_finite() {
                central = residual;
            }
            if is_unit {
                let mut of = NormalEquations::filled(0.0);
                of.curvature = sandwich;
                self.system.pull_back(&coordinates[color], &mut of);
                self.scatter(color, &of.curvature, &mut middle);
            }
        }
        let covariance = match is_unit {
            true => sandwich(self.layout.joint(), inverse, &middle),
            false => *inverse,
        };

        let mut fit = before.clone();
        let all = self.all(coordinates);
        fit.covariance = Some(self.system.push_forward(&all, &self.of_all(&covariance)));
        fit.parameters = star.in_cutout(self.model, &self.system.parameters(&all), 1.0);
        let levels = Color::ALL.map(|color| star.level(color));
        for (value, parameter) in fit.parameters.iter_mut().zip(self.model.parameters()) {
            match parameter.role {
                Role::Background => *value += levels.iter().sum::<f64>(),
                Role::Flux => fit.flags.set(Flags::NEGATIVE_FLUX, *value < 0.0),
                Role::X | Role::Y | Role::Shape => {}
            }
        }
        fit.chi2 = sums.chi2;
        fit.n_free = n_free;
        let fluxes = std::array::from_fn(|color| {
            let mut of = fit.clone();
            of.parameters = parameters[color];
            let own = self.of_color(&covariance, color);
            of.covariance = Some(self.system.push_forward(&coordinates[color], &own));
            let quantities = self.model.quantities(&of.parameters);
            let flux = quantities.into_iter().find(|q| q.column == "flux");
            flux.map_or((f64::NAN, f64::NAN), |flux| {
                (flux.value, of.error(self.model, &flux).unwrap_or(f64::NAN))
            })
        });
        self.measure_residuals(star, &mut fit, &fluxes, absolute, central);
        let colors = ByColor {
            fluxes,
            light: None,
        };
        ColorFit { fit, colors }
    }

    /// Sets the residuals relative to the light of their pixels' colours, to compare them with other images:
    /// they are scaled for the catalogue, which divides them by the sum of the fluxes.
    fn measure_residuals(
        &self,
        star: &StarPixels,
        fit: &mut Fit,
        fluxes: &[(f64, f64); 3],
        absolute: f64,
        central: f64,
    ) {
        let total: f64 = fluxes.iter().map(|flux| flux.0).sum();
        let (mut seen, mut count) = (0.0, 0.0);
        for (flux, weights) in fluxes.iter().zip(&self.weights) {
            let used = weights.iter().filter(|weight| **weight > 0.0).count() as f64;
            seen += used * flux.0;
            count += used;
        }
        fit.absolute_residuals = absolute * total * count / seen;
        let middle = self.data.len() / self.width / 2 * self.width + self.width / 2;
        let color = star.colors().nth(middle);
        fit.central_residual = color.map_or(f64::NAN, |color| central * total / fluxes[color].0);
    }

    /// Coordinates of the sum of all colours.
    fn all(&self, coordinates: &[Parameters; 3]) -> Parameters {
        let mut all = coordinates[0];
        for j in [self.layout.light, self.layout.level] {
            all[j] = coordinates.iter().map(|of| of[j]).sum();
        }
        all
    }

    /// The rows and columns of one colour.
    fn of_color(&self, joint: &Matrix, color: usize) -> Symmetric {
        let mut packed = [0.0; MAX_PACKED];
        for j in 0..self.layout.n {
            for k in 0..=j {
                let place = (self.layout.place(color, j), self.layout.place(color, k));
                packed[packed_index(j, k)] = joint[place.0][place.1];
            }
        }
        packed
    }

    /// The covariance of the sum of all colours.
    fn of_all(&self, joint: &Matrix) -> Symmetric {
        let mut packed = [0.0; MAX_PACKED];
        for j in 0..self.layout.n {
            for k in 0..=j {
                let rows = self.layout.places(j);
                packed[packed_index(j, k)] = rows
                    .flat_map(|row| self.layout.places(k).map(move |column| (row, column)))
                    .map(|(row, column)| joint[row][column])
                    .sum();
            }
        }
        packed
    }
}
