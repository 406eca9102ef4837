//! An isophote of a star.

use crate::catalog::Row;
use crate::model::FWHM_OF_SIGMA;

/// An isophote.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ellipse {
    /// Column of the centre, pixels of the image, from 0.
    pub x: f64,
    /// Row of the centre.
    pub y: f64,
    /// Half of the major axis, pixels.
    pub major: f64,
    /// Half of the minor axis, pixels.
    pub minor: f64,
    /// Angle of the major axis from +x to +y, degrees.
    pub theta: f64,
}

impl Ellipse {
    /// Ellipse at one sigma of a Gaussian as wide as a star; for a Moffat, the ellipse of its full
    /// width at half maximum over 2.3548. `first_pixel` is the position of the first pixel in the
    /// catalogue, 0 or 1. `None` for a star without values.
    pub fn one_sigma(star: &Row, first_pixel: f64) -> Option<Self> {
        let sigma = |column: &str| {
            let width = star.get(column).filter(|width| *width > 0.0)?;
            Some(width / FWHM_OF_SIGMA)
        };
        let round = || sigma("fwhm").map(|sigma| (sigma, sigma, 0.0));
        let axes = sigma("fwhm_major").zip(sigma("fwhm_minor"));
        let axes = axes.zip(star.get("theta"));
        let axes = axes.map(|((major, minor), theta)| (major, minor, theta));
        let (major, minor, theta) = axes.or_else(round)?;
        Some(Self {
            x: star.get("x")? - first_pixel,
            y: star.get("y")? - first_pixel,
            major,
            minor,
            theta,
        })
    }
}
