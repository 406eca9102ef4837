//! Cylindrical projections, and the projections of the whole sky that are made from them.

use std::f64::consts::{FRAC_PI_2, PI, SQRT_2};

use super::super::Unsupported;
use super::{TOLERANCE, asin};

#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Cylindrical {
    /// From a point at the distance mu onto a cylinder of the radius lambda.
    Perspective {
        mu: f64,
        lambda: f64,
    },
    EqualArea {
        lambda: f64,
    },
    Plain,
    Mercator,
    SansonFlamsteed,
    Parabolic,
    Mollweide,
    HammerAitoff,
}

impl Cylindrical {
    /// The projection of a code; `None` where the code is none of these.
    pub(super) fn new(
        code: &str,
        parameter: &dyn Fn(usize) -> Option<f64>,
    ) -> Result<Option<Self>, Unsupported> {
        let wrong = |what: &str| Err(Unsupported(format!("{code} with {what}")));
        Ok(Some(match code {
            "CYP" => {
                let [mu, lambda] = [1, 2].map(|m| parameter(m).unwrap_or(1.0));
                // Seen from within, latitudes come twice.
                if lambda <= 0.0 || mu < 0.0 {
                    return wrong("PVi_1 below 0 or PVi_2 not above 0");
                }
                Self::Perspective { mu, lambda }
            }
            "CEA" => {
                let lambda = parameter(1).unwrap_or(1.0);
                if !(lambda > 0.0 && lambda <= 1.0) {
                    return wrong("PVi_1 not above 0, or above 1");
                }
                Self::EqualArea { lambda }
            }
            "CAR" => Self::Plain,
            "MER" => Self::Mercator,
            "SFL" => Self::SansonFlamsteed,
            "PAR" => Self::Parabolic,
            "MOL" => Self::Mollweide,
            "AIT" => Self::HammerAitoff,
            _ => return Ok(None),
        }))
    }

    pub(super) fn to_native(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        Some(match *self {
            Self::Perspective { mu, lambda } => {
                let eta = y / (mu + lambda);
                let theta = eta.atan() + asin(eta * mu / eta.hypot(1.0))?;
                (x / lambda, theta)
            }
            Self::EqualArea { lambda } => (x, asin(y * lambda)?),
            Self::Plain => (x, y),
            Self::Mercator => (x, y.sinh().atan()),
            Self::SansonFlamsteed => (stretched(x, y.cos())?, y),
            Self::Parabolic => {
                let s = y / PI;
                (stretched(x, 1.0 - 4.0 * s * s)?, 3.0 * asin(s)?)
            }
            Self::Mollweide => {
                let gamma = asin(y / SQRT_2)?;
                let phi = stretched(x, SQRT_2 * 2.0 / PI * gamma.cos())?;
                (phi, mollweide_latitude(gamma))
            }
            Self::HammerAitoff => {
                let squared = 1.0 - (x / 4.0).powi(2) - (y / 2.0).powi(2);
                if squared < 0.5 - TOLERANCE {
                    return None;
                }
                let z = squared.sqrt();
                let phi = 2.0 * (z * x / 2.0).atan2(2.0 * squared - 1.0);
                (phi, asin(y * z)?)
            }
        })
    }

    pub(super) fn to_plane(&self, phi: f64, theta: f64) -> (f64, f64) {
        let (sin, cos) = theta.sin_cos();
        match *self {
            Self::Perspective { mu, lambda } => (lambda * phi, (mu + lambda) / (mu + cos) * sin),
            Self::EqualArea { lambda } => (phi, sin / lambda),
            Self::Plain => (phi, theta),
            Self::Mercator => (phi, theta.tan().asinh()),
            Self::SansonFlamsteed => (phi * cos, theta),
            Self::Parabolic => {
                let s = (theta / 3.0).sin();
                (phi * (1.0 - 4.0 * s * s), PI * s)
            }
            Self::Mollweide => {
                let (sin, cos) = mollweide_gamma(theta).sin_cos();
                (SQRT_2 * 2.0 / PI * phi * cos, SQRT_2 * sin)
            }
            Self::HammerAitoff => {
                let (sin_half, cos_half) = (phi / 2.0).sin_cos();
                let gamma = (2.0 / (1.0 + cos * cos_half)).sqrt();
                (2.0 * gamma * cos * sin_half, gamma * sin)
            }
        }
    }
}

/// Longitude where a parallel has `length` times the length of the equator; at a pole any will do.
fn stretched(x: f64, length: f64) -> Option<f64> {
    if length > TOLERANCE {
        Some(x / length)
    } else {
        (length > -TOLERANCE && x.abs() <= TOLERANCE).then_some(0.0)
    }
}

/// Latitude theta of the auxiliary angle gamma: pi sin theta = 2 gamma + sin 2 gamma, by distances
/// from the pole, which keep their digits there.
fn mollweide_latitude(gamma: f64) -> f64 {
    let psi = FRAC_PI_2 - gamma.abs();
    let sine = ((2.0 * psi - (2.0 * psi).sin()) / (2.0 * PI))
        .max(0.0)
        .sqrt();
    (FRAC_PI_2 - 2.0 * sine.min(1.0).asin()).copysign(gamma)
}

/// The inverse of [`mollweide_latitude`], by Newton's method within a bracket.
fn mollweide_gamma(theta: f64) -> f64 {
    const STEPS: usize = 100;
    // 2 psi - sin 2 psi = 2 pi sin^2(zeta / 2), psi and zeta being distances from the pole.
    let wanted = 2.0 * PI * ((FRAC_PI_2 - theta.abs()) / 2.0).sin().powi(2);
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    let mut psi = (0.75 * wanted).cbrt().min(high);
    for _ in 0..STEPS {
        let excess = 2.0 * psi - (2.0 * psi).sin() - wanted;
        match excess > 0.0 {
            true => high = psi,
            false => low = psi,
        }
        let slope = 4.0 * psi.sin().powi(2);
        let next = psi - excess / slope;
        let next = match next > low && next < high {
            true => next,
            false => (low + high) / 2.0,
        };
        if (next - psi).abs() <= f64::EPSILON * psi {
            break;
        }
        psi = next;
    }
    (FRAC_PI_2 - psi).copysign(theta)
}
