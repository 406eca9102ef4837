//! CSV: one header row, no comments; what is null is empty.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Stdout, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tempfile::NamedTempFile;

use super::{COLUMNS, CatalogWriter, ImageInfo, Row, Value};
use super::{check_output, folder, is_special, is_stdout};
use crate::error::{Error, Result};

/// Rows that one thread makes into text at a time: some 100 kB.
const CHUNK: usize = 256;

/// A CSV file that takes its place only when it is complete, or a stream.
#[derive(Debug)]
pub(super) struct CsvWriter {
    output: Output,
    /// For messages, and the place of a file.
    path: PathBuf,
    has_header: bool,
    /// Bytes written so far, and before the image in hand.
    written: u64,
    before: u64,
    /// The field of the name of the image in hand.
    image: Vec<u8>,
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
        Ok(Self {
            output,
            path,
            has_header: false,
            written: 0,
            before: 0,
            image: Vec::new(),
        })
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.output
            .write_all(bytes)
            .map_err(|error| Error::io(&self.path, error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    // Not on opening: a run without results leaves standard output alone.
    fn write_header(&mut self) -> Result<()> {
        if !self.has_header {
            let names: Vec<&str> = COLUMNS.iter().map(|column| column.name).collect();
            self.write_bytes(format!("{}\n", names.join(",")).as_bytes())?;
            self.has_header = true;
        }
        Ok(())
    }
}

/// Lines of rows, whose first field is that of the image.
fn lines(image: &[u8], rows: &[Row]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::with_capacity(rows.len() * 512);
    for row in rows {
        lines.extend_from_slice(image);
        for value in row.values("").skip(1) {
            lines.push(b',');
            match value {
                Value::Null => {}
                Value::Integer(value) => write!(lines, "{value}")?,
                // As few digits as give the same number back, with an exponent where it is
                // large or small.
                Value::Float(value) => write!(lines, "{value:?}")?,
                // Words of ours, without a comma.
                Value::Text(text) => lines.extend_from_slice(text.as_bytes()),
            }
        }
        lines.push(b'\n');
    }
    Ok(lines)
}

/// A field of any text, in quotes where it needs them.
fn field(text: &str) -> Result<Vec<u8>, ::csv::Error> {
    let mut csv = ::csv::Writer::from_writer(Vec::new());
    csv.write_field(text)?;
    // With a second one even no text at all is a field without quotes.
    csv.write_field("")?;
    csv.write_record(None::<&[u8]>)?;
    let mut line = csv.into_inner().map_err(|error| error.into_error())?;
    line.truncate(line.len().saturating_sub(2));
    Ok(line)
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
    fn begin(&mut self, image: &ImageInfo, _n_stars: usize) -> Result<()> {
        let field = field(&image.name);
        self.image = field.map_err(|error| Error::io(&self.path, io_error(error)))?;
        self.before = self.written;
        self.write_header()
    }

    fn add(&mut self, rows: &[Row]) -> Result<()> {
        let parts = rows.par_chunks(CHUNK).map(|rows| lines(&self.image, rows));
        let parts: Vec<io::Result<Vec<u8>>> = parts.collect();
        for part in parts {
            let part = part.map_err(|error| Error::io(&self.path, error))?;
            self.write_bytes(&part)?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let flushed = self.output.flush();
        flushed.map_err(|error| Error::io(&self.path, error))
    }

    fn undo(&mut self) -> Result<()> {
        if let Output::Temporary(file) = &mut self.output {
            let file = file.as_file_mut();
            file.set_len(self.before)
                .and_then(|()| file.seek(SeekFrom::Start(self.before)))
                .map_err(|error| Error::io(&self.path, error))?;
            self.has_header &= self.before > 0;
            self.written = self.before;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.write_header()?;
        let fail = |error| Error::io(&self.path, error);
        self.output.flush().map_err(fail)?;
        if let Output::Temporary(file) = self.output {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::create;
    use crate::catalog::tests::{full_row, image, run};

    #[test]
    fn an_image_that_is_taken_back_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let written = |name: &str, undone: bool| {
            let path = folder.path().join(name);
            let mut catalog = create(&path, &run("gaussian")).unwrap();
            let rows: Vec<Row> = (0..1000).map(full_row).collect();
            for file in ["a.fits", "b, \"b\".fits"] {
                if undone {
                    catalog.begin(&image("c.fits"), 1000).unwrap();
                    catalog.add(&rows[..700]).unwrap();
                    catalog.undo().unwrap();
                }
                catalog.begin(&image(file), 1000).unwrap();
                catalog.add(&rows[..10]).unwrap();
                catalog.add(&rows[10..]).unwrap();
                catalog.end().unwrap();
            }
            catalog.finish().unwrap();
            std::fs::read_to_string(path).unwrap()
        };
        let plain = written("a.csv", false);
        assert_eq!(plain.lines().count(), 2001);
        assert!(plain.contains("\n\"b, \"\"b\"\".fits[0]\",999,"));
        assert!(written("b.csv", true) == plain);
    }
}
