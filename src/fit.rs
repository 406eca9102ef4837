//! What a fit found, how it ended and what to know about it.

use std::fmt;

use crate::kernel::quadratic_form;
use crate::model::{MAX_PARAMETERS, Model, Packed, Parameters, Quantity, packed_index};

/// What the fit of one star found, in the image's units and coordinates.
#[derive(Debug, Clone)]
pub struct Fit {
    /// How it ended. Unless [`FitStatus::has_values`] the numbers below mean nothing.
    pub status: FitStatus,
    /// What to know about it.
    pub flags: Flags,
    /// The parameters, in the order of the model.
    pub parameters: Parameters,
    /// Covariance of the parameters, see [`Fit::covariance_of`] for that of catalogue columns: from
    /// the curvature where the noise is known, else the sandwich HC3. Rows and columns of a
    /// parameter at its bound are 0, as nothing is known of its error; those beyond the model's
    /// mean nothing.
    pub covariance: Option<Packed>,
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
    /// None yet.
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
    /// The angle of a star that is nearly round is never more uncertain than one that may be any.
    pub fn error(&self, model: &dyn Model, quantity: &Quantity) -> Option<f64> {
        /// Standard deviation of an angle evenly distributed over half a turn, degrees.
        const ANY_ANGLE: f64 = 51.961_524_227_066_32;
        /// What is left of a fixed quantity's variance where its terms cancel.
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

/// How the fit of one star ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FitStatus {
    /// The predicted decrease of chi-square fell below the tolerance.
    Converged,
    /// The steps allowed were used up; the values are those of the last one.
    MaxIterations,
    /// The pixels do not determine the parameters.
    SingularCurvature,
    /// The model or its sums stopped being finite numbers.
    NotFinite,
    /// Fewer usable pixels than parameters.
    TooFewPixels,
    /// No step, however small, made the fit better, or a parameter ran out of all bounds.
    Diverged,
}

impl FitStatus {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Converged,
        Self::MaxIterations,
        Self::SingularCurvature,
        Self::NotFinite,
        Self::TooFewPixels,
        Self::Diverged,
    ];

    /// Name in the catalogue.
    pub fn name(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::MaxIterations => "max_iterations",
            Self::SingularCurvature => "singular",
            Self::NotFinite => "not_finite",
            Self::TooFewPixels => "too_few_pixels",
            Self::Diverged => "diverged",
        }
    }

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Converged => "no further step would make the fit better",
            Self::MaxIterations => {
                "the steps allowed were used up; the values are those of the last one"
            }
            Self::SingularCurvature => "the pixels do not determine the parameters",
            Self::NotFinite => "the model or its sums stopped being finite numbers",
            Self::TooFewPixels => "fewer usable pixels than parameters",
            Self::Diverged => "no step made the fit better, or a parameter ran out of all bounds",
        }
    }

    /// The status called `name` in catalogues.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether the parameters mean something; else a row keeps its start position only.
    pub fn has_values(self) -> bool {
        matches!(self, Self::Converged | Self::MaxIterations)
    }
}

impl fmt::Display for FitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What to know about a star, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// Part of the cutout is outside the image.
    pub const TRUNCATED: Self = Self(1);
    /// Pixels of the cutout are masked or have no value.
    pub const MASKED: Self = Self(2);
    /// Pixels of the cutout are saturated.
    pub const SATURATED: Self = Self(4);
    /// A parameter ended at its bound.
    pub const NEAR_BOUND: Self = Self(8);
    /// The centroid left the cutout.
    pub const CENTROID_OUTSIDE: Self = Self(16);
    /// The flux is negative.
    pub const NEGATIVE_FLUX: Self = Self(32);
    /// Light of something else reaches into its pixels and moves the flux by more than its error.
    pub const CROWDED: Self = Self(64);
    /// Narrower than any star of the image: hot pixel or cosmic ray.
    pub const SHARP: Self = Self(128);
    /// FWHM under 1.5 pixels, where a model sampled at pixel centres breaks down.
    pub const UNDERSAMPLED: Self = Self(256);
    /// Another row fits the same star.
    pub const DUPLICATE: Self = Self(512);
    /// Much wider than the image's stars: galaxy, lump of a nebula, two stars in one.
    pub const EXTENDED: Self = Self(1024);
    /// The fit left its star, or is worse than those of the image's stars of that brightness.
    pub const POOR_FIT: Self = Self(2048);

    /// Every flag with its name and meaning.
    pub const TABLE: [(Self, &'static str, &'static str); 12] = [
        (
            Self::TRUNCATED,
            "truncated",
            "part of the cutout is outside the image",
        ),
        (
            Self::MASKED,
            "masked",
            "pixels of the cutout are masked or have no value",
        ),
        (
            Self::SATURATED,
            "saturated",
            "pixels of the cutout are saturated",
        ),
        (
            Self::NEAR_BOUND,
            "near_bound",
            "a parameter ended at its bound",
        ),
        (
            Self::CENTROID_OUTSIDE,
            "centroid_outside",
            "the centroid left the cutout",
        ),
        (Self::NEGATIVE_FLUX, "negative_flux", "the flux is negative"),
        (
            Self::CROWDED,
            "crowded",
            "other light moves the flux by more than its error",
        ),
        (
            Self::SHARP,
            "sharp",
            "narrower than a star: hot pixel or cosmic ray",
        ),
        (Self::UNDERSAMPLED, "undersampled", "fwhm under 1.5 pix"),
        (
            Self::DUPLICATE,
            "duplicate",
            "another row fits the same star",
        ),
        (
            Self::EXTENDED,
            "extended",
            "much wider than the image's stars",
        ),
        (
            Self::POOR_FIT,
            "poor_fit",
            "the fit left its star or is worse than those of stars as bright",
        ),
    ];

    /// Whether every bit of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Names of the bits that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let table = Self::TABLE.into_iter();
        table.filter_map(move |(flag, name, _)| self.contains(flag).then_some(name))
    }

    /// Sets the bits of `other` where `condition` holds.
    pub fn set(&mut self, other: Self, condition: bool) {
        if condition {
            self.0 |= other.0;
        }
    }
}
