//! Questions to a database: stars by image, in a box of pixels, in a cone on the sky, nearest to a
//! place, or by any SQL condition, written in any format.
//!
//! A database is only read, whatever the condition is.

mod near;
mod session;
mod sql;

use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::path::Path;

use rusqlite::Row as SqlRow;
use rusqlite::types::ValueRef;

use super::columns::Unit;
use super::file::{self, FileFormat};
use super::output::Output;
use super::provenance::Provenance;
use super::table::Table;
use super::{COLUMNS, CatalogFormat, Column, Kind, Value, csv, json, text};
use crate::error::{Error, Result};
use session::Session;
use sql::{Chosen, Select};

/// What to look for. The default is every star of the newest run of each image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// Images, by their names in the catalogue, with or without what is in brackets, or by their
    /// paths; none: all.
    pub images: Vec<String>,
    /// The run; `None`: the newest of each image.
    pub run: Option<i64>,
    /// Where the stars are.
    pub region: Option<Region>,
    /// An SQL expression on the columns.
    pub condition: Option<String>,
    /// Columns of the result; none: all of a catalogue.
    pub columns: Vec<String>,
    /// What the result is sorted by; none: by image, y and x, or by `distance` where there is one.
    /// What is null comes last.
    pub order: Vec<Order>,
    /// Most rows of the result.
    pub limit: Option<u64>,
}

/// A part of an image or of the sky.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Region {
    /// Between two corners, pixels, the edges included.
    Box {
        /// x of both corners.
        x: [f64; 2],
        /// y of both corners.
        y: [f64; 2],
    },
    /// Around a place on the sky; degrees, the edge included.
    Cone {
        /// Right ascension, ICRS.
        ra: f64,
        /// Declination, ICRS.
        dec: f64,
        /// Radius.
        radius: f64,
    },
    /// The stars of each image that are nearest to a place, pixels.
    Near {
        /// The place.
        x: f64,
        /// The place.
        y: f64,
        /// So many of each image.
        count: u64,
    },
}

/// One column that a result is sorted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Name of the column.
    pub column: String,
    /// Whether the largest comes first.
    pub descending: bool,
}

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueryFormat {
    /// Aligned columns for people, rounded; a few columns unless some are asked for.
    Table,
    /// As [`CatalogFormat::Csv`].
    Csv,
    /// An array of objects.
    Json,
    /// As [`CatalogFormat::Ecsv`].
    Ecsv,
    /// As [`CatalogFormat::Fits`].
    Fits,
    /// As [`CatalogFormat::Parquet`].
    Parquet,
    /// As [`CatalogFormat::VoTable`].
    VoTable,
}

impl QueryFormat {
    /// Every format and its name on the command line.
    pub const ALL: [(&'static str, Self); 7] = [
        ("table", Self::Table),
        ("csv", Self::Csv),
        ("json", Self::Json),
        ("ecsv", Self::Ecsv),
        ("fits", Self::Fits),
        ("parquet", Self::Parquet),
        ("votable", Self::VoTable),
    ];

    /// The format that the ending of a file name stands for.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for any other ending.
    pub fn from_path(path: &Path) -> Result<Self> {
        if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("json"))
        {
            return Ok(Self::Json);
        }
        match CatalogFormat::from_path(path) {
            Ok(CatalogFormat::Csv) => Ok(Self::Csv),
            Ok(CatalogFormat::Ecsv) => Ok(Self::Ecsv),
            Ok(CatalogFormat::Fits) => Ok(Self::Fits),
            Ok(CatalogFormat::Parquet) => Ok(Self::Parquet),
            Ok(CatalogFormat::VoTable) => Ok(Self::VoTable),
            Ok(CatalogFormat::Sqlite) | Err(_) => Err(Error::Option {
                option: format!("output {}", path.display()),
                expected: "one of the endings .csv, .ecsv, .fits, .json, .parquet, .vot, .xml"
                    .to_owned(),
                found: path.extension().map_or_else(
                    || "none".to_owned(),
                    |ending| format!(".{}", ending.display()),
                ),
                hint: Some("--format says it whatever the ending is".to_owned()),
            }),
        }
    }

    fn file_format(self, path: &Path) -> Result<Option<FileFormat>> {
        Ok(match self {
            Self::Table | Self::Csv | Self::Json => None,
            Self::Ecsv => Some(FileFormat::Ecsv),
            Self::Fits => Some(FileFormat::Fits),
            Self::VoTable => Some(FileFormat::VoTable),
            Self::Parquet => Some(FileFormat::parquet(path)?),
        })
    }
}

/// Columns that a result may have beside those of a catalogue.
#[rustfmt::skip]
const MORE: [Column; 8] = [
    Column { name: "star_id", unit: Unit::None, kind: Kind::Integer, ucd: "meta.id", description: "number of the row in the database" },
    Column { name: "image_id", unit: Unit::None, kind: Kind::Integer, ucd: "meta.id;obs.image", description: "number of the image in the database" },
    Column { name: "run_id", unit: Unit::None, kind: Kind::Integer, ucd: "meta.id", description: "number of the run in the database" },
    Column { name: "object_id", unit: Unit::None, kind: Kind::Integer, ucd: "meta.id;src", description: "number of the object that the star is in other images too" },
    Column { name: "date", unit: Unit::None, kind: Kind::Text, ucd: "time.start;obs.exposure", description: "DATE-OBS of the image" },
    Column { name: "filter", unit: Unit::None, kind: Kind::Text, ucd: "meta.id;instr.filter", description: "FILTER of the image" },
    Column { name: "exposure", unit: Unit::Second, kind: Kind::Float, ucd: "time.duration;obs.exposure", description: "exposure time of the image" },
    Column { name: "distance", unit: Unit::Pixel, kind: Kind::Float, ucd: "pos.distance;instr.det", description: "from the place asked for" },
];

/// The same on the sky.
const SEPARATION: Column = Column {
    name: "distance",
    unit: Unit::Degree,
    kind: Kind::Float,
    ucd: "pos.angDistance",
    description: "from the place asked for",
};

/// What a person looks at; of these, those that have values.
const FOR_PEOPLE: [&str; 14] = [
    "image", "id", "x", "y", "ra", "dec", "flux", "flux_err", "mag", "fwhm", "snr", "status",
    "flags", "distance",
];

impl Query {
    /// Writes the stars that are found to `output`, `-` being standard output; returns their
    /// number. A file is replaced only by a complete one.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for an image, a run or a column that there is not, a region that is none,
    /// and a condition that SQLite does not understand; [`Error::Malformed`] and
    /// [`Error::Unsupported`] for a file that is no catalogue of starfit or a newer one's, and a
    /// cone where no star has a position on the sky; [`Error::Io`] and [`Error::Database`].
    pub fn write(&self, database: &Path, format: QueryFormat, output: &Path) -> Result<u64> {
        let columns = self.result_columns(format)?;
        if let Some(region) = &self.region {
            region.check()?;
        }
        let session = Session::open(database)?;
        let same = |path: &Path| path.canonicalize().ok();
        if same(output).is_some_and(|output| same(database) == Some(output)) {
            return Err(Error::Option {
                option: format!("output {}", output.display()),
                expected: "another file than the database".to_owned(),
                found: "the database".to_owned(),
                hint: None,
            });
        }
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
        let mut out = BufWriter::new(&mut output);
        let mut n_rows = 0;
        let path = out.get_ref().path().to_owned();
        let fail = |error| Error::io(&path, error);
        format.begin(columns, &mut out).map_err(fail)?;
        self.rows(session, columns, |_, values| {
            n_rows += 1;
            format.row(columns, values, &mut out).map_err(fail)
        })?;
        format
            .end(&mut out)
            .and_then(|()| out.flush())
            .map_err(fail)?;
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
        self.rows(session, columns, |image_id, values| {
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
        columns: &[Column],
        mut take: impl FnMut(i64, &[Value<'_>]) -> Result<()>,
    ) -> Result<()> {
        if let Some(condition) = &self.condition {
            session.check_condition(condition)?;
        }
        let images = session.images(self)?;
        let mut left = self.limit;
        for select in self.selects(session, &images)? {
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

    /// The statements whose rows are the result, one after the other. Without an order of the
    /// user's each image is one, whose stars an index has in the order of y and x.
    fn selects(&self, session: &Session, images: &[i64]) -> Result<Vec<Select<'_>>> {
        let select = |chosen| Select {
            chosen,
            region: self.region.as_ref(),
            condition: self.condition.as_deref(),
            order: &self.order,
            ..Select::default()
        };
        Ok(match self.region {
            Some(Region::Near { x, y, count }) => {
                let stars = near::nearest(session, self, images, (x, y), count)?;
                vec![select(Chosen::Stars(stars))]
            }
            Some(Region::Cone { .. }) => {
                session.check_sky()?;
                vec![select(Chosen::Images(images.to_vec()))]
            }
            Some(Region::Box { .. }) | None if self.order.is_empty() => {
                let images = images.iter();
                images
                    .map(|image| select(Chosen::Images(vec![*image])))
                    .collect()
            }
            Some(Region::Box { .. }) | None => vec![select(Chosen::Images(images.to_vec()))],
        })
    }

    /// The columns asked for, and whether those of the order are there.
    fn result_columns(&self, format: QueryFormat) -> Result<Vec<Column>> {
        for order in &self.order {
            self.column("--order", &order.column)?;
        }
        let names = self.columns.iter().map(String::as_str);
        if !self.columns.is_empty() {
            return names.map(|name| self.column("--columns", name)).collect();
        }
        if format == QueryFormat::Table {
            let known = FOR_PEOPLE.iter();
            return Ok(known.filter_map(|name| self.find_column(name)).collect());
        }
        Ok(COLUMNS.to_vec())
    }

    fn column(&self, option: &str, name: &str) -> Result<Column> {
        self.find_column(name).ok_or_else(|| {
            let names: Vec<&str> = self.known_columns().map(|column| column.name).collect();
            Error::Option {
                option: option.to_owned(),
                expected: format!("columns of the catalogue ({})", names.join(", ")),
                found: name.to_owned(),
                hint: match name {
                    "distance" => Some("--cone and --near have a distance".to_owned()),
                    _ => session::resembling(name, names.iter().copied())
                        .first()
                        .map(|near| format!("the nearest name is {near}")),
                },
            }
        })
    }

    fn find_column(&self, name: &str) -> Option<Column> {
        self.known_columns().find(|column| column.name == name)
    }

    /// Every column that a result can have.
    fn known_columns(&self) -> impl Iterator<Item = Column> {
        let distance = match self.region {
            Some(Region::Cone { .. }) => Some(SEPARATION),
            Some(Region::Near { .. }) => MORE.last().copied(),
            Some(Region::Box { .. }) | None => None,
        };
        let more = MORE.into_iter().filter(|column| column.name != "distance");
        COLUMNS.iter().copied().chain(more).chain(distance)
    }
}

impl Region {
    /// Refuses what is no region.
    fn check(&self) -> Result<()> {
        let refuse = |option: &str, expected: &str, found: f64| {
            Err(Error::Option {
                option: option.to_owned(),
                expected: expected.to_owned(),
                found: found.to_string(),
                hint: None,
            })
        };
        match *self {
            Self::Box { x, y } => {
                let wrong = x.into_iter().chain(y).find(|edge| !edge.is_finite());
                wrong.map_or(Ok(()), |edge| refuse("--box", "finite numbers", edge))
            }
            Self::Cone { ra, dec, radius } => {
                if !ra.is_finite() {
                    refuse("--cone", "a right ascension in degrees", ra)
                } else if !(-90.0..=90.0).contains(&dec) {
                    refuse("--cone", "a declination within -90 to 90 degrees", dec)
                } else if !(0.0..=180.0).contains(&radius) {
                    refuse("--cone", "a radius within 0 to 180 degrees", radius)
                } else {
                    Ok(())
                }
            }
            Self::Near { x, y, count } => match [x, y].into_iter().find(|at| !at.is_finite()) {
                Some(at) => refuse("--near", "finite numbers", at),
                None if count == 0 => refuse("--near", "one star or more", 0.0),
                None => Ok(()),
            },
        }
    }
}

/// A format whose rows are written as they come.
pub(super) trait Stream {
    /// Writes what comes before the rows.
    fn begin(&mut self, columns: &[Column], out: &mut dyn Write) -> std::io::Result<()>;

    /// Writes a row.
    fn row(
        &mut self,
        columns: &[Column],
        values: &[Value<'_>],
        out: &mut dyn Write,
    ) -> std::io::Result<()>;

    /// Writes what comes after the rows.
    fn end(&mut self, out: &mut dyn Write) -> std::io::Result<()>;
}

/// What is in one place of a row; null where it is of another kind.
fn value<'a>(row: &'a SqlRow<'_>, at: usize, kind: Kind) -> rusqlite::Result<Value<'a>> {
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
