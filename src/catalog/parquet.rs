//! Apache Parquet, whose metadata hold a VOTable without data: astropy's format
//! `parquet.votable` takes units and UCDs from there (IVOA Note "VOTable-Parquet" 1.0).

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::provenance::{CREATOR, Provenance};
use super::table::{Block, Field, Table};
use super::{Kind, Value, votable};

/// Rows that are read together; a group is in memory while it is written.
const GROUP: usize = 1 << 16;

/// Writes a table.
pub(super) fn write(
    table: &mut Table,
    provenance: &Provenance,
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    let fields = table.fields().to_vec();
    let entry = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let description = votable::description(table, provenance);
    let mut metadata = vec![
        entry("IVOA.VOTable-Parquet.version", "1.0".to_owned()),
        entry("IVOA.VOTable-Parquet.content", description),
        entry("starfit", provenance.to_json().to_string()),
    ];
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATOR.to_owned())
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false);
    for (at, field) in fields.iter().enumerate() {
        if field.column.kind != Kind::Text {
            continue;
        }
        let name = field.column.name;
        // Columns of texts repeat a few values; columns of numbers do not.
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), true);
        // Here astropy looks for the width of its arrays of texts.
        let widths = table.texts(at).iter().map(|text| text.chars().count());
        let width = widths.max().unwrap_or(0).max(1);
        metadata.push(entry(&format!("table::len::{name}"), width.to_string()));
    }
    let properties = properties.set_key_value_metadata(Some(metadata));
    let schema = schema(&fields).map_err(io_error)?;
    let mut writer =
        SerializedFileWriter::new(out, schema, Arc::new(properties.build())).map_err(io_error)?;
    table.read(GROUP, |block| {
        let mut group = writer.next_row_group().map_err(io_error)?;
        write_group(&mut group, &fields, &block).map_err(io_error)?;
        group.close().map(drop).map_err(io_error)
    })?;
    writer.close().map(drop).map_err(io_error)
}

fn schema(fields: &[Field]) -> Result<TypePtr, ParquetError> {
    let columns = fields.iter().map(|field| {
        let physical = match field.column.kind {
            Kind::Text => PhysicalType::BYTE_ARRAY,
            Kind::Integer => PhysicalType::INT64,
            Kind::Float => PhysicalType::DOUBLE,
        };
        let builder = Type::primitive_type_builder(field.column.name, physical)
            .with_repetition(Repetition::OPTIONAL);
        let builder = match field.column.kind {
            Kind::Text => builder
                .with_converted_type(ConvertedType::UTF8)
                .with_logical_type(Some(LogicalType::String)),
            Kind::Integer | Kind::Float => builder,
        };
        builder.build().map(Arc::new)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let schema = Type::group_type_builder("stars").with_fields(columns);
    schema.build().map(Arc::new)
}

/// Writes the rows of a block, column after column.
fn write_group<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    fields: &[Field],
    block: &Block<'_>,
) -> Result<(), ParquetError> {
    for (at, field) in fields.iter().enumerate() {
        let Some(mut column) = group.next_column()? else {
            break;
        };
        let values = || block.column(at);
        // 1 where there is a value; null values are not stored.
        let levels: Vec<i16> = values()
            .map(|value| (value != Value::Null).into())
            .collect();
        let levels = Some(levels.as_slice());
        match field.column.kind {
            Kind::Text => {
                let texts = values().filter_map(|value| match value {
                    Value::Text(text) => Some(ByteArray::from(text)),
                    _ => None,
                });
                let texts: Vec<ByteArray> = texts.collect();
                let typed = column.typed::<ByteArrayType>();
                typed.write_batch(&texts, levels, None)?;
            }
            Kind::Integer => {
                let integers = values().filter_map(|value| match value {
                    Value::Integer(value) => Some(value),
                    _ => None,
                });
                let integers: Vec<i64> = integers.collect();
                let typed = column.typed::<Int64Type>();
                typed.write_batch(&integers, levels, None)?;
            }
            Kind::Float => {
                let floats = values().filter_map(|value| match value {
                    Value::Float(value) => Some(value),
                    _ => None,
                });
                let floats: Vec<f64> = floats.collect();
                let typed = column.typed::<DoubleType>();
                typed.write_batch(&floats, levels, None)?;
            }
        }
        column.close()?;
    }
    Ok(())
}

/// The error of the writer as an I/O error: a closed pipe or a full disk is no fault of the format.
fn io_error(error: ParquetError) -> io::Error {
    let error = match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => return *error,
            Err(error) => ParquetError::External(error),
        },
        error => error,
    };
    io::Error::other(error)
}
