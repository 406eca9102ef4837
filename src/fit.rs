//! Result of a fit, how the fit ended, and flags of the star.

mod status;

use crate::model::{Model, Quantity};
use crate::numbers::matrix::{MAX_PARAMETERS, Parameters, Symmetric, packed_index, quadratic_form};
pub use status::{FitStatus, Flags};

/// Result of the fit of one star, in the image's units and coordinates.
#[derive(Debug, Clone)]
pub struct Fit {
    /// How the fit ended. Unless [`FitStatus::has_values`] the numbers below mean nothing.
    pub status: FitStatus,
    /// Flags of the star.
    pub flags: Flags,
    /// The parameters, in the order of the model.
    pub parameters: Parameters,
    /// Covariance of the parameters, see [`Fit::covariance_of`] for the covariance of catalogue
    /// columns: from the curvature where the noise is known, else the sandwich HC3. Rows and columns of
    /// a parameter at its bound are 0, as nothing is known of its error; rows and columns beyond the
    /// model's parameters mean nothing.
    pub covariance: Option<Symmetric>,
    /// Parameters of whose error nothing is known, one bit each: they ended at a bound.
    pub held: u8,
    /// Coordinates of the fit that were free to the end, one bit each.
    pub(crate) free: u8,
    /// Chi-square; with unit weights the sum of squared residuals in the image's units.
    pub chi2: f64,
    /// Pixels used.
    pub n_pixels: usize,
    /// Parameters that were free to the end: neither fixed nor at a bound.
    pub n_free: usize,
    /// Steps made.
    pub n_iterations: u32,
    /// Sum of the absolute residuals.
    pub absolute_residuals: f64,
    /// Residual of the cutout's central pixel; NaN where it is not used.
    pub central_residual: f64,
}

impl Fit {
    /// A fit that is still to be made.
    pub(crate) const UNFITTED: Self = Self {
        status: FitStatus::NotFinite,
        flags: Flags(0),
        parameters: [0.0; MAX_PARAMETERS],
        covariance: None,
        held: 0,
        free: 0,
        chi2: f64::NAN,
        n_pixels: 0,
        n_free: 0,
        n_iterations: 0,
        absolute_residuals: f64::NAN,
        central_residual: f64::NAN,
    };

    /// Degrees of freedom: pixels used less free parameters.
    pub fn dof(&self) -> i64 {
        self.n_pixels as i64 - self.n_free as i64
    }

    /// Covariance of two quantities of the model, by the delta method; `None` where the curvature
    /// is singular.
    pub fn covariance_of(&self, model: &dyn Model, a: &Quantity, b: &Quantity) -> Option<f64> {
        let n = model.parameters().len();
        let covariance = self.covariance.as_ref()?;
        let products = (0..n).flat_map(|j| (0..n).map(move |k| (j, k)));
        Some(
            products
                .map(|(j, k)| a.gradient[j] * b.gradient[k] * covariance[packed_index(j, k)])
                .sum(),
        )
    }

    /// One standard deviation of a quantity of the model, by the delta method; `None` where it is
    /// fixed, where a parameter that it depends on is at its bound or the curvature is singular.
    ///
    /// The error of a nearly round star's angle is never larger than that of an angle that may be any.
    pub fn error(&self, model: &dyn Model, quantity: &Quantity) -> Option<f64> {
        /// Standard deviation of an angle evenly distributed over half a turn, degrees.
        const ANY_ANGLE: f64 = 51.961_524_227_066_32;
        /// Rest of a fixed quantity's variance where its terms cancel.
        const ROUNDING: f64 = 1e-13;
        let n = model.parameters().len();
        let gradient = &quantity.gradient;
        let unknown = self.held != 0 && self.depends_on_held(model, gradient);
        let covariance = self.covariance.as_ref()?;
        let variance = quadratic_form(n, covariance, gradient);
        let spread: f64 = (0..n)
            .map(|j| gradient[j].abs() * covariance[packed_index(j, j)].sqrt())
            .sum();
        let known = !unknown && variance > ROUNDING * spread * spread && variance.is_finite();
        known.then(|| match quantity.column {
            "theta" => variance.sqrt().min(ANY_ANGLE),
            _ => variance.sqrt(),
        })
    }
}

impl Fit {
    /// Whether a quantity depends on a column of the catalogue that a parameter at its bound says
    /// something about. The flux of a Moffat does not, though its height does: other columns stay
    /// as they are.
    fn depends_on_held(&self, model: &dyn Model, gradient: &Parameters) -> bool {
        let n = model.parameters().len();
        let columns = model.columns_at(&self.parameters).map(|dual| dual.value);
        let parameters = model.parameters_at(&columns);
        (0..n).any(|k| {
            let is_held = |j: usize| self.held >> j & 1 == 1 && parameters[j].gradient[k] != 0.0;
            let terms = || (0..n).map(|i| gradient[i] * parameters[i].gradient[k]);
            let size: f64 = terms().map(f64::abs).sum();
            (0..n).any(is_held) && terms().sum::<f64>().abs() > 1e-9 * size
        })
    }
}
