//! The settings in a file.

use std::ffi::OsString;
use std::path::Path;
use std::slice;

use anyhow::Result;
use clap::{Arg, ArgAction, Command};
use starfit::Error;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::{Origin, Setting, Settings, key, nearest, settings_of, shown, values_at_once};

/// Reads the settings of the program and of the subcommand from a file. All of the file has to be
/// right, the tables of other subcommands too.
pub(super) fn read(all: &Settings, path: &Path) -> Result<Vec<Setting>> {
    let text = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    let text = String::from_utf8(text)
        .map_err(|error| malformed(path, "text", "UTF-8", &error.to_string(), None))?;
    let file = File {
        all,
        path,
        text: &text,
    };
    let table = DeTable::parse(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| file.line(span.start));
        let field = format!("line {line}");
        malformed(path, &field, "TOML", error.message(), None)
    })?;
    let mut settings = Vec::new();
    for (name, value) in table.get_ref() {
        let Some(command) = all.built.find_subcommand(name.get_ref().as_ref()) else {
            settings.extend(file.setting(&all.built, name, value)?);
            continue;
        };
        let DeValue::Table(table) = value.get_ref() else {
            let expected = format!("a table, [{}]", name.get_ref());
            return Err(file.wrong(name, &all.built, &expected, value.get_ref(), None));
        };
        for (name, value) in table {
            let setting = file.setting(command, name, value)?;
            settings.extend(setting.filter(|_| command.get_name() == all.name));
        }
    }
    Ok(settings)
}

fn malformed(path: &Path, field: &str, expected: &str, found: &str, hint: Option<String>) -> Error {
    Error::Malformed {
        file: shown(path),
        field: field.into(),
        expected: expected.into(),
        found: found.into(),
        hint,
    }
}

struct File<'a> {
    all: &'a Settings,
    path: &'a Path,
    text: &'a str,
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;

impl File<'_> {
    /// Line of a byte, counted from 1.
    fn line(&self, byte: usize) -> usize {
        let before = self.text.bytes().take(byte);
        1 + before.filter(|byte| *byte == b'\n').count()
    }

    /// The error of a value of another kind than expected.
    fn wrong(
        &self,
        name: &Key<'_>,
        command: &Command,
        expected: &str,
        found: &DeValue<'_>,
        hint: Option<String>,
    ) -> anyhow::Error {
        let table = match command.has_subcommands() {
            true => String::new(),
            false => format!("[{}] ", command.get_name()),
        };
        let line = self.line(name.span().start);
        let field = format!("line {line}: {table}{}", name.get_ref());
        malformed(self.path, &field, expected, &said(found), hint).into()
    }

    /// Setting of a line in the table of `command`.
    fn setting(
        &self,
        command: &Command,
        name: &Key<'_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Option<Setting>> {
        let Some(arg) = settings_of(command).find(|arg| key(arg) == name.get_ref()) else {
            return Err(self.unknown(command, name));
        };
        let wrong = |expected: &str, found: &DeValue<'_>| {
            Err(self.wrong(name, command, expected, found, None))
        };
        let value = value.get_ref();
        let occurrences = match (arg.get_action(), value) {
            (ArgAction::SetTrue, DeValue::Boolean(is_on)) => {
                vec![vec![]; usize::from(*is_on)]
            }
            (ArgAction::SetTrue, found) => {
                return wrong("true or false", found);
            }
            (ArgAction::Count, DeValue::Integer(number)) => match count(number) {
                Some(times) => vec![vec![]; times.into()],
                None => return wrong("a whole number up to 255", value),
            },
            (ArgAction::Count, found) => return wrong("a whole number up to 255", found),
            (action, found) => {
                let kind = Kind::of(arg);
                let items = match found {
                    DeValue::Array(items) => items.iter().map(Spanned::get_ref).collect(),
                    found => vec![found],
                };
                let at_once = values_at_once(arg);
                let is_list = at_once > 1 || matches!(action, ArgAction::Append);
                if !is_list && matches!(found, DeValue::Array(_)) {
                    return wrong(kind.name(), found);
                }
                let mut words = Vec::with_capacity(items.len());
                for item in items {
                    match kind.word(item) {
                        Some(word) => words.push(OsString::from(word)),
                        None => return wrong(kind.name(), item),
                    }
                }
                if is_list && words.is_empty() {
                    return Ok(None);
                }
                match at_once > 1 {
                    true => vec![words],
                    false => words.into_iter().map(|word| vec![word]).collect(),
                }
            }
        };
        let line = self.line(name.span().start);
        let setting = Setting {
            arg: arg.clone(),
            occurrences,
            origin: Origin::File(self.path.to_owned(), line),
        };
        // Each value is judged by itself, so that the wrong one can be told.
        for occurrence in &setting.occurrences {
            let one = Setting {
                occurrences: vec![occurrence.clone()],
                ..setting.clone()
            };
            if let Some(expected) = self.all.fault(command, &one) {
                return wrong(&expected, value);
            }
        }
        Ok(Some(setting))
    }

    fn unknown(&self, command: &Command, name: &Key<'_>) -> anyhow::Error {
        let (built, wanted) = (&self.all.built, name.get_ref().as_ref());
        let is_program = command.has_subcommands();
        let tables = built.get_subcommands().map(Command::get_name);
        let tables: Vec<&str> = tables.filter(|_| is_program).collect();
        let names = settings_of(command).map(key).chain(tables.iter().copied());
        let with = built
            .get_subcommands()
            .chain(slice::from_ref(built))
            .find(|other| settings_of(other).any(|arg| key(arg) == wanted));
        let hint = match with {
            Some(other) if other.has_subcommands() => {
                Some(format!("{wanted} is set before the first table"))
            }
            Some(other) => Some(format!("{wanted} is an option of [{}]", other.get_name())),
            None => nearest(wanted, names).map(|name| format!("did you mean {name}?")),
        };
        let line = self.line(name.span().start);
        let expected = match is_program {
            true => "an option of every command, or the table of one".to_owned(),
            false => format!("an option of `starfit {}`", command.get_name()),
        };
        malformed(self.path, &format!("line {line}"), &expected, wanted, hint).into()
    }
}

/// Kind of the values of an option in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Number,
    /// Paths and names.
    Text,
    /// Whatever the option understands, as a text or a number.
    Any,
}

impl Kind {
    pub(super) fn of(arg: &Arg) -> Self {
        use std::any::TypeId;
        let parsed = arg.get_value_parser().type_id();
        let is_any = |types: &[TypeId]| types.iter().any(|one| parsed == *one);
        if is_any(&[TypeId::of::<f64>()]) {
            Self::Number
        } else if is_any(&[
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
            TypeId::of::<i64>(),
        ]) {
            Self::Integer
        } else if values_at_once(arg) == 1
            && is_any(&[TypeId::of::<String>(), TypeId::of::<std::path::PathBuf>()])
        {
            Self::Text
        } else {
            Self::Any
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Text => "a text in quotes",
            Self::Any => "a text in quotes, or a number",
        }
    }

    /// The value as it is on the command line.
    fn word(self, value: &DeValue<'_>) -> Option<String> {
        match (self, value) {
            (Self::Text | Self::Any, DeValue::String(text)) => Some(text.clone().into_owned()),
            (Self::Integer | Self::Number | Self::Any, DeValue::Integer(number)) => {
                integer(number).map(|number| number.to_string())
            }
            (Self::Number | Self::Any, DeValue::Float(number)) => Some(number.as_str().into()),
            _ => None,
        }
    }
}

fn integer(number: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}

fn count(number: &DeInteger<'_>) -> Option<u8> {
    integer(number)?.try_into().ok()
}

/// A value as a message shows it.
fn said(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(is_on) => is_on.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| said(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(_) => "a table".into(),
    }
}
