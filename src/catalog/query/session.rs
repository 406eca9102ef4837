//! A database that is open for questions and for nothing else.

use std::collections::BTreeSet;
use std::iter;
use std::path::{Path, PathBuf};

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Connection, Row as SqlRow};

use super::Query;
use super::sql::{self, Select};
use crate::catalog::provenance::Provenance;
use crate::catalog::sqlite::{database_error, open, stored_columns, stored_own_columns};
use crate::catalog::{Assumptions, Column, ImageInfo, RunInfo};
use crate::error::{Error, Result};
use crate::image::{Header, Source, StatedGain};

/// Names of images or columns that an error lists.
const LISTED: usize = 5;

#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    path: PathBuf,
    /// The columns of stars and images in the database, as `stars.x`: older versions had fewer.
    stored: Vec<String>,
    /// The columns of stars that models of its runs have beside [`COLUMNS`](crate::catalog::COLUMNS).
    own_columns: Vec<Column>,
}

impl Session {
    /// Opens a catalogue. Any statement can read these tables and call functions, and nothing else.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut connection = open(path)?;
        let fail = |error| database_error(path, &error);
        let stored = stored_columns(&connection).map_err(fail)?;
        let own_columns = stored_own_columns(&connection, &stored).map_err(fail)?;
        prepare(&mut connection).map_err(fail)?;
        Ok(Self {
            own_columns,
            connection,
            path: path.to_owned(),
            stored,
        })
    }

    /// The columns of stars that models of its runs have beside [`COLUMNS`](crate::catalog::COLUMNS).
    pub(super) fn own_columns(&self) -> &[Column] {
        &self.own_columns
    }

    /// Refuses the database itself as an output.
    pub(crate) fn check_output(&self, output: &Path) -> Result<()> {
        let same = |path: &Path| path.canonicalize().ok();
        if same(output).is_none_or(|output| same(&self.path) != Some(output)) {
            return Ok(());
        }
        Err(Error::Option {
            option: format!("output {}", output.display()),
            expected: "another file than the database".to_owned(),
            found: "the database".to_owned(),
            hint: None,
        })
    }

    /// An error of SQLite, with the path of this database.
    pub(crate) fn error(&self, error: &rusqlite::Error) -> Error {
        database_error(&self.path, error)
    }

    /// The numbers of the images that a query is about, in their order.
    pub(crate) fn images(&self, query: &Query) -> Result<Vec<i64>> {
        let from = match query.run {
            Some(run) => {
                check_run(&self.connection, &self.path, run)?;
                format!("images WHERE run_id = {run}")
            }
            None => "newest_images".to_owned(),
        };
        let sql = format!("SELECT image_id, name, path FROM {from} ORDER BY image_id");
        let all: Vec<(i64, String, String)> = self
            .query(&sql, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .map_err(|error| self.error(&error))?;
        if query.images.is_empty() {
            return Ok(all.into_iter().map(|(id, ..)| id).collect());
        }
        let mut chosen = BTreeSet::new();
        for wanted in &query.images {
            let is_wanted = |name: &str, path: &str| {
                let brackets = name.strip_prefix(wanted.as_str());
                brackets.is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
                    || path == wanted
            };
            let named = all.iter().filter(|(_, name, path)| is_wanted(name, path));
            let before = chosen.len();
            chosen.extend(named.map(|(id, ..)| *id));
            if chosen.len() == before && !all.iter().any(|(_, name, path)| is_wanted(name, path)) {
                let names = all.iter().map(|(_, name, _)| name.as_str());
                return Err(Error::Option {
                    option: "--image".to_owned(),
                    expected: format!("an image of {}", self.path.display()),
                    found: wanted.clone(),
                    hint: Some(match &resembling(wanted, names)[..] {
                        [] => "it has none".to_owned(),
                        [near, far @ ..] if is_near(wanted, near) => {
                            let others = far.iter().take_while(|name| is_near(wanted, name));
                            let near: Vec<&str> = iter::once(near).chain(others).copied().collect();
                            format!("did you mean {}?", near.join(" or "))
                        }
                        [only] => format!("there is only {only}"),
                        nearest => format!("the nearest names are {}", nearest.join(", ")),
                    }),
                });
            }
        }
        Ok(chosen.into_iter().collect())
    }

    /// Refuses a cone where no star has a position on the sky.
    pub(super) fn check_sky(&self) -> Result<()> {
        let sql = "SELECT 1 FROM stars WHERE zone >= 0 LIMIT 1";
        let found = self.query(sql, |row| row.get::<_, i64>(0));
        if found.map_err(|error| self.error(&error))?.is_empty() {
            return Err(Error::Malformed {
                file: self.path.display().to_string(),
                field: "ra, dec".to_owned(),
                expected: "positions on the sky".to_owned(),
                found: "none".to_owned(),
                hint: Some(
                    "stars have them where their image has a WCS; --box and --near take pixels"
                        .to_owned(),
                ),
            });
        }
        Ok(())
    }

    /// Distance from a place in an image within which `count` stars are to be expected, pixels.
    pub(super) fn reach(&self, image: i64, count: u64) -> Result<f64> {
        let sql = format!("SELECT width * height, n_stars FROM images WHERE image_id = {image}");
        let found: Vec<(f64, f64)> = self
            .query(&sql, |row| {
                Ok((row.get::<_, i64>(0)? as f64, row.get::<_, i64>(1)? as f64))
            })
            .map_err(|error| self.error(&error))?;
        let (area, stars) = found.first().copied().unwrap_or_default();
        let each = area / stars.max(1.0);
        Ok((count as f64 * each).sqrt().max(1.0))
    }

    /// Refuses a condition that is not one expression.
    pub(super) fn check_condition(&self, condition: &str) -> Result<()> {
        let select = Select {
            condition: Some(condition),
            ..Select::default()
        };
        let stored = &self.stored;
        for (sql, begins) in [select.sql(stored), select.bare(condition, stored)] {
            let prepared = self.connection.prepare(&sql);
            prepared.map_err(|error| self.condition_error(error, condition, begins))?;
        }
        Ok(())
    }

    /// Hands each row of a statement to `take`.
    pub(crate) fn each(
        &self,
        select: &Select<'_>,
        mut take: impl FnMut(&SqlRow<'_>) -> Result<()>,
    ) -> Result<()> {
        let (sql, begins) = select.sql(&self.stored);
        let fail = |error| match select.condition {
            Some(condition) => self.condition_error(error, condition, begins),
            None => self.error(&error),
        };
        let mut statement = self.connection.prepare(&sql).map_err(fail)?;
        let mut rows = statement.query([]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            take(row)?;
        }
        Ok(())
    }

    /// An error of SQLite about the condition that begins at `begins` in the statement.
    fn condition_error(&self, error: rusqlite::Error, condition: &str, begins: usize) -> Error {
        let (message, place) = match &error {
            rusqlite::Error::SqlInputError { msg, offset, .. } => {
                let place = usize::try_from(*offset).ok();
                (
                    msg.clone(),
                    place.and_then(|place| place.checked_sub(begins)),
                )
            }
            rusqlite::Error::MultipleStatement => ("several statements".to_owned(), None),
            rusqlite::Error::SqliteFailure(code, message)
                if matches!(
                    code.code,
                    rusqlite::ErrorCode::AuthorizationForStatementDenied
                        | rusqlite::ErrorCode::Unknown
                ) =>
            {
                (message.clone().unwrap_or_else(|| code.to_string()), None)
            }
            // The condition is not at fault.
            _ => return self.error(&error),
        };
        let place = place.and_then(|place| {
            let before = condition.get(..place).filter(|_| place < condition.len())?;
            Some(format!(" at character {}", before.chars().count() + 1))
        });
        // SQLite words it so.
        let unknown = message.strip_prefix("no such column: ");
        let near = unknown.and_then(super::near_column);
        Error::Option {
            option: format!("--where {condition:?}"),
            expected: "an SQL condition on columns of the catalogue".to_owned(),
            found: format!("{message}{}", place.unwrap_or_default()),
            hint: Some(near.map_or_else(
                || "for example --where 'flags = 0 AND snr > 20'".to_owned(),
                |near| format!("did you mean {near}?"),
            )),
        }
    }

    /// Adds these images and their runs to the provenance.
    pub(super) fn describe(
        &self,
        images: &BTreeSet<i64>,
        provenance: &mut Provenance,
    ) -> Result<()> {
        let describe = || {
            let mut runs = BTreeSet::new();
            for image in images {
                if let Some((image, run, n_stars)) = self.image(*image)? {
                    provenance.add_image(&image, Some(run), n_stars);
                    runs.insert(run);
                }
            }
            for run in runs {
                if let Some((info, started)) = self.run(run)? {
                    provenance.add_run(&info, Some(run), &started);
                }
            }
            Ok(())
        };
        let mut describe = describe;
        describe().map_err(|error: rusqlite::Error| self.error(&error))
    }

    /// The image of this number, its run and the number of its stars.
    pub(crate) fn image(&self, image: i64) -> rusqlite::Result<Option<(ImageInfo, i64, u64)>> {
        let sql = format!("SELECT * FROM images WHERE image_id = {image}");
        Ok(self.query(&sql, image_info)?.pop())
    }

    /// The run of this number and when it started.
    pub(crate) fn run(&self, run: i64) -> rusqlite::Result<Option<(RunInfo, String)>> {
        let sql = format!("SELECT * FROM runs WHERE run_id = {run}");
        Ok(self.query(&sql, run_info)?.pop())
    }

    fn query<T>(
        &self,
        sql: &str,
        read: impl FnMut(&SqlRow<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.connection.prepare(sql)?.query_map([], read)?.collect()
    }

    /// The plan of SQLite for a statement.
    #[cfg(test)]
    pub(super) fn plan(&self, select: &Select<'_>) -> String {
        let sql = format!("EXPLAIN QUERY PLAN {}", select.sql(&self.stored).0);
        let steps = self.query(&sql, |row| row.get::<_, String>("detail"));
        steps.unwrap().join("\n")
    }
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    // The tables of a database from elsewhere call no functions either.
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF")?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("separation", 4, flags, |context| {
        Ok(numbers(context)?.map(|[ra1, dec1, ra2, dec2]| sql::separation(ra1, dec1, ra2, dec2)))
    })?;
    connection.create_scalar_function("pixel_distance", 4, flags, |context| {
        Ok(numbers(context)?.map(|[x1, y1, x2, y2]| (x2 - x1).hypot(y2 - y1)))
    })?;
    connection.authorizer(Some(|context: AuthContext<'_>| match context.action {
        AuthAction::Function { function_name } if function_name != "load_extension" => {
            Authorization::Allow
        }
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }))
}

/// The arguments of a function; `None` where one is null.
fn numbers(context: &Context<'_>) -> rusqlite::Result<Option<[f64; 4]>> {
    let mut numbers = [0.0; 4];
    for (at, number) in numbers.iter_mut().enumerate() {
        match context.get(at)? {
            Some(given) => *number = given,
            None => return Ok(None),
        }
    }
    Ok(Some(numbers))
}

/// Refuses a run that a catalogue does not have.
pub(in crate::catalog) fn check_run(connection: &Connection, path: &Path, run: i64) -> Result<()> {
    let runs = || -> rusqlite::Result<Vec<i64>> {
        connection
            .prepare("SELECT run_id FROM runs ORDER BY run_id DESC")?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    let runs = runs().map_err(|error| database_error(path, &error))?;
    if runs.contains(&run) {
        return Ok(());
    }
    let newest = runs.iter().take(LISTED).map(i64::to_string);
    let newest: Vec<String> = newest.collect();
    Err(Error::Option {
        option: "--run".to_owned(),
        expected: format!("a run of {}", path.display()),
        found: run.to_string(),
        hint: Some(format!("the newest runs are {}", newest.join(", "))),
    })
}

/// An image with its run and the number of its stars.
fn image_info(row: &SqlRow<'_>) -> rusqlite::Result<(ImageInfo, i64, u64)> {
    let size = |name: &str| {
        row.get::<_, i64>(name)
            .map(|n| usize::try_from(n).unwrap_or(0))
    };
    // Databases of version 1 do not have these columns.
    let assumed = |name: &str| row.get::<_, Option<f64>>(name).unwrap_or(None);
    let side = |name: &str| size(name).unwrap_or(0);
    let image = ImageInfo {
        name: row.get("name")?,
        source: Source {
            path: row.get::<_, String>("path")?.into(),
            hdu: size("hdu")?,
            plane: row
                .get::<_, Option<i64>>("plane")?
                .and_then(|plane| usize::try_from(plane).ok()),
            bytes: size("bytes")? as u64,
            modified: row.get("modified")?,
        },
        header: Header {
            gains: stated_gain(row.get("gain")?),
            read_noise: row.get("read_noise")?,
            saturation: row.get("saturation")?,
            exposure: row.get("exposure")?,
            date: row.get("date")?,
            mjd: assumed("mjd"),
            filter: row.get("filter")?,
            unit: row.get("unit")?,
            ..Header::default()
        },
        width: size("width")?,
        height: size("height")?,
        wcs: row.get("wcs")?,
        assumed: Assumptions {
            background: assumed("sky_level"),
            noise: assumed("sky_noise"),
            gain: assumed("gain_used"),
            gain_err: assumed("gain_used_err"),
            by_residuals: row
                .get::<_, Option<bool>>("by_residuals")
                .unwrap_or(None)
                .unwrap_or(false),
            saturation: assumed("saturation_used"),
            fwhm: assumed("fwhm_used"),
            size: (side("cutout_width"), side("cutout_height")),
        },
    };
    let n_stars = size("n_stars")? as u64;
    Ok((image, row.get("run_id")?, n_stars))
}

/// The gain of a header, as a database keeps it.
fn stated_gain(value: Option<f64>) -> Vec<StatedGain> {
    let keyword = "GAIN".to_owned();
    value
        .map(|value| StatedGain { keyword, value })
        .into_iter()
        .collect()
}

/// A run and when it started.
fn run_info(row: &SqlRow<'_>) -> rusqlite::Result<(RunInfo, String)> {
    let settings: String = row.get("settings")?;
    let info = RunInfo {
        version: row.get("version")?,
        command_line: row.get("command_line")?,
        own_columns: Vec::new(),
        settings: serde_json::from_str(&settings).unwrap_or_default(),
        backend: row.get("backend")?,
        adapter: row.get("adapter")?,
    };
    Ok((info, row.get("started")?))
}

/// Whether `wanted` may mean `name`: two letters exchanged or one left out are well above the limit,
/// other words below.
pub(super) fn is_near(wanted: &str, name: &str) -> bool {
    const LIKE: f64 = 0.85;
    strsim::jaro_winkler(wanted, name) > LIKE
}

/// The `names` that most resemble `wanted`, the nearest first.
pub(super) fn resembling<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<(f64, &str)> = names
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0));
    names
        .into_iter()
        .take(LISTED)
        .map(|(_, name)| name)
        .collect()
}
