//! How well a star can be measured, and how bright it must be for that.

use super::{Camera, Truth, brightness, get, set};
use crate::estimator::Estimator;
use crate::model::{Model, Role};
use crate::numbers::matrix::{Parameters, Symmetric, quadratic_form};
use crate::pixels::Pixels;
use crate::solver::cholesky;

/// Most electrons of a star: beyond, single electrons are lost in the digits.
const MAX_ELECTRONS: f64 = 1e15;

/// Square cutouts as a camera sees them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene {
    pub(super) model: &'static dyn Model,
    pub(super) camera: Camera,
    /// Pixels in a row, and rows.
    pub(super) side: usize,
}

impl Scene {
    /// Expected value of each pixel, row after row.
    pub(super) fn expected(&self, parameters: &Parameters) -> Vec<f64> {
        let rows = 0..self.side;
        let pixels = rows.flat_map(|y| (0..self.side).map(move |x| (x as f64, y as f64)));
        pixels
            .map(|(x, y)| self.model.evaluate(parameters, x, y).0)
            .collect()
    }

    /// Cramer-Rao bound: the inverse of the information that pixels of these expected values hold on the
    /// parameters. `None` where the pixels do not determine the parameters.
    ///
    /// The dependence of the variances on the parameters is left out, as in every weighted fit.
    fn covariance(&self, parameters: &Parameters, expected: &[f64]) -> Option<Symmetric> {
        let weight: Vec<f64> = expected
            .iter()
            .map(|&value| self.camera.variance(value).recip())
            .collect();
        let pixels = Pixels {
            width: self.side,
            data: expected.into(),
            weight: weight.as_slice().into(),
        };
        let sums = self
            .model
            .normal_equations(Estimator::LeastSquares, &pixels, parameters);
        cholesky::invert(self.model.parameters().len(), &sums.curvature)
    }

    /// The truth about a star of these parameters.
    pub(super) fn star(&self, parameters: Parameters) -> Truth {
        let covariance = self.covariance(&parameters, &self.expected(&parameters));
        Truth::new(self.model, parameters, covariance)
    }

    /// The star, otherwise as in `parameters`, whose flux has the ratio `snr` to its own bound; `None` where
    /// no such star is within reason.
    pub(super) fn star_of_snr(&self, parameters: &Parameters, snr: f64) -> Option<Truth> {
        let background = get(self.model, parameters, Role::Background);
        let mut star = *parameters;
        set(self.model, &mut star, Role::Background, 0.0);
        set(self.model, &mut star, Role::Flux, 1.0);
        // The parameter of the brightness, of a star of flux 1.
        let unit = 1.0 / brightness(self.model, &star).value;
        set(self.model, &mut star, Role::Flux, unit);
        let profile = self.expected(&star);
        set(self.model, &mut star, Role::Background, background);

        // The ratio if nothing but the flux were free: snr^2 = flux^2 / (flux / gain + area * sky).
        let area = profile.iter().map(|p| p * p).sum::<f64>().recip();
        let sky = area * self.camera.variance(background);
        let photons = snr * snr / self.camera.gain;
        let mut flux = 0.5 * (photons + (photons * photons + 4.0 * snr * snr * sky).sqrt());
        let mut slope = 1.0 - 0.5 * flux / (flux + self.camera.gain * sky);

        let mut before: Option<(f64, f64)> = None;
        for _ in 0..50 {
            // Also false for NaN.
            if !(flux > 0.0 && flux * self.camera.gain <= MAX_ELECTRONS) {
                return None;
            }
            set(self.model, &mut star, Role::Flux, unit * flux);
            let expected: Vec<f64> = profile.iter().map(|p| flux * p + background).collect();
            let covariance = self.covariance(&star, &expected)?;
            let n = self.model.parameters().len();
            let gradient = brightness(self.model, &star).gradient;
            let variance = quadratic_form(n, &covariance, &gradient);
            let (log_flux, log_snr) = (flux.ln(), (flux / variance.sqrt()).ln());
            let miss = snr.ln() - log_snr;
            if miss.abs() < 1e-6 {
                return Some(Truth::new(self.model, star, Some(covariance)));
            }
            if let Some((flux_before, snr_before)) = before {
                // The ratio grows as the flux where the sky limits it, as its root where the star
                // does: the bounds only keep rounding errors from sending the secant astray.
                slope = ((log_snr - snr_before) / (log_flux - flux_before)).clamp(0.3, 1.5);
            }
            before = Some((log_flux, log_snr));
            flux *= (miss / slope).exp();
        }
        None
    }
}
