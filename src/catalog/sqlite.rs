//! SQLite: one database for many runs over many images.
//!
//! Tables `runs`, `images`, `stars` and `columns`; a view `stars_<image_id>` for each image, in
//! the order of y and x; the view `newest_images` of each image (path, HDU and plane) as its
//! newest run has it, and `catalog`, the stars of those. What [`objects`](super::objects) finds is
//! in `objects`, `object_fluxes` and `registrations`, and in the view `lightcurves`.
//!
//! An image is one transaction: it is there whole or not at all. It replaces what earlier runs
//! with the same settings had of it; those runs stay in `runs`, as a record, even without images.

mod schema;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql, Transaction, TransactionBehavior, params};

use super::columns::{COLUMNS, flux_unit};
use super::{CatalogWriter, ImageInfo, Row, RunInfo, Value, check_output};
use crate::error::{Error, Result};
use crate::image::Source;
use schema::{
    SCHEMA_VERSION, check_header, check_version, create_tables, insert_star, migrate,
    schema_version,
};

/// How long to wait while another program writes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A catalogue in a database, and one run that adds to it.
#[derive(Debug)]
pub struct SqliteWriter {
    connection: Connection,
    path: PathBuf,
    /// Whether there was no database before this run.
    is_new: bool,
    run_id: i64,
    /// As they are stored.
    settings: String,
    insert_star: String,
    /// What `columns` was last made to say about fluxes.
    flux_unit: Option<String>,
    /// Number and unit of the image in hand.
    image: Option<(i64, String)>,
}

impl SqliteWriter {
    /// Opens or creates a database and enters a new run.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where no file can be; [`Error::Malformed`] for a file that is no database or
    /// another program's, which is left as it is; [`Error::Unsupported`] for another version's;
    /// [`Error::Database`] where SQLite refuses, as when another program holds the lock.
    pub fn create(path: &Path, run: &RunInfo) -> Result<Self> {
        Self::create_within(path, run, PATIENCE)
    }

    fn create_within(path: &Path, run: &RunInfo, patience: Duration) -> Result<Self> {
        // An empty file is a database without tables to SQLite too.
        let is_new = check_output(path)?.is_none_or(|found| found.is_file() && found.len() == 0);
        if !is_new {
            check_header(path)?;
        }
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE, patience)?;
        let settings = run.settings.to_string();
        let run_id = enter(&mut connection, path, run, &settings)?;
        prefer_wal(&connection);
        Ok(Self {
            connection,
            path: path.to_owned(),
            is_new,
            run_id,
            settings,
            insert_star: insert_star(),
            flux_unit: None,
            image: None,
        })
    }

    /// The number of this run.
    pub fn run_id(&self) -> i64 {
        self.run_id
    }

    fn begin_image(&mut self, image: &ImageInfo, n_stars: usize) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        remove_earlier(&self.connection, image, &self.settings)?;
        let unit = flux_unit(image.header.unit.as_deref());
        if self.flux_unit.as_deref() != Some(unit) {
            // For certain once it is committed.
            self.flux_unit = None;
            set_flux_unit(&self.connection, unit)?;
        }
        let image_id = insert_image(&self.connection, self.run_id, image, n_stars, unit)?;
        self.image = Some((image_id, unit.to_owned()));
        Ok(())
    }

    fn add_stars(&mut self, rows: &[Row]) -> rusqlite::Result<()> {
        let image_id = self.image.as_ref().map(|(image_id, _)| *image_id);
        let mut insert = self.connection.prepare_cached(&self.insert_star)?;
        for row in rows {
            // The image's number is in the place of its name.
            insert.raw_bind_parameter(1, image_id)?;
            for (at, value) in row.values("").enumerate().skip(1) {
                insert.raw_bind_parameter(at + 1, value)?;
            }
            insert.raw_execute()?;
        }
        Ok(())
    }

    fn end_image(&mut self) -> rusqlite::Result<()> {
        if let Some((image_id, _)) = &self.image {
            self.connection.execute_batch(&format!(
                "CREATE VIEW stars_{image_id} AS \
                 SELECT * FROM stars WHERE image_id = {image_id} ORDER BY y, x"
            ))?;
        }
        self.connection.execute_batch("COMMIT")?;
        self.flux_unit = self.image.take().map(|(_, unit)| unit);
        Ok(())
    }

    /// The result of a step of an image, which is taken back if the step has failed.
    fn or_undo(&mut self, done: rusqlite::Result<()>) -> Result<()> {
        done.map_err(|error| {
            // Says no more than the first error, as where there is no transaction.
            let _ = self.undo();
            database_error(&self.path, &error)
        })
    }
}

impl CatalogWriter for SqliteWriter {
    fn begin(&mut self, image: &ImageInfo, n_stars: usize) -> Result<()> {
        let done = self.begin_image(image, n_stars);
        self.or_undo(done)
    }

    fn add(&mut self, rows: &[Row]) -> Result<()> {
        let done = self.add_stars(rows);
        self.or_undo(done)
    }

    fn end(&mut self) -> Result<()> {
        let done = self.end_image();
        self.or_undo(done)
    }

    fn undo(&mut self) -> Result<()> {
        self.image = None;
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection
            .execute_batch("ROLLBACK")
            .map_err(|error| database_error(&self.path, &error))
    }

    fn contains(&self, image: &Source) -> Result<bool> {
        let find = || {
            self.connection
                .prepare_cached(
                    "SELECT 1 FROM images JOIN runs USING (run_id) \
                     WHERE path = ? AND hdu = ? AND plane IS ? AND settings = ? \
                     AND bytes = ? AND modified = ?",
                )?
                .exists(params![
                    stored_path(&image.path),
                    integer(image.hdu),
                    image.plane.map(integer),
                    self.settings,
                    integer(image.bytes),
                    image.modified,
                ])
        };
        find().map_err(|error| database_error(&self.path, &error))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.connection
            .execute(
                "UPDATE runs SET finished = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') WHERE run_id = ?",
                [self.run_id],
            )
            .map_err(|error| database_error(&self.path, &error))?;
        close(self.connection, &self.path)
    }

    fn abandon(mut self: Box<Self>) -> Result<()> {
        let remaining = remove_run(&mut self.connection, self.run_id)
            .map_err(|error| database_error(&self.path, &error))?;
        // Another program may have added a run to the new database.
        let remove = self.is_new && remaining == 0;
        close(self.connection, &self.path)?;
        if remove {
            remove_database(&self.path)
        } else {
            Ok(())
        }
    }
}

/// Opens a catalogue to read it, which may be of an older version: [`SqliteWriter::create`] alone
/// changes it to this one.
///
/// # Errors
///
/// As [`SqliteWriter::create`]; [`Error::Io`] where there is no such file.
pub fn open(path: &Path) -> Result<Connection> {
    check_header(path)?;
    let fail = |error| database_error(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    connection.busy_timeout(PATIENCE).map_err(fail)?;
    check_version(path, schema_version(&connection).map_err(fail)?)?;
    Ok(connection)
}

/// Opens a catalogue to change it, and brings it up to date. [`close`] it.
///
/// # Errors
///
/// As [`SqliteWriter::create`]; [`Error::Io`] where there is no such file.
pub(super) fn open_to_change(path: &Path) -> Result<Connection> {
    check_header(path)?;
    let mut connection = connect(path, OpenFlags::empty(), PATIENCE)?;
    let fail = |error| database_error(path, &error);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fail)?;
    bring_up_to_date(&transaction, path)?;
    transaction.commit().map_err(fail)?;
    prefer_wal(&connection);
    Ok(connection)
}

/// A connection that can write.
fn connect(path: &Path, more: OpenFlags, patience: Duration) -> Result<Connection> {
    let fail = |error| database_error(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    if connection.is_readonly("main").map_err(fail)? {
        let why = io::Error::new(io::ErrorKind::PermissionDenied, "the file is read-only");
        return Err(Error::io(path, why));
    }
    connection.busy_timeout(patience).map_err(fail)?;
    // The indexes of a large catalogue are changed all over by each image: 64 MB of cache,
    // and pages go from the journal to the database each 128 MB only.
    connection
        .execute_batch(
            "PRAGMA foreign_keys = ON; PRAGMA cache_size = -64000; \
             PRAGMA wal_autocheckpoint = 32768",
        )
        .map_err(fail)?;
    Ok(connection)
}

/// Leaves one file, which can be read where nothing can be written.
pub(super) fn close(connection: Connection, path: &Path) -> Result<()> {
    let fail = |error| database_error(path, &error);
    connection.busy_timeout(Duration::ZERO).map_err(fail)?;
    // Refused while another program reads: then the last one to close tidies up.
    let _ = connection.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()));
    connection.close().map_err(|(_, error)| fail(error))
}

/// With a write-ahead log, readers and writers do not wait for each other, and the disk only
/// rarely: a power cut may undo the last images, but no more. Some network file systems cannot do
/// it; the old journal, which waits for the disk at each image, is as safe.
fn prefer_wal(connection: &Connection) {
    let mode = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0));
    if mode.is_ok_and(|mode| mode == "wal") {
        // Slower where refused, no worse.
        let _ = connection.pragma_update(None, "synchronous", "normal");
    }
}

/// Makes the tables if there are none, and the row of the run.
fn enter(connection: &mut Connection, path: &Path, run: &RunInfo, settings: &str) -> Result<i64> {
    let fail = |error| database_error(path, &error);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(fail)?;
    // Asked within the transaction: another run may be making the tables too.
    let has_tables: bool = transaction
        .query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| {
            row.get(0)
        })
        .map_err(fail)?;
    if has_tables {
        bring_up_to_date(&transaction, path)?;
    } else {
        create_tables(&transaction).map_err(fail)?;
    }
    transaction
        .execute(
            "INSERT INTO runs (version, command_line, settings, backend, adapter) \
             VALUES (?, ?, ?, ?, ?)",
            params![
                run.version,
                run.command_line,
                settings,
                run.backend,
                run.adapter
            ],
        )
        .map_err(fail)?;
    let run_id = transaction.last_insert_rowid();
    transaction.commit().map_err(fail)?;
    Ok(run_id)
}

/// Changes tables of an older version to those of this one.
fn bring_up_to_date(transaction: &Transaction<'_>, path: &Path) -> Result<()> {
    let fail = |error| database_error(path, &error);
    let version = schema_version(transaction).map_err(fail)?;
    check_version(path, version)?;
    if version < SCHEMA_VERSION {
        tracing::info!(
            "{}: brought to schema version {SCHEMA_VERSION}",
            path.display()
        );
        migrate(transaction, version).map_err(fail)?;
    }
    Ok(())
}

/// Removes the same image of runs with the same settings, and its view.
fn remove_earlier(
    connection: &Connection,
    image: &ImageInfo,
    settings: &str,
) -> rusqlite::Result<()> {
    let earlier = image_ids(
        connection,
        "SELECT image_id FROM images JOIN runs USING (run_id) \
         WHERE path = ? AND hdu = ? AND plane IS ? AND settings = ?",
        params![
            path_of(image),
            integer(image.source.hdu),
            image.source.plane.map(integer),
            settings
        ],
    )?;
    remove_images(connection, &earlier)
}

/// Removes a run with its images; returns how many runs are left.
fn remove_run(connection: &mut Connection, run_id: i64) -> rusqlite::Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let select = "SELECT image_id FROM images WHERE run_id = ?";
    let images = image_ids(&transaction, select, params![run_id])?;
    remove_images(&transaction, &images)?;
    transaction.execute("DELETE FROM runs WHERE run_id = ?", [run_id])?;
    let remaining = transaction.query_row("SELECT count(*) FROM runs", [], |row| row.get(0))?;
    transaction.commit()?;
    Ok(remaining)
}

fn image_ids(
    connection: &Connection,
    select: &str,
    params: &[&dyn ToSql],
) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached(select)?
        .query_map(params, |row| row.get(0))?
        .collect()
}

fn remove_images(connection: &Connection, ids: &[i64]) -> rusqlite::Result<()> {
    for id in ids {
        connection.execute_batch(&format!("DROP VIEW IF EXISTS stars_{id}"))?;
        connection.execute("DELETE FROM images WHERE image_id = ?", [id])?;
    }
    Ok(())
}

fn insert_image(
    connection: &Connection,
    run_id: i64,
    image: &ImageInfo,
    n_stars: usize,
    unit: &str,
) -> rusqlite::Result<i64> {
    let ImageInfo {
        source,
        header,
        assumed,
        ..
    } = image;
    let (width, height) = assumed.size;
    let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
    connection
        .prepare_cached(
            "INSERT INTO images (run_id, name, path, hdu, plane, bytes, modified, width, height, \
             gain, read_noise, saturation, exposure, date, filter, unit, wcs, n_stars, \
             sky_level, sky_noise, gain_used, saturation_used, fwhm_used, cutout_width, \
             cutout_height) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .insert(params![
            run_id,
            image.name,
            path_of(image),
            integer(source.hdu),
            source.plane.map(integer),
            integer(source.bytes),
            source.modified,
            integer(image.width),
            integer(image.height),
            finite(header.gain),
            finite(header.read_noise),
            finite(header.saturation),
            finite(header.exposure),
            header.date,
            header.filter,
            unit,
            image.wcs,
            integer(n_stars),
            finite(assumed.background),
            finite(assumed.noise),
            finite(assumed.gain),
            finite(assumed.saturation),
            finite(assumed.fwhm),
            (width > 0).then(|| integer(width)),
            (height > 0).then(|| integer(height)),
        ])
}

/// Makes `columns` say the unit of fluxes: null where the images differ, `images.unit` has it.
fn set_flux_unit(connection: &Connection, unit: &str) -> rusqlite::Result<()> {
    let differ: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM images WHERE unit <> ?)",
        [unit],
        |row| row.get(0),
    )?;
    for column in COLUMNS.iter().filter(|column| column.unit.is_of_image()) {
        let unit = column.unit.resolve(Some(unit)).filter(|_| !differ);
        connection.execute(
            "UPDATE columns SET unit = ? WHERE name = ?",
            params![unit, column.name],
        )?;
    }
    Ok(())
}

/// What tells one image's file from another's; the name where there is no file.
fn path_of(image: &ImageInfo) -> String {
    if image.source.path.as_os_str().is_empty() {
        image.name.clone()
    } else {
        stored_path(&image.source.path)
    }
}

/// Absolute and without symbolic links, so that a file is the same from every folder.
fn stored_path(path: &Path) -> String {
    let absolute = path
        .canonicalize()
        .or_else(|_| std::path::absolute(path))
        .unwrap_or_else(|_| path.to_owned());
    // Debug escapes what is not text, so that no two paths become one.
    match absolute.to_str() {
        Some(text) => text.to_owned(),
        None => format!("{absolute:?}"),
    }
}

/// SQLite has no unsigned numbers. Sizes and counts are far below the limit.
fn integer(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

fn remove_database(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|error| Error::io(path, error))?;
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut beside = OsString::from(path);
        beside.push(suffix);
        // Closing has removed them, as a rule.
        let _ = fs::remove_file(beside);
    }
    Ok(())
}

pub(super) fn database_error(path: &Path, error: &rusqlite::Error) -> Error {
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Some("another program is writing to it: wait for it, or close it")
        }
        Some(ErrorCode::DiskFull) => Some("free some space, or write somewhere else"),
        Some(ErrorCode::DatabaseCorrupt) => {
            Some("keep a copy, and try `sqlite3 FILE .recover` to save what is left")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            Some("the file and its folder must be writable")
        }
        _ => None,
    };
    Error::Database {
        path: path.to_owned(),
        message: error.to_string(),
        hint: hint.map(str::to_owned),
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(value),
            Self::Float(value) => ValueRef::Real(value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

#[cfg(test)]
mod tests;
