//! Stars to fit, and lists of them from files.

mod columns;
#[cfg(feature = "parquet")]
mod parquet;
mod place;
mod read;
mod region;
mod table;
mod text;
mod votable;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::wcs::Sky;

pub use place::Positions;
pub use read::read_stars;

/// Stars below which another core is not worth waking.
pub(crate) const WORTH_A_CORE: usize = 64;

/// One star to fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Star {
    /// Running number in its image or list.
    pub id: usize,
    /// Column, pixels; the centre of the first pixel is 0. NaN where the list has no value.
    pub x: f64,
    /// Row, as `x`.
    pub y: f64,
}

/// Stars to fit, and everything else that is known of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StarList {
    /// The file, for messages.
    pub file: String,
    /// The stars, in order; their ids are their places.
    pub stars: Vec<Star>,
    /// Whether the list says where the stars are in an image; else x and y are NaN.
    pub has_pixels: bool,
    /// Positions of the stars on the sky, NaN where a star has none, if the list has positions on the sky.
    pub sky: Option<Vec<Sky>>,
    /// Names of the stars; empty if the list has no names.
    pub names: Vec<Option<Arc<str>>>,
    /// Further columns.
    pub columns: Vec<Column>,
}

/// A column of a list beside the positions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Column {
    /// Name, as in the file.
    pub name: String,
    /// A value for each star, NaN where there is none.
    pub values: Vec<f64>,
    /// The first field that is no number: its place, as `line 3`, and its text. Names and remarks are
    /// columns, too: a text is an error only where a number is asked for.
    pub text: Option<(String, String)>,
}

impl StarList {
    /// A list of positions in pixels alone.
    pub fn from_stars(stars: Vec<Star>) -> Self {
        Self {
            stars,
            has_pixels: true,
            ..Self::default()
        }
    }

    /// The place of a column of numbers, whatever the case of its name.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] where the column holds something else than numbers.
    pub fn column(&self, name: &str) -> Result<Option<usize>> {
        let mut columns = self.columns.iter();
        let place = columns.position(|column| column.name.eq_ignore_ascii_case(name));
        if let Some(column) = place.map(|place| &self.columns[place])
            && let Some((place, text)) = &column.text
        {
            return Err(no_number(&self.file, place, &column.name, text)
                .with_hint("leave a field empty, or rename the column, where it is not meant"));
        }
        Ok(place)
    }

    /// The value of a star in the column at that place.
    pub fn value(&self, column: usize, star: usize) -> f64 {
        self.columns[column].values[star]
    }

    /// Name of a star in the list.
    pub fn name(&self, star: usize) -> Option<&Arc<str>> {
        self.names.get(star)?.as_ref()
    }
}

fn no_number(file: &str, place: &str, column: &str, found: &str) -> Error {
    Error::Malformed {
        file: file.into(),
        field: format!("{place}, column {column}"),
        expected: "a number".into(),
        found: format!("{found:?}"),
        hint: None,
    }
}

#[cfg(test)]
mod tests;
