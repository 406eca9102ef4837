//! The coordinates that a fit moves in.

use crate::constraints::Constraints;
use crate::model::{Model, Parameter, RATIO, Role};
use crate::numbers::dual::Dual;
use crate::numbers::lanes::{LANES, LaneMask, ParameterRows, Row, lane_of, lanes_of, set_lane};
use crate::numbers::matrix::{MAX_PARAMETERS, Parameters, Symmetric, congruence};
use crate::sums::NormalEquations;

/// Coordinates of a model's parameters.
#[derive(Debug, Clone)]
pub(crate) struct CoordinateSystem {
    pub(crate) model: &'static dyn Model,
    kind: Kind,
    coordinates: Vec<Parameter>,
}

/// Kind of the coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// The model's own, in which the problem is well conditioned.
    Model,
    /// The columns of the catalogue, where the user fixes or bounds a column that is no parameter: a
    /// box in width and angle is no box in other coordinates.
    Columns(Axes),
}

/// How the lengths of an ellipse's axes are written. The ratio of both replaces one that is free, lest
/// the major axis become the minor one and turn the angle.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Axes {
    /// Both axes as they are, or no axes at all.
    Both,
    /// The major axis, and the ratio at this place instead of the minor axis.
    Major { major: usize, ratio: usize },
    /// The minor axis, and the ratio at this place instead of the major axis.
    Minor { minor: usize, ratio: usize },
}

impl CoordinateSystem {
    /// The model's own coordinates, unless a constraint is no box in them.
    pub(crate) fn new<'a>(
        model: &'static dyn Model,
        constraints: impl Iterator<Item = &'a Constraints> + Clone,
    ) -> Self {
        let mut shapes = constraints.clone();
        if !shapes.any(|constraints| constraints.bind_other_than_parameters(model)) {
            return Self {
                model,
                kind: Kind::Model,
                coordinates: model.parameters().to_vec(),
            };
        }
        let mut coordinates = model.columns().to_vec();
        let place = |name: &str| model.columns().iter().position(|c| c.name == name);
        let binds = |j: usize| constraints.clone().any(|constraints| constraints.binds(j));
        let axes = match place("fwhm_major").zip(place("fwhm_minor")) {
            Some((major, minor)) if !binds(minor) => Axes::Major {
                major,
                ratio: minor,
            },
            Some((major, minor)) if !binds(major) => Axes::Minor {
                minor,
                ratio: major,
            },
            _ => Axes::Both,
        };
        if let Axes::Major { ratio, .. } | Axes::Minor { ratio, .. } = axes {
            coordinates[ratio] = RATIO;
        }
        Self {
            model,
            kind: Kind::Columns(axes),
            coordinates,
        }
    }

    /// The coordinates.
    pub(crate) fn coordinates(&self) -> &[Parameter] {
        &self.coordinates
    }

    /// Whether the coordinates are the model's own.
    pub(crate) fn is_model(&self) -> bool {
        self.kind == Kind::Model
    }

    /// Places of a ratio of axes and of their angle, where these are coordinates. The angle means
    /// nothing where the ratio is held at its highest value, 1: there the star is a circle.
    pub(crate) fn dependent(&self) -> Option<(usize, usize)> {
        let ratio = match self.kind {
            Kind::Columns(Axes::Major { ratio, .. } | Axes::Minor { ratio, .. }) => Some(ratio),
            Kind::Columns(Axes::Both) | Kind::Model => None,
        };
        let mut coordinates = self.coordinates.iter();
        ratio.zip(coordinates.position(|c| c.name == "theta"))
    }

    /// Whether the first coordinate is the flux, which has the scale of the pixels, and the last the
    /// background, which has their zero, and no other coordinate is one of these: a model is linear in
    /// them.
    pub(crate) fn is_linear(&self) -> bool {
        let is_one = |role| matches!(role, Role::Flux | Role::Background);
        match &self.coordinates[..] {
            [flux, between @ .., background] => {
                flux.role == Role::Flux
                    && background.role == Role::Background
                    && !between.iter().any(|coordinate| is_one(coordinate.role))
            }
            _ => false,
        }
    }

    /// The coordinates of a star with these columns.
    pub(crate) fn coordinates_of(&self, columns: &Parameters) -> Parameters {
        let mut coordinates = *columns;
        match self.kind {
            Kind::Model => return values(&self.model.parameters_at(columns)),
            Kind::Columns(Axes::Both) => {}
            Kind::Columns(Axes::Major { major, ratio }) => {
                coordinates[ratio] = columns[ratio] / columns[major];
            }
            Kind::Columns(Axes::Minor { minor, ratio }) => {
                coordinates[ratio] = columns[minor] / columns[ratio];
            }
        }
        coordinates
    }

    /// The model's parameters at the coordinates of a block.
    pub(crate) fn parameters_of_block(&self, coordinates: &ParameterRows, out: &mut ParameterRows) {
        *out = *coordinates;
        if !self.is_model() {
            for lane in 0..LANES {
                set_lane(out, lane, &self.parameters(&lane_of(coordinates, lane)));
            }
        }
    }

    /// Turns the sums of the stars in `mask`, in the model's parameters, into sums in these
    /// coordinates.
    pub(crate) fn pull_back_block(
        &self,
        mask: LaneMask,
        coordinates: &ParameterRows,
        sums: &mut NormalEquations<Row>,
    ) {
        if self.is_model() {
            return;
        }
        let n = self.coordinates.len();
        for lane in lanes_of(mask) {
            let mut lane_sums = sums.lane(n, lane);
            self.pull_back(&lane_of(coordinates, lane), &mut lane_sums);
            sums.set_lane(n, lane, &lane_sums);
        }
    }

    /// The model's parameters at these coordinates.
    pub(crate) fn parameters(&self, coordinates: &Parameters) -> Parameters {
        match self.kind {
            Kind::Model => *coordinates,
            Kind::Columns(_) => values(&self.duals(coordinates)),
        }
    }

    /// Turns sums in the model's parameters into sums in these coordinates.
    pub(crate) fn pull_back(&self, coordinates: &Parameters, sums: &mut NormalEquations) {
        if self.is_model() {
            return;
        }
        let n = self.coordinates.len();
        let jacobian = self.duals(coordinates);
        let mut transposed = [Parameters::default(); MAX_PARAMETERS];
        for j in 0..n {
            for i in 0..n {
                transposed[j][i] = jacobian[i].gradient[j];
            }
        }
        let gradient = sums.gradient;
        for j in 0..n {
            sums.gradient[j] = (0..n).map(|i| transposed[j][i] * gradient[i]).sum();
        }
        sums.curvature = congruence(n, &transposed, &sums.curvature);
    }

    /// Turns a covariance of the coordinates into one of the model's parameters.
    pub(crate) fn push_forward(
        &self,
        coordinates: &Parameters,
        covariance: &Symmetric,
    ) -> Symmetric {
        if self.is_model() {
            return *covariance;
        }
        let jacobian = self.duals(coordinates).map(|dual| dual.gradient);
        congruence(self.coordinates.len(), &jacobian, covariance)
    }

    /// The model's parameters with their derivatives by the coordinates.
    fn duals(&self, coordinates: &Parameters) -> Parameters<Dual> {
        let mut columns = Dual::variables(coordinates);
        match self.kind {
            Kind::Model => return columns,
            Kind::Columns(Axes::Both) => {}
            Kind::Columns(Axes::Major { major, ratio }) => {
                columns[ratio] = columns[ratio] * columns[major];
            }
            Kind::Columns(Axes::Minor { minor, ratio }) => {
                columns[ratio] = columns[minor] / columns[ratio];
            }
        }
        self.model.parameters_of(&columns)
    }
}

/// The values without their derivatives.
pub(crate) fn values(duals: &Parameters<Dual>) -> Parameters {
    duals.map(|dual| dual.value)
}
