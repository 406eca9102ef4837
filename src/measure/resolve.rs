//! What the user fixes, bounds and starts from, by the names of columns, as constraints of a star.

use super::MeasureOptions;
use crate::constraints::Constraints;
use crate::error::{Error, Result};
use crate::model::{Model, Parameter, Role};
use crate::star::{Star, StarList};

/// Works out the constraints of each star of an image.
pub(super) struct Resolver<'a> {
    model: &'static dyn Model,
    /// What holds for all stars.
    common: Constraints,
    list: Option<&'a StarList>,
    /// For each column of the model the places of its start value, lowest and highest in the list.
    places: Vec<[Option<usize>; 3]>,
    /// The place in the list of a width that stands for both axes.
    round_fwhm: Option<usize>,
    /// Subtracted from what the user says, by column.
    offsets: Vec<f64>,
    /// What the model allows.
    limits: Vec<(f64, f64)>,
}

impl<'a> Resolver<'a> {
    /// For cutouts of this width and height, whose pixels have lost the level `bias`.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for a name that is no column of the model, or values that contradict each
    /// other or the model.
    pub(super) fn new(
        model: &'static dyn Model,
        options: &MeasureOptions,
        list: Option<&'a StarList>,
        (width, height): (usize, usize),
        bias: f64,
    ) -> Result<Self> {
        let columns = model.columns();
        let origin = if options.one_based { 1.0 } else { 0.0 };
        let offset = |column: &Parameter| match column.role {
            Role::X | Role::Y => origin,
            Role::Background => bias,
            Role::Flux | Role::Shape => 0.0,
        };
        let limit = |column: &Parameter| match column.role {
            Role::Shape => (column.bounds)(width.max(height) as f64),
            // The rest depends on where the cutout is.
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        let place = |name: &str| list.and_then(|list| list.column(name));
        let is_elliptical = columns.iter().any(|column| column.name == "fwhm_major");
        let mut resolver = Self {
            model,
            common: Constraints::default(),
            list,
            places: columns
                .iter()
                .map(|column| {
                    let name = column.name;
                    ["", "_min", "_max"].map(|ending| place(&format!("{name}{ending}")))
                })
                .collect(),
            round_fwhm: place("fwhm").filter(|_| is_elliptical),
            offsets: columns.iter().map(offset).collect(),
            limits: columns.iter().map(limit).collect(),
        };
        for (name, low, high) in &options.bounds {
            let j = resolver.column("--bound", name)?;
            resolver.common.low[j] = low - resolver.offsets[j];
            resolver.common.high[j] = high - resolver.offsets[j];
        }
        for (name, value) in &options.fixed {
            let j = resolver.column("--fix", name)?;
            resolver.common.fixed |= 1 << j;
            if let Some(value) = value {
                resolver.common.start[j] = value - resolver.offsets[j];
                resolver.places[j][0] = None;
            }
        }
        resolver.check(&resolver.common, None)?;
        Ok(resolver)
    }

    fn column(&self, option: &str, name: &str) -> Result<usize> {
        let columns = self.model.columns();
        let names = || {
            columns
                .iter()
                .map(|c| c.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let place = columns.iter().position(|column| column.name == name);
        place.ok_or_else(|| Error::Option {
            option: option.into(),
            expected: format!("a parameter of {}: {}", self.model.name(), names()),
            found: name.into(),
            hint: (name == "fwhm").then(|| "an ellipse has fwhm_major and fwhm_minor".into()),
        })
    }

    /// The constraints of a star; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] where the list's values contradict each other or the bounds.
    pub(super) fn of(&self, star: &Star) -> Result<Option<Constraints>> {
        let mut constraints = self.common;
        for (j, column) in self.model.columns().iter().enumerate() {
            let given = |place: Option<usize>| {
                let list = self.list?;
                let value = list.value(place?, star.id) - self.offsets[j];
                (!value.is_nan()).then_some(value)
            };
            let [start, low, high] = self.places[j].map(given);
            // The list's own x and y are where to look; held is what is asked to be held.
            let position = match column.role {
                Role::X if constraints.is_fixed(j) => Some(star.x),
                Role::Y if constraints.is_fixed(j) => Some(star.y),
                Role::X | Role::Y => None,
                _ => start,
            };
            if let Some(value) = position.filter(|_| constraints.start[j].is_nan()) {
                constraints.start[j] = value;
            }
            constraints.low[j] = low.unwrap_or(constraints.low[j]);
            constraints.high[j] = high.unwrap_or(constraints.high[j]);
        }
        if let Some((list, place)) = self.list.zip(self.round_fwhm) {
            let width = list.value(place, star.id);
            for (j, column) in self.model.columns().iter().enumerate() {
                let is_axis = matches!(column.name, "fwhm_major" | "fwhm_minor");
                if is_axis && constraints.start[j].is_nan() {
                    constraints.start[j] = width;
                }
            }
        }
        if constraints == Constraints::default() {
            return Ok(None);
        }
        self.check(&constraints, Some(star))?;
        Ok(Some(constraints))
    }

    /// Whether values and bounds go together.
    fn check(&self, constraints: &Constraints, star: Option<&Star>) -> Result<()> {
        for (j, column) in self.model.columns().iter().enumerate() {
            let offset = self.offsets[j];
            let (low, high) = (constraints.low[j], constraints.high[j]);
            let (lowest, highest) = self.limits[j];
            let range = |low: f64, high: f64| {
                let unit = column.unit;
                format!("{} to {} {unit}", low + offset, high + offset)
                    .trim_end()
                    .to_owned()
            };
            let wrong = |expected: String, found: String, hint: &str| Error::Option {
                option: match (star, self.list) {
                    (Some(star), Some(list)) => {
                        format!("{}, star {}: {}", list.file, star.id, column.name)
                    }
                    _ => column.name.into(),
                },
                expected,
                found,
                hint: Some(hint.into()),
            };
            // Also true for NaN.
            if !(low <= high && low.max(lowest) <= high.min(highest)) {
                return Err(wrong(
                    format!("bounds within {}", range(lowest, highest)),
                    range(low, high),
                    "--bound NAME=LO:HI, or the columns NAME_min and NAME_max, set them",
                ));
            }
            let mut start = constraints.start[j];
            if column.name == "theta" && low.is_finite() {
                // The same angle half a turn on.
                start = low + (start - low).rem_euclid(180.0);
            }
            if start < low || start > high {
                return Err(wrong(
                    format!("a start within its bounds, {}", range(low, high)),
                    format!("{} {}", start + offset, column.unit)
                        .trim_end()
                        .into(),
                    "move the start value or the bounds",
                ));
            }
            let fixed_in_vain = start < lowest || start > highest;
            if constraints.is_fixed(j) && fixed_in_vain {
                return Err(wrong(
                    format!("a value that the model allows, {}", range(lowest, highest)),
                    format!("{} {}", start + offset, column.unit)
                        .trim_end()
                        .into(),
                    "starfit models lists the bounds",
                ));
            }
        }
        Ok(())
    }
}
