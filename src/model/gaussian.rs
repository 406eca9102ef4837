//! The circular Gaussian, as in the blog post that starfit began with.
//!
//! `flux / (2 pi sigma^2) exp(-((X - x)^2 + (Y - y)^2) / (2 sigma^2)) + background`, at the
//! centre of each pixel.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, TAU};

use super::{FWHM_OF_SIGMA, Moments, Parameter, Profile, parameter};
use crate::kernel::separable::{self, BACKGROUND, FLUX, WIDTH as SIGMA, X, Y};
use crate::kernel::{ByLines, Line, Separable};
use crate::numbers::dual::Dual;
use crate::numbers::matrix::{MAX_PARAMETERS, Parameters};
use crate::numbers::real::Real;

/// Circular Gaussian on a constant background.
#[derive(Debug, Clone, Copy)]
pub struct Gaussian;

impl Profile for Gaussian {
    const NAME: &'static str = "gaussian";
    const DESCRIPTION: &'static str = "circular Gaussian, evaluated at pixel centres";
    const WGSL: &'static str = include_str!("../../shaders/model/gaussian.wgsl");
    const PARAMETERS: &'static [Parameter] = &[
        parameter::FLUX,
        parameter::X,
        parameter::Y,
        parameter::SIGMA,
        parameter::BACKGROUND,
    ];
    const COLUMNS: &'static [Parameter] = &[
        parameter::FLUX,
        parameter::X,
        parameter::Y,
        parameter::FWHM,
        parameter::BACKGROUND,
    ];

    type Kernel = ByLines;

    #[inline(always)]
    fn evaluate<T: Real>(p: &Parameters<T>, x: T, y: T, gradient: &mut Parameters<T>) -> T {
        separable::evaluate::<Self, T>(p, x, y, gradient)
    }

    fn start(moments: &Moments) -> Parameters {
        start(moments)
    }

    fn columns(p: &Parameters<Dual>) -> Parameters<Dual> {
        let mut columns = *p;
        columns[SIGMA] = p[SIGMA] * FWHM_OF_SIGMA;
        columns
    }

    fn from_columns(columns: &Parameters<Dual>) -> Parameters<Dual> {
        let mut p = *columns;
        p[SIGMA] = columns[SIGMA] * FWHM_OF_SIGMA.recip();
        p
    }

    fn derived(p: &Parameters<Dual>) -> Vec<(&'static str, Dual)> {
        vec![("peak", p[FLUX] / (p[SIGMA] * p[SIGMA] * TAU))]
    }
}

impl Separable for Gaussian {
    #[inline(always)]
    fn line<T: Real>(offset: T, sigma: T) -> Line<T> {
        let inverse = sigma.constant(1.0) / sigma;
        let u = offset * inverse;
        let square = u * u;
        let value = (square * -0.5).exp() * inverse * (0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
        let slope = value * inverse;
        Line {
            value,
            by_center: slope * u,
            by_width: slope * (square - 1.0),
        }
    }
}

/// Start values of a circular Gaussian, integrated over pixels or not.
pub(super) fn start(moments: &Moments) -> Parameters {
    let mut p = [0.0; MAX_PARAMETERS];
    p[FLUX] = moments.flux;
    p[X] = moments.x;
    p[Y] = moments.y;
    p[SIGMA] = moments.sigma();
    p[BACKGROUND] = moments.background;
    p
}
