//! Rotations: from the native sphere of a projection to the sky.

use super::Unsupported;
use super::keywords::Keywords;

/// A matrix of three rows.
pub(super) type Matrix3 = [[f64; 3]; 3];

/// How the native sphere lies on the sky, radians.
#[derive(Debug, Clone, Copy)]
pub(super) struct Orientation {
    /// CRVAL: longitude and latitude of the fiducial point.
    fiducial: [f64; 2],
    /// LONPOLE, if it is there.
    longitude_of_pole: Option<f64>,
    /// LATPOLE.
    latitude_of_pole: f64,
    /// Native latitude of the fiducial point; its native longitude is 0.
    theta0: f64,
}

impl Orientation {
    /// Reads LONPOLE and LATPOLE, or the PV cards of the longitude that stand for them, whose values are
    /// `parameters`; `fiducial` is CRVAL in degrees.
    pub(super) fn read(
        keywords: &mut Keywords<'_>,
        parameters: &[Option<f64>],
        fiducial: [f64; 2],
        theta0: f64,
    ) -> Result<Self, Unsupported> {
        let parameter = |m: usize| parameters.get(m).copied().flatten();
        let defaults = [0.0, 0.0, theta0.to_degrees()];
        for (m, default) in defaults.into_iter().enumerate() {
            if parameter(m).is_some_and(|value| value != default) {
                return Err(Unsupported(format!(
                    "a fiducial point that PVi_{m} of the longitude moves"
                )));
            }
        }
        if parameters.iter().skip(5).any(Option::is_some) {
            return Err(Unsupported("PVi_m of the longitude with m above 4".into()));
        }
        let longitude = keywords.number("LONPOLE")?;
        let latitude = keywords.number("LATPOLE")?;
        // Old files write 999 where there is none.
        let is_given = |value: &f64| *value != 999.0;
        let longitude = parameter(3).or(longitude).filter(is_given);
        let latitude = parameter(4).or(latitude).filter(is_given);
        Ok(Self {
            fiducial: fiducial.map(f64::to_radians),
            longitude_of_pole: longitude.map(f64::to_radians),
            latitude_of_pole: latitude.unwrap_or(90.0).to_radians(),
            theta0,
        })
    }

    /// The rotation from native to celestial directions (Calabretta & Greisen 2002, A&A 395, 1077,
    /// eq. 2 and 8 to 10).
    pub(super) fn rotation(&self) -> Result<Matrix3, Unsupported> {
        let [ra0, dec0] = self.fiducial;
        let default = if dec0 < self.theta0 {
            std::f64::consts::PI
        } else {
            0.0
        };
        let phi_p = self.longitude_of_pole.unwrap_or(default);
        let (ra_p, dec_p) = if self.theta0 == std::f64::consts::FRAC_PI_2 {
            (ra0, dec0)
        } else {
            self.pole(phi_p)?
        };
        let (sin, cos) = dec_p.sin_cos();
        let tilt = [[-sin, 0.0, cos], [0.0, -1.0, 0.0], [cos, 0.0, sin]];
        Ok(product(&product(&about_z(-ra_p), &tilt), &about_z(phi_p)))
    }

    /// Celestial longitude and latitude of the native pole.
    fn pole(&self, phi_p: f64) -> Result<(f64, f64), Unsupported> {
        /// Slack for rounding, radians.
        const TOLERANCE: f64 = 1e-12;
        use std::f64::consts::{FRAC_PI_2, PI, TAU};
        let [ra0, dec0] = self.fiducial;
        let (sin_p, cos_p) = phi_p.sin_cos();
        let (sin_theta0, cos_theta0) = self.theta0.sin_cos();
        let (sin_dec0, cos_dec0) = dec0.sin_cos();
        let size = (cos_theta0 * cos_p).hypot(sin_theta0);
        if size < TOLERANCE {
            // The paper has it so, and wcslib does not.
            return Err(Unsupported("a pole that only LATPOLE says".into()));
        }
        let no_solution = || Unsupported("no pole agrees with LONPOLE and CRVAL".into());
        let ratio = sin_dec0 / size;
        if ratio.abs() > 1.0 + TOLERANCE {
            return Err(no_solution());
        }
        let (middle, half) = if sin_p == 0.0 && cos_p > 0.0 {
            (self.theta0, FRAC_PI_2 - dec0)
        } else {
            let middle = sin_theta0.atan2(cos_theta0 * cos_p);
            (middle, ratio.clamp(-1.0, 1.0).acos())
        };
        let wrapped = |angle: f64| angle - TAU * (angle / TAU).round();
        let candidates = [wrapped(middle + half), wrapped(middle - half)];
        let valid = candidates
            .iter()
            .filter(|dec| dec.abs() < FRAC_PI_2 + TOLERANCE);
        let distance = |dec: f64| (dec - self.latitude_of_pole).abs();
        let dec_p = valid
            .copied()
            .reduce(|a, b| if distance(a) < distance(b) { a } else { b })
            .ok_or_else(no_solution)?
            .clamp(-FRAC_PI_2, FRAC_PI_2);
        let cosines = dec_p.cos() * cos_dec0;
        let ra_p = if cosines.abs() < TOLERANCE {
            if cos_dec0.abs() < TOLERANCE {
                ra0
            } else if dec_p > 0.0 {
                ra0 + phi_p - PI
            } else {
                ra0 - phi_p
            }
        } else {
            let x = (sin_theta0 - dec_p.sin() * sin_dec0) / cosines;
            let y = sin_p * cos_theta0 / cos_dec0;
            ra0 - y.atan2(x)
        };
        Ok((ra_p, dec_p))
    }
}

/// Turns the axes by an angle about z, so that a direction at longitude `angle` comes to 0.
pub(super) fn about_z(angle: f64) -> Matrix3 {
    let (sin, cos) = angle.sin_cos();
    [[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]]
}

/// Turns the axes about y.
pub(super) fn about_y(angle: f64) -> Matrix3 {
    let (sin, cos) = angle.sin_cos();
    [[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]]
}

/// Turns the axes about x.
pub(super) fn about_x(angle: f64) -> Matrix3 {
    let (sin, cos) = angle.sin_cos();
    [[1.0, 0.0, 0.0], [0.0, cos, sin], [0.0, -sin, cos]]
}

pub(super) fn product(a: &Matrix3, b: &Matrix3) -> Matrix3 {
    let column = |j: usize| [b[0][j], b[1][j], b[2][j]];
    a.map(|row| [0, 1, 2].map(|j| dot(row, column(j))))
}

pub(super) fn transpose(m: &Matrix3) -> Matrix3 {
    [0, 1, 2].map(|j| [m[0][j], m[1][j], m[2][j]])
}

pub(super) fn rotate(m: &Matrix3, v: [f64; 3]) -> [f64; 3] {
    m.map(|row| dot(row, v))
}

pub(super) fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Length of the chord between two directions.
pub(super) fn separation(a: [f64; 3], b: [f64; 3]) -> f64 {
    let between: [f64; 3] = std::array::from_fn(|k| a[k] - b[k]);
    dot(between, between).sqrt()
}

/// The unit vector at a longitude and latitude, radians.
pub(super) fn direction(longitude: f64, latitude: f64) -> [f64; 3] {
    let (sin, cos) = latitude.sin_cos();
    let (sin_longitude, cos_longitude) = longitude.sin_cos();
    [cos * cos_longitude, cos * sin_longitude, sin]
}

/// Longitude and latitude of a direction, radians.
pub(super) fn angles([x, y, z]: [f64; 3]) -> (f64, f64) {
    (y.atan2(x), z.atan2(x.hypot(y)))
}
