//! FITS binary table, as TOPCAT, Aladin, DS9 and astropy read it.

use std::borrow::Cow;
use std::io::{self, Write};

use super::provenance::{CREATOR, Provenance};
use super::table::Table;
use super::{Kind, Value};
use crate::io::fits::{self, Card, TableColumn, TableType, padding, table_header};

/// Null among integers.
const NULL: i64 = i64::MIN;

/// Bytes of a catalogue that say which program made it.
pub(super) const MARKED_WITHIN: u64 = 2880;

/// Whether a file with this start is a catalogue of starfit.
pub(super) fn is_marked(start: &[u8]) -> bool {
    // The version does not matter.
    start
        .chunks(80)
        .any(|card| card.starts_with(b"CREATOR = 'starfit "))
}

/// Writes a table.
pub(super) fn write(
    table: &mut Table,
    provenance: &Provenance,
    out: &mut (dyn Write + Send),
) -> io::Result<()> {
    let header = header(table, provenance).map_err(io::Error::other)?;
    out.write_all(&header.bytes)?;
    let kinds = &header.kinds;
    table.write_rows(out, |row, values| {
        for (value, kind) in values.zip(kinds) {
            match (*kind, value) {
                (TableType::Float, Value::Float(value)) => row.extend(value.to_be_bytes()),
                (TableType::Float, _) => row.extend(f64::NAN.to_be_bytes()),
                (TableType::Integer(_), Value::Integer(value)) => row.extend(value.to_be_bytes()),
                (TableType::Integer(null), _) => row.extend(null.to_be_bytes()),
                (TableType::Text(width), value) => {
                    let end = row.len() + width;
                    if let Value::Text(text) = value {
                        row.extend_from_slice(ascii(text).as_bytes());
                    }
                    row.resize(end, 0);
                }
            }
        }
        Ok(())
    })?;
    let width: u64 = kinds.iter().map(|kind| size(*kind)).sum();
    let padding = padding(width * table.n_rows());
    out.write_all(&vec![0; padding])
}

struct Header {
    bytes: Vec<u8>,
    /// Type of each column.
    kinds: Vec<TableType>,
}

fn header(table: &Table, provenance: &Provenance) -> crate::Result<Header> {
    let fields = table.fields().iter().enumerate();
    let kinds: Vec<TableType> = fields
        .map(|(at, field)| match field.column.kind {
            Kind::Text => {
                let widths = table.texts(at).iter().map(|text| ascii(text).len());
                TableType::Text(widths.max().unwrap_or(0).max(1))
            }
            Kind::Integer => TableType::Integer(NULL),
            Kind::Float => TableType::Float,
        })
        .collect();
    let units: Vec<_> = table
        .fields()
        .iter()
        .map(|field| field.unit.as_deref().map(ascii))
        .collect();
    let columns: Vec<TableColumn<'_>> = table
        .fields()
        .iter()
        .zip(&kinds)
        .zip(&units)
        .map(|((field, kind), unit)| TableColumn {
            name: field.column.name,
            kind: *kind,
            unit: unit.as_deref(),
            ucd: field.column.ucd,
            description: field.column.description,
        })
        .collect();
    let facts = provenance.facts().into_iter();
    let mut cards: Vec<Card> = facts
        .filter_map(|fact| {
            Some(Card::new(
                fact.keyword,
                card_value(&fact.value)?,
                fact.description,
            ))
        })
        .collect();
    for (keyword, records) in [("RUN", provenance.runs()), ("IMG", provenance.images())] {
        // Records beyond the digits of a keyword are not listed.
        for (record, n) in records.iter().zip(1..100_000) {
            let text = ascii_json(record);
            cards.push(Card::new(
                format!("{keyword}{n}"),
                fits::Value::Text(text),
                "",
            ));
        }
    }
    let creator = Card::new("CREATOR", fits::Value::Text(CREATOR.to_owned()), "");
    let n_rows = usize::try_from(table.n_rows()).unwrap_or(usize::MAX);
    let bytes = table_header(&columns, n_rows, "STARS", creator, &cards)?;
    Ok(Header { bytes, kinds })
}

fn card_value(value: &serde_json::Value) -> Option<fits::Value> {
    if let Some(text) = value.as_str() {
        return Some(fits::Value::Text(ascii(text).into_owned()));
    }
    let integer = value.as_i64().map(fits::Value::Integer);
    integer.or_else(|| value.as_f64().map(fits::Value::Float))
}

/// Bytes of a value.
fn size(kind: TableType) -> u64 {
    match kind {
        TableType::Text(width) => width as u64,
        TableType::Integer(_) | TableType::Float => 8,
    }
}

/// Text as FITS has it, printable ASCII: other characters become `\u{fc}`.
fn ascii(text: &str) -> Cow<'_, str> {
    let is_printable = |c: char| (' '..='~').contains(&c);
    if text.chars().all(is_printable) {
        return text.into();
    }
    let mut ascii = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_printable(c) {
            ascii.push(c);
        } else {
            ascii.extend(c.escape_unicode());
        }
    }
    ascii.into()
}

/// JSON in ASCII.
fn ascii_json(value: &serde_json::Value) -> String {
    let mut ascii = String::new();
    for c in value.to_string().chars() {
        if (' '..='~').contains(&c) {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_characters_are_escaped() {
        assert_eq!(ascii("m13.fits[0]"), "m13.fits[0]");
        assert_eq!(ascii("\u{fc}\n"), "\\u{fc}\\u{a}");
        let json = serde_json::Value::from("\u{fc}\n\u{1f52d}");
        assert_eq!(ascii_json(&json), r#""\u00fc\n\ud83d\udd2d""#);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&ascii_json(&json)).unwrap(),
            json
        );
    }

    #[test]
    fn a_catalogue_is_known_by_its_maker() {
        let card = |text: &str| format!("{text:80}");
        let simple = card("SIMPLE  =                    T");
        let creator = card("CREATOR = 'starfit 0.1.0'");
        assert!(is_marked((simple.clone() + &creator).as_bytes()));
        assert!(!is_marked(
            (simple + &card("OBJECT  = 'starfit 0.1.0'")).as_bytes()
        ));
    }
}
