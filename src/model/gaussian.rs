//! The circular Gaussian, as in the blog post that starfit began with.
//!
//! `flux / (2 pi sigma^2) exp(-((X - x)^2 + (Y - y)^2) / (2 sigma^2)) + background`, at the
//! centre of each pixel.

use std::f64::consts::TAU;

use super::{FWHM_OF_SIGMA, MAX_PARAMETERS, Moments, Parameter, Parameters, Profile, parameter};
use crate::dual::Dual;
use crate::real::Real;

/// Circular Gaussian on a constant background.
#[derive(Debug, Clone, Copy)]
pub struct Gaussian;

pub(super) const FLUX: usize = 0;
pub(super) const X: usize = 1;
pub(super) const Y: usize = 2;
pub(super) const SIGMA: usize = 3;
pub(super) const BACKGROUND: usize = 4;

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

    #[inline(always)]
    fn evaluate<T: Real>(p: &Parameters<T>, x: T, y: T, gradient: &mut Parameters<T>) -> T {
        let inverse = p[SIGMA].constant(1.0) / p[SIGMA];
        let u = (x - p[X]) * inverse;
        let v = (y - p[Y]) * inverse;
        let q = (u * u + v * v) * 0.5;
        let profile = (-q).exp() * (inverse * inverse * (1.0 / TAU));
        let star = p[FLUX] * profile;
        let slope = star * inverse;
        gradient[FLUX] = profile;
        gradient[X] = slope * u;
        gradient[Y] = slope * v;
        gradient[SIGMA] = slope * (q - 1.0) * 2.0;
        gradient[BACKGROUND] = p[BACKGROUND].constant(1.0);
        star + p[BACKGROUND]
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
