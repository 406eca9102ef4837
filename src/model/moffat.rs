//! Moffat's profile: a core like a Gaussian's and wings that fall as a power (A. F. J. Moffat
//! 1969, A&A 3, 455).
//!
//! `flux (beta - 1) / (pi gamma^2) (1 + r^2 / gamma^2)^-beta + background` at the centre of each pixel.
//! The fit moves in the height, the logarithm of the width at half maximum and `1 / beta`: gamma and
//! beta are correlated by 0.99, and the flux depends on the wings that beta gives.

use std::f64::consts::{LN_2, PI};

use super::{Moments, Parameter, Profile, parameter};
use crate::kernel::Pixelwise;
use crate::numbers::dual::Dual;
use crate::numbers::matrix::{MAX_PARAMETERS, Parameters};
use crate::numbers::real::Real;

/// Circular Moffat profile on a constant background.
#[derive(Debug, Clone, Copy)]
pub struct Moffat;

const PEAK: usize = 0;
const X: usize = 1;
const Y: usize = 2;
const LN_FWHM: usize = 3;
const BETA_INVERSE: usize = 4;
const BACKGROUND: usize = 5;

/// The profile against the squared distance `rho` from the centre, in units of the half width at half
/// maximum, and the parts of its derivatives.
pub(super) struct Radial<T> {
    /// `(1 + kappa rho)^-beta` with `kappa = 2^(1 / beta) - 1`.
    pub(super) value: T,
    /// Minus the derivative of the profile's logarithm by `rho`.
    pub(super) slope: T,
    /// The derivative of the profile's logarithm by `1 / beta`.
    pub(super) by_inverse_beta: T,
}

impl<T: Real> Radial<T> {
    #[inline(always)]
    pub(super) fn new(rho: T, inverse_beta: T) -> Self {
        let one = rho.constant(1.0);
        let beta = one / inverse_beta;
        let power = (inverse_beta * LN_2).exp();
        let kappa = power - 1.0;
        let z = kappa * rho;
        let logarithm = z.ln_1p() * beta;
        let share = beta / (z + 1.0);
        Self {
            value: (-logarithm).exp(),
            slope: kappa * share,
            by_inverse_beta: logarithm * beta - power * LN_2 * rho * share,
        }
    }
}

/// Integral of the profile over the plane of `rho`, where the isophote at half maximum has the
/// area pi.
pub(super) fn integral(inverse_beta: Dual) -> Dual {
    let beta = Dual::constant(1.0) / inverse_beta;
    let kappa = (inverse_beta * LN_2).exp() - 1.0;
    Dual::constant(PI) / ((beta - 1.0) * kappa)
}

impl Profile for Moffat {
    const NAME: &'static str = "moffat";
    const DESCRIPTION: &'static str = "circular Moffat profile, evaluated at pixel centres";
    const WGSL: &'static str = concat!(
        include_str!("../../shaders/model/moffat_radial.wgsl"),
        include_str!("../../shaders/model/moffat.wgsl")
    );
    const PARAMETERS: &'static [Parameter] = &[
        parameter::PEAK,
        parameter::X,
        parameter::Y,
        parameter::LN_FWHM,
        parameter::BETA_INVERSE,
        parameter::BACKGROUND,
    ];
    const COLUMNS: &'static [Parameter] = &[
        parameter::FLUX,
        parameter::X,
        parameter::Y,
        parameter::FWHM,
        parameter::BETA,
        parameter::BACKGROUND,
    ];

    type Kernel = Pixelwise;

    #[inline(always)]
    fn evaluate<T: Real>(p: &Parameters<T>, x: T, y: T, gradient: &mut Parameters<T>) -> T {
        let inverse = (-p[LN_FWHM]).exp() * 2.0;
        let u = (x - p[X]) * inverse;
        let v = (y - p[Y]) * inverse;
        let rho = u * u + v * v;
        let radial = Radial::new(rho, p[BETA_INVERSE]);
        let star = p[PEAK] * radial.value;
        let steepness = star * radial.slope * 2.0;
        gradient[PEAK] = radial.value;
        gradient[X] = steepness * u * inverse;
        gradient[Y] = steepness * v * inverse;
        gradient[LN_FWHM] = steepness * rho;
        gradient[BETA_INVERSE] = star * radial.by_inverse_beta;
        gradient[BACKGROUND] = p[BACKGROUND].constant(1.0);
        star + p[BACKGROUND]
    }

    fn start(moments: &Moments) -> Parameters {
        let mut columns = [0.0; MAX_PARAMETERS];
        columns[PEAK] = moments.flux;
        columns[X] = moments.x;
        columns[Y] = moments.y;
        columns[LN_FWHM] = super::FWHM_OF_SIGMA * moments.sigma();
        columns[BETA_INVERSE] = parameter::TYPICAL_BETA;
        columns[BACKGROUND] = moments.background;
        Self::from_columns(&columns.map(Dual::constant)).map(|dual| dual.value)
    }

    fn columns(p: &Parameters<Dual>) -> Parameters<Dual> {
        let mut columns = *p;
        let half = p[LN_FWHM].exp() * 0.5;
        columns[PEAK] = p[PEAK] * integral(p[BETA_INVERSE]) * half * half;
        columns[LN_FWHM] = p[LN_FWHM].exp();
        columns[BETA_INVERSE] = Dual::constant(1.0) / p[BETA_INVERSE];
        columns
    }

    fn from_columns(columns: &Parameters<Dual>) -> Parameters<Dual> {
        let mut p = *columns;
        let half = columns[LN_FWHM] * 0.5;
        p[BETA_INVERSE] = Dual::constant(1.0) / columns[BETA_INVERSE];
        p[PEAK] = columns[PEAK] / (integral(p[BETA_INVERSE]) * half * half);
        p[LN_FWHM] = columns[LN_FWHM].ln();
        p
    }

    fn derived(p: &Parameters<Dual>) -> Vec<(&'static str, Dual)> {
        vec![("peak", p[PEAK])]
    }
}
