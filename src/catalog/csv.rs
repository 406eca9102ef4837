//! CSV: one header row, no comments; what is null is empty.

use std::fs::{File, OpenOptions};
use std::io::{self, Stdout, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{COLUMNS, CatalogWriter, ImageInfo, Row, Value};
use super::{check_output, folder, is_special, is_stdout};
use crate::error::{Error, Result};

/// Bytes gathered before they are handed to the operating system.
const BUFFER: usize = 1 << 17;

/// A CSV file that takes its place only when it is complete, or a stream.
#[derive(Debug)]
pub(super) struct CsvWriter {
    csv: ::csv::Writer<Output>,
    /// For messages, and the place of a file.
    path: PathBuf,
    has_header: bool,
}

#[derive(Debug)]
enum Output {
    Stdout(Stdout),
    /// A device or a pipe.
    Special(File),
    Temporary(NamedTempFile),
}

impl Output {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Stdout(stdout) => stdout,
            Self::Special(file) => file,
            Self::Temporary(file) => file,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

impl CsvWriter {
    /// Opens the output; nothing is written to it yet.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let (path, output) = if is_stdout(path) {
            ("standard output".into(), Output::Stdout(io::stdout()))
        } else {
            open(path)?
        };
        let csv = ::csv::WriterBuilder::new()
            .buffer_capacity(BUFFER)
            .from_writer(output);
        Ok(Self {
            csv,
            path,
            has_header: false,
        })
    }

    // Not on opening: a run without results leaves standard output alone.
    fn write_header(&mut self) -> Result<(), ::csv::Error> {
        if !self.has_header {
            self.csv
                .write_record(COLUMNS.iter().map(|column| column.name))?;
            self.has_header = true;
        }
        Ok(())
    }

    fn write_rows(&mut self, image: &ImageInfo, rows: &[Row]) -> Result<(), ::csv::Error> {
        self.write_header()?;
        let mut number = Vec::new();
        for row in rows {
            for value in row.values(&image.name) {
                number.clear();
                match value {
                    Value::Null => {}
                    Value::Integer(value) => write!(number, "{value}")?,
                    // As few digits as give the same number back, with an exponent where it is
                    // large or small.
                    Value::Float(value) => write!(number, "{value:?}")?,
                    Value::Text(text) => {
                        self.csv.write_field(text)?;
                        continue;
                    }
                }
                self.csv.write_field(&number)?;
            }
            self.csv.write_record(None::<&[u8]>)?;
        }
        self.csv.flush()?;
        Ok(())
    }
}

/// The same with its kind: that nobody reads on is no failure.
fn io_error(error: ::csv::Error) -> io::Error {
    let kind = match error.kind() {
        ::csv::ErrorKind::Io(error) => error.kind(),
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// The file to write instead of `path`, and what `path` is without symbolic links: replacing a
/// link would leave what it points to as it was.
fn open(path: &Path) -> Result<(PathBuf, Output)> {
    let fail = |error| Error::io(path, error);
    let Some(existing) = check_output(path)? else {
        let temporary = temporary(folder(path)).map_err(fail)?;
        return Ok((path.to_owned(), Output::Temporary(temporary)));
    };
    // Says whether the file may be written, without changing it.
    let file = OpenOptions::new().write(true).open(path).map_err(fail)?;
    if is_special(&existing) {
        return Ok((path.to_owned(), Output::Special(file)));
    }
    let target = path.canonicalize().map_err(fail)?;
    let temporary = temporary(folder(&target)).map_err(fail)?;
    temporary
        .as_file()
        .set_permissions(existing.permissions())
        .map_err(fail)?;
    Ok((target, Output::Temporary(temporary)))
}

/// A file beside the catalogue, with the permissions of any new file: tempfile's own are for
/// secrets.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".starfit-").suffix(".csv");
    #[cfg(unix)]
    {
        use std::fs::Permissions;
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

impl CatalogWriter for CsvWriter {
    fn write(&mut self, image: &ImageInfo, rows: &[Row]) -> Result<()> {
        self.write_rows(image, rows)
            .map_err(|error| Error::io(&self.path, io_error(error)))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let header = self.write_header();
        let fail = |error| Error::io(&self.path, error);
        header.map_err(|error| fail(error.into()))?;
        let output = self
            .csv
            .into_inner()
            .map_err(|error| fail(error.into_error()))?;
        if let Output::Temporary(file) = output {
            // The old file must not give way to one that a power cut would empty.
            file.as_file().sync_all().map_err(fail)?;
            file.persist(&self.path)
                .map_err(|error| fail(error.error))?;
        }
        Ok(())
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        // Dropping a temporary file removes it.
        Ok(())
    }
}
