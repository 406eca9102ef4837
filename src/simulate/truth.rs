//! The truth about a simulated star, and how it is written down.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{brightness, get};
use crate::catalog::{COLUMNS, Row, Value};
use crate::error::{Error, Result};
use crate::fit::{FitStatus, Flags};
use crate::io::replace_file;
use crate::model::{Model, Moments, Role};
use crate::numbers::matrix::{Parameters, Symmetric, quadratic_form};
use crate::wcs::{Sky, Wcs};

/// The truth about one star.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// The model's parameters, in the coordinates of the image or of the star's own cutout.
    pub parameters: Parameters,
    /// Cramer-Rao bound on the covariance of any unbiased fit, all parameters free, of a whole
    /// cutout with no other star in it; `None` where the pixels do not determine the parameters.
    pub covariance: Option<Symmetric>,
    /// Column of the centre, pixels.
    pub x: f64,
    /// Row of the centre, pixels.
    pub y: f64,
    /// Integral of the star, adu.
    pub flux: f64,
    /// Bound on the standard error of the flux, adu; NaN where there is none.
    pub flux_err: f64,
    /// `flux / flux_err`.
    pub snr: f64,
    /// [`Flags::TRUNCATED`] and [`Flags::SATURATED`], of the cutout.
    pub flags: Flags,
}

impl Truth {
    pub(super) fn new(
        model: &dyn Model,
        parameters: Parameters,
        covariance: Option<Symmetric>,
    ) -> Self {
        let flux = brightness(model, &parameters);
        let n = model.parameters().len();
        let variance = covariance.map(|c| quadratic_form(n, &c, &flux.gradient));
        let (flux, flux_err) = (flux.value, variance.map_or(f64::NAN, f64::sqrt));
        Self {
            x: get(model, &parameters, Role::X),
            y: get(model, &parameters, Role::Y),
            flux,
            flux_err,
            snr: flux / flux_err,
            parameters,
            covariance,
            flags: Flags::default(),
        }
    }

    /// The star moved to where its cutout's first pixel has these coordinates.
    pub(super) fn moved(mut self, model: &dyn Model, (dx, dy): (f64, f64)) -> Self {
        for (value, parameter) in self.parameters.iter_mut().zip(model.parameters()) {
            match parameter.role {
                Role::X => *value += dx,
                Role::Y => *value += dy,
                Role::Flux | Role::Background | Role::Shape => {}
            }
        }
        self.x += dx;
        self.y += dy;
        self
    }

    /// The star as a row of a catalogue whose standard errors are the bounds.
    fn row(&self, id: usize, model: &dyn Model, sky: Option<Sky>) -> Row {
        let n = model.parameters().len();
        let mut row = Row::new(id, FitStatus::Converged, self.flags);
        for quantity in model.quantities(&self.parameters) {
            row.set(quantity.column, quantity.value);
            if let (Some(name), Some(covariance)) =
                (error_column(quantity.column), &self.covariance)
            {
                row.set(
                    name,
                    quadratic_form(n, covariance, &quantity.gradient).sqrt(),
                );
            }
        }
        row.set("snr", self.snr);
        if let Some(sky) = sky {
            row.set("ra", sky.ra);
            row.set("dec", sky.dec);
        }
        row
    }
}

/// The column of a quantity's standard error, if the catalogue has one.
fn error_column(column: &str) -> Option<&'static str> {
    let mut names = COLUMNS.iter().map(|column| column.name);
    names.find(|name| name.strip_suffix("_err") == Some(column))
}

/// Path of the truth about an output: `m13.fits.truth.csv` beside `m13.fits`.
pub fn truth_path(output: impl AsRef<Path>) -> PathBuf {
    let mut path = output.as_ref().as_os_str().to_owned();
    path.push(".truth.csv");
    path.into()
}

/// Writes the truth as CSV, under the names and in the order of the catalogue's columns, through
/// a temporary file.
pub(super) fn write(
    path: &Path,
    model: &dyn Model,
    truth: &[Truth],
    wcs: Option<&Wcs>,
) -> Result<()> {
    let used = used_columns(model, wcs.is_some());
    replace_file(path, |out| {
        write_rows(out, &used, model, truth, wcs).map_err(|e| Error::io(path, e))
    })
}

fn write_rows(
    out: &mut dyn Write,
    used: &[bool],
    model: &dyn Model,
    truth: &[Truth],
    wcs: Option<&Wcs>,
) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    let names = COLUMNS.iter().zip(used).filter(|(_, used)| **used);
    csv.write_record(names.map(|(column, _)| column.name))?;
    for (id, star) in truth.iter().enumerate() {
        let row = star.row(id, model, wcs.and_then(|wcs| wcs.to_sky(star.x, star.y)));
        let values = row.values("").zip(used).filter(|(_, used)| **used);
        csv.write_record(values.map(|(value, _)| match value {
            Value::Null => String::new(),
            Value::Integer(value) => value.to_string(),
            // As few digits as give the same number back.
            Value::Float(value) => format!("{value:?}"),
            Value::Text(text) => text.to_owned(),
        }))?;
    }
    csv.flush()
}

/// Which of the catalogue's columns a model's truth has.
fn used_columns(model: &dyn Model, sky: bool) -> Vec<bool> {
    let any = model.start(&Moments::round(1.0, (0.0, 0.0), 1.0, 0.0));
    let quantities = model.quantities(&any);
    let used = |name: &str| {
        let of_model = name.strip_suffix("_err").unwrap_or(name);
        matches!(name, "id" | "snr" | "flags")
            || (sky && matches!(name, "ra" | "dec"))
            || quantities.iter().any(|q| q.column == of_model)
    };
    COLUMNS.iter().map(|column| used(column.name)).collect()
}
