//! One star of a catalogue.

use std::sync::Arc;

use super::columns::{COLUMNS, Column, Kind, N_COLUMNS, error_column, position};
use crate::fit::{FitStatus, Flags};

const IMAGE: usize = position("image");
const ID: usize = position("id");
const STATUS: usize = position("status");
const FLAGS: usize = position("flags");
const NAME: usize = position("name");

/// One star: every column but `image`, which belongs to the image. A column that is not set is null.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Number in the image, from 0.
    pub id: usize,
    /// How the fit ended.
    pub status: FitStatus,
    /// Flags of the star.
    pub flags: Flags,
    /// Name of the star in the list of the user.
    pub name: Option<Arc<str>>,
    /// Values by position of the column, NaN = null; the places of the fields above are unused.
    numbers: [f64; N_COLUMNS],
    /// Values of the columns that the model alone has.
    own: Vec<(&'static str, f64)>,
}

/// Value of one column in one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// No value: the column does not apply.
    Null,
    /// Value of an integer column.
    Integer(i64),
    /// Value of a float column; always finite.
    Float(f64),
    /// Value of a text column.
    Text(&'a str),
}

impl Row {
    /// A row that has nothing but its number, status and flags.
    pub fn new(id: usize, status: FitStatus, flags: Flags) -> Self {
        Self {
            id,
            status,
            flags,
            name: None,
            numbers: [f64::NAN; N_COLUMNS],
            own: Vec::new(),
        }
    }

    /// Sets a column that a model states, and the column of its error where there is one, in their unit.
    pub(crate) fn state(&mut self, name: &'static str, value: f64, error: f64) {
        let of_error = error_column(name).map(|column| (column, error));
        for (name, value) in [Some((name, value)), of_error].into_iter().flatten() {
            match place(name) {
                Some(at) => self.numbers[at] = value,
                None => self.own.push((name, value)),
            }
        }
    }

    /// Sets a numeric column, in its unit; NaN and infinities are null. Integer columns take
    /// whole numbers.
    ///
    /// # Panics
    ///
    /// If there is no such column, or it is `image` or a field of `Row`: names are written in
    /// programs, not read from files.
    pub fn set(&mut self, name: &str, value: f64) {
        let at = place(name).unwrap_or_else(|| panic!("no such catalogue column: {name}"));
        assert!(
            !matches!(at, IMAGE | ID | STATUS | FLAGS | NAME),
            "{name} is not a measurement"
        );
        self.numbers[at] = value;
    }

    /// Value of a numeric column, in its unit, a model's own too; `None` where it is null, or the row has
    /// no such numbers.
    pub fn get(&self, name: &str) -> Option<f64> {
        let Some(at) = place(name) else {
            return self.own(name);
        };
        match self.value(at) {
            Value::Integer(value) => Some(value as f64),
            Value::Float(value) => Some(value),
            Value::Null | Value::Text(_) => None,
        }
    }

    /// Value of a float column by its [`position`], NaN = null: names are slow to find in every row.
    pub(crate) fn number(&self, at: usize) -> f64 {
        self.numbers[at]
    }

    /// Values of every column, in the order of [`COLUMNS`], of a star in the image of this name.
    pub fn values<'a>(&'a self, image: &'a str) -> impl Iterator<Item = Value<'a>> {
        (0..N_COLUMNS).map(move |at| match at {
            IMAGE => Value::Text(image),
            _ => self.value(at),
        })
    }

    /// Values of these own columns of a model.
    pub fn own_values(&self, columns: &[Column]) -> impl Iterator<Item = Value<'_>> {
        let value = |column: &Column| self.own(column.name).map_or(Value::Null, Value::Float);
        columns.iter().map(value)
    }

    fn own(&self, name: &str) -> Option<f64> {
        let (_, value) = self.own.iter().find(|(own, _)| *own == name)?;
        value.is_finite().then_some(*value)
    }

    fn value(&self, at: usize) -> Value<'_> {
        match at {
            ID => Value::Integer(i64::try_from(self.id).unwrap_or(i64::MAX)),
            STATUS => Value::Text(self.status.name()),
            FLAGS => Value::Integer(self.flags.0.into()),
            NAME => self.name.as_deref().map_or(Value::Null, Value::Text),
            _ => match (COLUMNS[at].kind, self.numbers[at]) {
                (_, number) if !number.is_finite() => Value::Null,
                (Kind::Integer, number) => Value::Integer(number as i64),
                (_, number) => Value::Float(number),
            },
        }
    }
}

/// All values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnValues {
    /// Values of a float column; NaN is null.
    Floats(Vec<f64>),
    /// Values of an integer column.
    Integers(Vec<Option<i64>>),
    /// Values of a text column.
    Texts(Vec<Option<Arc<str>>>),
}

/// The values of a column in these rows. The name of the image, which rows do not have, is null.
pub fn column_values(rows: &[Row], column: &Column) -> ColumnValues {
    let Some(at) = place(column.name) else {
        let value = |row: &Row| row.own(column.name).unwrap_or(f64::NAN);
        return ColumnValues::Floats(rows.iter().map(value).collect());
    };
    match column.kind {
        Kind::Float => ColumnValues::Floats(rows.iter().map(|row| row.numbers[at]).collect()),
        Kind::Integer => {
            let value = |row: &Row| match row.value(at) {
                Value::Integer(value) => Some(value),
                _ => None,
            };
            ColumnValues::Integers(rows.iter().map(value).collect())
        }
        Kind::Text => {
            // A few different texts, with one copy of each.
            let statuses = FitStatus::ALL.map(|status| (status, Arc::from(status.name())));
            let value = |row: &Row| match at {
                STATUS => {
                    let mut all = statuses.iter();
                    let own = all.find(|(status, _)| *status == row.status);
                    own.map(|(_, name)| Arc::clone(name))
                }
                NAME => row.name.clone(),
                _ => None,
            };
            ColumnValues::Texts(rows.iter().map(value).collect())
        }
    }
}

/// The [`position`] of a column that may not exist.
fn place(name: &str) -> Option<usize> {
    COLUMNS.iter().position(|column| column.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row::new(7, FitStatus::Converged, Flags(5))
    }

    #[test]
    fn what_is_not_set_is_null() {
        let row = row();
        for (column, value) in COLUMNS.iter().zip(row.values("a.fits[0]")) {
            let expected = match column.name {
                "image" => Value::Text("a.fits[0]"),
                "id" => Value::Integer(7),
                "status" => Value::Text("converged"),
                "flags" => Value::Integer(5),
                _ => Value::Null,
            };
            assert_eq!(value, expected, "{}", column.name);
        }
    }

    #[test]
    fn what_is_set_is_got() {
        let mut row = row();
        row.set("flux", 2.5);
        row.set("dof", 220.0);
        assert_eq!(row.get("flux"), Some(2.5));
        assert_eq!(row.get("dof"), Some(220.0));
        assert_eq!(row.get("flux_err"), None);
        assert_eq!(row.get("id"), Some(7.0));
        assert_eq!(row.value(position("dof")), Value::Integer(220));
        assert_eq!(row.value(position("flux")), Value::Float(2.5));
    }

    #[test]
    fn what_is_not_finite_is_null() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for name in ["flux", "dof"] {
                let mut row = row();
                row.set(name, value);
                assert_eq!(row.get(name), None);
                assert_eq!(row.value(position(name)), Value::Null);
            }
        }
    }

    #[test]
    fn wrong_names_are_refused() {
        for name in ["", "fluxx", "image", "id", "status", "flags", "name"] {
            let set = std::panic::catch_unwind(|| row().set(name, 1.0));
            assert!(set.is_err(), "{name}");
        }
        for name in ["fluxx", "image", "status", "name"] {
            assert_eq!(row().get(name), None);
        }
    }
}
