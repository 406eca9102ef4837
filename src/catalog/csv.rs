//! CSV: one header row, no comments; a null value is an empty field.

use std::io::{self, Write};
use std::path::Path;

use rayon::prelude::*;

use super::output::Output;
#[cfg(feature = "sqlite")]
use super::stream::Stream;
use super::{COLUMNS, CatalogWriter, Column, ImageInfo, Row, RunInfo, Value};
use crate::error::Result;

/// Rows that one thread makes into text at a time: some 100 kB.
const CHUNK: usize = 256;

/// A CSV file that takes its place only when it is complete, or a stream.
#[derive(Debug)]
pub(super) struct CsvWriter {
    output: Output,
    own_columns: Vec<Column>,
    has_header: bool,
    /// Bytes written so far, and before the image in hand.
    written: u64,
    before: u64,
    /// The field of the name of the image in hand.
    image: Vec<u8>,
}

impl CsvWriter {
    /// Opens the output; nothing is written to it yet.
    pub(super) fn create(path: &Path, run: &RunInfo) -> Result<Self> {
        Ok(Self {
            output: Output::open(path)?,
            own_columns: run.own_columns.clone(),
            has_header: false,
            written: 0,
            before: 0,
            image: Vec::new(),
        })
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.output.write_all(bytes);
        written.map_err(|error| self.output.error(error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    // Not on opening: a run without results leaves standard output alone.
    fn write_header(&mut self) -> Result<()> {
        if !self.has_header {
            let names: Vec<&str> = COLUMNS
                .iter()
                .chain(&self.own_columns)
                .map(|column| column.name)
                .collect();
            self.write_bytes(format!("{}\n", names.join(",")).as_bytes())?;
            self.has_header = true;
        }
        Ok(())
    }
}

/// Lines of rows; the first field of each is the name of the image.
fn lines(image: &[u8], rows: &[Row], own: &[Column]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::with_capacity(rows.len() * 512);
    for row in rows {
        lines.extend_from_slice(image);
        for value in row.values("").skip(1).chain(row.own_values(own)) {
            lines.push(b',');
            push_field(&mut lines, value)?;
        }
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Adds a line of these values.
pub(super) fn push_line(
    lines: &mut Vec<u8>,
    values: &mut dyn Iterator<Item = Value<'_>>,
) -> io::Result<()> {
    let begins = lines.len();
    for (at, value) in values.enumerate() {
        if at > 0 {
            lines.push(b',');
        }
        push_field(lines, value)?;
    }
    // An empty line would be no row.
    if lines.len() == begins {
        lines.extend_from_slice(b"\"\"");
    }
    lines.push(b'\n');
    Ok(())
}

/// Adds a field to a line; a null value is an empty field.
fn push_field(line: &mut Vec<u8>, value: Value<'_>) -> io::Result<()> {
    match value {
        Value::Null => Ok(()),
        Value::Integer(value) => write!(line, "{value}"),
        // As few digits as give the same number back, with an exponent where it is large or small.
        Value::Float(value) => write!(line, "{value:?}"),
        Value::Text(text) => {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.[]/-".contains(&byte);
            if !text.is_empty() && text.bytes().all(is_plain) {
                line.extend_from_slice(text.as_bytes());
            } else {
                line.extend(field(text)?);
            }
            Ok(())
        }
    }
}

/// A field of any text, in quotes where it needs them.
fn field(text: &str) -> io::Result<Vec<u8>> {
    let mut csv = ::csv::Writer::from_writer(Vec::new());
    let write = |csv: &mut ::csv::Writer<Vec<u8>>| {
        csv.write_field(text)?;
        // With a second field even an empty text is a field without quotes.
        csv.write_field("")?;
        csv.write_record(None::<&[u8]>)
    };
    write(&mut csv).map_err(io_error)?;
    let mut line = csv.into_inner().map_err(|error| error.into_error())?;
    line.truncate(line.len().saturating_sub(2));
    Ok(line)
}

/// The error of the writer as an I/O error of the same kind: a closed pipe is no failure.
fn io_error(error: ::csv::Error) -> io::Error {
    let kind = match error.kind() {
        ::csv::ErrorKind::Io(error) => error.kind(),
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl CatalogWriter for CsvWriter {
    fn begin(&mut self, image: &ImageInfo, _n_stars: usize) -> Result<()> {
        let field = field(&image.name);
        self.image = field.map_err(|error| self.output.error(error))?;
        self.before = self.written;
        self.write_header()
    }

    fn add(&mut self, rows: &[Row]) -> Result<()> {
        let parts = rows
            .par_chunks(CHUNK)
            .map(|rows| lines(&self.image, rows, &self.own_columns));
        let parts: Vec<io::Result<Vec<u8>>> = parts.collect();
        for part in parts {
            let part = part.map_err(|error| self.output.error(error))?;
            self.write_bytes(&part)?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let flushed = self.output.flush();
        flushed.map_err(|error| self.output.error(error))
    }

    fn undo(&mut self) -> Result<()> {
        if self.output.truncate(self.before)? {
            self.has_header &= self.before > 0;
            self.written = self.before;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.write_header()?;
        self.output.persist()
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        // Dropping a temporary file removes it.
        Ok(())
    }
}

/// Lines of chosen columns.
#[cfg(feature = "sqlite")]
#[derive(Debug)]
pub(super) struct Lines;

#[cfg(feature = "sqlite")]
impl Stream for Lines {
    fn begin(&mut self, columns: &[Column], out: &mut dyn Write) -> io::Result<()> {
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        writeln!(out, "{}", names.join(","))
    }

    fn row(
        &mut self,
        _columns: &[Column],
        values: &[Value<'_>],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut line = Vec::new();
        push_line(&mut line, &mut values.iter().copied())?;
        out.write_all(&line)
    }

    fn end(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_where_they_must_be() {
        let field = |text| {
            let mut line = Vec::new();
            push_field(&mut line, Value::Text(text)).unwrap();
            String::from_utf8(line).unwrap()
        };
        for (text, written) in [
            ("a.fits[0]", "a.fits[0]"),
            ("\u{fc} b", "\u{fc} b"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\nb", "\"a\nb\""),
            ("", ""),
        ] {
            assert_eq!(field(text), written);
        }
    }
}
