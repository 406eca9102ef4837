//! Apache Parquet: the flat columns of numbers and texts.

use std::path::Path;

use parquet::basic::{ConvertedType, LogicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::table::{Cells, Table};
use crate::error::{Error, Result};
use crate::io::open_regular;

/// Reads all row groups.
pub(super) fn read(path: &Path, file: &str) -> Result<Table> {
    let (source, _) = open_regular(path)?;
    read_columns(source).map_err(|error| Error::Malformed {
        file: file.into(),
        field: "content".into(),
        expected: "a whole Parquet file, uncompressed or with Snappy".into(),
        found: error.to_string(),
        hint: Some("pandas: to_parquet(path, compression=\"snappy\")".into()),
    })
}

fn read_columns(source: std::fs::File) -> Result<Table, ParquetError> {
    let reader = SerializedFileReader::new(source)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let mut columns: Vec<(usize, String, Cells)> = Vec::new();
    for (at, column) in schema.columns().iter().enumerate() {
        if let Some(cells) = empty(column) {
            columns.push((at, column.name().to_owned(), cells));
        }
    }
    let mut n_rows = 0;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group)?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        n_rows += rows;
        for (at, _, cells) in &mut columns {
            let column = schema.column(*at);
            append(group.get_column_reader(*at)?, &column, rows, cells)?;
        }
    }
    Ok(Table {
        columns: columns
            .into_iter()
            .map(|(_, name, cells)| (name, cells))
            .collect(),
        n_rows,
        lines: Vec::new(),
    })
}

/// Empty cells for a column; `None` for lists, groups and values that are neither number nor text.
fn empty(column: &ColumnDescriptor) -> Option<Cells> {
    use parquet::basic::Type::{BYTE_ARRAY, DOUBLE, FLOAT, INT32, INT64};
    if column.max_rep_level() > 0 || column.path().parts().len() > 1 {
        return None;
    }
    match column.physical_type() {
        DOUBLE | FLOAT => Some(Cells::Floats(Vec::new())),
        INT32 | INT64 => {
            let is_integer = matches!(
                column.logical_type_ref(),
                None | Some(LogicalType::Integer { .. })
            );
            is_integer.then(|| Cells::Integers(Vec::new()))
        }
        BYTE_ARRAY => {
            let is_text = matches!(column.logical_type_ref(), Some(LogicalType::String))
                || column.converted_type() == ConvertedType::UTF8;
            is_text.then(|| Cells::Texts(Vec::new()))
        }
        _ => None,
    }
}

/// Adds the rows of a group to a column.
fn append(
    reader: ColumnReader,
    column: &ColumnDescriptor,
    rows: usize,
    cells: &mut Cells,
) -> Result<(), ParquetError> {
    match (reader, cells) {
        (ColumnReader::DoubleColumnReader(reader), Cells::Floats(values)) => {
            let own = |value: Option<f64>| value.unwrap_or(f64::NAN);
            values.extend(records(reader, column, rows)?.into_iter().map(own));
        }
        (ColumnReader::FloatColumnReader(reader), Cells::Floats(values)) => {
            let own = |value: Option<f32>| value.map_or(f64::NAN, f64::from);
            values.extend(records(reader, column, rows)?.into_iter().map(own));
        }
        (ColumnReader::Int32ColumnReader(reader), Cells::Integers(values)) => {
            let own = |value: Option<i32>| value.map(i64::from);
            values.extend(records(reader, column, rows)?.into_iter().map(own));
        }
        (ColumnReader::Int64ColumnReader(reader), Cells::Integers(values)) => {
            values.extend(records(reader, column, rows)?);
        }
        (ColumnReader::ByteArrayColumnReader(reader), Cells::Texts(values)) => {
            for value in records(reader, column, rows)? {
                let bytes = value.as_ref().map_or(&[][..], |value| value.data());
                values.push(String::from_utf8_lossy(bytes).into_owned());
            }
        }
        _ => {}
    }
    Ok(())
}

/// The values of the rows of a group, `None` where there is none.
fn records<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    column: &ColumnDescriptor,
    rows: usize,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut found = 0;
    while found < rows {
        let (n, ..) = reader.read_records(rows - found, Some(&mut levels), None, &mut values)?;
        if n == 0 {
            return Err(ParquetError::EOF(format!("{found} of {rows} rows")));
        }
        found += n;
    }
    let most = column.max_def_level();
    if most == 0 {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut values = values.into_iter();
    let value = |level: i16| if level == most { values.next() } else { None };
    Ok(levels.into_iter().map(value).collect())
}
