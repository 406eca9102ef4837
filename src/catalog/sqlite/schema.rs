//! The tables of a database, and the marks by which a database is recognised.

use rusqlite::{Connection, Transaction, params};

use crate::catalog::columns::{COLUMNS, Column, Kind, Unit, kept};

/// "stft": marks a database as starfit's, for `file` and for us.
pub(super) const APPLICATION_ID: i32 = 0x7374_6674;

/// Raised with each change of the tables: version 1 and all changes since.
pub(super) const SCHEMA_VERSION: i32 = 1 + MIGRATIONS.len() as i32;

/// Statements that make a database of version 2 of one of version 1, and so on. New databases are made in
/// the same way, so that nothing depends on the age of a database.
const MIGRATIONS: [&str; 5] = [
    // Assumptions of the fits of an image. The names differ from the columns of stars.
    "ALTER TABLE images ADD COLUMN sky_level REAL;
ALTER TABLE images ADD COLUMN sky_noise REAL;
ALTER TABLE images ADD COLUMN gain_used REAL;
ALTER TABLE images ADD COLUMN saturation_used REAL;
ALTER TABLE images ADD COLUMN fwhm_used REAL;
ALTER TABLE images ADD COLUMN cutout_width INTEGER;
ALTER TABLE images ADD COLUMN cutout_height INTEGER;",
    // Objects. Triggers do the work of a foreign key of stars, for which the table would have to be
    // written anew. The index has only stars that are in an object.
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
    // How well the gain is known, and whether any noise was.
    "ALTER TABLE images ADD COLUMN gain_used_err REAL;
ALTER TABLE images ADD COLUMN by_residuals INTEGER;",
    // Which image another one is registered to: it need not be the first. What `add_columns` does.
    "ALTER TABLE registrations ADD COLUMN reference_id INTEGER;",
    // The middle of the exposure.
    "ALTER TABLE images ADD COLUMN mjd REAL;
DROP VIEW lightcurves;
CREATE VIEW lightcurves AS
SELECT stars.object_id AS object_id, images.date AS date, images.mjd AS mjd,
    images.filter AS filter, images.name AS image, stars.flux AS flux,
    stars.flux_err AS flux_err, stars.mag AS mag, stars.mag_err AS mag_err, stars.flags AS flags
FROM stars CROSS JOIN images ON images.image_id = stars.image_id
WHERE stars.object_id IS NOT NULL;",
];

/// Name of a column in the table of stars. A column `name` of stars would be ambiguous beside the name of
/// the image where users join both.
pub(in crate::catalog) fn in_table(column: &Column) -> &'static str {
    match column.name {
        "name" => "star_name",
        name => name,
    }
}

fn sql_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "TEXT",
        Kind::Integer => "INTEGER",
        Kind::Float => "REAL",
    }
}

/// Makes the tables of a new database, with room for these columns beside [`COLUMNS`].
pub(super) fn create_tables(transaction: &Transaction<'_>, own: &[Column]) -> rusqlite::Result<()> {
    transaction.execute_batch(&version_1())?;
    migrate(transaction, 1, own)
}

/// Brings the tables from an older version to this version, and adds the columns that they lack: a new
/// column of [`COLUMNS`] or of `own` needs nothing else.
pub(super) fn migrate(
    transaction: &Transaction<'_>,
    from: i32,
    own: &[Column],
) -> rusqlite::Result<()> {
    let done = usize::try_from(from - 1).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    let columns: Vec<Column> = COLUMNS.iter().chain(own).copied().collect();
    add_columns(transaction, &columns)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)
}

/// The columns that the tables of stars and images have, as `stars.x`.
pub(in crate::catalog) fn stored_columns(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(
            "SELECT tables.value || '.' || name FROM json_each('[\"stars\", \"images\"]') AS tables, \
             pragma_table_info(tables.value)",
        )?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Whether a column of the table of stars is a model's own.
pub(in crate::catalog) fn is_own(name: &str) -> bool {
    let is_known = COLUMNS.iter().any(|column| in_table(column) == name);
    !is_known && !NOT_MEASURED.contains(&name)
}

/// The stored columns of stars that models have beside [`COLUMNS`].
pub(in crate::catalog) fn stored_own_columns(
    connection: &Connection,
    stored: &[String],
) -> rusqlite::Result<Vec<Column>> {
    let names = stored
        .iter()
        .filter_map(|stored| stored.strip_prefix("stars."));
    let own = names.filter(|name| is_own(name));
    let mut describe = connection.prepare(
        "SELECT coalesce(unit, ''), ucd, description FROM columns WHERE name = ? \
         UNION ALL SELECT '', '', ''",
    )?;
    own.map(|name| {
        describe.query_row([name], |row| {
            let text = |at| row.get::<_, String>(at).map(kept);
            Ok(Column {
                name: kept(name.to_owned()),
                unit: Unit::Own(text(0)?),
                kind: Kind::Float,
                ucd: text(1)?,
                description: text(2)?,
            })
        })
    })
    .collect()
}

/// Whether the tables lack a column of [`COLUMNS`] or of `own`.
pub(super) fn lacks_columns(
    transaction: &Transaction<'_>,
    own: &[Column],
) -> rusqlite::Result<bool> {
    let present = stored_columns(transaction)?;
    let mut columns = COLUMNS.iter().skip(1).chain(own);
    Ok(columns.any(|column| !present.contains(&format!("stars.{}", in_table(column)))))
}

/// Adds the columns that the tables lack, except for the first column, which is the image's name.
pub(super) fn add_columns(
    transaction: &Transaction<'_>,
    columns: &[Column],
) -> rusqlite::Result<()> {
    let mut present = stored_columns(transaction)?;
    for column in columns.iter().skip(1) {
        let name = in_table(column);
        let stored = format!("stars.{name}");
        if !present.contains(&stored) {
            let kind = sql_type(column.kind);
            transaction.execute_batch(&format!("ALTER TABLE stars ADD COLUMN {name} {kind}"))?;
            present.push(stored);
        }
    }
    let mut insert = transaction.prepare(
        "INSERT INTO columns (name, unit, ucd, description) VALUES (?, ?, ?, ?) \
         ON CONFLICT (name) DO UPDATE SET ucd = excluded.ucd, description = excluded.description",
    )?;
    for column in columns {
        let unit = column.unit.resolve(None);
        insert.execute(params![column.name, unit, column.ucd, column.description])?;
    }
    drop(insert);
    // Own columns of models of other runs stand last.
    let known = |stored: &str| columns.iter().any(|column| in_table(column) == stored);
    let others = present
        .iter()
        .filter_map(|stored| stored.strip_prefix("stars."))
        .filter(|stored| !known(stored) && !NOT_MEASURED.contains(stored));
    let others: Vec<_> = others.map(|name| (name, name)).collect();
    let columns = columns.iter().skip(1);
    let columns = columns.map(|column| (column.name, in_table(column)));
    let (names, stars): (Vec<_>, Vec<_>) = columns
        .chain(others)
        .map(|(name, stored)| (name, format!("stars.{stored}")))
        .unzip();
    transaction.execute_batch(&format!(
        "DROP VIEW IF EXISTS catalog;
CREATE VIEW catalog (image, {}) AS SELECT newest_images.name, {}
FROM newest_images JOIN stars USING (image_id);",
        names.join(", "),
        stars.join(", "),
    ))
}

/// Columns of the table of stars that say nothing of a star itself.
const NOT_MEASURED: [&str; 4] = ["star_id", "image_id", "object_id", "zone"];

/// Version 1 as it was, but for the view `catalog`: later changes are in [`MIGRATIONS`], and columns are
/// added. Numbers of runs and images are never used again: the name of a view never comes to mean another
/// image. Not every SQLite has `floor`; CAST rounds the same way, as dec + 90 is not negative.
fn version_1() -> String {
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
    id INTEGER,
    x REAL,
    x_err REAL,
    y REAL,
    y_err REAL,
    ra REAL,
    ra_err REAL,
    dec REAL,
    dec_err REAL,
    flux REAL,
    flux_err REAL,
    mag REAL,
    mag_err REAL,
    background REAL,
    background_err REAL,
    peak REAL,
    fwhm REAL,
    fwhm_err REAL,
    fwhm_major REAL,
    fwhm_major_err REAL,
    fwhm_minor REAL,
    fwhm_minor_err REAL,
    theta REAL,
    theta_err REAL,
    ellipticity REAL,
    beta REAL,
    beta_err REAL,
    snr REAL,
    chi2 REAL,
    dof INTEGER,
    reduced_chi2 REAL,
    qfit REAL,
    cfit REAL,
    n_pixels INTEGER,
    n_iterations INTEGER,
    status TEXT NOT NULL,
    flags INTEGER,
    object_id INTEGER,
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

/// Statements that add stars: to an image, or to the temporary table of stars that wait for the rest of
/// their image.
#[derive(Debug)]
pub(super) struct StarStatements {
    /// The columns that the run has beside [`COLUMNS`].
    pub(super) own: Vec<Column>,
    /// Inserts the number of the image, then every column but the image's name, then the model's own columns.
    pub(super) insert: String,
    pub(super) create_waiting: String,
    /// Inserts into the table of stars that wait, as `insert`.
    pub(super) insert_waiting: String,
    /// Moves the stars that wait into the image of this number.
    pub(super) take_waiting: String,
}

impl StarStatements {
    pub(super) fn new(own: &[Column]) -> Self {
        let names: Vec<_> = COLUMNS.iter().skip(1).chain(own).map(in_table).collect();
        let (names, marks) = (names.join(", "), vec!["?"; names.len() + 1].join(", "));
        Self {
            own: own.to_vec(),
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

pub(super) fn schema_version(connection: &Connection) -> rusqlite::Result<i32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}
