//! Constraints of a star from the fixed values, bounds and start values that the user gives by the names of
//! columns.

use std::sync::Arc;

use super::MeasureOptions;
use crate::constraints::Constraints;
use crate::error::{Error, Result};
use crate::model::{MODELS, Model, Parameter, Role};
use crate::star::{Star, StarList};

/// Cutouts, as far as constraints depend on them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// Name of the image in messages; empty before there is one.
    pub(super) name: &'a str,
    /// The longer side of the cutouts, pixels.
    pub(super) side: f64,
    /// Level that was subtracted from the pixels of the cutouts.
    pub(super) bias: f64,
}

/// Works out the constraints of each star of an image.
pub(super) struct Resolver<'a> {
    model: &'static dyn Model,
    frame: Frame<'a>,
    /// Constraints of all stars.
    common: Constraints,
    list: Option<&'a StarList>,
    /// Places in the list of the start value, lowest and highest value of each column of the model.
    places: Vec<[Option<usize>; 3]>,
    /// The place in the list of a width that stands for both axes.
    round_fwhm: Option<usize>,
    /// Offsets to subtract from the user's values, by column.
    offsets: Vec<f64>,
    /// Limits by the model, of each column.
    limits: Vec<(f64, f64)>,
}

impl<'a> Resolver<'a> {
    /// # Errors
    ///
    /// [`Error::Option`] for a name that is no column of the model, or values that contradict each
    /// other or the model; [`Error::Malformed`] where a column of the list that is a start value or
    /// a bound holds something else than numbers.
    pub(super) fn new(
        model: &'static dyn Model,
        options: &MeasureOptions,
        list: Option<&'a StarList>,
        frame: Frame<'a>,
    ) -> Result<Self> {
        let columns = model.columns();
        let origin = if options.one_based { 1.0 } else { 0.0 };
        let offset = |column: &Parameter| match column.role {
            Role::X | Role::Y => origin,
            Role::Background => frame.bias,
            Role::Flux | Role::Shape => 0.0,
        };
        let limit = |column: &Parameter| match column.role {
            Role::Shape => (column.bounds)(frame.side),
            // Limits of other columns depend on the place of the cutout.
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        };
        let mut resolver = Self {
            model,
            frame,
            common: Constraints::default(),
            list,
            places: vec![[None; 3]; columns.len()],
            round_fwhm: None,
            offsets: columns.iter().map(offset).collect(),
            limits: columns.iter().map(limit).collect(),
        };
        let mut bounded = 0;
        for (name, low, high) in &options.bounds {
            let j = resolver.column("--bound", name, &mut bounded)?;
            resolver.common.low[j] = low - resolver.offsets[j];
            resolver.common.high[j] = high - resolver.offsets[j];
        }
        let mut fixed = 0;
        for (name, value) in &options.fixed {
            let j = resolver.column("--fix", name, &mut fixed)?;
            if let Some(value) = value {
                resolver.common.start[j] = value - resolver.offsets[j];
            }
        }
        resolver.common.fixed = fixed;
        if let Some(list) = list {
            resolver.find_columns(list)?;
        }
        resolver.check(&resolver.common, None)?;
        Ok(resolver)
    }

    /// The place of the column `name`, which is added to those `named` before.
    fn column(&self, option: &str, name: &str, named: &mut u8) -> Result<usize> {
        let columns = self.model.columns();
        let Some(j) = columns.iter().position(|column| column.name == name) else {
            let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
            return Err(Error::Option {
                option: option.into(),
                expected: format!(
                    "a parameter of {} ({})",
                    self.model.name(),
                    names.join(", ")
                ),
                found: name.into(),
                hint: self.advice_on(name),
            });
        };
        if *named >> j & 1 == 1 {
            return Err(Error::Option {
                option: format!("{option} {name}"),
                expected: "it once".into(),
                found: "it twice".into(),
                hint: Some("columns of --stars can differ from star to star".into()),
            });
        }
        *named |= 1 << j;
        Ok(j)
    }

    /// Advice on a name that is no parameter of the model.
    fn advice_on(&self, name: &str) -> Option<String> {
        let has = |model: &dyn Model, name| model.columns().iter().any(|c| c.name == name);
        if name == "fwhm" && has(self.model, "fwhm_major") {
            return Some("an ellipse has fwhm_major and fwhm_minor".into());
        }
        if name == "sigma" {
            return Some("fwhm = 2.3548 sigma".into());
        }
        let with: Vec<&str> = MODELS
            .iter()
            .filter(|model| has(**model, name))
            .map(|model| model.name())
            .collect();
        (!with.is_empty()).then(|| format!("--model {} has it", with.join(" or ")))
    }

    /// Finds the columns of the list that say something about a parameter.
    fn find_columns(&mut self, list: &StarList) -> Result<()> {
        for (j, column) in self.model.columns().iter().enumerate() {
            let place = |ending: &str| list.column(&format!("{}{ending}", column.name));
            // The list's own x and y are the positions.
            let is_position = matches!(column.role, Role::X | Role::Y);
            let starts = self.common.start[j].is_nan() && !is_position;
            let start = if starts { place("")? } else { None };
            self.places[j] = [start, place("_min")?, place("_max")?];
        }
        if self.model.columns().iter().any(|c| c.name == "fwhm_major") {
            self.round_fwhm = list.column("fwhm")?;
        }
        Ok(())
    }

    /// Name of a star in the list.
    pub(super) fn name_of(&self, star: &Star) -> Option<&Arc<str>> {
        self.list?.name(star.id)
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
                let value = self.list?.value(place?, star.id) - self.offsets[j];
                (!value.is_nan()).then_some(value)
            };
            let [start, low, high] = self.places[j].map(given);
            // A listed position is where to look for the star; it is held only where the user asks so.
            let start = match column.role {
                Role::X if constraints.is_fixed(j) => Some(star.x),
                Role::Y if constraints.is_fixed(j) => Some(star.y),
                _ => start,
            };
            if let Some(value) = start.filter(|_| constraints.start[j].is_nan()) {
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
        if constraints.is_empty() {
            return Ok(None);
        }
        self.check(&constraints, self.list.map(|list| (list, star)))?;
        Ok(Some(constraints))
    }

    /// Checks that values and bounds go together, for a listed star or for all stars.
    fn check(&self, constraints: &Constraints, star: Option<(&StarList, &Star)>) -> Result<()> {
        /// Values that went through a catalogue may be off by a digit.
        const SLACK: f64 = 1e-9;
        for (j, column) in self.model.columns().iter().enumerate() {
            let value = |value: f64| {
                let text = format!("{} {}", short(value + self.offsets[j]), column.unit);
                text.trim_end().to_owned()
            };
            let range = |low: f64, high: f64| {
                format!("{} to {}", short(low + self.offsets[j]), value(high))
            };
            let wrong = |option: &str, expected: String, found: String, hint: &str| {
                let what = match star {
                    Some((list, star)) => {
                        format!("{}: star {}: {}", list.file, star.id, column.name)
                    }
                    None => format!("{option} {}", column.name),
                };
                Error::Option {
                    option: match self.frame.name {
                        "" => what,
                        name => format!("{name}: {what}"),
                    },
                    expected,
                    found,
                    hint: Some(hint.into()),
                }
            };
            let (low, high) = (constraints.low[j], constraints.high[j]);
            let (lowest, highest) = self.limits[j];
            let is_range = low <= high && low < f64::INFINITY && high > f64::NEG_INFINITY;
            if !is_range {
                return Err(wrong(
                    "--bound",
                    "a lowest value that is not above the highest".into(),
                    range(low, high),
                    BOUNDS_HINT,
                ));
            }
            let is_angle = column.name == "theta";
            if is_angle && low.is_finite() != high.is_finite() {
                return Err(wrong(
                    "--bound",
                    "two bounds, as an angle goes round".into(),
                    range(low, high),
                    "80:100 is 10 deg to either side of the y axis",
                ));
            }
            if low > highest || high < lowest {
                return Err(wrong(
                    "--bound",
                    format!("bounds that meet {}", range(lowest, highest)),
                    range(low, high),
                    LIMITS_HINT,
                ));
            }
            let mut start = constraints.start[j];
            if start.is_infinite() {
                return Err(wrong(
                    "--fix",
                    "a finite number".into(),
                    value(start),
                    "leave the field empty for a start from the pixels",
                ));
            }
            if is_angle && low.is_finite() {
                // The same angle half a turn on.
                start = low + (start - low).rem_euclid(180.0);
            }
            // A listed star starts at the place where it is looked for.
            if let Some((_, star)) = star.filter(|_| start.is_nan()) {
                match column.role {
                    Role::X => start = star.x,
                    Role::Y => start = star.y,
                    Role::Flux | Role::Background | Role::Shape => {}
                }
            }
            if start < low || start > high {
                return Err(wrong(
                    "--fix",
                    format!("a value within its bounds, {}", range(low, high)),
                    value(start),
                    "move the value or the bounds",
                ));
            }
            let is_allowed = start >= lowest * (1.0 - SLACK) && start <= highest * (1.0 + SLACK);
            if constraints.is_fixed(j) && !start.is_nan() && !is_allowed {
                return Err(wrong(
                    "--fix",
                    format!("a value that the model allows, {}", range(lowest, highest)),
                    value(start),
                    LIMITS_HINT,
                ));
            }
        }
        Ok(())
    }
}

const BOUNDS_HINT: &str =
    "--bound NAME=LO:HI sets them, the columns NAME_min and NAME_max of --stars for one star";

const LIMITS_HINT: &str =
    "starfit models lists what each model allows; widths go up with the cutouts' --size";

/// A number to six digits.
fn short(value: f64) -> String {
    let rounded = format!("{value:.5e}").parse().unwrap_or(value);
    // No minus before a zero.
    format!("{}", rounded + 0.0)
}

#[cfg(test)]
mod tests;
