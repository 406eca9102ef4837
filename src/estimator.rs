//! Cost of a residual: the one place where the estimators differ.

use crate::numbers::real::Real;

/// Terms that one pixel adds to the normal equations.
#[derive(Debug, Clone, Copy)]
pub struct Terms<T> {
    /// Term of chi-square.
    pub cost: T,
    /// Factor of the model's gradient in the gradient.
    pub score: T,
    /// Factor of the gradient's outer product in the curvature.
    pub curvature: T,
}

/// An estimator as arithmetic on one pixel; its WGSL twin has the same three results.
pub trait Estimate {
    /// Whether a pixel costs `weight * (data - model)^2`, so that its curvature is its weight,
    /// whatever data and model are.
    const IS_QUADRATIC: bool;

    /// Terms of a pixel with the value `data`, where the model gives `model`; `weight` is the inverse
    /// variance, or whatever else the estimator must know of the pixel (0: unused, all terms vanish).
    fn terms<T: Real>(data: T, model: T, weight: T) -> Terms<T>;
}

/// Weighted least squares: `weight * (data - model)^2`.
#[derive(Debug, Clone, Copy)]
pub struct LeastSquares;

impl Estimate for LeastSquares {
    const IS_QUADRATIC: bool = true;

    #[inline(always)]
    fn terms<T: Real>(data: T, model: T, weight: T) -> Terms<T> {
        let residual = data - model;
        let score = weight * residual;
        Terms {
            cost: score * residual,
            score,
            curvature: weight,
        }
    }
}

/// Poisson maximum likelihood for counts, by Fisher scoring: twice the log-likelihood ratio
/// `2 (m - d + d ln(d / m))`, whose gradient is `(d - m) / m` and whose expected curvature `1 / m`
/// (W. Cash 1979, ApJ 228, 939).
///
/// Data and model stand on a `level`, both scaled: counts are `level + data` in units that make
/// the variance of a pixel without light above the level 1. So the digits of a faint star on a
/// bright sky are kept, and for a sky far above the star this becomes least squares.
#[derive(Debug, Clone, Copy)]
pub struct Poisson;

/// Cost of a pixel where the model has no light at all: no such step is taken.
pub const REFUSED: f64 = 1e30;

impl Estimate for Poisson {
    const IS_QUADRATIC: bool = false;

    #[inline(always)]
    fn terms<T: Real>(data: T, model: T, level: T) -> Terms<T> {
        let (zero, one) = (level.constant(0.0), level.constant(1.0));
        // Terms of the level alone leave the loop where all pixels have the same level.
        let unit = one / level.if_positive(level, one);
        let relative = model.mul_add(unit, one);
        let reciprocal = one / relative.if_positive(relative, one);
        let excess = ((data - model) * unit * reciprocal).at_least(-1.0);
        let used = level.if_positive(one, zero);
        let cost = level * level * 2.0 * relative * excess.deviance();
        Terms {
            cost: relative.if_positive(cost, used * REFUSED),
            score: relative.if_positive(excess * level, zero),
            curvature: relative.if_positive(used * reciprocal, zero),
        }
    }
}

/// The estimators by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Estimator {
    /// [`LeastSquares`].
    #[default]
    LeastSquares,
    /// [`Poisson`].
    Poisson,
}

/// Evaluates `$body` with `$E` standing for the type of an [`Estimator`].
macro_rules! with_estimator {
    ($estimator:expr, $E:ident => $body:expr) => {
        match $estimator {
            $crate::estimator::Estimator::LeastSquares => {
                type $E = $crate::estimator::LeastSquares;
                $body
            }
            $crate::estimator::Estimator::Poisson => {
                type $E = $crate::estimator::Poisson;
                $body
            }
        }
    };
}
pub(crate) use with_estimator;

impl Estimator {
    /// Every estimator.
    pub const ALL: [Self; 2] = [Self::LeastSquares, Self::Poisson];

    /// Name on the command line and in the catalogue.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeastSquares => "least-squares",
            Self::Poisson => "poisson",
        }
    }

    /// The WGSL function `estimate`.
    pub fn wgsl(self) -> &'static str {
        match self {
            Self::LeastSquares => include_str!("../shaders/estimator/least_squares.wgsl"),
            Self::Poisson => include_str!("../shaders/estimator/poisson.wgsl"),
        }
    }

    /// Whether a pixel costs its weight times the square of its residual.
    pub fn is_quadratic(self) -> bool {
        with_estimator!(self, E => E::IS_QUADRATIC)
    }

    /// Terms that one pixel adds to the normal equations.
    pub fn terms(self, data: f64, model: f64, weight: f64) -> Terms<f64> {
        with_estimator!(self, E => E::terms(data, model, weight))
    }
}
