//! Rows of a VOTable in binary: BINARY, and BINARY2, which begins each row with a bit for each column
//! that is null.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::{Columns, Field, Found, Kind, Length, attribute, damaged};
use crate::star::table::{Cells, Table};

/// Rows in base64.
pub(super) fn read(reader: &mut Reader<&[u8]>, fields: &[Field], has_masks: bool) -> Found<Table> {
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
            let is_null = mask
                .get(at / 8)
                .is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
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
        None => Err((
            "whole rows",
            format!("{} of {n} bytes at their end", rest.len()),
        )),
    }
}

fn text_of(bytes: &[u8], kind: Kind) -> String {
    let text = match kind {
        Kind::UnicodeChar => {
            let units = bytes
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
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
