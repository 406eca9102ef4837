//! How a fit ended, and flags of its star.

use std::fmt;

/// How the fit of one star ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FitStatus {
    /// The predicted decrease of chi-square fell below the tolerance.
    Converged,
    /// The steps allowed were used up; the values are those of the last step.
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

    /// Meaning of the status, in a few words.
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

/// Flags of a star, one bit each.
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
