//! The cutout as a place for a star's centre.

use fearless_simd::prelude::*;

use crate::batch::Chunk;
use crate::model::{Model, Parameter, Role};
use crate::numbers::lanes::{LaneMask, ParameterRows, Part, lanes_of};

/// The cutouts of a batch, and which parameters of a model are a place in them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    pub(super) parameters: &'static [Parameter],
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Footprint {
    /// The cutouts of a chunk as the places of a model's stars.
    pub(super) fn of(chunk: &Chunk<'_>, model: &'static dyn Model) -> Self {
        Self {
            parameters: model.parameters(),
            width: chunk.width,
            height: chunk.height,
        }
    }

    /// Stars whose centre is not in their cutout.
    #[inline(always)]
    pub(super) fn outside<S: Simd>(&self, part: Part<S>, parameters: &ParameterRows) -> S::mask64s {
        let mut inside = !part.none();
        for (parameter, row) in self.parameters.iter().zip(parameters) {
            if let Some(side) = self.side(parameter.role) {
                let (low, high) = (part.splat(-0.5), part.splat(side as f64 - 0.5));
                let value = part.load(row);
                // A NaN is not inside.
                inside &= value.simd_ge(low) & value.simd_le(high);
            }
        }
        !inside
    }

    /// Moves the centres of the stars in `mask` into the middle of their cutouts.
    pub(super) fn center(&self, mask: LaneMask, parameters: &mut ParameterRows) {
        for (parameter, row) in self.parameters.iter().zip(parameters) {
            if let Some(side) = self.side(parameter.role) {
                for lane in lanes_of(mask) {
                    row[lane] = (side as f64 - 1.0) / 2.0;
                }
            }
        }
    }

    /// Pixels along the axis that a parameter is a place on.
    fn side(&self, role: Role) -> Option<usize> {
        match role {
            Role::X => Some(self.width),
            Role::Y => Some(self.height),
            Role::Flux | Role::Background | Role::Shape => None,
        }
    }
}
