//! Elliptical isophotes, without an angle.
//!
//! `u = (dx + shear dy) / a`, `v = dy / b`, and the isophote through `u^2 + v^2 = 1` is an ellipse
//! whatever `a`, `b` > 0 and the shear are: this is the Cholesky factor of the conic
//! `A dx^2 + 2 B dx dy + C dy^2` with `A = 1 / a^2`, `B = shear / a^2`, `C = (shear / a)^2 + 1 / b^2`.
//! Nothing happens to it when the ellipse becomes a circle, where an angle loses its meaning and
//! makes a fit singular.

use std::f64::consts::FRAC_PI_2;

use super::{FWHM_OF_SIGMA, Moments};
use crate::numbers::dual::Dual;
use crate::numbers::matrix::Parameters;
use crate::numbers::real::Real;

/// Places of the parameters that every elliptical model has.
pub(crate) const AMPLITUDE: usize = 0;
pub(crate) const X: usize = 1;
pub(crate) const Y: usize = 2;
pub(crate) const LN_WIDTH_X: usize = 3;
pub(crate) const SHEAR: usize = 4;
pub(crate) const LN_WIDTH_Y: usize = 5;

/// A pixel in the coordinates in which the isophote at half maximum is the unit circle.
pub(super) struct Point<T> {
    u: T,
    v: T,
    dy: T,
    /// `1 / a`, `1 / b`.
    inverse: (T, T),
    shear: T,
}

/// One over half of a width. (A closure would not be inlined into code for wide registers.)
#[inline(always)]
pub(crate) fn half_inverse<T: Real>(ln_width: T) -> T {
    (-ln_width).exp() * 2.0
}

impl<T: Real> Point<T> {
    /// Pixel (`x`, `y`).
    #[inline(always)]
    pub(super) fn new(p: &Parameters<T>, (x, y): (T, T)) -> Self {
        let inverse = (half_inverse(p[LN_WIDTH_X]), half_inverse(p[LN_WIDTH_Y]));
        let (dx, dy) = (x - p[X], y - p[Y]);
        Self {
            u: dy.mul_add(p[SHEAR], dx) * inverse.0,
            v: dy * inverse.1,
            dy,
            inverse,
            shear: p[SHEAR],
        }
    }

    /// Squared distance from the centre.
    #[inline(always)]
    pub(super) fn rho(&self) -> T {
        self.u.mul_add(self.u, self.v * self.v)
    }

    /// `1 / (a b)`: pi over the area inside the isophote.
    #[inline(always)]
    pub(super) fn inverse_area(&self) -> T {
        self.inverse.0 * self.inverse.1
    }

    /// Derivatives of `star`, of constant height, by position and shape; `slope` is minus the
    /// derivative of its logarithm by [`Point::rho`].
    #[inline(always)]
    pub(super) fn derivatives(&self, star: T, slope: T, gradient: &mut Parameters<T>) {
        let twice = star * slope * 2.0;
        let (along_u, along_v) = (twice * self.u, twice * self.v);
        let by_dx = along_u * self.inverse.0;
        gradient[X] = by_dx;
        gradient[Y] = along_v.mul_add(self.inverse.1, by_dx * self.shear);
        gradient[LN_WIDTH_X] = along_u * self.u;
        gradient[SHEAR] = -(by_dx * self.dy);
        gradient[LN_WIDTH_Y] = along_v * self.v;
    }
}

/// Start values of the shape.
pub(super) fn start(moments: &Moments, p: &mut Parameters) {
    let Moments { xx, xy, yy, .. } = *moments;
    p[LN_WIDTH_X] = (FWHM_OF_SIGMA * (xx - xy * xy / yy).sqrt()).ln();
    p[SHEAR] = -xy / yy;
    p[LN_WIDTH_Y] = (FWHM_OF_SIGMA * yy.sqrt()).ln();
}

/// Places of the catalogue's columns.
const MAJOR: usize = 3;
const MINOR: usize = 4;
const THETA: usize = 5;

/// The parameters with the catalogue's axes, pixels, and angle, degrees, in place of the shape.
pub(super) fn columns(p: &Parameters<Dual>) -> Parameters<Dual> {
    let (a, b) = ((-p[LN_WIDTH_X]).exp(), (-p[LN_WIDTH_Y]).exp());
    let sheared = a * p[SHEAR];
    // The conic, as its mean and its difference from a circle.
    let (xx, xy, yy) = (a * a, a * sheared, sheared * sheared + b * b);
    let difference = (xx - yy) * 0.5;
    let largest = (xx + yy) * 0.5 + difference.hypot(xy);
    // The conic is steepest across the major axis.
    let steepest = xy.atan2(difference) * 0.5;
    let quarter = if steepest.value < 0.0 {
        FRAC_PI_2
    } else {
        -FRAC_PI_2
    };
    let mut columns = *p;
    columns[MINOR] = Dual::constant(1.0) / largest.sqrt();
    // The smaller eigenvalue from the determinant: as a difference it would lose its digits.
    columns[MAJOR] = largest.sqrt() / (a * b);
    columns[THETA] = (steepest + quarter) * 1f64.to_degrees();
    columns
}

/// Undoes [`columns`].
pub(super) fn from_columns(columns: &Parameters<Dual>) -> Parameters<Dual> {
    let inverse_square = |width: Dual| Dual::constant(1.0) / (width * width);
    let (major, minor) = (
        inverse_square(columns[MAJOR]),
        inverse_square(columns[MINOR]),
    );
    let (sin, cos) = (columns[THETA] * 1f64.to_radians()).sin_cos();
    let xx = cos * cos * major + sin * sin * minor;
    let xy = cos * sin * (major - minor);
    let mut p = *columns;
    p[LN_WIDTH_X] = xx.ln() * -0.5;
    p[SHEAR] = xy / xx;
    p[LN_WIDTH_Y] = (major * minor / xx).ln() * -0.5;
    p
}

/// Further quantities of the catalogue, with the names of their columns.
pub(super) fn derived(p: &Parameters<Dual>, peak: Dual) -> Vec<(&'static str, Dual)> {
    let columns = columns(p);
    let ln_area = p[LN_WIDTH_X] + p[LN_WIDTH_Y];
    vec![
        ("peak", peak),
        ("fwhm", (ln_area * 0.5).exp()),
        ("ellipticity", -(columns[MINOR] / columns[MAJOR]) + 1.0),
    ]
}
