//! The headers of a file with one binary table; rows are plain enough to be written as they are.

use fitsio_pure::BLOCK_SIZE;
use fitsio_pure::bintable::{
    BinaryColumnDescriptor, BinaryColumnType, binary_type_byte_size, build_binary_table_cards,
};
use fitsio_pure::header::{Card as RawCard, serialize_header};

use super::write::raw_cards;
use super::{Card, Value};
use crate::Result;

/// Type of the values of a column; all numbers are big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableType {
    /// So many ASCII characters, with blanks or zeros behind.
    Text(usize),
    /// 64 bits; the null value.
    Integer(i64),
    /// 64 bits; NaN is null.
    Float,
}

/// A column of a binary table; all texts are printable ASCII.
#[derive(Debug, Clone)]
pub(crate) struct TableColumn<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: TableType,
    pub(crate) unit: Option<&'a str>,
    pub(crate) ucd: &'a str,
    pub(crate) description: &'a str,
}

impl TableColumn<'_> {
    fn descriptor(&self) -> BinaryColumnDescriptor {
        let (repeat, col_type) = match self.kind {
            TableType::Text(width) => (width, BinaryColumnType::Ascii),
            TableType::Integer(_) => (1, BinaryColumnType::Long),
            TableType::Float => (1, BinaryColumnType::Double),
        };
        BinaryColumnDescriptor {
            name: Some(self.name.to_owned()),
            byte_width: repeat.saturating_mul(binary_type_byte_size(&col_type)),
            repeat,
            col_type,
            tdim: None,
        }
    }
}

/// The bytes before the rows: a primary HDU that has `creator` and no pixels, and the header of the
/// table, which ends with `cards`.
///
/// # Errors
///
/// [`Error::Option`](crate::Error::Option) for what FITS cannot hold.
pub(crate) fn table_header(
    columns: &[TableColumn<'_>],
    n_rows: usize,
    name: &str,
    creator: Card,
    cards: &[Card],
) -> Result<Vec<u8>> {
    let number = |keyword: &str, value| Card::new(keyword, Value::Integer(value), "");
    let primary = [
        Card::new("SIMPLE", Value::Logical(true), ""),
        number("BITPIX", 8),
        number("NAXIS", 0),
        Card::new("EXTEND", Value::Logical(true), ""),
        creator,
    ];
    let mut header = serialized(&raw_cards(&primary)?)?;

    let descriptors: Vec<_> = columns.iter().map(TableColumn::descriptor).collect();
    let mut table = build_binary_table_cards(&descriptors, n_rows, 0).map_err(refused)?;
    table.extend(raw_cards(&[Card::new(
        "EXTNAME",
        Value::Text(name.to_owned()),
        "",
    )])?);
    for (column, n) in columns.iter().zip(1..) {
        let text = |keyword: &str, text: &str| {
            Card::new(format!("{keyword}{n}"), Value::Text(text.to_owned()), "")
        };
        let mut more = Vec::new();
        if let TableType::Integer(null) = column.kind {
            more.push(number(&format!("TNULL{n}"), null));
        }
        more.extend(column.unit.map(|unit| text("TUNIT", unit)));
        more.push(text("TUCD", column.ucd));
        more.push(text("TCOMM", column.description));
        table.extend(raw_cards(&more)?);
    }
    table.extend(raw_cards(cards)?);
    header.extend(serialized(&table)?);
    Ok(header)
}

/// Bytes of zeros that follow data of that length, up to whole blocks.
pub(crate) fn padding(length: u64) -> usize {
    let block = BLOCK_SIZE as u64;
    ((block - length % block) % block) as usize
}

fn serialized(cards: &[RawCard]) -> Result<Vec<u8>> {
    serialize_header(cards).map_err(refused)
}

fn refused(error: fitsio_pure::Error) -> crate::Error {
    crate::Error::Option {
        option: "table".to_owned(),
        expected: "what a FITS header can hold".to_owned(),
        found: error.to_string(),
        hint: None,
    }
}
