//! Celestial reference systems, as rotations to ICRS.

use super::Unsupported;
use super::keywords::Keywords;
use super::rotation::{Matrix3, about_x, about_y, about_z, dot, product, rotate, transpose};
use crate::io::fits::Value;

/// Conversion of a direction in the system of a header to ICRS: for FK4 the E-terms of aberration are
/// taken off, then the direction is rotated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame {
    e_terms: Option<[f64; 3]>,
    rotation: Matrix3,
}

/// Equinoxes that occur, years: others are mistakes, which precession would make large.
const EQUINOXES: std::ops::RangeInclusive<f64> = 1800.0..=2200.0;

const ARCSECOND: f64 = std::f64::consts::PI / 648_000.0;

impl Frame {
    /// The system that the names of the axes, RADESYS and EQUINOX state, with the defaults of the
    /// standard.
    pub(super) fn read(keywords: &mut Keywords<'_>, longitude: &str) -> Result<Self, Unsupported> {
        if longitude == "GLON" {
            return Ok(Self::rotated(galactic_to_icrs()));
        }
        let system = match keywords.text("RADESYS")? {
            Some(system) => Some(system),
            None => keywords.text("RADECSYS")?,
        };
        match system.as_deref() {
            Some("ICRS") => Ok(Self::rotated(about_z(0.0))),
            Some("FK5") => Ok(Self::fk5(equinox(keywords)?.unwrap_or(2000.0))),
            Some("FK4") => Ok(Self::fk4(equinox(keywords)?.unwrap_or(1950.0), true)),
            Some("FK4-NO-E") => Ok(Self::fk4(equinox(keywords)?.unwrap_or(1950.0), false)),
            Some(other) => Err(Unsupported(format!("the reference system {other}"))),
            None => Ok(match equinox(keywords)? {
                None => Self::rotated(about_z(0.0)),
                Some(year) if year < 1984.0 => Self::fk4(year, true),
                Some(year) => Self::fk5(year),
            }),
        }
    }

    /// The system that programs know by this name, at its usual equinox.
    pub(super) fn named(system: &str) -> Option<Self> {
        match system {
            "icrs" => Some(Self::rotated(about_z(0.0))),
            "fk5" | "j2000" => Some(Self::fk5(2000.0)),
            "fk4" | "b1950" => Some(Self::fk4(1950.0, true)),
            "galactic" => Some(Self::rotated(galactic_to_icrs())),
            _ => None,
        }
    }

    fn rotated(rotation: Matrix3) -> Self {
        Self {
            e_terms: None,
            rotation,
        }
    }

    /// FK5 of a Julian equinox: precession of IAU 2006, then the frame bias.
    fn fk5(equinox: f64) -> Self {
        let precession = transpose(&precession(equinox));
        Self::rotated(product(&fk5_to_icrs(), &precession))
    }

    /// FK4 of a Besselian equinox, with the E-terms or without; positions are of the epoch of
    /// their equinox, as astropy has it where nothing else is known.
    fn fk4(equinox: f64, e_terms: bool) -> Self {
        let julian_date = 2_415_020.313_52 + (equinox - 1900.0) * TROPICAL_YEAR;
        let to_j2000 = product(
            &b1950_to_j2000((julian_date - 2_433_282.5) / 36_525.0),
            &newcomb_precession(equinox),
        );
        Self {
            e_terms: e_terms.then(|| self::e_terms(julian_date)),
            rotation: product(&fk5_to_icrs(), &to_j2000),
        }
    }

    pub(super) fn to_icrs(&self, direction: [f64; 3]) -> [f64; 3] {
        let direction = match self.e_terms {
            None => direction,
            Some(e) => {
                let along = dot(e, direction);
                normalised(std::array::from_fn(|k| {
                    direction[k] - e[k] + along * direction[k]
                }))
            }
        };
        rotate(&self.rotation, direction)
    }

    pub(super) fn of_icrs(&self, direction: [f64; 3]) -> [f64; 3] {
        let mean = rotate(&transpose(&self.rotation), direction);
        let Some(e) = self.e_terms else {
            return mean;
        };
        // The inverse of the above by iteration; the terms are of 1e-6.
        let mut found = mean;
        for _ in 0..5 {
            let size = 1.0 + dot(e, found);
            let lost = normalised_size(found, e);
            found = std::array::from_fn(|k| (mean[k] * lost + e[k]) / size);
        }
        normalised(found)
    }
}

/// Length of a direction once the E-terms are taken off.
fn normalised_size(direction: [f64; 3], e: [f64; 3]) -> f64 {
    let along = dot(e, direction);
    let less: [f64; 3] = std::array::from_fn(|k| direction[k] - e[k] + along * direction[k]);
    dot(less, less).sqrt()
}

fn normalised(direction: [f64; 3]) -> [f64; 3] {
    let size = dot(direction, direction).sqrt();
    direction.map(|value| value / size)
}

/// EQUINOX, else EPOCH, which was its old name; years, with or without a letter before them.
fn equinox(keywords: &mut Keywords<'_>) -> Result<Option<f64>, Unsupported> {
    for keyword in ["EQUINOX", "EPOCH"] {
        let year = match keywords.get(keyword)? {
            None => continue,
            Some(Value::Text(text)) if text.trim().is_empty() => continue,
            Some(Value::Text(text)) => text.trim().trim_start_matches(['J', 'B']).parse().ok(),
            Some(value) => value.number(),
        };
        return match year.filter(|year| EQUINOXES.contains(year)) {
            Some(year) => Ok(Some(year)),
            None => Err(Unsupported(format!(
                "{keyword}: expected a year from {} to {}",
                EQUINOXES.start(),
                EQUINOXES.end()
            ))),
        };
    }
    Ok(None)
}

/// Frame bias of FK5 at J2000 (USNO circular 179, 3.2), arcseconds.
fn fk5_to_icrs() -> Matrix3 {
    let [eta, xi, alpha] = [-19.9e-3, 9.1e-3, -22.9e-3].map(|value| value * ARCSECOND);
    let from_icrs = product(&product(&about_x(-eta), &about_y(xi)), &about_z(alpha));
    transpose(&from_icrs)
}

/// The pole and the centre of the Galaxy in FK5, J2000, as astropy derives them from the IAU's
/// definition in B1950.
fn galactic_to_icrs() -> Matrix3 {
    let [pole_ra, pole_dec, centre] = [
        192.859_481_206_534_8_f64,
        27.128_251_180_856_22,
        122.931_918_568_002_6,
    ];
    let from_fk5 = product(
        &product(
            &about_z((180.0 - centre).to_radians()),
            &about_y((90.0 - pole_dec).to_radians()),
        ),
        &about_z(pole_ra.to_radians()),
    );
    product(&fk5_to_icrs(), &transpose(&from_fk5))
}

/// Precession of IAU 2006 from J2000 to a Julian year by the Fukushima-Williams angles (Hilton et
/// al. 2006, Celest. Mech. 94, 351; the series are those of SOFA's `pfw06`).
fn precession(year: f64) -> Matrix3 {
    let matrix = |t: f64| {
        let series = |c: [f64; 6]| c.iter().rev().fold(0.0, |sum, c| sum * t + c) * ARCSECOND;
        let gamma = series([
            -0.052928,
            10.556378,
            0.4932044,
            -0.00031238,
            -0.000002788,
            0.0000000260,
        ]);
        let phi = series([
            84381.412819,
            -46.811016,
            0.0511268,
            0.00053289,
            -0.000000440,
            -0.0000000176,
        ]);
        let psi = series([
            -0.041775,
            5038.481484,
            1.5584175,
            -0.00018522,
            -0.000026452,
            -0.0000000148,
        ]);
        let epsilon = series([
            84381.406,
            -46.836769,
            -0.0001831,
            0.00200340,
            -0.000000576,
            -0.0000000434,
        ]);
        let first = product(&about_x(phi), &about_z(gamma));
        product(&product(&about_x(-epsilon), &about_z(-psi)), &first)
    };
    // Without the bias, which both have.
    product(&matrix((year - 2000.0) / 100.0), &transpose(&matrix(0.0)))
}

/// Length of the tropical year, days.
const TROPICAL_YEAR: f64 = 365.242_198_781;

/// Newcomb's precession from a Besselian year to B1950 (Explanatory Supplement 1992, 3.59).
fn newcomb_precession(year: f64) -> Matrix3 {
    let t = (year - 1850.0) / 1000.0;
    let dt = 0.1 - t;
    let zeta_1 = (0.060 * t + 139.720) * t + 23_035.545;
    let zeta = ((17.995 * dt + 30.240 - 0.27 * t) * dt + zeta_1) * dt;
    let z = ((18.325 * dt + 109.480 + 0.39 * t) * dt + zeta_1) * dt;
    let theta_1 = (-0.37 * t - 85.29) * t + 20_051.12;
    let theta = ((-41.8 * dt - 42.65 - 0.37 * t) * dt + theta_1) * dt;
    let [zeta, z, theta] = [zeta, z, theta].map(|angle| angle * ARCSECOND);
    product(&product(&about_z(-z), &about_y(theta)), &about_z(-zeta))
}

/// FK4 without E-terms, B1950, to FK5, J2000, at an epoch in Julian centuries from 1950: FK4 turns
/// against FK5 (Murray 1989, A&A 218, 325, eq. 28 and 29).
fn b1950_to_j2000(centuries: f64) -> Matrix3 {
    const ROTATION: Matrix3 = [
        [
            0.999_925_679_495_687_7,
            -0.011_181_483_220_466_2,
            -0.004_859_003_815_359_2,
        ],
        [
            0.011_181_483_239_171_7,
            0.999_937_484_893_313_5,
            -0.000_027_162_594_714_2,
        ],
        [
            0.004_859_003_772_314_3,
            -0.000_027_170_293_744_0,
            0.999_988_194_602_374_2,
        ],
    ];
    const A_CENTURY: Matrix3 = [
        [-0.002_645_526_2e-6, -1.153_991_868_9e-6, 2.111_134_619_0e-6],
        [1.154_062_816_1e-6, -0.012_904_299_7e-6, 0.023_602_147_8e-6],
        [-2.111_297_904_8e-6, -0.005_602_444_8e-6, 0.010_258_773_4e-6],
    ];
    std::array::from_fn(|i| std::array::from_fn(|j| ROTATION[i][j] + centuries * A_CENTURY[i][j]))
}

/// The E-terms of aberration of an equinox (Explanatory Supplement 1992, 3.53), with the obliquity
/// of IAU 1980.
fn e_terms(julian_date: f64) -> [f64; 3] {
    let t = (julian_date - 2_433_282.423_459_05) / 36_525.0;
    let eccentricity = (-0.000_000_126 * t - 0.000_041_93) * t + 0.016_730_11;
    let k = 0.005_693_2_f64.to_radians() * eccentricity;
    let perigee = (((0.012 * t + 1.65) * t + 6190.67) * t + 1_015_489.951) * ARCSECOND;
    let t = (julian_date - 2_451_545.0) / 36_525.0;
    let obliquity = (((0.001813 * t - 0.00059) * t - 46.8150) * t + 84_381.448) * ARCSECOND;
    let (sin, cos) = perigee.sin_cos();
    [
        k * sin,
        -k * cos * obliquity.cos(),
        -k * cos * obliquity.sin(),
    ]
}
