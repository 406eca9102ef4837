//! The rotated elliptical Gaussian.
//!
//! `flux ln 2 / (pi a b) 2^-(u^2 + v^2) + background` at the centre of each pixel, with the
//! coordinates of [`super::ellipse`].

mod by_powers;

use std::f64::consts::{LN_2, PI};

use by_powers::ByPowers;

use super::ellipse::{self, AMPLITUDE, LN_WIDTH_X, LN_WIDTH_Y, Point, X, Y};
use super::{Moments, Parameter, Profile, parameter};
use crate::numbers::dual::Dual;
use crate::numbers::matrix::{MAX_PARAMETERS, Parameters};
use crate::numbers::real::Real;

/// Rotated elliptical Gaussian on a constant background.
#[derive(Debug, Clone, Copy)]
pub struct EllipticalGaussian;

const BACKGROUND: usize = 6;

impl Profile for EllipticalGaussian {
    const NAME: &'static str = "elliptical-gaussian";
    const DESCRIPTION: &'static str = "rotated elliptical Gaussian, evaluated at pixel centres";
    const WGSL: &'static str = include_str!("../../shaders/model/elliptical_gaussian.wgsl");
    const PARAMETERS: &'static [Parameter] = &[
        parameter::FLUX,
        parameter::X,
        parameter::Y,
        parameter::LN_WIDTH_X,
        parameter::SHEAR,
        parameter::LN_WIDTH_Y,
        parameter::BACKGROUND,
    ];
    const COLUMNS: &'static [Parameter] = &[
        parameter::FLUX,
        parameter::X,
        parameter::Y,
        parameter::FWHM_MAJOR,
        parameter::FWHM_MINOR,
        parameter::THETA,
        parameter::BACKGROUND,
    ];

    type Kernel = ByPowers;

    #[inline(always)]
    fn evaluate<T: Real>(p: &Parameters<T>, x: T, y: T, gradient: &mut Parameters<T>) -> T {
        let point = Point::new(p, (x, y));
        let profile = (-(point.rho() * LN_2)).exp() * point.inverse_area() * (LN_2 / PI);
        let star = p[AMPLITUDE] * profile;
        point.derivatives(star, star.constant(LN_2), gradient);
        // A wider star of the same flux is lower.
        gradient[LN_WIDTH_X] = gradient[LN_WIDTH_X] - star;
        gradient[LN_WIDTH_Y] = gradient[LN_WIDTH_Y] - star;
        gradient[AMPLITUDE] = profile;
        gradient[BACKGROUND] = p[BACKGROUND].constant(1.0);
        star + p[BACKGROUND]
    }

    fn start(moments: &Moments) -> Parameters {
        let mut p = [0.0; MAX_PARAMETERS];
        p[AMPLITUDE] = moments.flux;
        p[X] = moments.x;
        p[Y] = moments.y;
        ellipse::start(moments, &mut p);
        p[BACKGROUND] = moments.background;
        p
    }

    fn columns(p: &Parameters<Dual>) -> Parameters<Dual> {
        ellipse::columns(p)
    }

    fn from_columns(columns: &Parameters<Dual>) -> Parameters<Dual> {
        ellipse::from_columns(columns)
    }

    fn derived(p: &Parameters<Dual>) -> Vec<(&'static str, Dual)> {
        let inverse_area = (-(p[LN_WIDTH_X] + p[LN_WIDTH_Y])).exp() * 4.0;
        ellipse::derived(p, p[AMPLITUDE] * inverse_area * (LN_2 / PI))
    }
}
