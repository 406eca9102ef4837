//! Moffat's profile with elliptical isophotes: [`super::moffat`] over the coordinates of
//! [`super::ellipse`].

use super::ellipse::{self, AMPLITUDE, LN_WIDTH_X, LN_WIDTH_Y, Point, X, Y};
use super::moffat::{Radial, integral};
use super::{Moments, Parameter, Profile, parameter};
use crate::kernel::Pixelwise;
use crate::numbers::dual::Dual;
use crate::numbers::matrix::{MAX_PARAMETERS, Parameters};
use crate::numbers::real::Real;

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
        parameter::PEAK,
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

    type Kernel = Pixelwise;

    #[inline(always)]
    fn evaluate<T: Real>(p: &Parameters<T>, x: T, y: T, gradient: &mut Parameters<T>) -> T {
        let point = Point::new(p, (x, y));
        let radial = Radial::new(point.rho(), p[BETA_INVERSE]);
        let star = p[AMPLITUDE] * radial.value;
        point.derivatives(star, radial.slope, gradient);
        gradient[AMPLITUDE] = radial.value;
        gradient[BETA_INVERSE] = star * radial.by_inverse_beta;
        gradient[BACKGROUND] = p[BACKGROUND].constant(1.0);
        star + p[BACKGROUND]
    }

    fn start(moments: &Moments) -> Parameters {
        let mut p = [0.0; MAX_PARAMETERS];
        p[X] = moments.x;
        p[Y] = moments.y;
        ellipse::start(moments, &mut p);
        p[BETA_INVERSE] = parameter::TYPICAL_BETA.recip();
        p[BACKGROUND] = moments.background;
        p[AMPLITUDE] = moments.flux / area(&p.map(Dual::constant)).value;
        p
    }

    fn columns(p: &Parameters<Dual>) -> Parameters<Dual> {
        let mut columns = ellipse::columns(p);
        columns[AMPLITUDE] = p[AMPLITUDE] * area(p);
        columns[BETA_INVERSE] = Dual::constant(1.0) / p[BETA_INVERSE];
        columns
    }

    fn from_columns(columns: &Parameters<Dual>) -> Parameters<Dual> {
        let mut p = ellipse::from_columns(columns);
        p[BETA_INVERSE] = Dual::constant(1.0) / columns[BETA_INVERSE];
        p[AMPLITUDE] = columns[AMPLITUDE] / area(&p);
        p
    }

    fn derived(p: &Parameters<Dual>) -> Vec<(&'static str, Dual)> {
        ellipse::derived(p, p[AMPLITUDE])
    }
}

/// Flux of a star of height 1.
fn area(p: &Parameters<Dual>) -> Dual {
    integral(p[BETA_INVERSE]) * (p[LN_WIDTH_X] + p[LN_WIDTH_Y]).exp() * 0.25
}
