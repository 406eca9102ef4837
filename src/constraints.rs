//! Constraints of the user on a star's parameters: start values, fixed ones, bounds.

use crate::model::Model;
use crate::numbers::matrix::{MAX_PARAMETERS, Parameters};

/// Start values, fixed values and bounds of one star, in the order of [`Model::columns`], in the
/// image's units and coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constraints {
    /// Start values; NaN: from the pixels.
    pub start: Parameters,
    /// Columns that stay at their start value, one bit each.
    pub fixed: u8,
    /// Lowest values; minus infinity: as the model has it.
    pub low: Parameters,
    /// Highest values; infinity: as the model has it.
    pub high: Parameters,
}

impl Default for Constraints {
    /// No constraint at all.
    fn default() -> Self {
        Self {
            start: [f64::NAN; MAX_PARAMETERS],
            fixed: 0,
            low: [f64::NEG_INFINITY; MAX_PARAMETERS],
            high: [f64::INFINITY; MAX_PARAMETERS],
        }
    }
}

impl Constraints {
    /// Whether column `j` is fixed.
    pub fn is_fixed(&self, j: usize) -> bool {
        self.fixed >> j & 1 == 1
    }

    /// Whether there is no constraint at all.
    pub fn is_empty(&self) -> bool {
        self.fixed == 0
            && self.start.iter().all(|start| start.is_nan())
            && self.low.iter().all(|&low| low == f64::NEG_INFINITY)
            && self.high.iter().all(|&high| high == f64::INFINITY)
    }

    /// Whether column `j` is fixed or bounded.
    pub(crate) fn binds(&self, j: usize) -> bool {
        self.is_fixed(j) || self.low[j] > f64::NEG_INFINITY || self.high[j] < f64::INFINITY
    }

    /// Whether a column is fixed or bounded that is no parameter of the model itself.
    pub(crate) fn bind_other_than_parameters(&self, model: &dyn Model) -> bool {
        let mut columns = model.columns().iter().zip(model.parameters()).enumerate();
        columns.any(|(j, (column, parameter))| column.name != parameter.name && self.binds(j))
    }
}
