//! The way from scaled pixels, and what was found in them, back to the image.

use fearless_simd::prelude::*;

use super::BatchStar;
use crate::block::{Part, Row};
use crate::model::{Parameter, Parameters, Role};

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

    /// From the image to the scaled cutout.
    pub fn to_scaled(&self, parameters: &[Parameter], values: &Parameters) -> Parameters {
        let mut scaled = *values;
        for (value, parameter) in scaled.iter_mut().zip(parameters) {
            *value = (*value - self.offset(parameter.role)) / self.factor(parameter.role);
        }
        scaled
    }
}

/// The [`Scale`]s of the stars of a block, side by side.
#[derive(Debug)]
pub(crate) struct Scales {
    pedestal: Row,
    pub(crate) range: Row,
    pub(crate) weight: Row,
    corner: (Row, Row),
}

impl Scales {
    /// Those of at most sixteen stars; where there is none nothing changes.
    pub(crate) fn of(stars: &[BatchStar]) -> Self {
        let (zero, one) = (Row::filled(0.0), Row::filled(1.0));
        let mut scales = Self {
            pedestal: zero,
            range: one,
            weight: one,
            corner: (zero, zero),
        };
        for (lane, BatchStar { scale, .. }) in stars.iter().enumerate() {
            scales.pedestal[lane] = scale.pedestal;
            scales.range[lane] = scale.range;
            scales.weight[lane] = scale.weight;
            (scales.corner.0[lane], scales.corner.1[lane]) = scale.corner;
        }
        scales
    }

    /// As [`Scale::factor`].
    #[inline(always)]
    pub(crate) fn factor<S: Simd>(&self, part: Part<S>, role: Role) -> S::f64s {
        match role {
            Role::Flux | Role::Background => part.load(&self.range),
            Role::X | Role::Y | Role::Shape => part.splat(1.0),
        }
    }

    /// As [`Scale::offset`].
    #[inline(always)]
    fn offset<S: Simd>(&self, part: Part<S>, role: Role) -> S::f64s {
        match role {
            Role::Background => part.load(&self.pedestal),
            Role::X => part.load(&self.corner.0),
            Role::Y => part.load(&self.corner.1),
            Role::Flux | Role::Shape => part.splat(0.0),
        }
    }

    /// A parameter of the scaled cutouts in the image.
    #[inline(always)]
    pub(crate) fn to_image<S: Simd>(&self, part: Part<S>, role: Role, scaled: S::f64s) -> S::f64s {
        scaled * self.factor(part, role) + self.offset(part, role)
    }

    /// A parameter of the image in the scaled cutouts.
    #[inline(always)]
    pub(crate) fn to_scaled<S: Simd>(&self, part: Part<S>, role: Role, value: S::f64s) -> S::f64s {
        let value = value - self.offset(part, role);
        match role {
            Role::Flux | Role::Background => value / self.factor(part, role),
            Role::X | Role::Y | Role::Shape => value,
        }
    }
}
