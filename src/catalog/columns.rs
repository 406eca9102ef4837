//! The columns of a catalogue: names, order, units and meanings, written here and nowhere else.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::unit::{flux_unit, per_pixel};
use crate::model::{Model, Moments, Parameter};

/// One column of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name in every format.
    pub name: &'static str,
    /// Unit of the values.
    pub unit: Unit,
    /// Type of the values.
    pub kind: Kind,
    /// Meaning of the column as a UCD1+ of the Virtual Observatory.
    pub ucd: &'static str,
    /// Meaning of the column, in a few words.
    pub description: &'static str,
}

/// Type of a column. Every column but `image`, `id`, `status` and `flags` may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Whole number.
    Integer,
    /// Double precision.
    Float,
}

/// Unit of a column; the units of fluxes depend on the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A pure number, or text.
    None,
    /// Pixels.
    Pixel,
    /// Degrees.
    Degree,
    /// Magnitudes.
    Magnitude,
    /// Seconds.
    Second,
    /// Days.
    Day,
    /// The image's unit.
    Flux,
    /// The image's unit for each pixel.
    FluxPerPixel,
    /// Unit of a model's own column, with `adu` for the image's unit.
    Own(&'static str),
}

impl Unit {
    /// The unit as FITS spells it, in an image whose header has this BUNIT; `None` for pure
    /// numbers and text.
    pub fn resolve(self, bunit: Option<&str>) -> Option<Cow<'_, str>> {
        match self {
            Self::None => None,
            Self::Pixel => Some("pix".into()),
            Self::Degree => Some("deg".into()),
            Self::Magnitude => Some("mag".into()),
            Self::Second => Some("s".into()),
            Self::Day => Some("d".into()),
            Self::Flux => Some(flux_unit(bunit)),
            Self::FluxPerPixel => Some(per_pixel(&flux_unit(bunit)).into()),
            Self::Own("") => None,
            Self::Own(unit) if self.is_of_image() => {
                Some(unit.replace(OF_IMAGE, &flux_unit(bunit)).into())
            }
            Self::Own(unit) => Some(unit.into()),
        }
    }

    /// Whether the unit is the image's.
    pub fn is_of_image(self) -> bool {
        match self {
            Self::Flux | Self::FluxPerPixel => true,
            Self::Own(unit) => unit.contains(OF_IMAGE),
            _ => false,
        }
    }
}

/// Name of the image's unit within the unit of a model's parameter.
const OF_IMAGE: &str = "adu";

/// Number of columns.
pub const N_COLUMNS: usize = COLUMNS.len();

/// Position of a column. In a constant, a wrong name does not compile:
/// `const FLUX: usize = position("flux");`
///
/// # Panics
///
/// If there is no such column.
pub const fn position(name: &str) -> usize {
    let mut at = 0;
    while at < COLUMNS.len() {
        if equal(COLUMNS[at].name.as_bytes(), name.as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("no such catalogue column");
}

/// The column of the standard error of `column`, where it has one: in [`COLUMNS`] it follows, and every
/// [own](own_columns) column of a model has one.
pub(crate) fn error_column(column: &str) -> Option<&'static str> {
    let Some(at) = COLUMNS.iter().position(|known| known.name == column) else {
        return Some(kept(format!("{column}_err")));
    };
    let next = COLUMNS.get(at + 1)?.name;
    (next.strip_suffix("_err") == Some(column)).then_some(next)
}

/// The columns that a model states and [`COLUMNS`] lacks, each followed by the column of its error.
pub fn own_columns(model: &dyn Model) -> Vec<Column> {
    let parameter = |name: &str| model.columns().iter().find(|own| own.name == name);
    // The names are the same for any star.
    let star = model.start(&Moments::round(1.0, (0.0, 0.0), 1.0, 0.0));
    let names = model.quantities(&star).into_iter();
    let names = names.map(|quantity| quantity.column);
    let is_own = |name: &&str| COLUMNS.iter().all(|column| column.name != *name);
    names
        .filter(is_own)
        .flat_map(|name| {
            let unit = parameter(name).map_or("", |Parameter { unit, .. }| unit);
            let description = match parameter(name) {
                Some(parameter) => parameter.description,
                None => kept(format!("{name} as {} states it", model.name())),
            };
            let (unit, error) = (Unit::Own(unit), kept(format!("{name}_err")));
            let of_error = kept(format!("standard error of {name}"));
            [
                float(name, unit, "", description),
                float(error, unit, "stat.error", of_error),
            ]
        })
        .collect()
}

/// Keeps one copy of a text until the program ends: there are only as many texts as own columns of models.
pub(super) fn kept(text: String) -> &'static str {
    static KEPT: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut all = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(text.as_str()) {
        return known;
    }
    let text: &'static str = text.leak();
    all.insert(text);
    text
}

// Traits cannot be called in constants yet.
const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn column(
    name: &'static str,
    unit: Unit,
    kind: Kind,
    ucd: &'static str,
    description: &'static str,
) -> Column {
    Column {
        name,
        unit,
        kind,
        ucd,
        description,
    }
}

const fn float(
    name: &'static str,
    unit: Unit,
    ucd: &'static str,
    description: &'static str,
) -> Column {
    column(name, unit, Kind::Float, ucd, description)
}

const fn integer(name: &'static str, ucd: &'static str, description: &'static str) -> Column {
    column(name, Unit::None, Kind::Integer, ucd, description)
}

const fn text(name: &'static str, ucd: &'static str, description: &'static str) -> Column {
    column(name, Unit::None, Kind::Text, ucd, description)
}

/// Every column, in the order of every format. An `_err` is one standard deviation.
#[rustfmt::skip]
pub const COLUMNS: &[Column] = &[
    text("image", "meta.id;obs.image", "image: file name, HDU and, for a cube, plane"),
    integer("id", "meta.id;meta.main", "number of the star in its image, from 0"),
    float("x", Unit::Pixel, "pos.cartesian.x;instr.det", "centroid along a row; centre of the first pixel = 0"),
    float("x_err", Unit::Pixel, "stat.error;pos.cartesian.x;instr.det", "standard error of x"),
    float("y", Unit::Pixel, "pos.cartesian.y;instr.det", "centroid along a column; centre of the first pixel = 0"),
    float("y_err", Unit::Pixel, "stat.error;pos.cartesian.y;instr.det", "standard error of y"),
    float("ra", Unit::Degree, "pos.eq.ra;meta.main", "right ascension, ICRS"),
    float("ra_err", Unit::Degree, "stat.error;pos.eq.ra", "standard error of ra, on the sky (times cos dec)"),
    float("dec", Unit::Degree, "pos.eq.dec;meta.main", "declination, ICRS"),
    float("dec_err", Unit::Degree, "stat.error;pos.eq.dec", "standard error of dec"),
    float("flux", Unit::Flux, "phot.flux", "integral of the model over the plane"),
    float("flux_err", Unit::Flux, "stat.error;phot.flux", "standard error of flux"),
    float("mag", Unit::Magnitude, "phot.mag", "magnitude, from the given zero point"),
    float("mag_err", Unit::Magnitude, "stat.error;phot.mag", "standard error of mag"),
    float("background", Unit::FluxPerPixel, "instr.skyLevel", "level under the star"),
    float("background_err", Unit::FluxPerPixel, "stat.error;instr.skyLevel", "standard error of background"),
    float("peak", Unit::FluxPerPixel, "phot.flux;stat.max", "height of the model above the background"),
    float("fwhm", Unit::Pixel, "phys.angSize;instr.det.psf", "full width at half maximum, geometric mean of both axes"),
    float("fwhm_err", Unit::Pixel, "stat.error;phys.angSize;instr.det.psf", "standard error of fwhm"),
    float("fwhm_major", Unit::Pixel, "phys.angSize.smajAxis;instr.det.psf", "full width at half maximum along the major axis"),
    float("fwhm_major_err", Unit::Pixel, "stat.error;phys.angSize.smajAxis;instr.det.psf", "standard error of fwhm_major"),
    float("fwhm_minor", Unit::Pixel, "phys.angSize.sminAxis;instr.det.psf", "full width at half maximum along the minor axis"),
    float("fwhm_minor_err", Unit::Pixel, "stat.error;phys.angSize.sminAxis;instr.det.psf", "standard error of fwhm_minor"),
    float("theta", Unit::Degree, "pos.posAng;instr.det.psf", "angle of the major axis from +x to +y, in [-90, 90)"),
    float("theta_err", Unit::Degree, "stat.error;pos.posAng;instr.det.psf", "standard error of theta"),
    float("ellipticity", Unit::None, "src.ellipticity", "1 - fwhm_minor / fwhm_major; round models: from moments"),
    float("beta", Unit::None, "src.morph.param", "exponent of the Moffat profile"),
    float("beta_err", Unit::None, "stat.error;src.morph.param", "standard error of beta"),
    float("snr", Unit::None, "stat.snr", "flux / flux_err"),
    float("chi2", Unit::None, "stat.fit.chi2", "chi-square of the fit; poisson: twice the log-likelihood ratio"),
    integer("dof", "stat.fit.dof", "degrees of freedom: pixels used less free parameters"),
    float("reduced_chi2", Unit::None, "stat.fit.goodness", "chi2 / dof"),
    float("qfit", Unit::None, "stat.fit.residual", "sum of absolute residuals / flux"),
    float("cfit", Unit::None, "stat.fit.residual", "residual of the central pixel / flux"),
    integer("n_pixels", "meta.number;instr.pixel", "pixels used"),
    integer("n_iterations", "meta.number", "steps made"),
    text("status", "meta.code.status", "how the fit ended"),
    integer("flags", "meta.code.qual", "sum of 1 truncated, 2 masked, 4 saturated, 8 near_bound, 16 centroid_outside, 32 negative_flux, 64 crowded, 128 sharp, 256 undersampled, 512 duplicate, 1024 extended, 2048 poor_fit"),
    float("flux_r", Unit::Flux, "phot.flux;em.opt.R", "of a colour frame: flux in its red pixels, as if all were red"),
    float("flux_r_err", Unit::Flux, "stat.error;phot.flux;em.opt.R", "standard error of flux_r"),
    float("flux_g", Unit::Flux, "phot.flux;em.opt.V", "of a colour frame: flux in its green pixels, as if all were green"),
    float("flux_g_err", Unit::Flux, "stat.error;phot.flux;em.opt.V", "standard error of flux_g"),
    float("flux_b", Unit::Flux, "phot.flux;em.opt.B", "of a colour frame: flux in its blue pixels, as if all were blue"),
    float("flux_b_err", Unit::Flux, "stat.error;phot.flux;em.opt.B", "standard error of flux_b"),
    text("name", "meta.id", "name of the star in the list of positions"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::Flags;

    #[test]
    fn names_and_order_are_the_contract() {
        let contract = "image id x x_err y y_err ra ra_err dec dec_err flux flux_err mag mag_err \
            background background_err peak fwhm fwhm_err fwhm_major fwhm_major_err fwhm_minor \
            fwhm_minor_err theta theta_err ellipticity beta beta_err snr chi2 dof reduced_chi2 \
            qfit cfit n_pixels n_iterations status flags flux_r flux_r_err flux_g flux_g_err \
            flux_b flux_b_err name";
        let names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
        assert_eq!(names, contract.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn kinds_are_the_contract() {
        let of = |kind| {
            let named = COLUMNS.iter().filter(|column| column.kind == kind);
            named.map(|column| column.name).collect::<Vec<_>>()
        };
        assert_eq!(of(Kind::Text), ["image", "status", "name"]);
        let integers = ["id", "dof", "n_pixels", "n_iterations", "flags"];
        assert_eq!(of(Kind::Integer), integers);
    }

    #[test]
    fn units_are_the_contract() {
        for column in COLUMNS {
            let expected = match column.name.trim_end_matches("_err") {
                "x" | "y" | "fwhm" | "fwhm_major" | "fwhm_minor" => Some("pix"),
                "ra" | "dec" | "theta" => Some("deg"),
                "mag" => Some("mag"),
                "flux" | "flux_r" | "flux_g" | "flux_b" => Some("ct/s"),
                "background" | "peak" => Some("ct/(s.pix)"),
                _ => None,
            };
            assert_eq!(
                column.unit.resolve(Some("ct/s")).as_deref(),
                expected,
                "{}",
                column.name
            );
        }
    }

    #[test]
    fn flux_units_default_to_adu() {
        for bunit in [None, Some(""), Some("  "), Some("ADU"), Some("adu ")] {
            assert_eq!(Unit::Flux.resolve(bunit).as_deref(), Some("adu"));
            assert_eq!(
                Unit::FluxPerPixel.resolve(bunit).as_deref(),
                Some("adu/pix")
            );
        }
        assert_eq!(Unit::Flux.resolve(Some("Jy")).as_deref(), Some("Jy"));
    }

    #[test]
    fn errors_follow_their_column_and_share_its_unit() {
        let mut errors = 0;
        for pair in COLUMNS.windows(2) {
            let [value, error] = pair else { continue };
            if let Some(name) = error.name.strip_suffix("_err") {
                assert_eq!(name, value.name);
                assert_eq!(error_column(name), Some(error.name));
                assert_eq!(error.unit, value.unit);
                assert_eq!(error.ucd.split(';').next(), Some("stat.error"));
                errors += 1;
            }
        }
        assert_eq!(errors, 15);
    }

    #[test]
    fn the_description_of_flags_names_every_flag() {
        let description = COLUMNS[position("flags")].description;
        let listed: Vec<_> = description
            .trim_start_matches("sum of ")
            .split(", ")
            .collect();
        let table = Flags::TABLE.map(|(flag, name, _)| format!("{} {name}", flag.0));
        assert_eq!(listed, table);
    }

    #[test]
    fn positions_are_found() {
        const FLUX: usize = position("flux");
        assert_eq!(COLUMNS[FLUX].name, "flux");
        assert!(std::panic::catch_unwind(|| position("flu")).is_err());
    }
}
