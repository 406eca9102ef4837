//! The circular Gaussian, as in the blog post that starfit began with.
//!
//! `flux / (2 pi sigma^2) exp(-((X - x)^2 + (Y - y)^2) / (2 sigma^2)) + background`, at the
//! centre of each pixel.

use std::f64::consts::TAU;

use super::{
    MAX_PARAMETERS, Moments, Parameter, Parameters, Profile, Quantity, Role, unbounded,
    within_reach,
};
use crate::moments::FWHM_OF_SIGMA;
use crate::real::Real;

/// Circular Gaussian on a constant background.
#[derive(Debug, Clone, Copy)]
pub struct Gaussian;

const FLUX: usize = 0;
const X: usize = 1;
const Y: usize = 2;
const SIGMA: usize = 3;
const BACKGROUND: usize = 4;

impl Profile for Gaussian {
    const NAME: &'static str = "gaussian";
    const DESCRIPTION: &'static str = "circular Gaussian, evaluated at pixel centres";
    const WGSL: &'static str = include_str!("../../shaders/model/gaussian.wgsl");
    const PARAMETERS: &'static [Parameter] = &[
        Parameter {
            name: "flux",
            unit: "adu",
            role: Role::Flux,
            bounds: unbounded,
            rate: 150.0,
            description: "integral of the star over the plane",
        },
        Parameter {
            name: "x",
            unit: "pix",
            role: Role::X,
            bounds: within_reach,
            rate: 1.0,
            description: "column of the centre",
        },
        Parameter {
            name: "y",
            unit: "pix",
            role: Role::Y,
            bounds: within_reach,
            rate: 1.0,
            description: "row of the centre",
        },
        Parameter {
            name: "sigma",
            unit: "pix",
            role: Role::Shape,
            // Below 0.2 pixel all light of a centred star falls on one sampled point and nothing
            // depends on sigma any more; a star wider than its cutout is a background.
            bounds: |side| (0.2, side),
            rate: 4.5,
            description: "standard deviation; fwhm = 2.3548 sigma",
        },
        Parameter {
            name: "background",
            unit: "adu/pix",
            role: Role::Background,
            bounds: unbounded,
            // The post has no background. Its curvature is 1 in scaled data, some hundred times
            // that of the flux, so that with a rate of 1 descent at learning rate 2 diverges.
            rate: 0.1,
            description: "level under the star",
        },
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
        let mut p = [0.0; MAX_PARAMETERS];
        p[FLUX] = moments.flux;
        p[X] = moments.x;
        p[Y] = moments.y;
        p[SIGMA] = moments.sigma;
        p[BACKGROUND] = moments.background;
        p
    }

    fn quantities(p: &Parameters) -> Vec<Quantity> {
        let quantity = |column, value, derivatives: &[(usize, f64)]| {
            let mut gradient = [0.0; MAX_PARAMETERS];
            for &(parameter, derivative) in derivatives {
                gradient[parameter] = derivative;
            }
            Quantity {
                column,
                value,
                gradient,
            }
        };
        let peak_of_flux = 1.0 / (TAU * p[SIGMA] * p[SIGMA]);
        let peak = p[FLUX] * peak_of_flux;
        vec![
            quantity("x", p[X], &[(X, 1.0)]),
            quantity("y", p[Y], &[(Y, 1.0)]),
            quantity("flux", p[FLUX], &[(FLUX, 1.0)]),
            quantity("background", p[BACKGROUND], &[(BACKGROUND, 1.0)]),
            quantity(
                "peak",
                peak,
                &[(FLUX, peak_of_flux), (SIGMA, -2.0 * peak / p[SIGMA])],
            ),
            quantity("fwhm", FWHM_OF_SIGMA * p[SIGMA], &[(SIGMA, FWHM_OF_SIGMA)]),
        ]
    }
}
