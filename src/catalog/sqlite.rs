//! SQLite: one database for many runs over many images.
//!
//! Tables `runs`, `images`, `stars` and `columns`; a view `stars_<image_id>` for each image, in
//! the order of y and x; the view `newest_images` of each image (path, HDU and plane) as its newest run
//! has it, and the view `catalog` of their stars. The results of [`objects`](super::objects) are in
//! `objects`, `object_fluxes` and `registrations`, and in the view `lightcurves`.
//!
//! An image is one transaction: it is there whole or not at all. It replaces the same image of earlier
//! runs with the same settings; these runs stay in `runs`, as a record, even without images. The stars of
//! an image that comes in parts wait in a temporary table, so that the database is locked only while it
//! takes an image in.

mod images;
mod recognise;
mod schema;
mod wait;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, Statement, ToSql, Transaction, TransactionBehavior, params,
};

use super::unit::flux_unit;
use super::{CatalogWriter, Column, DoneImages, ImageInfo, Row, RunInfo, Value, check_output};
use crate::error::{Error, Result};
use images::{done_images, image_ids, insert_image, remove_earlier, remove_images, set_flux_unit};
use recognise::{Purpose, check_header, check_version};
use schema::{
    SCHEMA_VERSION, StarStatements, create_tables, lacks_columns, migrate, schema_version,
};
pub(super) use schema::{in_table, is_own, stored_columns, stored_own_columns};
use wait::{PATIENCE, wait_for_others};

/// A catalogue in a database, and one run that adds to it.
#[derive(Debug)]
pub struct SqliteWriter {
    connection: Connection,
    path: PathBuf,
    /// Whether there was no database before this run.
    is_new: bool,
    run_id: i64,
    /// Settings as they are stored.
    settings: String,
    statements: StarStatements,
    /// Unit of fluxes that was last written to `columns`.
    flux_unit: Option<String>,
    /// The image that comes in parts, and how many stars it will have.
    image: Option<(ImageInfo, usize)>,
}

impl SqliteWriter {
    /// Opens or creates a database and enters a new run.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where no file can be written; [`Error::Malformed`] for a file that is no database or
    /// is another program's, which is left as it is; [`Error::Unsupported`] for a database of another
    /// version; [`Error::Database`] where SQLite refuses, as when another program holds the lock.
    pub fn create(path: &Path, run: &RunInfo) -> Result<Self> {
        Self::create_within(path, run, PATIENCE)
    }

    fn create_within(path: &Path, run: &RunInfo, patience: Duration) -> Result<Self> {
        // SQLite, too, takes an empty file for a database without tables.
        let is_new = check_output(path)?.is_none_or(|found| found.is_file() && found.len() == 0);
        if !is_new {
            check_header(path, Purpose::Write)?;
        }
        let fail = |error| database_error(path, &error);
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE, patience)?;
        let settings = run.settings.to_string();
        let transaction = lock(&connection).map_err(fail)?;
        let run_id = enter(transaction, path, run, &settings)?;
        prefer_wal(&mut connection, path, patience);
        Ok(Self {
            connection,
            path: path.to_owned(),
            is_new,
            run_id,
            settings,
            statements: StarStatements::new(&run.own_columns),
            flux_unit: None,
            image: None,
        })
    }

    /// The number of this run.
    pub fn run_id(&self) -> i64 {
        self.run_id
    }

    fn lock(&self) -> rusqlite::Result<Transaction<'_>> {
        lock(&self.connection)
    }

    /// Writes a whole image; `insert` adds its stars.
    fn write_image(
        &mut self,
        image: &ImageInfo,
        n_stars: usize,
        insert: impl FnOnce(&Transaction<'_>, &StarStatements, i64) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let transaction = self.lock()?;
        remove_earlier(&transaction, image, &self.settings)?;
        let unit = flux_unit(image.header.unit.as_deref());
        if self.flux_unit.as_deref() != Some(&unit) {
            set_flux_unit(&transaction, &unit, &self.statements.own)?;
        }
        let image_id = insert_image(&transaction, self.run_id, image, n_stars, &unit)?;
        insert(&transaction, &self.statements, image_id)?;
        transaction.execute_batch(&format!(
            "CREATE VIEW stars_{image_id} AS \
             SELECT * FROM stars WHERE image_id = {image_id} ORDER BY y, x"
        ))?;
        transaction.commit()?;
        self.flux_unit = Some(unit.into_owned());
        Ok(())
    }

    fn write_rows(&mut self, image: &ImageInfo, rows: &[Row]) -> rusqlite::Result<()> {
        self.write_image(image, rows.len(), |transaction, statements, image_id| {
            let mut insert = transaction.prepare_cached(&statements.insert)?;
            insert_rows(&mut insert, image_id, rows, &statements.own)
        })
    }

    fn add_part(&self, rows: &[Row]) -> rusqlite::Result<()> {
        // The transaction locks nothing: it changes the temporary table alone.
        let transaction = self.connection.unchecked_transaction()?;
        let mut insert = transaction.prepare_cached(&self.statements.insert_waiting)?;
        // The image has no number yet.
        insert_rows(&mut insert, 0, rows, &self.statements.own)?;
        drop(insert);
        transaction.commit()
    }

    fn write_parts(&mut self) -> rusqlite::Result<()> {
        if let Some((image, n_stars)) = self.image.take() {
            self.write_image(&image, n_stars, |transaction, statements, image_id| {
                let taken = transaction.execute(&statements.take_waiting, [image_id]);
                taken.map(drop)
            })?;
        }
        self.forget_parts()
    }

    fn forget_parts(&self) -> rusqlite::Result<()> {
        self.connection
            .execute_batch("DROP TABLE IF EXISTS temp.waiting_stars")
    }

    fn failed(&self, error: &rusqlite::Error) -> Error {
        database_error(&self.path, error)
    }
}

impl CatalogWriter for SqliteWriter {
    fn begin(&mut self, image: &ImageInfo, n_stars: usize) -> Result<()> {
        self.undo()?;
        self.connection
            .execute_batch(&self.statements.create_waiting)
            .map_err(|error| self.failed(&error))?;
        self.image = Some((image.clone(), n_stars));
        Ok(())
    }

    fn add(&mut self, rows: &[Row]) -> Result<()> {
        self.add_part(rows).map_err(|error| self.failed(&error))
    }

    fn end(&mut self) -> Result<()> {
        self.write_parts().map_err(|error| self.failed(&error))
    }

    fn undo(&mut self) -> Result<()> {
        self.image = None;
        self.forget_parts().map_err(|error| self.failed(&error))
    }

    fn write(&mut self, image: &ImageInfo, rows: &[Row]) -> Result<()> {
        self.write_rows(image, rows)
            .map_err(|error| self.failed(&error))
    }

    fn done_images(&self) -> Result<DoneImages> {
        done_images(&self.connection, &self.settings).map_err(|error| self.failed(&error))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let finish = || {
            let transaction = self.lock()?;
            transaction.execute(
                "UPDATE runs SET finished = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') WHERE run_id = ?",
                [self.run_id],
            )?;
            transaction.commit()
        };
        finish().map_err(|error| self.failed(&error))?;
        close(self.connection, &self.path)
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        let remove = || remove_run(self.lock()?, self.run_id);
        let remaining = remove().map_err(|error| self.failed(&error))?;
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

/// Opens a catalogue to read it. The catalogue may be of an older version and stays so:
/// [`SqliteWriter::create`] brings it up to date.
///
/// # Errors
///
/// The errors of [`SqliteWriter::create`]; [`Error::Io`] where there is no such file.
pub fn open(path: &Path) -> Result<Connection> {
    open_within(path, PATIENCE)
}

fn open_within(path: &Path, patience: Duration) -> Result<Connection> {
    check_header(path, Purpose::Read)?;
    let fail = |error| database_error(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    wait_for_others(&mut connection, path, patience).map_err(fail)?;
    let version = schema_version(&connection).map_err(fail)?;
    check_version(path, version, Purpose::Read)?;
    Ok(connection)
}

/// Opens a catalogue to change it, and brings it up to date. Call [`close`] in the end.
///
/// # Errors
///
/// The errors of [`SqliteWriter::create`]; [`Error::Io`] where there is no such file.
pub(super) fn open_to_change(path: &Path) -> Result<Connection> {
    open_to_change_within(path, PATIENCE)
}

fn open_to_change_within(path: &Path, patience: Duration) -> Result<Connection> {
    check_header(path, Purpose::Read)?;
    let mut connection = connect(path, OpenFlags::empty(), patience)?;
    let fail = |error| database_error(path, &error);
    let transaction = lock(&connection).map_err(fail)?;
    bring_up_to_date(&transaction, path, &[])?;
    transaction.commit().map_err(fail)?;
    prefer_wal(&mut connection, path, patience);
    Ok(connection)
}

/// A connection that can write.
fn connect(path: &Path, more: OpenFlags, patience: Duration) -> Result<Connection> {
    let fail = |error| database_error(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    let mut connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    wait_for_others(&mut connection, path, patience).map_err(fail)?;
    if connection.is_readonly("main").map_err(fail)? {
        let why = io::Error::new(io::ErrorKind::PermissionDenied, "the file is read-only");
        return Err(Error::io(path, why));
    }
    // Each image changes the indexes of a large catalogue all over: hence 64 MB of cache, and pages go
    // from the journal to the database each 128 MB only.
    connection
        .execute_batch(
            "PRAGMA foreign_keys = ON; PRAGMA cache_size = -64000; \
             PRAGMA wal_autocheckpoint = 32768",
        )
        .map_err(fail)?;
    Ok(connection)
}

/// Closes a database and leaves one file, which can be read where nothing can be written.
pub(super) fn close(connection: Connection, path: &Path) -> Result<()> {
    let fail = |error| database_error(path, &error);
    connection.busy_timeout(Duration::ZERO).map_err(fail)?;
    // SQLite refuses while another program reads: then the last program to close tidies up.
    let _ = connection.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()));
    connection.close().map_err(|(_, error)| fail(error))
}

/// Executes the statement for each star; the image's number is in the place of its name.
fn insert_rows(
    insert: &mut Statement<'_>,
    image_id: i64,
    rows: &[Row],
    own: &[Column],
) -> rusqlite::Result<()> {
    for row in rows {
        insert.raw_bind_parameter(1, image_id)?;
        let values = row.values("").chain(row.own_values(own));
        for (at, value) in values.enumerate().skip(1) {
            insert.raw_bind_parameter(at + 1, value)?;
        }
        insert.raw_execute()?;
    }
    Ok(())
}

/// Asks for a write-ahead log: readers and writers then do not wait for each other, and only rarely for
/// the disk. A power cut may undo the last images, but no more. Some network file systems cannot do it;
/// the old journal, which waits for the disk at each image, is as safe. A program that goes on reading
/// keeps the old journal, too: the wait for such a program is only a moment.
fn prefer_wal(connection: &mut Connection, path: &Path, patience: Duration) {
    const MOMENT: Duration = Duration::from_secs(1);
    // SQLite refuses no handler.
    let _ = wait_for_others(connection, path, patience.min(MOMENT));
    let mode = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0));
    if mode.is_ok_and(|mode| mode == "wal") {
        // Where SQLite refuses, writing is slower, no worse.
        let _ = connection.pragma_update(None, "synchronous", "normal");
    }
    let _ = wait_for_others(connection, path, patience);
}

/// Starts a transaction that writes, once no other program writes.
fn lock(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
}

/// Makes the tables if there are none, and the row of the run.
fn enter(transaction: Transaction<'_>, path: &Path, run: &RunInfo, settings: &str) -> Result<i64> {
    let fail = |error| database_error(path, &error);
    // Asked within the transaction: another run may be making the tables too.
    let has_tables: bool = transaction
        .query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| {
            row.get(0)
        })
        .map_err(fail)?;
    if has_tables {
        bring_up_to_date(&transaction, path, &run.own_columns)?;
    } else {
        create_tables(&transaction, &run.own_columns).map_err(fail)?;
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

/// Changes tables of an older version to the tables of this version, with the columns `own` beside
/// [`COLUMNS`].
fn bring_up_to_date(transaction: &Transaction<'_>, path: &Path, own: &[Column]) -> Result<()> {
    let fail = |error| database_error(path, &error);
    let version = schema_version(transaction).map_err(fail)?;
    check_version(path, version, Purpose::Write)?;
    if version < SCHEMA_VERSION {
        tracing::info!(
            "{}: brought to schema version {SCHEMA_VERSION}",
            path.display()
        );
    }
    if version < SCHEMA_VERSION || lacks_columns(transaction, own).map_err(fail)? {
        migrate(transaction, version, own).map_err(fail)?;
    }
    Ok(())
}

/// Removes a run with its images; returns how many runs are left.
fn remove_run(transaction: Transaction<'_>, run_id: i64) -> rusqlite::Result<i64> {
    let select = "SELECT image_id FROM images WHERE run_id = ?";
    let images = image_ids(&transaction, select, params![run_id])?;
    remove_images(&transaction, &images)?;
    transaction.execute("DELETE FROM runs WHERE run_id = ?", [run_id])?;
    let remaining = transaction.query_row("SELECT count(*) FROM runs", [], |row| row.get(0))?;
    transaction.commit()?;
    Ok(remaining)
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
        Some(ErrorCode::DiskFull) => Some(
            "free some space there, and in the folder of temporary files (TMPDIR), or write somewhere else",
        ),
        Some(ErrorCode::SystemIoFailure) => {
            Some("the disk failed or is gone, or a limit on the size of files is reached")
        }
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
