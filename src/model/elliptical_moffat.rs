//! Moffat's profile with elliptical isophotes: [`super::moffat`] over the coordinates of
//! [`super::ellipse`].

use std::f64::consts::PI;

use super::ellipse::{self, FLUX, Point, X, Y};
use super::moffat::{Radial, height};
use super::{MAX_PARAMETERS, Moments, Parameter, Parameters, Profile, parameter};
use crate::dual::Dual;
use crate::real::Real;

/// Rotated elliptical Moffat profile on a constant background.
#[derive(Debug, Clone, Copy)]
pub struct EllipticalMoffat;

const BETA_INVERSE: usize = 6;
const BACKGROUND: usize = 7;

impl Profile for EllipticalMoffat {
    const NAME: &'static str = "elliptical-moffat";
    const DESCRIPTION: &'static str =
        "rotated elliptical Moffat profile, evaluated at pixel centres";
    const WGSL: &'static str = concat!(
        include_str!("../../shaders/model/ellipse.wgsl"),
        include_str!("../../shaders/model/moffat_radial.wgsl"),
        include_str!("../../shaders/model/elliptical_moffat.wgsl")
    );
    const PARAMETERS: &'static [Parameter] = &[
        parameter::FLUX,
        parameter::X,
        parameter::Y,
        parameter::LN_WIDTH_X,
        parameter::SHEAR,
        parameter::LN_WIDTH_Y,
        parameter::BETA_INVERSE,
        parameter::BACKGROUND,
    ];
    const COLUMNS: &'static [Parameter] = &[
        parameter::FLUX,
        parameter::X,
        parameter::Y,
        parameter::FWHM_MAJOR,
        parameter::FWHM_MINOR,
        parameter::THETA,
        parameter::BETA,
        parameter::BACKGROUND,
    ];

    #[inline(always)]
    fn evaluate<T: Real>(p: &Parameters<T>, x: T, y: T, gradient: &mut Parameters<T>) -> T {
        let point = Point::new(p, (x, y));
        let radial = Radial::new(point.rho(), p[BETA_INVERSE]);
        let profile = radial.value * point.inverse_area() * (1.0 / PI);
        let star = p[FLUX] * profile;
        point.derivatives(star, radial.slope, gradient);
        gradient[FLUX] = profile;
        gradient[BETA_INVERSE] = star * radial.by_inverse_beta;
        gradient[BACKGROUND] = p[BACKGROUND].constant(1.0);
        star + p[BACKGROUND]
    }

    fn start(moments: &Moments) -> Parameters {
        let mut p = [0.0; MAX_PARAMETERS];
        p[FLUX] = moments.flux;
        p[X] = moments.x;
        p[Y] = moments.y;
        ellipse::start(moments, &mut p);
        p[BETA_INVERSE] = parameter::TYPICAL_BETA.recip();
        p[BACKGROUND] = moments.background;
        p
    }

    fn columns(p: &Parameters<Dual>) -> Parameters<Dual> {
        let mut columns = ellipse::columns(p);
        columns[BETA_INVERSE] = Dual::constant(1.0) / p[BETA_INVERSE];
        columns
    }

    fn from_columns(columns: &Parameters<Dual>) -> Parameters<Dual> {
        let mut p = ellipse::from_columns(columns);
        p[BETA_INVERSE] = Dual::constant(1.0) / columns[BETA_INVERSE];
        p
    }

    fn derived(p: &Parameters<Dual>) -> Vec<(&'static str, Dual)> {
        ellipse::derived(p, p[FLUX] * height(p[BETA_INVERSE]) * (1.0 / PI))
    }
}
