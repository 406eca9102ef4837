//! `--print-config`: the settings as a file that sets the same.

use std::ffi::{OsStr, OsString};
use std::io::Write;

use anyhow::Result;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};
use starfit::Error;

use super::file::Kind;
use super::{Origin, Setting, Settings, key, settings_of, values_at_once};

impl Settings {
    /// Writes every setting, defaults too; an option that is not set, or cannot be set beside the
    /// others, is a comment.
    pub(crate) fn print(&self, out: &mut impl Write) -> Result<()> {
        writeln!(
            out,
            "# Settings of starfit {} {}; --config FILE reads them back.",
            env!("CARGO_PKG_VERSION"),
            self.name
        )?;
        let mut set = self.settings.clone();
        let defaults = self.defaults()?;
        let mut unused = Vec::new();
        for default in defaults {
            let is_set = |other: &Setting| other.arg.get_id() == default.arg.get_id();
            if set.iter().any(is_set) {
                continue;
            }
            let before = self.complaint(&set);
            set.push(default);
            if self.complaint(&set) != before {
                unused.extend(set.pop());
            }
        }
        let subcommand = self.subcommand();
        for arg in settings_of(&self.built) {
            self.line(out, arg, &set, &unused)?;
        }
        writeln!(out, "\n[{}]", self.name)?;
        for arg in settings_of(subcommand) {
            self.line(out, arg, &set, &unused)?;
        }
        Ok(())
    }

    /// Default values of clap for the arguments that nobody has set.
    fn defaults(&self) -> Result<Vec<Setting>> {
        let lenient = self.command.clone().ignore_errors(true);
        let matches: ArgMatches =
            lenient.try_get_matches_from([OsStr::new(""), OsStr::new(&self.name)])?;
        let matches = matches.subcommand().map(|(_, matches)| matches);
        Ok(matches.map_or_else(Vec::new, |matches| {
            self.values(matches, ValueSource::DefaultValue, Origin::Default)
        }))
    }

    fn line(
        &self,
        out: &mut impl Write,
        arg: &Arg,
        set: &[Setting],
        unused: &[Setting],
    ) -> Result<()> {
        let name = key(arg);
        let of = |settings: &[Setting]| {
            let found = settings.iter().find(|one| one.arg.get_id() == arg.get_id());
            found.cloned()
        };
        if let Some(setting) = of(set) {
            let value = value(&setting)?;
            // The name of a file may have more than one line.
            let origin = setting.origin.to_string().replace(char::is_control, "?");
            writeln!(out, "{name} = {value}  # {origin}")?;
        } else if let Some(setting) = of(unused) {
            let value = value(&setting)?;
            writeln!(
                out,
                "# {name} = {value}  # default, not with what is set here"
            )?;
        } else {
            let names: Vec<&str> = arg
                .get_value_names()
                .unwrap_or_default()
                .iter()
                .map(|name| name.as_str())
                .collect();
            writeln!(out, "# {name} = {}  # not set", names.join(" "))?;
        }
        Ok(())
    }
}

/// The value of a setting in TOML.
fn value(setting: &Setting) -> Result<String> {
    let Setting {
        arg, occurrences, ..
    } = setting;
    Ok(match arg.get_action() {
        ArgAction::SetTrue => (!occurrences.is_empty()).to_string(),
        ArgAction::Count => occurrences.len().to_string(),
        action => {
            let kind = Kind::of(arg);
            let words = occurrences.iter().flatten();
            let words = words.map(|word| literal(arg, kind, word));
            let words = words.collect::<Result<Vec<String>>>()?;
            let is_list = values_at_once(arg) > 1 || matches!(action, ArgAction::Append);
            match (is_list, words.as_slice()) {
                (false, [word]) => word.clone(),
                _ => format!("[{}]", words.join(", ")),
            }
        }
    })
}

/// A word of the command line in TOML.
fn literal(arg: &Arg, kind: Kind, word: &OsString) -> Result<String> {
    let text = word.to_str().ok_or_else(|| Error::Option {
        option: format!("--{}", key(arg)),
        expected: "text in UTF-8, as TOML is".into(),
        found: word.to_string_lossy().into_owned(),
        hint: None,
    })?;
    let whole = || text.parse::<i128>().ok().map(|number| number.to_string());
    let number = match kind {
        Kind::Integer => whole(),
        // TOML reads a number as Rust prints it, but for the capitals of NaN.
        Kind::Number => whole().or_else(|| {
            let number = text.parse::<f64>().ok();
            number.map(|number| format!("{number:?}").to_lowercase())
        }),
        Kind::Text | Kind::Any => None,
    };
    Ok(number.unwrap_or_else(|| quoted(text)))
}

/// Quotes a text as a basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                quoted.push_str(&format!("\\U{:08X}", u32::from(letter)));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
