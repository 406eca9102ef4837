//! Reads the columns of a binary table.

use fitsio_pure::bintable::{
    BinaryColumnData, BinaryColumnDescriptor, BinaryColumnType, extract_column_scaling,
    parse_binary_table_columns, parse_tform_binary, read_binary_column,
};

use super::header::Header;
use super::load::Bytes;
use super::path::{FitsPath, HduName};
use super::raw_hdu;
use super::unit::{Kind, Unit, Units};
use crate::io::fits::value::Value;
use crate::{Error, Result};

/// A table of the columns that have a single number or text in a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TableData {
    pub(crate) columns: Vec<(String, TableValues)>,
    pub(crate) n_rows: usize,
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TableValues {
    /// Floats, NaN where there is none.
    Floats(Vec<f64>),
    Integers(Vec<Option<i64>>),
    /// Texts without blanks at their ends.
    Texts(Vec<String>),
}

/// Reads the binary table that was asked for, else the first one whose names of columns
/// `is_wanted`.
///
/// # Errors
///
/// [`Error::Io`]; [`Error::Malformed`] where there is no such table, or the file is damaged.
pub(crate) fn read_table(
    path: &FitsPath,
    is_wanted: impl Fn(&[String]) -> bool,
) -> Result<TableData> {
    let file = path.path.display().to_string();
    let (bytes, _) = Bytes::open(&path.path)?;
    let units = Units::find(&bytes, &file)?;
    let malformed = |field: String, expected: &str, found: String| Error::Malformed {
        file: file.clone(),
        field,
        expected: expected.into(),
        found,
        hint: None,
    };
    let unit = match &path.hdu {
        Some(hdu) => {
            let number = match hdu {
                HduName::Number(number) => Some(*number),
                HduName::Name(name, version) => units.position(name, *version),
            };
            let unit = number.and_then(|number| units.units.get(number));
            unit.filter(|unit| is_binary_table(unit)).ok_or_else(|| {
                let found = unit.map_or("none".into(), |unit| unit.kind.describe());
                let e = malformed(format!("HDU {hdu}"), "a binary table", found);
                e.with_hint(format!("the file has {}", units.list()))
            })?
        }
        None => {
            let tables = || units.units.iter().filter(|unit| is_binary_table(unit));
            let mut wanted = tables().filter(|unit| is_wanted(&names(&unit.header)));
            let first = wanted.next().ok_or_else(|| {
                let e = malformed(
                    "HDU".into(),
                    "a binary table with positions of stars",
                    match tables().next() {
                        Some(table) => format!("one with {}", names(&table.header).join(", ")),
                        None => "none".into(),
                    },
                );
                e.with_hint(format!("the file has {}", units.list()))
            })?;
            let more = wanted.count();
            if more > 0 {
                tracing::warn!(
                    "{file}: {more} more tables with positions are left out; {file}[N] chooses one of {}",
                    units.list()
                );
            }
            first
        }
    };
    read(&bytes, unit).map_err(|found| {
        let hdu = units
            .units
            .iter()
            .position(|other| other.start == unit.start);
        let field = format!("HDU [{}]", hdu.unwrap_or(0));
        malformed(field, "a binary table", found).with_hint("the file is damaged: copy it again")
    })
}

fn is_binary_table(unit: &Unit) -> bool {
    let is = |name: &str| name.trim() == "BINTABLE" || name.trim() == "A3DTABLE";
    !matches!(unit.kind, Kind::Tiled { .. })
        && unit.header.string("XTENSION").is_some_and(|name| is(&name))
}

fn names(header: &Header) -> Vec<String> {
    let n = match header.get("TFIELDS") {
        Some(Value::Integer(n)) => n.clamp(0, 999),
        _ => 0,
    };
    let name = |n: i64| header.string(&format!("TTYPE{n}"));
    (1..=n).map(|n| name(n).unwrap_or_default()).collect()
}

/// The columns of a table; the error says in words why there are none.
fn read(bytes: &Bytes, unit: &Unit) -> std::result::Result<TableData, String> {
    let header = &unit.header;
    let number = |keyword: &str| match header.get(keyword) {
        Some(Value::Integer(n)) => usize::try_from(n).map_err(|_| format!("{keyword} {n}")),
        _ => Err(format!("no number in {keyword}")),
    };
    let (width, n_rows) = (number("NAXIS1")?, number("NAXIS2")?);
    let n_columns = number("TFIELDS")?.min(999);
    let length = width.checked_mul(n_rows);
    let length = length.ok_or_else(|| format!("{n_rows} rows of {width} bytes"))?;
    let end = unit.data_start.saturating_add(length);
    if end > bytes.len() {
        let found = bytes.len().saturating_sub(unit.data_start);
        return Err(format!("{found} of {length} bytes of rows"));
    }
    let all = bytes.range(unit.start..end).map_err(|e| e.to_string())?;
    let library = |e: fitsio_pure::Error| e.to_string();
    for n in 1..=n_columns {
        // The library multiplies them as they are.
        let form = header.string(&format!("TFORM{n}")).unwrap_or_default();
        let (repeat, _) = parse_tform_binary(&form).map_err(|e| format!("TFORM{n}: {e}"))?;
        if repeat > width.saturating_mul(8) {
            return Err(format!("TFORM{n} {form} in rows of {width} bytes"));
        }
    }
    let descriptors = parse_binary_table_columns(&header.raw, n_columns).map_err(library)?;
    let declared = descriptors
        .iter()
        .try_fold(0_usize, |sum, column| sum.checked_add(column.byte_width));
    if declared.is_none_or(|declared| declared > width) {
        return Err(format!("columns wider than NAXIS1, {width} bytes"));
    }
    let mut hdu = raw_hdu(unit).map_err(library)?;
    // Offsets within what was read.
    hdu.data_start -= unit.start;
    let mut columns = Vec::new();
    for (at, descriptor) in descriptors.iter().enumerate() {
        if !is_single(descriptor) {
            continue;
        }
        let data = read_binary_column(&all, &hdu, at).map_err(library)?;
        let name = descriptor.name.as_deref().unwrap_or_default().trim();
        if let Some(values) = values(data, header, at + 1) {
            columns.push((name.to_owned(), values));
        }
    }
    Ok(TableData { columns, n_rows })
}

/// Whether a column has one number or text in a row.
fn is_single(column: &BinaryColumnDescriptor) -> bool {
    use BinaryColumnType::{Ascii, Byte, Double, Float, Int, Long, Short};
    match column.col_type {
        // Several texts in a row are not a single one.
        Ascii => column.repeat > 0 && column.tdim.as_ref().is_none_or(|dim| dim.len() < 2),
        Byte | Short | Int | Long | Float | Double => column.repeat == 1,
        _ => false,
    }
}

/// The values of the column of this number, from 1, in physical units; TNULL is no value.
fn values(data: BinaryColumnData, header: &Header, number: usize) -> Option<TableValues> {
    let (scale, zero) = extract_column_scaling(&header.raw, number);
    let null = match header.get(&format!("TNULL{number}")) {
        Some(Value::Integer(null)) => Some(null),
        _ => None,
    };
    let integers = |values: Vec<i64>| {
        let values = values
            .into_iter()
            .map(|value| Some(value).filter(|v| Some(*v) != null));
        // Unsigned numbers are signed ones with a zero; it is a whole number, and so are they.
        let is_whole = scale == 1.0 && zero.fract() == 0.0 && zero.abs() < 9e15;
        if is_whole {
            let physical = |value: i64| value.checked_add(zero as i64);
            TableValues::Integers(values.map(|value| physical(value?)).collect())
        } else {
            let physical = |value: Option<i64>| value.map_or(f64::NAN, |v| zero + scale * v as f64);
            TableValues::Floats(values.map(physical).collect())
        }
    };
    let floats = |values: Vec<f64>| {
        TableValues::Floats(
            values
                .into_iter()
                .map(|value| zero + scale * value)
                .collect(),
        )
    };
    Some(match data {
        BinaryColumnData::Byte(values) => integers(values.into_iter().map(i64::from).collect()),
        BinaryColumnData::Short(values) => integers(values.into_iter().map(i64::from).collect()),
        BinaryColumnData::Int(values) => integers(values.into_iter().map(i64::from).collect()),
        BinaryColumnData::Long(values) => integers(values),
        BinaryColumnData::Float(values) => floats(values.into_iter().map(f64::from).collect()),
        BinaryColumnData::Double(values) => floats(values),
        BinaryColumnData::Ascii(texts) => {
            let text = |text: String| {
                let end = text.find('\0').unwrap_or(text.len());
                match text[..end].trim_end() {
                    whole if whole.len() == text.len() => text,
                    short => short.to_owned(),
                }
            };
            TableValues::Texts(texts.into_iter().map(text).collect())
        }
        _ => return None,
    })
}
