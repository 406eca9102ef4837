//! VOTable (IVOA, versions 1.1 to 1.5): the first table with positions, its data as text (TABLEDATA)
//! or in base64 (BINARY, BINARY2, as astropy writes it by default).

mod binary;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::columns::have_positions;
use super::table::{Cells, Table};
use crate::error::{Error, Result};

/// Most bytes of a value: a longer value is damage.
const LONGEST: usize = 1 << 24;

/// A result whose error states in words what was expected and found.
type Found<T> = std::result::Result<T, (&'static str, String)>;

/// Reads the first table that has positions, else the first one.
pub(super) fn read(file: &str, text: &str) -> Result<Table> {
    let mut reader = Reader::from_str(text);
    let mut first = None;
    loop {
        let line = |reader: &Reader<&[u8]>| {
            let at = (reader.buffer_position() as usize).min(text.len());
            format!(
                "line {}",
                text.as_bytes()[..at]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count()
                    + 1
            )
        };
        let table = next_table(&mut reader).map_err(|(expected, found)| Error::Malformed {
            file: file.into(),
            field: line(&reader),
            expected: expected.into(),
            found,
            hint: None,
        })?;
        match table {
            Some(table) if has_positions(&table) => return Ok(table),
            Some(table) => {
                first.get_or_insert(table);
            }
            None => break,
        }
    }
    first.ok_or_else(|| Error::Malformed {
        file: file.into(),
        field: "TABLE".into(),
        expected: "a table with data in a VOTable".into(),
        found: "none".into(),
        hint: None,
    })
}

fn has_positions(table: &Table) -> bool {
    have_positions(table.columns.iter().map(|(name, _)| &**name))
}

/// A column as FIELD describes it.
#[derive(Debug)]
struct Field {
    name: String,
    kind: Kind,
    length: Length,
    /// Number that stands for no value among integers.
    null: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Bit,
    Byte,
    Short,
    Int,
    Long,
    Char,
    UnicodeChar,
    Float,
    Double,
    FloatComplex,
    DoubleComplex,
}

/// Number of values that a row has of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Fixed(usize),
    /// A number that the data state.
    Counted,
}

impl Field {
    fn new(element: &BytesStart<'_>) -> Found<Self> {
        let attribute = |name: &str| attribute(element, name);
        let name = attribute("name")?.or(attribute("ID")?);
        let datatype = attribute("datatype")?.unwrap_or_default();
        let kind = match &*datatype {
            "boolean" => Kind::Boolean,
            "bit" => Kind::Bit,
            "unsignedByte" => Kind::Byte,
            "short" => Kind::Short,
            "int" => Kind::Int,
            "long" => Kind::Long,
            // Without a type it is text.
            "char" | "" => Kind::Char,
            "unicodeChar" => Kind::UnicodeChar,
            "float" => Kind::Float,
            "double" => Kind::Double,
            "floatComplex" => Kind::FloatComplex,
            "doubleComplex" => Kind::DoubleComplex,
            _ => return Err(("a datatype of VOTable", datatype)),
        };
        let size = attribute("arraysize")?.unwrap_or_default();
        let length = Length::parse(&size).ok_or(("an arraysize such as 8, * or 2x*", size))?;
        Ok(Self {
            name: name.unwrap_or_default(),
            kind,
            length,
            null: None,
        })
    }

    fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Char | Kind::UnicodeChar)
    }

    fn is_integer(&self) -> bool {
        matches!(self.kind, Kind::Byte | Kind::Short | Kind::Int | Kind::Long)
    }

    /// Whether a row has one number or one text.
    fn is_single(&self) -> bool {
        match self.kind {
            Kind::Char | Kind::UnicodeChar => true,
            Kind::Byte | Kind::Short | Kind::Int | Kind::Long | Kind::Float | Kind::Double => {
                self.length == Length::Fixed(1)
            }
            _ => false,
        }
    }
}

impl Length {
    /// `8`, `3x4`, or, with the number in the data, `*`, `64*` and `2x*`.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.ends_with('*') {
            return Some(Self::Counted);
        }
        let mut axes = text.split('x').filter(|_| !text.is_empty());
        let product = axes.try_fold(1_usize, |n, axis| n.checked_mul(axis.trim().parse().ok()?))?;
        (product <= LONGEST).then_some(Self::Fixed(product))
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Found<Option<String>> {
    for attribute in element.attributes() {
        let attribute = attribute.map_err(damaged)?;
        if attribute.key.local_name().as_ref() == name {
            let value = attribute.normalized_value(XmlVersion::Explicit1_0);
            return Ok(Some(value.map_err(damaged)?.into_owned()));
        }
    }
    Ok(None)
}

fn damaged(error: impl std::fmt::Display) -> (&'static str, String) {
    ("well-formed XML", error.to_string())
}

/// The next table with data; `None` at the end.
fn next_table(reader: &mut Reader<&[u8]>) -> Found<Option<Table>> {
    let mut fields: Vec<Field> = Vec::new();
    loop {
        let event = reader.read_event().map_err(damaged)?;
        match event {
            Event::Start(element) | Event::Empty(element) => match element.local_name().as_ref() {
                "TABLE" => fields.clear(),
                "FIELD" => fields.push(Field::new(&element)?),
                "VALUES" => {
                    if let Some(field) = fields.last_mut() {
                        let null = attribute(&element, "null")?;
                        field.null = null.and_then(|null| null.trim().parse().ok());
                    }
                }
                "TABLEDATA" => return table_data(reader, &fields).map(Some),
                "BINARY" => return binary::read(reader, &fields, false).map(Some),
                "BINARY2" => return binary::read(reader, &fields, true).map(Some),
                "FITS" | "PARQUET" => {
                    let found = "a VOTable that points to another format".to_owned();
                    return Err(("TABLEDATA, BINARY or BINARY2", found));
                }
                _ => {}
            },
            Event::Eof => return Ok(None),
            _ => {}
        }
    }
}

/// The values of the fields as they come.
struct Columns<'a> {
    fields: &'a [Field],
    cells: Vec<Cells>,
    n_rows: usize,
}

impl<'a> Columns<'a> {
    fn new(fields: &'a [Field]) -> Self {
        let cells = fields.iter().map(|field| match field {
            field if field.is_text() => Cells::Texts(Vec::new()),
            field if field.is_integer() => Cells::Integers(Vec::new()),
            _ => Cells::Floats(Vec::new()),
        });
        Self {
            fields,
            cells: cells.collect(),
            n_rows: 0,
        }
    }

    /// Adds a value that is written as text.
    fn push_text(&mut self, at: usize, text: &str) -> Found<()> {
        let Some((field, cells)) = self.fields.get(at).zip(self.cells.get_mut(at)) else {
            return Err(("as many TD as FIELD", format!("{} in a row", at + 1)));
        };
        let trimmed = text.trim();
        match cells {
            Cells::Texts(texts) => texts.push(text.trim_end_matches('\0').to_owned()),
            Cells::Integers(values) => {
                let value = match trimmed.strip_prefix("0x") {
                    Some(digits) => i64::from_str_radix(digits, 16).ok(),
                    None => trimmed.parse().ok(),
                };
                if value.is_none() && !trimmed.is_empty() && field.is_single() {
                    return Err(("a whole number", format!("{trimmed:?} in {}", field.name)));
                }
                values.push(value.filter(|value| Some(*value) != field.null));
            }
            Cells::Floats(values) => {
                let value = trimmed.parse().ok();
                if value.is_none() && !trimmed.is_empty() && field.is_single() {
                    return Err(("a number", format!("{trimmed:?} in {}", field.name)));
                }
                values.push(value.unwrap_or(f64::NAN));
            }
        }
        Ok(())
    }

    /// Completes a row that has `n` values: values that are missing at its end are none.
    fn end_row(&mut self, n: usize) -> Found<()> {
        for at in n..self.fields.len() {
            self.push_text(at, "")?;
        }
        self.n_rows += 1;
        Ok(())
    }

    fn table(self) -> Table {
        let columns = self.fields.iter().zip(self.cells);
        Table {
            columns: columns
                .filter(|(field, _)| field.is_single())
                .map(|(field, cells)| (field.name.clone(), cells))
                .collect(),
            n_rows: self.n_rows,
            lines: Vec::new(),
        }
    }
}

/// Rows of TR and TD.
fn table_data(reader: &mut Reader<&[u8]>, fields: &[Field]) -> Found<Table> {
    let mut columns = Columns::new(fields);
    let mut at = 0;
    // The text of the TD in hand.
    let mut value: Option<String> = None;
    loop {
        match reader.read_event().map_err(damaged)? {
            Event::Start(element) => match element.local_name().as_ref() {
                "TR" => at = 0,
                "TD" => value = Some(String::new()),
                _ => {}
            },
            Event::Empty(element) => match element.local_name().as_ref() {
                "TR" => columns.end_row(0)?,
                "TD" => {
                    columns.push_text(at, "")?;
                    at += 1;
                }
                _ => {}
            },
            Event::Text(text) => {
                if let Some(value) = &mut value {
                    value.push_str(&text.xml10_content());
                }
            }
            Event::CData(text) => {
                if let Some(value) = &mut value {
                    value.push_str(&text.xml10_content());
                }
            }
            Event::GeneralRef(entity) => {
                if let Some(value) = &mut value {
                    let c = match entity.resolve_char_ref().map_err(damaged)? {
                        Some(c) => c,
                        None => match &*entity.xml10_content() {
                            "amp" => '&',
                            "lt" => '<',
                            "gt" => '>',
                            "quot" => '"',
                            "apos" => '\'',
                            other => return Err(("an entity of XML", format!("&{other};"))),
                        },
                    };
                    value.push(c);
                }
            }
            Event::End(element) => match element.local_name().as_ref() {
                "TD" => {
                    columns.push_text(at, &value.take().unwrap_or_default())?;
                    at += 1;
                }
                "TR" => columns.end_row(at)?,
                "TABLEDATA" => return Ok(columns.table()),
                _ => {}
            },
            Event::Eof => return Err(("the end of TABLEDATA", "that of the file".into())),
            _ => {}
        }
    }
}
