//! A model as its author writes it.

use std::fmt::Debug;

use super::Kernel;
use crate::model::parameter::Parameter;
use crate::numbers::dual::Dual;
use crate::numbers::matrix::Parameters;
use crate::numbers::real::Real;

/// A model as its author writes it.
pub trait Profile: Debug + Sync + Sized + 'static {
    /// Name on the command line.
    const NAME: &'static str;
    /// One line for people.
    const DESCRIPTION: &'static str;
    /// The parameters that are fitted, in the order of every array of them: coordinates in which
    /// the problem is well conditioned, whatever the catalogue states.
    const PARAMETERS: &'static [Parameter];
    /// Number of the parameters.
    const N: usize = Self::PARAMETERS.len();
    /// The parameters as columns of the catalogue, role for role: what users fix, bound and start from.
    const COLUMNS: &'static [Parameter];
    /// The model in WGSL, as the [form](super::Form) of its sums asks for it.
    const WGSL: &'static str;

    /// Kernel that takes the sums of the model in registers.
    type Kernel: Kernel<Self>;

    /// Value of star and background at the centre of pixel (`x`, `y`), and its derivatives.
    fn evaluate<T: Real>(parameters: &Parameters<T>, x: T, y: T, gradient: &mut Parameters<T>)
    -> T;

    /// Start values.
    fn start(moments: &Moments) -> Parameters;

    /// The values of [`Profile::COLUMNS`].
    fn columns(parameters: &Parameters<Dual>) -> Parameters<Dual>;

    /// Undoes [`Profile::columns`].
    fn from_columns(columns: &Parameters<Dual>) -> Parameters<Dual>;

    /// Further quantities of the catalogue, with the names of their columns.
    fn derived(parameters: &Parameters<Dual>) -> Vec<(&'static str, Dual)>;
}

/// Windowed moments of a star in a cutout, from which each model makes its start values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Integral of the star.
    pub flux: f64,
    /// Column of the centroid, pixels from the centre of the cutout's first pixel.
    pub x: f64,
    /// Row of the centroid, pixels from the centre of the cutout's first pixel.
    pub y: f64,
    /// Variance of the star's light along the rows, as of a Gaussian, square pixels.
    pub xx: f64,
    /// Covariance along rows and columns.
    pub xy: f64,
    /// Variance along the columns.
    pub yy: f64,
    /// Level under the star.
    pub background: f64,
}

impl Moments {
    /// Moments of a round star of this standard deviation.
    pub fn round(flux: f64, (x, y): (f64, f64), sigma: f64, background: f64) -> Self {
        Self {
            flux,
            x,
            y,
            xx: sigma * sigma,
            xy: 0.0,
            yy: sigma * sigma,
            background,
        }
    }

    /// Standard deviation of the light along an axis, from the mean variance of all axes, pixels.
    pub fn sigma(&self) -> f64 {
        (0.5 * (self.xx + self.yy)).sqrt()
    }
}
