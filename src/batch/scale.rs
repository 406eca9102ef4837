//! The way from scaled pixels, and from results in them, back to the image.

use fearless_simd::prelude::*;

use crate::model::{Parameter, Role};
use crate::numbers::lanes::{Part, Row};
use crate::numbers::matrix::Parameters;

/// How a star's scaled pixels go back to the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Number subtracted from every pixel.
    pub pedestal: f64,
    /// Range of the usable pixels: every pixel is then divided by it.
    pub range: f64,
    /// Chi-square of the image over that of the scaled pixels: the largest weight of the scaled pixels,
    /// by which all weights are divided.
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

    /// Number added to one scaled parameter after its factor.
    fn offset(&self, role: Role) -> f64 {
        match role {
            Role::Background => self.pedestal,
            Role::X => self.corner.0,
            Role::Y => self.corner.1,
            Role::Flux | Role::Shape => 0.0,
        }
    }

    /// Parameters of the image in the scaled cutout.
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
    /// The scales of at most sixteen stars, one to a lane; a lane without a star changes nothing.
    pub(crate) fn of<'a>(stars: impl Iterator<Item = &'a Scale>) -> Self {
        let (zero, one) = (Row::filled(0.0), Row::filled(1.0));
        let mut scales = Self {
            pedestal: zero,
            range: one,
            weight: one,
            corner: (zero, zero),
        };
        for (lane, scale) in stars.enumerate() {
            scales.pedestal[lane] = scale.pedestal;
            scales.range[lane] = scale.range;
            scales.weight[lane] = scale.weight;
            (scales.corner.0[lane], scales.corner.1[lane]) = scale.corner;
        }
        scales
    }

    /// Factors of a part, as [`Scale::factor`] has them.
    #[inline(always)]
    pub(crate) fn factor<S: Simd>(&self, part: Part<S>, role: Role) -> S::f64s {
        match role {
            Role::Flux | Role::Background => part.load(&self.range),
            Role::X | Role::Y | Role::Shape => part.splat(1.0),
        }
    }

    /// Offsets of a part, as [`Scale::offset`] has them.
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

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};
    use ndarray::Array2;

    use super::*;
    use crate::batch::Batch;
    use crate::batch::tests::{OPTIONS, START};
    use crate::cutout::Cutout;
    use crate::model::MODELS;
    use crate::numbers::lanes::LANES;

    /// What one part makes of one value of every star: in the cutouts, and from there in the image.
    fn there_and_back(level: Level, scales: &Scales, role: Role, value: f64) -> (Row, Row) {
        #[inline(always)]
        fn in_parts<S: Simd>(simd: S, scales: &Scales, role: Role, value: f64) -> (Row, Row) {
            let mut rows = (Row::filled(0.0), Row::filled(0.0));
            for part in Part::all(simd) {
                let scaled = scales.to_scaled(part, role, part.splat(value));
                part.store(&mut rows.0, scaled);
                part.store(&mut rows.1, scales.to_image(part, role, scaled));
            }
            rows
        }
        dispatch!(level, simd => in_parts(simd, scales, role, value))
    }

    #[test]
    fn stars_side_by_side_are_scaled_as_one_is() {
        let mut batch = Batch::new(3, 3);
        for star in 0..LANES - 1 {
            let level = 100.0 * star as f64;
            let pixels = Array2::from_shape_fn((3, 3), |(y, x)| level + (star + x * y) as f64);
            let mut cutout = Cutout::from_pixels(pixels.view(), None, &OPTIONS);
            cutout.corner = (10 * star as i64, 7 - star as i64);
            batch.push(&cutout, START).unwrap();
        }
        let scales = Scales::of(batch.stars.iter().map(|star| &star.scale));
        for model in MODELS {
            for (j, parameter) in model.parameters().iter().enumerate() {
                for level in [Level::new(), Level::baseline()] {
                    let value = 37.0;
                    let (scaled, back) = there_and_back(level, &scales, parameter.role, value);
                    for (lane, star) in batch.stars.iter().enumerate() {
                        let mut values = Parameters::default();
                        values[j] = value;
                        let alone = star.scale.to_scaled(model.parameters(), &values)[j];
                        assert_eq!(scaled[lane], alone, "{} {lane}", parameter.name);
                        assert!((back[lane] - value).abs() < 1e-12 * 1600.0);
                    }
                    assert_eq!(scaled[LANES - 1], value, "where there is no star");
                }
            }
        }
        let (first, last) = (&batch.stars[0].scale, &batch.stars[LANES - 2].scale);
        assert_ne!(first.pedestal, last.pedestal, "a control: they differ");
        assert_ne!(first.corner, last.corner);
    }
}
