//! Parameters and their roles. Parameters that several models share are written here once.

/// Role of a parameter: says how it goes over from a cutout scaled to order 1 to the image's units and
/// coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Integral of the star over the plane, or its height; scales with the pixel values, and the
    /// star with it: a model is `flux * profile + background`.
    Flux,
    /// Column of the centre, pixels.
    X,
    /// Row of the centre, pixels.
    Y,
    /// Level under the star; scales with the pixel values and moves with their pedestal.
    Background,
    /// Width, orientation, wings: the same in cutout and image.
    Shape,
}

/// How far one step of a solver may move a parameter. Far from the minimum a step is a guess, and
/// one that makes a star vanish or flood its cutout leaves nothing to fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reach {
    /// No limit.
    Any,
    /// This difference at most.
    Difference(f64),
    /// This factor at most, up or down; for positive parameters.
    Factor(f64),
}

impl Reach {
    /// Lowest and highest value that one step from `value` may lead to.
    pub fn from(self, value: f64) -> (f64, f64) {
        match self {
            Self::Any => (f64::NEG_INFINITY, f64::INFINITY),
            Self::Difference(most) => (value - most, value + most),
            Self::Factor(most) => (value / most, value * most),
        }
    }
}

/// Factor by which one step may make a star wider or narrower: of the 5,307 stars that are found in
/// Spitzer's image, many of them one pixel wide, 20 end singular; with 2 it is 34, without a limit
/// 167, and with 1.2 other images lose more.
const WIDEST_STEP: f64 = 1.5;

/// Logarithm of [`WIDEST_STEP`].
const LN_WIDEST_STEP: f64 = 0.405_465_108_108_164_4;

/// One parameter of a model.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Name; of a catalogue column, unless only the fit sees the parameter.
    pub name: &'static str,
    /// Unit in FITS spelling; empty for a pure number.
    pub unit: &'static str,
    /// Role of the parameter.
    pub role: Role,
    /// Lowest and highest value allowed in a cutout of this `side` in pixels: the width for
    /// [`Role::X`], the height for [`Role::Y`], the longer of both for the rest.
    pub bounds: fn(side: f64) -> (f64, f64),
    /// Factor of the parameter's step in gradient descent, relative to the learning rate.
    pub rate: f64,
    /// How far one step of Levenberg-Marquardt may move the parameter.
    pub reach: Reach,
    /// Source of the start value unless the user gives one.
    pub start: &'static str,
    /// One line for people.
    pub description: &'static str,
}

impl Parameter {
    /// Whether a parameter that ended at this value only says that the star has no wings: the exponent
    /// of a Moffat profile that is as good as a Gaussian. The fit is not at fault.
    pub(crate) fn is_wingless(&self, value: f64) -> bool {
        if self.name == BETA.name {
            value >= INVERSE_BETA.0.recip()
        } else {
            self.name == BETA_INVERSE.name && value <= INVERSE_BETA.0
        }
    }
}

/// Full width at half maximum of a Gaussian over its standard deviation.
pub const FWHM_OF_SIGMA: f64 = 2.354_820_045_030_949_3;

/// Narrowest and widest star, as the standard deviation of a Gaussian, in a cutout of that side.
/// Below 0.2 pixel all light of a centred star falls on one sampled point and nothing depends on
/// its width any more; a star wider than its cutout is a background.
fn sigmas(side: f64) -> (f64, f64) {
    (0.2, side)
}

fn unbounded(_side: f64) -> (f64, f64) {
    (f64::NEG_INFINITY, f64::INFINITY)
}

/// Half a cutout beyond its rim, where its pixels say little any more.
fn within_reach(side: f64) -> (f64, f64) {
    (-0.5 * side, 1.5 * side)
}

fn widths(side: f64) -> (f64, f64) {
    let (low, high) = sigmas(side);
    (low * FWHM_OF_SIGMA, high * FWHM_OF_SIGMA)
}

fn ln_widths(side: f64) -> (f64, f64) {
    let (low, high) = widths(side);
    (low.ln(), high.ln())
}

/// `1 / beta`: at 1 the flux is infinite, at 0 the profile is a Gaussian.
const INVERSE_BETA: (f64, f64) = (0.02, 0.95);

/// Integral of the star over the plane.
pub const FLUX: Parameter = Parameter {
    name: "flux",
    unit: "adu",
    role: Role::Flux,
    bounds: unbounded,
    rate: 150.0,
    reach: Reach::Any,
    start: "windowed moments",
    description: "integral of the star over the plane",
};

/// Height of a Moffat's centre. The flux reaches to infinity with the wings, and tends to infinity as
/// beta nears 1, however well the pixels determine the core.
pub const PEAK: Parameter = Parameter {
    name: "peak",
    unit: "adu/pix",
    rate: 2.0,
    description: "height above the background",
    ..FLUX
};

/// Column of the centre.
pub const X: Parameter = Parameter {
    name: "x",
    unit: "pix",
    role: Role::X,
    bounds: within_reach,
    rate: 1.0,
    reach: Reach::Any,
    start: "windowed moments",
    description: "column of the centre",
};

/// Row of the centre.
pub const Y: Parameter = Parameter {
    name: "y",
    unit: "pix",
    role: Role::Y,
    bounds: within_reach,
    rate: 1.0,
    reach: Reach::Any,
    start: "windowed moments",
    description: "row of the centre",
};

/// Level under the star.
pub const BACKGROUND: Parameter = Parameter {
    name: "background",
    unit: "adu/pix",
    role: Role::Background,
    bounds: unbounded,
    // The blog post has no background. The background's curvature is 1 in scaled data, some hundred
    // times the flux's: with a rate of 1, descent at learning rate 2 diverges.
    rate: 0.1,
    reach: Reach::Any,
    start: "median of the rim",
    description: "level under the star",
};

/// Standard deviation of a Gaussian: the blog post's parameter of the width.
pub const SIGMA: Parameter = Parameter {
    name: "sigma",
    unit: "pix",
    role: Role::Shape,
    bounds: sigmas,
    rate: 4.5,
    reach: Reach::Factor(WIDEST_STEP),
    start: "windowed moments",
    description: "standard deviation; fwhm = 2.3548 sigma",
};

/// Full width at half maximum.
pub const FWHM: Parameter = Parameter {
    name: "fwhm",
    unit: "pix",
    role: Role::Shape,
    bounds: widths,
    rate: SIGMA.rate * FWHM_OF_SIGMA * FWHM_OF_SIGMA,
    reach: Reach::Factor(WIDEST_STEP),
    start: "windowed moments",
    description: "full width at half maximum",
};

/// Full width at half maximum along the major axis.
pub const FWHM_MAJOR: Parameter = Parameter {
    name: "fwhm_major",
    description: "full width at half maximum along the major axis",
    ..FWHM
};

/// Full width at half maximum along the minor axis.
pub const FWHM_MINOR: Parameter = Parameter {
    name: "fwhm_minor",
    description: "full width at half maximum along the minor axis",
    ..FWHM
};

/// Minor over major axis, where one of them is not fitted itself. Short of 1, so that the angle
/// always means something.
pub(crate) const RATIO: Parameter = Parameter {
    name: "ratio",
    unit: "",
    bounds: |_| (0.05, 0.9999),
    rate: 3.0,
    description: "minor over major axis",
    ..FWHM
};

/// Angle of the major axis, from +x to +y.
pub const THETA: Parameter = Parameter {
    name: "theta",
    unit: "deg",
    role: Role::Shape,
    bounds: unbounded,
    rate: 10_000.0,
    reach: Reach::Difference(45.0),
    start: "windowed moments",
    description: "angle of the major axis from +x to +y",
};

/// Exponent of a Moffat profile.
pub const BETA: Parameter = Parameter {
    name: "beta",
    unit: "",
    role: Role::Shape,
    bounds: |_| (INVERSE_BETA.1.recip(), INVERSE_BETA.0.recip()),
    rate: 100.0,
    reach: Reach::Factor(2.0),
    start: "3",
    description: "exponent of the Moffat profile",
};

/// Typical exponent of a star's wings behind the atmosphere; where the fit of a Moffat starts.
pub const TYPICAL_BETA: f64 = 3.0;

/// Logarithm of a width: a step is a factor, and no step makes it negative.
pub const LN_FWHM: Parameter = Parameter {
    name: "ln_fwhm",
    unit: "",
    role: Role::Shape,
    bounds: ln_widths,
    rate: 1.3,
    reach: Reach::Difference(LN_WIDEST_STEP),
    start: "windowed moments",
    description: "logarithm of the full width at half maximum",
};

/// Logarithm of the full width along the row through the centre. Written by this, the shear and the
/// width across the rows, an ellipse has no angle, which would mean nothing for a circle.
pub const LN_WIDTH_X: Parameter = Parameter {
    name: "ln_width_x",
    description: "logarithm of the full width along the row through the centre",
    rate: 3.0,
    ..LN_FWHM
};

/// Shift of the rows against each other.
pub const SHEAR: Parameter = Parameter {
    name: "shear",
    // An ellipse 16 times as long as it is wide, at the worst angle, has a shear of 8.
    bounds: |_| (-8.0, 8.0),
    description: "shift of the rows against each other, in pixels to a pixel",
    rate: 2.0,
    ..LN_FWHM
};

/// Logarithm of the full width at half maximum across the rows.
pub const LN_WIDTH_Y: Parameter = Parameter {
    name: "ln_width_y",
    description: "logarithm of the full height",
    rate: 3.0,
    ..LN_FWHM
};

/// `1 / beta` of a Moffat profile: beta itself and the width are correlated by 0.99, and beta runs away
/// to infinity, a Gaussian, which is 0 here.
pub const BETA_INVERSE: Parameter = Parameter {
    name: "inverse_beta",
    unit: "",
    role: Role::Shape,
    bounds: |_| INVERSE_BETA,
    rate: 1.5,
    reach: Reach::Any,
    start: "1/3",
    description: "1 / beta",
};
