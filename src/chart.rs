//! The coordinates that a fit moves in.

use crate::dual::Dual;
use crate::kernel::NormalEquations;
use crate::model::{MAX_PARAMETERS, Model, Packed, Parameter, Parameters};
use crate::solver::cholesky;

/// Coordinates of a model's parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Chart {
    /// The model's own, in which the problem is well conditioned.
    Model(&'static dyn Model),
    /// The columns of the catalogue, where the user fixes or bounds one that is no parameter: a
    /// box in width and angle is no box in anything else.
    Columns(&'static dyn Model),
}

impl Chart {
    /// The coordinates.
    pub(crate) fn coordinates(self) -> &'static [Parameter] {
        match self {
            Self::Model(model) => model.parameters(),
            Self::Columns(model) => model.columns(),
        }
    }

    /// The model's parameters at these coordinates.
    pub(crate) fn parameters(self, coordinates: &Parameters) -> Parameters {
        match self {
            Self::Model(_) => *coordinates,
            Self::Columns(model) => values(&model.parameters_at(coordinates)),
        }
    }

    /// Turns sums in the model's parameters into sums in these coordinates.
    pub(crate) fn pull_back(self, coordinates: &Parameters, sums: &mut NormalEquations) {
        let Self::Columns(model) = self else { return };
        let n = model.parameters().len();
        let jacobian = model.parameters_at(coordinates);
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
        sums.curvature = cholesky::congruence(n, &transposed, &sums.curvature);
    }

    /// Turns a covariance of the coordinates into one of the model's parameters.
    pub(crate) fn push_forward(self, coordinates: &Parameters, covariance: &Packed) -> Packed {
        match self {
            Self::Model(_) => *covariance,
            Self::Columns(model) => {
                let jacobian = model.parameters_at(coordinates).map(|dual| dual.gradient);
                cholesky::congruence(model.parameters().len(), &jacobian, covariance)
            }
        }
    }
}

/// The values without their derivatives.
pub(crate) fn values(duals: &Parameters<Dual>) -> Parameters {
    duals.map(|dual| dual.value)
}
