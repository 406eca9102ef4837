//! Where the fit of a star starts.

use crate::numbers::matrix::Parameters;

/// Where a fit starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// From moments of the pixels, within a window.
    Moments {
        /// Where the star is expected, in the image; `None`: at the brightest spot of the cutout.
        position: Option<(f64, f64)>,
        /// Full width at half maximum expected, pixels; `None`: a quarter of the cutout's side.
        fwhm: Option<f64>,
    },
    /// From these parameters, in the image's units and coordinates.
    Given(Parameters),
}
