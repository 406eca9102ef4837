//! A table whose rows come before the header of its file is known: units, widths of texts and numbers of
//! rows follow from all images.
//!
//! The rows wait in memory, or, when they are many, in a nameless file beside the catalogue.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use tempfile::SpooledTempFile;

use super::{Column, Kind, Value};

/// Bytes of rows that may wait in memory.
const IN_MEMORY: usize = 16 << 20;

/// Bytes that are written to the file at once.
const BUFFER: usize = 1 << 20;

/// Bytes of any value: a row is found by its number, and a row that is taken back leaves nothing.
const CELL: usize = size_of::<u64>();

/// Null among integers and texts; among floats NaN is null.
const NULL: i64 = i64::MIN;

/// A column of a table, with the unit that its values have there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) column: Column,
    pub(super) unit: Option<String>,
}

/// A table of any number of rows.
pub(super) struct Table {
    fields: Vec<Field>,
    /// The different texts of each column, in the order of their first use.
    texts: Vec<Texts>,
    rows: SpooledTempFile,
    /// Rows that are not in `rows` yet.
    buffer: Vec<u8>,
    n_rows: u64,
}

#[derive(Debug, Default)]
struct Texts {
    list: Vec<Arc<str>>,
    places: HashMap<Arc<str>, i64>,
}

impl Texts {
    fn place(&mut self, text: &str) -> i64 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.list.len() as i64;
        let text: Arc<str> = text.into();
        self.list.push(text.clone());
        self.places.insert(text, place);
        place
    }

    fn truncate(&mut self, n: usize) {
        for text in self.list.drain(n.min(self.list.len())..) {
            self.places.remove(&text);
        }
    }
}

/// A mark of how far a table was filled.
#[derive(Debug, Clone, Default)]
pub(super) struct Mark {
    n_rows: u64,
    texts: Vec<usize>,
}

impl Mark {
    /// Number of rows at the mark.
    pub(super) fn n_rows(&self) -> u64 {
        self.n_rows
    }
}

/// Rows in memory, one after the other.
pub(super) struct Block<'a> {
    fields: &'a [Field],
    texts: &'a [Texts],
    cells: &'a [u8],
}

impl Table {
    /// A table without rows; `folder` has room for them.
    pub(super) fn new(columns: impl IntoIterator<Item = Column>, folder: &Path) -> Self {
        let fields: Vec<Field> = columns
            .into_iter()
            .map(|column| Field {
                unit: column.unit.resolve(None).map(Into::into),
                column,
            })
            .collect();
        Self {
            texts: fields.iter().map(|_| Texts::default()).collect(),
            fields,
            rows: tempfile::spooled_tempfile_in(IN_MEMORY, folder),
            buffer: Vec::new(),
            n_rows: 0,
        }
    }

    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub(super) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// The different texts of a column.
    pub(super) fn texts(&self, column: usize) -> &[Arc<str>] {
        self.texts.get(column).map_or(&[], |texts| &texts.list)
    }

    /// Sets the unit of fluxes; `None` where the images differ.
    pub(super) fn set_flux_unit(&mut self, unit: Option<&str>) {
        for field in &mut self.fields {
            if field.column.unit.is_of_image() {
                let resolve = |unit| field.column.unit.resolve(Some(unit)).map(Into::into);
                field.unit = unit.and_then(resolve);
            }
        }
    }

    /// Adds a row: a value for each field; a value of another kind is null.
    pub(super) fn push<'a>(
        &mut self,
        values: impl IntoIterator<Item = Value<'a>>,
    ) -> io::Result<()> {
        let mut values = values.into_iter();
        for (field, texts) in self.fields.iter().zip(&mut self.texts) {
            let cell = match (field.column.kind, values.next()) {
                (Kind::Float, Some(Value::Float(value))) => value.to_bits() as i64,
                (Kind::Float, _) => f64::NAN.to_bits() as i64,
                (Kind::Integer, Some(Value::Integer(value))) => value,
                (Kind::Text, Some(Value::Text(text))) => texts.place(text),
                (Kind::Integer | Kind::Text, _) => NULL,
            };
            self.buffer.extend_from_slice(&cell.to_le_bytes());
        }
        self.n_rows += 1;
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.rows.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// The place to come back to.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            n_rows: self.n_rows,
            texts: self.texts.iter().map(|texts| texts.list.len()).collect(),
        }
    }

    /// Takes back all rows since `mark`.
    pub(super) fn truncate(&mut self, mark: &Mark) -> io::Result<()> {
        self.flush()?;
        let length = mark.n_rows * (self.fields.len() * CELL) as u64;
        self.rows.set_len(length)?;
        self.rows.seek(SeekFrom::Start(length))?;
        self.n_rows = mark.n_rows;
        for (texts, n) in self.texts.iter_mut().zip(&mark.texts) {
            texts.truncate(*n);
        }
        Ok(())
    }

    /// Writes every row as the bytes that `row` makes of its values.
    pub(super) fn write_rows(
        &mut self,
        out: &mut dyn Write,
        row: impl Fn(&mut Vec<u8>, &mut dyn Iterator<Item = Value<'_>>) -> io::Result<()> + Sync,
    ) -> io::Result<()> {
        /// Rows in memory, and those that one thread makes into bytes at a time.
        const AT_ONCE: usize = 1 << 14;
        const CHUNK: usize = 256;
        self.read(AT_ONCE, |block| {
            let chunk = |from: usize| {
                let mut bytes = Vec::new();
                for at in from..block.len().min(from + CHUNK) {
                    row(&mut bytes, &mut block.row(at))?;
                }
                Ok(bytes)
            };
            let starts = (0..block.len()).into_par_iter().step_by(CHUNK);
            let chunks: Vec<io::Result<Vec<u8>>> = starts.map(chunk).collect();
            chunks
                .into_iter()
                .try_for_each(|chunk| out.write_all(&chunk?))
        })
    }

    /// Hands all rows to `take`, at most `size` at once.
    pub(super) fn read(
        &mut self,
        size: usize,
        mut take: impl FnMut(Block<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.flush()?;
        self.rows.rewind()?;
        let width = self.fields.len() * CELL;
        let mut left = self.n_rows;
        let mut cells = Vec::new();
        while left > 0 {
            let n = left.min(size as u64);
            cells.resize(n as usize * width, 0);
            self.rows.read_exact(&mut cells)?;
            take(Block {
                fields: &self.fields,
                texts: &self.texts,
                cells: &cells,
            })?;
            left -= n;
        }
        Ok(())
    }
}

impl Block<'_> {
    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.cells.len() / (self.fields.len() * CELL).max(1)
    }

    /// The values of one row.
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = Value<'_>> {
        (0..self.fields.len()).map(move |at| self.value(row, at))
    }

    /// The values of one column.
    #[cfg(any(feature = "parquet", feature = "sqlite"))]
    pub(super) fn column(&self, at: usize) -> impl Iterator<Item = Value<'_>> {
        (0..self.len()).map(move |row| self.value(row, at))
    }

    fn value(&self, row: usize, at: usize) -> Value<'_> {
        let start = (row * self.fields.len() + at) * CELL;
        let bytes = self.cells.get(start..start + CELL);
        let Some(cell) = bytes.and_then(|bytes| bytes.try_into().ok()) else {
            return Value::Null;
        };
        match (i64::from_le_bytes(cell), self.fields[at].column.kind) {
            (NULL, Kind::Integer | Kind::Text) => Value::Null,
            (value, Kind::Integer) => Value::Integer(value),
            (place, Kind::Text) => {
                let text = self.texts[at].list.get(place as usize);
                text.map_or(Value::Null, |text| Value::Text(text))
            }
            (bits, Kind::Float) => match f64::from_bits(bits as u64) {
                value if value.is_nan() => Value::Null,
                value => Value::Float(value),
            },
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("fields", &self.fields.len())
            .field("n_rows", &self.n_rows)
            .finish_non_exhaustive()
    }
}
