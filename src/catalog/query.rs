//! Questions to a database: stars by image, in a box of pixels, in a cone on the sky, nearest to a
//! place, or by any SQL condition, written in any format.
//!
//! A database is only read, whatever the condition is.

mod columns;
mod format;
mod near;
mod region;
mod session;
mod sql;

use std::collections::BTreeSet;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use rusqlite::Row as SqlRow;
use rusqlite::types::ValueRef;

use super::file::{self, FileFormat};
use super::output::Output;
use super::provenance::Provenance;
use super::stream::Stream;
use super::table::Table;
use super::{COLUMNS, Column, Kind, Value, csv, json, text};
use crate::error::{Error, Result};
use columns::{FOR_PEOPLE, MORE, SEPARATION};
pub(crate) use session::Session;
pub(crate) use sql::{Chosen, Select};

pub use format::QueryFormat;
pub use region::Region;
pub(super) use session::check_run;

/// A query for stars. The default is every star of the newest run of each image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// Images, by their names in the catalogue, with or without the part in brackets, or by their paths;
    /// none: all.
    pub images: Vec<String>,
    /// Number of the run; `None`: the newest run of each image.
    pub run: Option<i64>,
    /// Region of the stars.
    pub region: Option<Region>,
    /// An SQL expression on the columns.
    pub condition: Option<String>,
    /// Columns of the result; none: all of a catalogue.
    pub columns: Vec<String>,
    /// Columns that the result is sorted by; none: by image, y and x, or by `distance` where there is
    /// one. Null values come last.
    pub order: Vec<Order>,
    /// Largest number of rows of the result.
    pub limit: Option<u64>,
}

/// One column that a result is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Name of the column.
    pub column: String,
    /// Whether the largest value comes first.
    pub descending: bool,
}

impl Query {
    /// Writes the stars that are found to `output`, `-` being standard output; returns their
    /// number. A file is replaced only by a complete one.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for an image, a run or a column that does not exist, a region that makes no
    /// sense, and a condition that SQLite does not understand; [`Error::Malformed`] and
    /// [`Error::Unsupported`] for a file that is no catalogue of starfit or is of a newer version, and a
    /// cone where no star has a position on the sky; [`Error::Io`] and [`Error::Database`].
    pub fn write(&self, database: &Path, format: QueryFormat, output: &Path) -> Result<u64> {
        if let Some(region) = &self.region {
            region.check()?;
        }
        let session = Session::open(database)?;
        let columns = self.result_columns(&session, format)?;
        session.check_output(output)?;
        let file_format = format.file_format(output)?;
        let output = file::open(file_format, output)?;
        match format {
            QueryFormat::Csv => self.stream(&session, &columns, output, &mut csv::Lines),
            QueryFormat::Json => {
                self.stream(&session, &columns, output, &mut json::Objects::default())
            }
            _ => self.collect(&session, &columns, file_format, output),
        }
    }

    /// Writes rows as they are found.
    fn stream(
        &self,
        session: &Session,
        columns: &[Column],
        mut output: Output,
        format: &mut dyn Stream,
    ) -> Result<u64> {
        // Errors that can be found early are found before anything is written.
        let selects = self.selects(session)?;
        let mut out = BufWriter::new(&mut output);
        let mut n_rows = 0;
        let begun = format.begin(columns, &mut out);
        begun.map_err(|error| out.get_ref().error(error))?;
        self.rows(session, selects, columns, |_, values| {
            n_rows += 1;
            let written = format.row(columns, values, &mut out);
            written.map_err(|error| out.get_ref().error(error))
        })?;
        let ended = format.end(&mut out).and_then(|()| out.flush());
        ended.map_err(|error| out.get_ref().error(error))?;
        drop(out);
        output.persist()?;
        Ok(n_rows)
    }

    /// Writes rows once all are found.
    fn collect(
        &self,
        session: &Session,
        columns: &[Column],
        format: Option<FileFormat>,
        mut output: Output,
    ) -> Result<u64> {
        let mut table = Table::new(columns.iter().copied(), &output.folder());
        let mut images = BTreeSet::new();
        let selects = self.selects(session)?;
        self.rows(session, selects, columns, |image_id, values| {
            images.insert(image_id);
            let pushed = table.push(values.iter().copied());
            pushed.map_err(|error| output.error(error))
        })?;
        let n_rows = table.n_rows();
        let mut provenance = Provenance::new();
        session.describe(&images, &mut provenance)?;
        match format {
            Some(format) => file::write(format, &mut table, &provenance, output)?,
            None => {
                table.set_flux_unit(provenance.flux_unit());
                let written = text::write(&mut table, &mut BufWriter::new(&mut output));
                written.map_err(|error| output.error(error))?;
                output.persist()?;
            }
        }
        Ok(n_rows)
    }

    /// Hands the values of every star that is found to `take`, with the number of its image.
    fn rows(
        &self,
        session: &Session,
        selects: Vec<Select<'_>>,
        columns: &[Column],
        mut take: impl FnMut(i64, &[Value<'_>]) -> Result<()>,
    ) -> Result<()> {
        let mut left = self.limit;
        for select in selects {
            let select = Select {
                columns,
                limit: left,
                ..select
            };
            session.each(&select, |row| {
                let read = |error| session.error(&error);
                let values = columns.iter().enumerate();
                // The number of the image is first.
                let values = values.map(|(at, column)| value(row, at + 1, column.kind));
                let values = values.collect::<rusqlite::Result<Vec<_>>>().map_err(read)?;
                left = left.map(|left| left.saturating_sub(1));
                take(row.get(0).map_err(read)?, &values)
            })?;
            if left == Some(0) {
                break;
            }
        }
        Ok(())
    }

    /// The statements whose rows are the result, one after the other. Without an order of the user each
    /// image is one statement: an index has its stars in the order of y and x.
    fn selects(&self, session: &Session) -> Result<Vec<Select<'_>>> {
        if let Some(condition) = &self.condition {
            session.check_condition(condition)?;
        }
        let images = session.images(self)?;
        let select = |chosen| Select {
            chosen,
            region: self.region.as_ref(),
            condition: self.condition.as_deref(),
            order: &self.order,
            ..Select::default()
        };
        Ok(match self.region {
            Some(Region::Near { x, y, count }) => {
                let stars = near::nearest(session, self, &images, (x, y), count)?;
                vec![select(Chosen::Stars(stars))]
            }
            Some(Region::Cone { .. }) => {
                session.check_sky()?;
                vec![select(Chosen::Images(images))]
            }
            Some(Region::Box { .. }) | None if self.order.is_empty() => {
                let images = images.into_iter();
                images
                    .map(|image| select(Chosen::Images(vec![image])))
                    .collect()
            }
            Some(Region::Box { .. }) | None => vec![select(Chosen::Images(images))],
        })
    }

    /// The columns asked for; also checks that the columns of the order exist.
    fn result_columns(&self, session: &Session, format: QueryFormat) -> Result<Vec<Column>> {
        for order in &self.order {
            self.column(session, "--order", &order.column)?;
        }
        let names = self.columns.iter().map(String::as_str);
        if !self.columns.is_empty() {
            return names
                .map(|name| self.column(session, "--columns", name))
                .collect();
        }
        if format == QueryFormat::Table {
            let known = FOR_PEOPLE.iter();
            return Ok(known
                .filter_map(|name| self.find_column(session, name))
                .collect());
        }
        Ok(COLUMNS
            .iter()
            .chain(session.own_columns())
            .copied()
            .collect())
    }

    fn column(&self, session: &Session, option: &str, name: &str) -> Result<Column> {
        self.find_column(session, name).ok_or_else(|| {
            let known = self.known_columns(session);
            let names: Vec<&str> = known.map(|column| column.name).collect();
            Error::Option {
                option: option.to_owned(),
                expected: format!("columns of the catalogue ({})", names.join(", ")),
                found: name.to_owned(),
                hint: match name {
                    "distance" => Some("--cone and --near have a distance".to_owned()),
                    _ => near_column(name).map(|near| format!("did you mean {near}?")),
                },
            }
        })
    }

    fn find_column(&self, session: &Session, name: &str) -> Option<Column> {
        self.known_columns(session)
            .find(|column| column.name == name)
    }

    /// Every column that a result can have.
    fn known_columns(&self, session: &Session) -> impl Iterator<Item = Column> {
        let distance = match self.region {
            Some(Region::Cone { .. }) => Some(SEPARATION),
            Some(Region::Near { .. }) => MORE.last().copied(),
            Some(Region::Box { .. }) | None => None,
        };
        let more = MORE.into_iter().filter(|column| column.name != "distance");
        let own = session.own_columns().iter();
        COLUMNS
            .iter()
            .chain(own)
            .copied()
            .chain(more)
            .chain(distance)
    }
}

/// The column that a wrong name may have meant; as in SQL, capitals are small letters.
fn near_column(name: &str) -> Option<&'static str> {
    let name = name.trim_matches('"').to_lowercase();
    let name = name.rsplit('.').next()?;
    let known = COLUMNS.iter().chain(&MORE).map(|column| column.name);
    let nearest = session::resembling(name, known).first().copied()?;
    session::is_near(name, nearest).then_some(nearest)
}

/// The value in one place of a row; null where the value is of another kind.
pub(crate) fn value<'a>(row: &'a SqlRow<'_>, at: usize, kind: Kind) -> rusqlite::Result<Value<'a>> {
    Ok(match (kind, row.get_ref(at)?) {
        (Kind::Integer, ValueRef::Integer(value)) => Value::Integer(value),
        (Kind::Float, ValueRef::Real(value)) => Value::Float(value),
        (Kind::Text, ValueRef::Text(text)) => {
            std::str::from_utf8(text).map_or(Value::Null, Value::Text)
        }
        _ => Value::Null,
    })
}

#[cfg(test)]
mod tests;
