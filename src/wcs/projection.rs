//! Projections of the native sphere onto the plane (Calabretta & Greisen 2002, A&A 395, 1077).
//!
//! Angles and coordinates in the plane are radians. A place that a projection cannot show is `None`.

mod conic;
mod cylindrical;
mod zenithal;

use std::f64::consts::{FRAC_PI_2, PI};

use super::Unsupported;
use conic::Conic;
use cylindrical::Cylindrical;
use zenithal::Zenithal;

/// Largest error of rounding beyond the limits of the sphere, radians.
const TOLERANCE: f64 = 1e-13;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Projection {
    Zenithal(Zenithal),
    Cylindrical(Cylindrical),
    Conic(Conic),
}

impl Projection {
    /// The projection of a code in CTYPE, with the parameters PVi_m of the axis of latitude; `latitude`
    /// is the latitude of the fiducial point, radians.
    pub(super) fn new(
        code: &str,
        parameters: &[Option<f64>],
        latitude: f64,
    ) -> Result<Self, Unsupported> {
        let parameter = |m: usize| parameters.get(m).copied().flatten();
        if let Some(zenithal) = Zenithal::new(code, parameters, latitude)? {
            return Ok(Self::Zenithal(zenithal));
        }
        if let Some(cylindrical) = Cylindrical::new(code, &parameter)? {
            return Ok(Self::Cylindrical(cylindrical));
        }
        if let Some(conic) = Conic::new(code, &parameter)? {
            return Ok(Self::Conic(conic));
        }
        Err(Unsupported(format!("the projection {code}")))
    }

    /// Native latitude of the fiducial point.
    pub(super) fn theta0(&self) -> f64 {
        match self {
            Self::Zenithal(_) => FRAC_PI_2,
            Self::Cylindrical(_) => 0.0,
            Self::Conic(conic) => conic.theta0(),
        }
    }

    /// Native longitude and latitude of a place in the plane.
    pub(super) fn to_native(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let (phi, theta) = match self {
            Self::Zenithal(zenithal) => zenithal.to_native(x, y),
            Self::Cylindrical(cylindrical) => cylindrical.to_native(x, y),
            Self::Conic(conic) => conic.to_native(x, y),
        }?;
        let on_sphere = phi.abs() <= PI + TOLERANCE && theta.abs() <= FRAC_PI_2 + TOLERANCE;
        on_sphere.then_some((phi, theta))
    }

    /// The place in the plane of a native longitude and latitude.
    pub(super) fn to_plane(&self, phi: f64, theta: f64) -> Option<(f64, f64)> {
        let (x, y) = match self {
            Self::Zenithal(zenithal) => zenithal.to_plane(phi, theta),
            Self::Cylindrical(cylindrical) => Some(cylindrical.to_plane(phi, theta)),
            Self::Conic(conic) => conic.to_plane(phi, theta),
        }?;
        (x.is_finite() && y.is_finite()).then_some((x, y))
    }
}

/// The arcsine of a value that only rounding can have brought out of its range.
fn asin(value: f64) -> Option<f64> {
    (value.abs() <= 1.0 + TOLERANCE).then(|| value.clamp(-1.0, 1.0).asin())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code with parameters, and the native latitudes that it shows.
    const ALL: [(&str, &[f64], f64, f64); 20] = [
        ("TAN", &[], 0.1, 89.9),
        ("SIN", &[], 0.1, 89.9),
        ("SIN", &[0.0, 0.2, -0.1], 30.0, 89.9),
        ("NCP", &[], 50.0, 89.9),
        ("STG", &[], -80.0, 89.9),
        ("ARC", &[], -89.0, 89.9),
        ("ZEA", &[], -89.0, 89.9),
        ("ZPN", &[0.0, 1.0, 0.0, -0.05], 0.0, 89.9),
        ("CYP", &[0.0, 1.5, 0.7], -89.0, 89.0),
        ("CEA", &[0.0, 0.6], -89.0, 89.0),
        ("CAR", &[], -90.0, 90.0),
        ("MER", &[], -85.0, 85.0),
        ("SFL", &[], -89.0, 89.0),
        ("PAR", &[], -89.0, 89.0),
        ("MOL", &[], -89.0, 89.0),
        ("AIT", &[], -89.0, 89.0),
        ("COP", &[0.0, 45.0, 20.0], -20.0, 89.0),
        ("COE", &[0.0, -45.0, 20.0], -89.0, 89.0),
        ("COD", &[0.0, 45.0, 20.0], -89.0, 89.0),
        ("COO", &[0.0, 45.0, 20.0], -80.0, 89.0),
    ];

    fn projection(code: &str, parameters: &[f64]) -> Projection {
        let parameters: Vec<_> = parameters.iter().copied().map(Some).collect();
        Projection::new(code, &parameters, 0.8).unwrap()
    }

    #[test]
    fn there_and_back_on_the_whole_sphere() {
        for (code, parameters, low, high) in ALL {
            let projection = projection(code, parameters);
            for i in 0..=40 {
                for j in 0..=40 {
                    let phi = f64::to_radians(-179.9 + 359.8 * f64::from(i) / 40.0);
                    let theta = f64::to_radians(low + (high - low) * f64::from(j) / 40.0);
                    let (x, y) = projection.to_plane(phi, theta).unwrap();
                    let (phi_back, theta_back) = projection.to_native(x, y).unwrap();
                    let off = ((phi_back - phi) * theta.cos()).hypot(theta_back - theta);
                    assert!(off < 1e-11, "{code}: {phi} {theta} is {off} away");
                }
            }
        }
    }

    #[test]
    fn what_is_not_shown_is_none() {
        for (code, x, y) in [
            ("SIN", 1.01, 0.0),
            ("ARC", 3.2, 0.0),
            ("ZEA", 1.5, 1.5),
            ("CAR", 3.2, 0.0),
            ("CAR", 0.0, 1.6),
            ("CEA", 0.0, 1.1),
            ("SFL", 3.0, 1.5),
            ("PAR", 0.0, 2.0),
            ("MOL", 2.8, 1.0),
            ("MOL", 0.0, 1.5),
            ("AIT", 2.8, 1.0),
        ] {
            assert_eq!(projection(code, &[]).to_native(x, y), None, "{code}");
            assert!(
                projection(code, &[]).to_native(0.1, 0.1).is_some(),
                "{code}"
            );
        }
        for (code, theta) in [("TAN", -0.1), ("SIN", -0.1), ("STG", -FRAC_PI_2)] {
            assert_eq!(projection(code, &[]).to_plane(1.0, theta), None, "{code}");
        }
    }

    #[test]
    fn senseless_parameters_are_refused() {
        for (code, parameters) in [
            ("CYP", [0.0, 1.0, 0.0]),
            ("CYP", [0.0, -1.0, 1.0]),
            ("CEA", [0.0, 0.0, 0.0]),
            ("CEA", [0.0, 2.0, 0.0]),
            ("COP", [0.0, 0.0, 0.0]),
            ("COP", [0.0, 0.0, 30.0]),
            ("ZPN", [0.0, -1.0, 0.0]),
            ("TNX", [0.0; 3]),
            ("ZPX", [0.0; 3]),
            ("", [0.0; 3]),
        ] {
            let parameters = parameters.map(Some);
            assert!(Projection::new(code, &parameters, 0.8).is_err(), "{code}");
        }
        assert!(Projection::new("NCP", &[], 0.0).is_err());
    }
}
