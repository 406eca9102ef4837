//! Zenithal projections: seen from one side, along the axis through the native pole.

use std::f64::consts::{FRAC_PI_2, PI};

use super::super::Unsupported;
use super::TOLERANCE;

#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Zenithal {
    Gnomonic,
    /// With the slant xi, eta.
    Orthographic(f64, f64),
    Stereographic,
    Equidistant,
    EqualArea,
    Polynomial(Polynomial),
}

impl Zenithal {
    /// The projection of a code; `None` where the code is no zenithal projection.
    pub(super) fn new(
        code: &str,
        parameters: &[Option<f64>],
        latitude: f64,
    ) -> Result<Option<Self>, Unsupported> {
        let parameter = |m: usize| parameters.get(m).copied().flatten().unwrap_or(0.0);
        Ok(Some(match code {
            "TAN" => Self::Gnomonic,
            "SIN" => Self::Orthographic(parameter(1), parameter(2)),
            // The old name of a slanted SIN.
            "NCP" if latitude.sin() == 0.0 => {
                return Err(Unsupported("NCP on the equator".into()));
            }
            "NCP" => Self::Orthographic(0.0, latitude.tan().recip()),
            "STG" => Self::Stereographic,
            "ARC" => Self::Equidistant,
            "ZEA" => Self::EqualArea,
            "ZPN" => Self::Polynomial(Polynomial::new(parameters)?),
            _ => return Ok(None),
        }))
    }

    pub(super) fn to_native(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let radius = x.hypot(y);
        let theta = match self {
            Self::Gnomonic => 1f64.atan2(radius),
            Self::Orthographic(xi, eta) => return orthographic_to_native(x, y, *xi, *eta),
            Self::Stereographic => FRAC_PI_2 - 2.0 * (radius / 2.0).atan(),
            Self::Equidistant if radius <= PI + TOLERANCE => FRAC_PI_2 - radius,
            Self::EqualArea if radius <= 2.0 + TOLERANCE => {
                FRAC_PI_2 - 2.0 * (radius / 2.0).min(1.0).asin()
            }
            Self::Equidistant | Self::EqualArea => return None,
            Self::Polynomial(polynomial) => FRAC_PI_2 - polynomial.distance(radius)?,
        };
        Some((azimuth(x, y), theta))
    }

    pub(super) fn to_plane(&self, phi: f64, theta: f64) -> Option<(f64, f64)> {
        let (sin_phi, cos_phi) = phi.sin_cos();
        let distance = FRAC_PI_2 - theta;
        let radius = match self {
            Self::Gnomonic if theta > 0.0 => theta.tan().recip(),
            Self::Orthographic(xi, eta) => {
                let slope = xi * sin_phi - eta * cos_phi;
                if theta < -slope.atan() {
                    return None;
                }
                // 1 - sin theta without loss of digits.
                let sunk = 2.0 * (distance / 2.0).sin().powi(2);
                let x = theta.cos() * sin_phi + xi * sunk;
                return Some((x, eta * sunk - theta.cos() * cos_phi));
            }
            Self::Stereographic if theta > -FRAC_PI_2 => 2.0 * (distance / 2.0).tan(),
            Self::Gnomonic | Self::Stereographic => return None,
            Self::Equidistant => distance,
            Self::EqualArea => 2.0 * (distance / 2.0).sin(),
            Self::Polynomial(polynomial) => polynomial.radius(distance)?,
        };
        Some((radius * sin_phi, -radius * cos_phi))
    }
}

/// Native longitude; at the pole any will do.
fn azimuth(x: f64, y: f64) -> f64 {
    match x == 0.0 && y == 0.0 {
        true => 0.0,
        false => x.atan2(-y),
    }
}

/// Native longitude and latitude by z = 1 - sin theta, the smaller root of a quadratic, which keeps its
/// digits near the pole.
fn orthographic_to_native(x: f64, y: f64, xi: f64, eta: f64) -> Option<(f64, f64)> {
    let a = 1.0 + xi * xi + eta * eta;
    let b = 1.0 + xi * x + eta * y;
    let c = x * x + y * y;
    let discriminant = b * b - a * c;
    if discriminant < 0.0 || b < 0.0 {
        return None;
    }
    let z = c / (b + discriminant.sqrt());
    let (across, down) = (x - xi * z, y - eta * z);
    Some((azimuth(across, down), (1.0 - z).atan2(across.hypot(down))))
}

/// ZPN: the radius is a polynomial of the distance from the pole, used as far as it grows.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Polynomial {
    coefficients: Vec<f64>,
    /// The distance at which the polynomial stops growing, at most half a turn.
    furthest: f64,
}

impl Polynomial {
    fn new(parameters: &[Option<f64>]) -> Result<Self, Unsupported> {
        let last = parameters
            .iter()
            .rposition(|value| value.is_some_and(|value| value != 0.0));
        let used = parameters.iter().take(last.map_or(0, |last| last + 1));
        let mut polynomial = Self {
            coefficients: used.map(|value| value.unwrap_or(0.0)).collect(),
            furthest: PI,
        };
        if polynomial.slope(0.0) <= 0.0 {
            return Err(Unsupported("ZPN whose PVi_1 is not above 0".into()));
        }
        const STEP: f64 = PI / 180.0;
        let falls = |k: &i32| polynomial.slope(f64::from(*k) * STEP) <= 0.0;
        if let Some(k) = (1..=180).find(falls) {
            let bracket = (f64::from(k - 1) * STEP, f64::from(k) * STEP);
            polynomial.furthest = bisect(bracket, |zeta| -polynomial.slope(zeta));
        }
        Ok(polynomial)
    }

    fn value(&self, zeta: f64) -> f64 {
        let terms = self.coefficients.iter().rev();
        terms.fold(0.0, |sum, coefficient| sum * zeta + coefficient)
    }

    fn slope(&self, zeta: f64) -> f64 {
        let terms = self.coefficients.iter().enumerate().skip(1).rev();
        terms.fold(0.0, |sum, (m, coefficient)| {
            sum * zeta + m as f64 * coefficient
        })
    }

    fn radius(&self, zeta: f64) -> Option<f64> {
        (zeta <= self.furthest).then(|| self.value(zeta))
    }

    fn distance(&self, radius: f64) -> Option<f64> {
        if !(self.value(0.0)..=self.value(self.furthest)).contains(&radius) {
            return None;
        }
        let excess = |zeta| self.value(zeta) - radius;
        Some(bisect((0.0, self.furthest), excess))
    }
}

/// Where a growing function is 0.
fn bisect((mut low, mut high): (f64, f64), f: impl Fn(f64) -> f64) -> f64 {
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        if f(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
}
