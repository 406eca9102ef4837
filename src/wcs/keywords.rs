//! The keywords of a WCS: read with their types checked, and kept, so that the same transformation
//! can be made again from a text.

use std::collections::HashMap;

use super::Unsupported;
use crate::io::fits::Value;

type Lookup<'a> = dyn Fn(&str) -> Result<Option<Value>, Unsupported> + 'a;

/// Reads keywords and remembers those that are there.
pub(super) struct Keywords<'a> {
    lookup: &'a Lookup<'a>,
    used: Vec<(String, Value)>,
}

impl<'a> Keywords<'a> {
    pub(super) fn new(lookup: &'a Lookup<'a>) -> Self {
        Self {
            lookup,
            used: Vec::new(),
        }
    }

    pub(super) fn get(&mut self, keyword: &str) -> Result<Option<Value>, Unsupported> {
        let value = (self.lookup)(keyword)?;
        if let Some(value) = &value
            && !self.used.iter().any(|(used, _)| used == keyword)
        {
            self.used.push((keyword.to_owned(), value.clone()));
        }
        Ok(value)
    }

    pub(super) fn number(&mut self, keyword: &str) -> Result<Option<f64>, Unsupported> {
        let Some(value) = self.get(keyword)? else {
            return Ok(None);
        };
        match value.number().filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(Unsupported(format!(
                "{keyword}: expected a number, found {}",
                written(&value)
            ))),
        }
    }

    /// A string without blanks around it, in capitals; a string of blanks alone is none.
    pub(super) fn text(&mut self, keyword: &str) -> Result<Option<String>, Unsupported> {
        match self.get(keyword)? {
            None => Ok(None),
            Some(Value::Text(text)) => {
                let text = text.trim().to_uppercase();
                Ok((!text.is_empty()).then_some(text))
            }
            Some(other) => Err(Unsupported(format!(
                "{keyword}: expected a string, found {}",
                written(&other)
            ))),
        }
    }

    /// The numbers of the keywords that `name` gives for 0, 1, 2..., where they are there.
    pub(super) fn numbers(
        &mut self,
        count: usize,
        name: impl Fn(usize) -> String,
    ) -> Result<Vec<Option<f64>>, Unsupported> {
        (0..count).map(|m| self.number(&name(m))).collect()
    }

    /// The keywords that were read, as cards of a FITS header, one a line.
    pub(super) fn into_text(self) -> String {
        let cards = self.used.iter();
        let lines = cards.map(|(keyword, value)| format!("{keyword:<8}= {:>20}", written(value)));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A value as a header has it.
fn written(value: &Value) -> String {
    match value {
        Value::Logical(true) => "T".into(),
        Value::Logical(false) => "F".into(),
        Value::Integer(number) => number.to_string(),
        // As few digits as give the same number back.
        Value::Float(number) => format!("{number:?}").to_uppercase(),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
    }
}

/// Keywords and values of a text that [`Keywords::into_text`] wrote.
pub(super) fn read_text(text: &str) -> Result<HashMap<String, Value>, Unsupported> {
    let cards = text.lines().filter(|line| !line.trim().is_empty());
    cards
        .map(|line| {
            let wrong = || Unsupported(format!("no card of a header: {line:?}"));
            let (keyword, field) = line.split_once('=').ok_or_else(wrong)?;
            let value = parse(field.trim()).ok_or_else(wrong)?;
            Ok((keyword.trim().to_owned(), value))
        })
        .collect()
}

fn parse(field: &str) -> Option<Value> {
    if let Some(rest) = field.strip_prefix('\'') {
        let text = rest.strip_suffix('\'')?;
        return Some(Value::Text(text.replace("''", "'")));
    }
    match field {
        "T" => return Some(Value::Logical(true)),
        "F" => return Some(Value::Logical(false)),
        _ => {}
    }
    let integer = field.parse().map(Value::Integer).ok();
    integer.or_else(|| field.parse().map(Value::Float).ok())
}
