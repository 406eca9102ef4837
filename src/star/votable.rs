//! VOTable (IVOA, versions 1.1 to 1.5): the first table with positions, its data as text (TABLEDATA)
//! or in base64 (BINARY, BINARY2, as astropy writes it by default).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::columns::have_positions;
use super::table::{Cells, Table};
use crate::error::{Error, Result};

/// Most bytes of a value: beyond that it is damage.
const LONGEST: usize = 1 << 24;

/// What can go wrong, in words: what was expected and found.
type Found<T> = std::result::Result<T, (&'static str, String)>;

/// Reads the first table that has positions, else the first one.
pub(super) fn read(file: &str, text: &str) -> Result<Table> {
    let mut reader = Reader::from_str(text);
    let mut first = None;
    loop {
        let line = |reader: &Reader<&[u8]>| {
            let at = (reader.buffer_position() as usize).min(text.len());
            format!("line {}", text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1)
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
    /// What stands for no value among integers.
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

/// How many values a row has of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Fixed(usize),
    /// As many as the data say.
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
            Event::Start(element) | Event::Empty(element) => {
                match element.local_name().as_ref() {
                    "TABLE" => fields.clear(),
                    "FIELD" => fields.push(Field::new(&element)?),
                    "VALUES" => {
                        if let Some(field) = fields.last_mut() {
                            let null = attribute(&element, "null")?;
                            field.null = null.and_then(|null| null.trim().parse().ok());
                        }
                    }
                    "TABLEDATA" => return table_data(reader, &fields).map(Some),
                    "BINARY" => return binary(reader, &fields, false).map(Some),
                    "BINARY2" => return binary(reader, &fields, true).map(Some),
                    "FITS" | "PARQUET" => {
                        let found = "a VOTable that points to another format".to_owned();
                        return Err(("TABLEDATA, BINARY or BINARY2", found));
                    }
                    _ => {}
                }
            }
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

    /// Completes a row that has that many values: what is missing at its end is none.
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

/// Rows in base64.
fn binary(reader: &mut Reader<&[u8]>, fields: &[Field], has_masks: bool) -> Found<Table> {
    let mut encoded = String::new();
    loop {
        match reader.read_event().map_err(damaged)? {
            Event::Start(element) | Event::Empty(element)
                if element.local_name().as_ref() == "STREAM" =>
            {
                if let Some(address) = attribute(&element, "href")? {
                    return Err(("data in the file itself", format!("a link to {address}")));
                }
                let encoding = attribute(&element, "encoding")?.unwrap_or_default();
                if encoding != "base64" {
                    return Err(("a STREAM in base64", format!("encoding {encoding:?}")));
                }
            }
            Event::Text(text) => {
                let text = text.into_inner();
                encoded.extend(text.chars().filter(|c| !c.is_ascii_whitespace()));
            }
            Event::End(element)
                if matches!(element.local_name().as_ref(), "BINARY" | "BINARY2") =>
            {
                break;
            }
            Event::Eof => return Err(("the end of BINARY", "that of the file".into())),
            _ => {}
        }
    }
    let bytes = STANDARD.decode(encoded);
    let bytes = bytes.map_err(|error| ("data in base64", error.to_string()))?;
    let mut rest = &bytes[..];
    let mut columns = Columns::new(fields);
    while !rest.is_empty() && !fields.is_empty() {
        let mask = match has_masks {
            true => take(&mut rest, fields.len().div_ceil(8))?,
            false => &[],
        };
        for (at, field) in fields.iter().enumerate() {
            let is_null = mask.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
            let n = match field.length {
                Length::Fixed(n) => n,
                Length::Counted => {
                    let count = take(&mut rest, 4)?;
                    u32::from_be_bytes(count.try_into().unwrap_or_default()) as usize
                }
            };
            let size = match field.kind {
                Kind::Bit => n.div_ceil(8),
                Kind::Boolean | Kind::Byte | Kind::Char => n,
                Kind::Short | Kind::UnicodeChar => n.saturating_mul(2),
                Kind::Int | Kind::Float => n.saturating_mul(4),
                Kind::Long | Kind::Double | Kind::FloatComplex => n.saturating_mul(8),
                Kind::DoubleComplex => n.saturating_mul(16),
            };
            let value = take(&mut rest, size)?;
            match &mut columns.cells[at] {
                Cells::Texts(texts) => texts.push(if is_null {
                    String::new()
                } else {
                    text_of(value, field.kind)
                }),
                Cells::Integers(values) => {
                    let value = integer_of(value, field.kind);
                    values.push(value.filter(|value| !is_null && Some(*value) != field.null));
                }
                Cells::Floats(values) => {
                    let value = if is_null { None } else { float_of(value) };
                    values.push(value.unwrap_or(f64::NAN));
                }
            }
        }
        columns.n_rows += 1;
    }
    Ok(columns.table())
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Found<&'a [u8]> {
    match rest.split_at_checked(n) {
        Some((taken, left)) => {
            *rest = left;
            Ok(taken)
        }
        None => Err(("whole rows", format!("{} of {n} bytes at their end", rest.len()))),
    }
}

fn text_of(bytes: &[u8], kind: Kind) -> String {
    let text = match kind {
        Kind::UnicodeChar => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    let end = text.find('\0').unwrap_or(text.len());
    text[..end].trim_end().to_owned()
}

fn integer_of(bytes: &[u8], kind: Kind) -> Option<i64> {
    Some(match kind {
        Kind::Byte => (*bytes.first()?).into(),
        Kind::Short => i16::from_be_bytes(bytes.get(..2)?.try_into().ok()?).into(),
        Kind::Int => i32::from_be_bytes(bytes.get(..4)?.try_into().ok()?).into(),
        Kind::Long => i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?),
        _ => return None,
    })
}

fn float_of(bytes: &[u8]) -> Option<f64> {
    Some(match bytes.len() {
        4 => f32::from_be_bytes(bytes.try_into().ok()?).into(),
        8 => f64::from_be_bytes(bytes.try_into().ok()?),
        _ => return None,
    })
}
