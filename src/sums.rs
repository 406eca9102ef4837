//! The sums over the pixels of a star that a fit is made of.

use crate::numbers::lanes::Row;
use crate::numbers::matrix::{MAX_PACKED, MAX_PARAMETERS, Parameters, Symmetric};

/// Chi-square of a star with its gradient and curvature in the parameters:
/// the normal equations `curvature * step = gradient`.
#[derive(Debug, Clone, Copy)]
pub struct NormalEquations<T = f64> {
    /// Sum of the costs that the estimator gives the residuals.
    pub chi2: T,
    /// `J^T W r` with residual `r = data - model`: minus half the derivative of chi-square.
    pub gradient: Parameters<T>,
    /// `J^T W J`: half the second derivative where the residuals are small.
    pub curvature: Symmetric<T>,
}

impl<T: Copy> NormalEquations<T> {
    /// Every sum set to `value`.
    #[inline(always)]
    pub fn filled(value: T) -> Self {
        Self {
            chi2: value,
            gradient: [value; MAX_PARAMETERS],
            curvature: [value; MAX_PACKED],
        }
    }
}

impl NormalEquations<Row> {
    /// The sums of one star with `n` parameters.
    pub fn lane(&self, n: usize, lane: usize) -> NormalEquations {
        let mut sums = NormalEquations::filled(0.0);
        sums.chi2 = self.chi2[lane];
        for j in 0..n {
            sums.gradient[j] = self.gradient[j][lane];
        }
        for at in 0..n * (n + 1) / 2 {
            sums.curvature[at] = self.curvature[at][lane];
        }
        sums
    }

    /// Sets the sums of one star with `n` parameters.
    pub fn set_lane(&mut self, n: usize, lane: usize, sums: &NormalEquations) {
        self.chi2[lane] = sums.chi2;
        for j in 0..n {
            self.gradient[j][lane] = sums.gradient[j];
        }
        for at in 0..n * (n + 1) / 2 {
            self.curvature[at][lane] = sums.curvature[at];
        }
    }
}

/// Sums over the residuals at the solution.
#[derive(Debug, Clone, Copy)]
pub struct ResidualSums<T = f64> {
    /// Sum of the absolute residuals.
    pub absolute: T,
    /// Residual of the middle pixel; NaN where it is not used.
    pub central: T,
    /// The largest leverage of a pixel, where there is a sandwich.
    pub leverage: T,
    /// `sum (w r / (1 - h))^2 g g^T` with the leverage `h = w g^T C g`, where `C` is the inverse
    /// curvature: the middle of the sandwich covariance HC3 (MacKinnon and White 1985,
    /// J. Econometrics 29, 305).
    pub sandwich: Symmetric<T>,
}

impl<T: Copy> ResidualSums<T> {
    /// Every sum set to `value`.
    #[inline(always)]
    pub fn filled(value: T) -> Self {
        Self {
            absolute: value,
            central: value,
            leverage: value,
            sandwich: [value; MAX_PACKED],
        }
    }
}
