//! Conic projections.

use std::f64::consts::{FRAC_PI_2, PI};

use super::super::Unsupported;
use super::asin;

/// Least middle latitude of a cone, radians: a flatter cone is a cylinder.
const FLATTEST: f64 = 1e-6;

/// A cone through or between two standard parallels.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Conic {
    kind: Kind,
    /// Middle of the standard parallels, the native latitude of the fiducial point.
    middle: f64,
    /// Half the distance of the standard parallels.
    half: f64,
    /// Part of a turn that a turn in longitude takes.
    constant: f64,
    /// y of the apex.
    apex: f64,
    /// Scale of the radii.
    scale: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Perspective,
    EqualArea,
    Equidistant,
    Orthomorphic,
}

impl Conic {
    /// The projection of a code; `None` where the code is no conic projection.
    pub(super) fn new(
        code: &str,
        parameter: &dyn Fn(usize) -> Option<f64>,
    ) -> Result<Option<Self>, Unsupported> {
        let kind = match code {
            "COP" => Kind::Perspective,
            "COE" => Kind::EqualArea,
            "COD" => Kind::Equidistant,
            "COO" => Kind::Orthomorphic,
            _ => return Ok(None),
        };
        let wrong = |what: &str| Unsupported(format!("{code} with {what}"));
        let middle = parameter(1).ok_or_else(|| wrong("no PVi_1"))?.to_radians();
        let half = parameter(2).unwrap_or(0.0).to_radians();
        let (low, high) = (middle - half, middle + half);
        let is_cone = middle.abs() > FLATTEST && middle.abs() < FRAC_PI_2 && low.abs() < FRAC_PI_2;
        if !is_cone || high.abs() >= FRAC_PI_2 {
            return Err(wrong("standard parallels that make no cone"));
        }
        let (constant, scale) = match kind {
            Kind::Perspective => (middle.sin(), half.cos()),
            Kind::EqualArea => {
                let constant = (low.sin() + high.sin()) / 2.0;
                (constant, constant.recip())
            }
            Kind::Equidistant if half == 0.0 => (middle.sin(), 1.0),
            Kind::Equidistant => (middle.sin() * half.sin() / half, half / half.tan()),
            Kind::Orthomorphic => {
                let constant = match half == 0.0 {
                    true => middle.sin(),
                    false => (high.cos() / low.cos()).ln() / (half_tan(high) / half_tan(low)).ln(),
                };
                let scale = low.cos() / (constant * half_tan(low).powf(constant));
                (constant, scale)
            }
        };
        let mut conic = Self {
            kind,
            middle,
            half,
            constant,
            apex: 0.0,
            scale,
        };
        conic.apex = conic.radius(middle);
        let usable = conic.constant != 0.0 && conic.apex.is_finite() && conic.scale.is_finite();
        usable
            .then_some(Some(conic))
            .ok_or_else(|| wrong("standard parallels that make no cone"))
    }

    pub(super) fn theta0(&self) -> f64 {
        self.middle
    }

    /// Distance of a parallel from the apex, negative for cones that open to the north.
    fn radius(&self, theta: f64) -> f64 {
        match self.kind {
            Kind::Perspective => {
                self.scale * (self.middle.tan().recip() - (theta - self.middle).tan())
            }
            Kind::EqualArea => {
                let (low, high) = (self.middle - self.half, self.middle + self.half);
                let c = self.constant;
                let squared = 1.0 + low.sin() * high.sin() - 2.0 * c * theta.sin();
                self.scale * squared.max(0.0).sqrt()
            }
            Kind::Equidistant => self.middle - theta + self.scale / self.middle.tan(),
            Kind::Orthomorphic => self.scale * half_tan(theta).powf(self.constant),
        }
    }

    /// The parallel at that distance from the apex.
    fn latitude(&self, radius: f64) -> Option<f64> {
        match self.kind {
            Kind::Perspective => {
                let tan = self.middle.tan().recip() - radius / self.scale;
                Some(self.middle + tan.atan())
            }
            Kind::EqualArea => {
                let (low, high) = (self.middle - self.half, self.middle + self.half);
                let squared = (radius / self.scale).powi(2);
                asin((1.0 + low.sin() * high.sin() - squared) / (2.0 * self.constant))
            }
            Kind::Equidistant => Some(self.middle - radius + self.scale / self.middle.tan()),
            Kind::Orthomorphic => {
                let half = (radius / self.scale).powf(self.constant.recip()).atan();
                Some(FRAC_PI_2 - 2.0 * half)
            }
        }
    }

    pub(super) fn to_native(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let sign = self.middle.signum();
        let down = self.apex - y;
        let radius = sign * x.hypot(down);
        let azimuth = match radius == 0.0 {
            true => 0.0,
            false => (sign * x).atan2(sign * down),
        };
        let phi = azimuth / self.constant;
        (phi.abs() <= PI + 1e-13).then_some((phi, self.latitude(radius)?))
    }

    pub(super) fn to_plane(&self, phi: f64, theta: f64) -> Option<(f64, f64)> {
        // A perspective sees less than a right angle to either side of its middle.
        if self.kind == Kind::Perspective && (theta - self.middle).abs() >= FRAC_PI_2 {
            return None;
        }
        let radius = self.radius(theta);
        let (sin, cos) = (self.constant * phi).sin_cos();
        Some((radius * sin, self.apex - radius * cos))
    }
}

/// Tangent of half the distance from the north pole.
fn half_tan(theta: f64) -> f64 {
    ((FRAC_PI_2 - theta) / 2.0).tan()
}
