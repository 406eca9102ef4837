//! The circular Gaussian integrated over each pixel, for stars that are hardly wider than one.
//!
//! `flux / 4 (erf(b) - erf(a)) (erf(d) - erf(c)) + background` with `a`, `b` the left and right rim
//! of the pixel, `c`, `d` its lower and upper rim, from the centre, in units of `sqrt(2) sigma`.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::{Gaussian, Moments, Parameter, Profile, gaussian};
use crate::kernel::separable::{self, WIDTH as SIGMA};
use crate::kernel::{ByLines, Line, Separable};
use crate::numbers::dual::Dual;
use crate::numbers::matrix::Parameters;
use crate::numbers::real::Real;

/// Circular Gaussian, integrated over the pixel, on a constant background.
#[derive(Debug, Clone, Copy)]
pub struct GaussianIntegrated;

impl Profile for GaussianIntegrated {
    const NAME: &'static str = "gaussian-integrated";
    const DESCRIPTION: &'static str =
        "circular Gaussian, integrated over each pixel: for stars narrower than 2 pixels";
    const WGSL: &'static str = include_str!("../../shaders/model/gaussian_integrated.wgsl");
    const PARAMETERS: &'static [Parameter] = Gaussian::PARAMETERS;
    const COLUMNS: &'static [Parameter] = Gaussian::COLUMNS;

    type Kernel = ByLines;

    #[inline(always)]
    fn evaluate<T: Real>(p: &Parameters<T>, x: T, y: T, gradient: &mut Parameters<T>) -> T {
        separable::evaluate::<Self, T>(p, x, y, gradient)
    }

    fn start(moments: &Moments) -> Parameters {
        let mut p = gaussian::start(moments);
        // The pixel itself has a variance of 1/12 along each axis.
        p[SIGMA] = (p[SIGMA] * p[SIGMA] - 1.0 / 12.0).max(0.04).sqrt();
        p
    }

    fn columns(p: &Parameters<Dual>) -> Parameters<Dual> {
        Gaussian::columns(p)
    }

    fn from_columns(columns: &Parameters<Dual>) -> Parameters<Dual> {
        Gaussian::from_columns(columns)
    }

    fn derived(p: &Parameters<Dual>) -> Vec<(&'static str, Dual)> {
        Gaussian::derived(p)
    }
}

impl Separable for GaussianIntegrated {
    #[inline(always)]
    fn line<T: Real>(offset: T, sigma: T) -> Line<T> {
        let inverse_sigma = sigma.constant(1.0) / sigma;
        let inverse = inverse_sigma * FRAC_1_SQRT_2;
        let (a, b) = ((offset - 0.5) * inverse, (offset + 0.5) * inverse);
        let (bell_a, bell_b) = ((-(a * a)).exp(), (-(b * b)).exp());
        Line {
            value: (b.erf(bell_b) - a.erf(bell_a)) * 0.5,
            by_center: (bell_b - bell_a) * inverse * (-0.5 * FRAC_2_SQRT_PI),
            by_width: (b * bell_b - a * bell_a) * inverse_sigma * (-0.5 * FRAC_2_SQRT_PI),
        }
    }
}
