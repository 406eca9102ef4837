//! Checks whether a file is a database of starfit, before SQLite touches it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::schema::{APPLICATION_ID, SCHEMA_VERSION};
use crate::catalog::is_special;
use crate::error::{Error, Result};

/// Purpose of opening a database; the advice of errors depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The file has to be a catalogue.
    Read,
    /// A catalogue is to be written to the file.
    Write,
}

impl Purpose {
    fn advice(self) -> &'static str {
        match self {
            Self::Read => {
                "a database that can be asked is what `starfit fit -o FILE.db` makes; \
                 catalogues of other formats are for other programs"
            }
            Self::Write => "choose another name for the catalogue",
        }
    }
}

/// Refuses a file that is not starfit's, by its first bytes alone: even opening another program's
/// database could complete a transaction that the program left behind.
pub(super) fn check_header(path: &Path, purpose: Purpose) -> Result<()> {
    const LENGTH: usize = 100;
    let refuse = |field: &str, expected: &str, found: String| {
        Err(Error::Malformed {
            file: path.display().to_string(),
            field: field.to_owned(),
            expected: expected.to_owned(),
            found,
            hint: Some(purpose.advice().to_owned()),
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
    // The format of SQLite files puts the application's number there.
    let id = header.get(68..72).and_then(|bytes| bytes.try_into().ok());
    if id != Some(APPLICATION_ID.to_be_bytes()) {
        let mut found = format!("{:#010x}", u32::from_be_bytes(id.unwrap_or_default()));
        if purpose == Purpose::Read {
            let _ = write!(found, ", another program's database with {}", tables(path));
        }
        let expected = format!("{APPLICATION_ID:#010x} (a catalogue of starfit)");
        return refuse("application_id", &expected, found);
    }
    Ok(())
}

/// The tables of another program's database, in words.
fn tables(path: &Path) -> String {
    const LISTED: usize = 5;
    let Some(tables) = read_tables(path) else {
        return "tables that cannot be read".to_owned();
    };
    let listed = tables.iter().take(LISTED).map(String::as_str);
    let listed = listed.collect::<Vec<_>>().join(", ");
    match tables.len() {
        0 => "no tables".to_owned(),
        1 => format!("the table {listed}"),
        n if n <= LISTED => format!("the tables {listed}"),
        n => format!("the tables {listed} and {} more", n - LISTED),
    }
}

/// Reads the names of tables from the file alone, without its journals and locks, so that nothing changes.
fn read_tables(path: &Path) -> Option<Vec<String>> {
    let path = std::path::absolute(path).ok()?;
    let mut uri = String::from("file:");
    // Windows: file:/C:/folder/file.
    let text = path.to_str()?.replace('\\', "/");
    if !text.starts_with('/') {
        uri.push('/');
    }
    for byte in text.bytes() {
        match byte {
            b'/' | b':' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            byte => {
                // Writing to a text cannot fail.
                let _ = write!(uri, "%{byte:02x}");
            }
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags).ok()?;
    let mut statement = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")
        .ok()?;
    let names = statement.query_map([], |row| row.get(0)).ok()?;
    names.collect::<rusqlite::Result<_>>().ok()
}

/// Refuses a version of the tables that this starfit cannot know.
pub(super) fn check_version(path: &Path, version: i32, purpose: Purpose) -> Result<()> {
    if (1..=SCHEMA_VERSION).contains(&version) {
        return Ok(());
    }
    let hint = if version > SCHEMA_VERSION {
        "a newer starfit wrote it: use that one, or another catalogue"
    } else {
        purpose.advice()
    };
    Err(Error::Unsupported {
        file: path.display().to_string(),
        what: format!("schema version {version} (expected 1 to {SCHEMA_VERSION})"),
        hint: Some(hint.to_owned()),
    })
}
