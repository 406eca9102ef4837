//! The tables of a database, and how it is known again.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use rusqlite::{Connection, Transaction, params};

use crate::catalog::columns::{COLUMNS, Kind};
use crate::catalog::is_special;
use crate::error::{Error, Result};

/// "stft": marks a database as starfit's, for `file` and for us.
const APPLICATION_ID: i32 = 0x7374_6674;

/// Raised with each change of the tables: version 1 and all changes since.
pub(super) const SCHEMA_VERSION: i32 = 1 + MIGRATIONS.len() as i32;

/// What makes a database of version 1 one of version 2, and so on. New databases are made in the
/// same way, so that nothing depends on when one was made.
const MIGRATIONS: [&str; 3] = [
    // What the fits of an image took for granted. The names are not those of columns of stars.
    "ALTER TABLE images ADD COLUMN sky_level REAL;
ALTER TABLE images ADD COLUMN sky_noise REAL;
ALTER TABLE images ADD COLUMN gain_used REAL;
ALTER TABLE images ADD COLUMN saturation_used REAL;
ALTER TABLE images ADD COLUMN fwhm_used REAL;
ALTER TABLE images ADD COLUMN cutout_width INTEGER;
ALTER TABLE images ADD COLUMN cutout_height INTEGER;",
    // Objects. Triggers do what a foreign key of stars would, which would need the table to be
    // written anew. The index has only what is in an object.
    "CREATE TABLE objects (
    object_id INTEGER PRIMARY KEY,
    n_visits INTEGER NOT NULL,
    ra REAL,
    ra_err REAL,
    dec REAL,
    dec_err REAL,
    x REAL,
    x_err REAL,
    y REAL,
    y_err REAL
) STRICT;
CREATE TABLE object_fluxes (
    object_id INTEGER NOT NULL REFERENCES objects ON DELETE CASCADE,
    filter TEXT NOT NULL,
    n_visits INTEGER NOT NULL,
    flux REAL,
    flux_err REAL,
    flux_scatter REAL,
    flux_chi2 REAL,
    flux_dof INTEGER,
    mag REAL,
    mag_err REAL,
    mag_scatter REAL,
    mag_chi2 REAL,
    mag_dof INTEGER,
    PRIMARY KEY (object_id, filter)
) STRICT, WITHOUT ROWID;
CREATE TABLE registrations (
    image_id INTEGER PRIMARY KEY REFERENCES images ON DELETE CASCADE,
    xx REAL NOT NULL,
    xy REAL NOT NULL,
    x0 REAL NOT NULL,
    yx REAL NOT NULL,
    yy REAL NOT NULL,
    y0 REAL NOT NULL,
    n_stars INTEGER NOT NULL,
    rms REAL NOT NULL
) STRICT;
CREATE INDEX stars_object ON stars (object_id) WHERE object_id IS NOT NULL;
CREATE TRIGGER object_deleted AFTER DELETE ON objects BEGIN
    UPDATE stars SET object_id = NULL WHERE object_id = old.object_id;
END;
CREATE TRIGGER star_deleted AFTER DELETE ON stars WHEN old.object_id IS NOT NULL BEGIN
    DELETE FROM objects WHERE object_id = old.object_id
        AND NOT EXISTS (SELECT 1 FROM stars WHERE object_id = old.object_id);
END;
CREATE VIEW lightcurves AS
SELECT stars.object_id AS object_id, images.date AS date, images.filter AS filter,
    images.name AS image, stars.flux AS flux, stars.flux_err AS flux_err, stars.mag AS mag,
    stars.mag_err AS mag_err, stars.flags AS flags
FROM stars CROSS JOIN images ON images.image_id = stars.image_id
WHERE stars.object_id IS NOT NULL;",
    // Colours.
    "ALTER TABLE stars ADD COLUMN flux_r REAL;
ALTER TABLE stars ADD COLUMN flux_r_err REAL;
ALTER TABLE stars ADD COLUMN flux_g REAL;
ALTER TABLE stars ADD COLUMN flux_g_err REAL;
ALTER TABLE stars ADD COLUMN flux_b REAL;
ALTER TABLE stars ADD COLUMN flux_b_err REAL;",
];

/// Columns of stars that version 1 had not.
const LATER: [&str; 6] = [
    "flux_r",
    "flux_r_err",
    "flux_g",
    "flux_g_err",
    "flux_b",
    "flux_b_err",
];

pub(super) fn create_tables(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(&schema())?;
    migrate(transaction, 1)
}

/// Brings the tables from an older version to this one.
pub(super) fn migrate(transaction: &Transaction<'_>, from: i32) -> rusqlite::Result<()> {
    let done = usize::try_from(from - 1).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    describe_columns(transaction)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)
}

/// Makes the view of all columns and their descriptions those of this version. What is said of a
/// column already stays, as it has the unit of the images.
fn describe_columns(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
    transaction.execute_batch(&format!(
        "DROP VIEW IF EXISTS catalog;
CREATE VIEW catalog ({}) AS SELECT newest_images.name, {}
FROM newest_images JOIN stars USING (image_id);",
        names.join(", "),
        star_columns(),
    ))?;
    let mut insert = transaction.prepare(
        "INSERT INTO columns (name, unit, ucd, description) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (name) DO UPDATE SET ucd = ?3, description = ?4",
    )?;
    for column in COLUMNS {
        let unit = column.unit.resolve(None);
        insert.execute(params![column.name, unit, column.ucd, column.description])?;
    }
    Ok(())
}

/// Version 1. Numbers of runs and images are never used again: the name of a view never comes to mean
/// another image. There is no `floor` in every SQLite; CAST rounds the same way, as dec + 90 is
/// not negative.
fn schema() -> String {
    let definitions: String = COLUMNS
        .iter()
        .skip(1)
        .filter(|column| !LATER.contains(&column.name))
        .map(|column| {
            let kind = match column.kind {
                Kind::Text => "TEXT NOT NULL",
                Kind::Integer => "INTEGER",
                Kind::Float => "REAL",
            };
            format!("    {} {kind},\n", column.name)
        })
        .collect();
    format!(
        "PRAGMA application_id = {APPLICATION_ID};
CREATE TABLE runs (
    run_id INTEGER PRIMARY KEY AUTOINCREMENT,
    version TEXT NOT NULL,
    command_line TEXT NOT NULL,
    settings TEXT NOT NULL,
    backend TEXT NOT NULL,
    adapter TEXT,
    started TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    finished TEXT
) STRICT;
CREATE TABLE images (
    image_id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    hdu INTEGER NOT NULL,
    plane INTEGER,
    bytes INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    gain REAL,
    read_noise REAL,
    saturation REAL,
    exposure REAL,
    date TEXT,
    filter TEXT,
    unit TEXT NOT NULL,
    wcs TEXT,
    n_stars INTEGER NOT NULL
) STRICT;
CREATE INDEX images_source ON images (path, hdu, plane, run_id);
CREATE INDEX images_run ON images (run_id);
CREATE TABLE stars (
    star_id INTEGER PRIMARY KEY,
    image_id INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
{definitions}    object_id INTEGER,
    zone INTEGER GENERATED ALWAYS AS (CAST((dec + 90) * 120 AS INTEGER)) VIRTUAL
) STRICT;
CREATE INDEX stars_position ON stars (image_id, y, x);
CREATE INDEX stars_sky ON stars (zone, ra);
CREATE TABLE columns (
    name TEXT PRIMARY KEY,
    unit TEXT,
    ucd TEXT NOT NULL,
    description TEXT NOT NULL
) STRICT;
CREATE VIEW newest_images AS SELECT * FROM images WHERE NOT EXISTS (
    SELECT 1 FROM images AS newer
    WHERE newer.path = images.path AND newer.hdu = images.hdu AND newer.plane IS images.plane
        AND newer.run_id > images.run_id
);"
    )
}

/// The columns of `stars` that are in every catalogue.
fn star_columns() -> String {
    let names: Vec<_> = COLUMNS
        .iter()
        .skip(1)
        .map(|column| format!("stars.{0} AS {0}", column.name))
        .collect();
    names.join(", ")
}

/// What stars are added with: to an image, or to the temporary table of those that wait for the
/// rest of theirs.
#[derive(Debug)]
pub(super) struct StarStatements {
    /// Number of the image, then every column but the image's name.
    pub(super) insert: String,
    pub(super) create_waiting: String,
    /// As `insert`.
    pub(super) insert_waiting: String,
    /// Takes the stars that wait into the image of this number.
    pub(super) take_waiting: String,
}

impl StarStatements {
    pub(super) fn new() -> Self {
        let names: Vec<_> = COLUMNS.iter().skip(1).map(|column| column.name).collect();
        let (names, marks) = (names.join(", "), vec!["?"; COLUMNS.len()].join(", "));
        Self {
            insert: format!("INSERT INTO stars (image_id, {names}) VALUES ({marks})"),
            // Without types every value stays as it is.
            create_waiting: format!("CREATE TEMP TABLE waiting_stars (image_id, {names})"),
            insert_waiting: format!("INSERT INTO temp.waiting_stars VALUES ({marks})"),
            take_waiting: format!(
                "INSERT INTO stars (image_id, {names}) \
                 SELECT ?, {names} FROM temp.waiting_stars ORDER BY rowid"
            ),
        }
    }
}

/// Refuses what is not starfit's by the file's first bytes alone: even opening another program's
/// database could complete a transaction that it left behind.
pub(super) fn check_header(path: &Path) -> Result<()> {
    const LENGTH: usize = 100;
    let refuse = |field: &str, expected: &str, found: String| {
        Err(Error::Malformed {
            file: path.display().to_string(),
            field: field.to_owned(),
            expected: expected.to_owned(),
            found,
            hint: Some("choose another name for the catalogue".to_owned()),
        })
    };
    let metadata = fs::metadata(path).map_err(|error| Error::io(path, error))?;
    if is_special(&metadata) {
        // Reading a pipe could take for ever.
        let found = "a device or a pipe".to_owned();
        return refuse("file", "an SQLite database", found);
    }
    let mut header = Vec::with_capacity(LENGTH);
    File::open(path)
        .and_then(|file| file.take(LENGTH as u64).read_to_end(&mut header))
        .map_err(|error| Error::io(path, error))?;
    if header.len() < LENGTH || !header.starts_with(b"SQLite format 3\0") {
        let found = "another kind of file".to_owned();
        return refuse("header", "an SQLite database", found);
    }
    // The format of SQLite files puts it there.
    let id = header.get(68..72).and_then(|bytes| bytes.try_into().ok());
    if id != Some(APPLICATION_ID.to_be_bytes()) {
        let found = format!("{:#010x}", u32::from_be_bytes(id.unwrap_or_default()));
        let expected = format!("{APPLICATION_ID:#010x} (a catalogue of starfit)");
        return refuse("application_id", &expected, found);
    }
    Ok(())
}

pub(super) fn schema_version(connection: &Connection) -> rusqlite::Result<i32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Refuses what this version cannot know.
pub(super) fn check_version(path: &Path, version: i32) -> Result<()> {
    if (1..=SCHEMA_VERSION).contains(&version) {
        return Ok(());
    }
    let hint = if version > SCHEMA_VERSION {
        "a newer starfit wrote it: use that one, or another catalogue"
    } else {
        "choose another name for the catalogue"
    };
    Err(Error::Unsupported {
        file: path.display().to_string(),
        what: format!("schema version {version} (expected 1 to {SCHEMA_VERSION})"),
        hint: Some(hint.to_owned()),
    })
}
