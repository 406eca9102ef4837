//! What a residual costs: the one place where the estimators differ.

use crate::real::Real;

/// What one pixel adds to the normal equations.
#[derive(Debug, Clone, Copy)]
pub struct Terms<T> {
    /// To chi-square.
    pub cost: T,
    /// Factor of the model's gradient in the gradient.
    pub score: T,
    /// Factor of the gradient's outer product in the curvature.
    pub curvature: T,
}

/// An estimator as arithmetic on one pixel; its WGSL twin has the same three results.
pub trait Estimate {
    /// Terms of a pixel with the value `data`, where the model gives `model` and the inverse
    /// variance is `weight` (0: unused, all terms vanish).
    fn terms<T: Real>(data: T, model: T, weight: T) -> Terms<T>;
}

/// Weighted least squares: `weight * (data - model)^2`.
#[derive(Debug, Clone, Copy)]
pub struct LeastSquares;

impl Estimate for LeastSquares {
    #[inline(always)]
    fn terms<T: Real>(data: T, model: T, weight: T) -> Terms<T> {
        let residual = data - model;
        let score = weight * residual;
        Terms { cost: score * residual, score, curvature: weight }
    }
}

/// The estimators by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Estimator {
    /// [`LeastSquares`].
    #[default]
    LeastSquares,
}

impl Estimator {
    /// Every estimator.
    pub const ALL: [Self; 1] = [Self::LeastSquares];

    /// Name on the command line and in the catalogue.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeastSquares => "least-squares",
        }
    }

    /// The WGSL function `estimate`.
    pub fn wgsl(self) -> &'static str {
        match self {
            Self::LeastSquares => include_str!("../shaders/estimator/least_squares.wgsl"),
        }
    }
}
