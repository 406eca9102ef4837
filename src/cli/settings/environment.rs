//! The settings in environment variables.

use std::collections::BTreeMap;
use std::ffi::OsString;

use anyhow::Result;
use clap::{Arg, ArgAction};
use starfit::Error;

use super::{Origin, PREFIX, Setting, Settings, is_setting, nearest, settings_of, values_at_once};

impl Settings {
    /// Settings of the environment, and messages about variables that are right for other commands
    /// only: options of one name need not mean the same.
    pub(super) fn set_by(
        &self,
        variables: &BTreeMap<String, OsString>,
    ) -> Result<(Vec<Setting>, Vec<String>)> {
        let (mut settings, mut elsewhere) = (Vec::new(), Vec::new());
        for arg in self
            .subcommand()
            .get_arguments()
            .filter(|arg| is_setting(arg))
        {
            let Some(name) = variable(arg) else { continue };
            let Some(text) = variables.get(&name) else {
                continue;
            };
            let wrong = |expected: String| Error::Option {
                option: name.clone(),
                expected,
                found: text.to_string_lossy().into_owned(),
                hint: Some(format!(
                    "{name} is an environment variable; unset it, or set it right"
                )),
            };
            let text = text.to_str().ok_or_else(|| wrong("text in UTF-8".into()))?;
            let given = |values| Setting {
                arg: arg.clone(),
                occurrences: values,
                origin: Origin::Variable(name.clone()),
            };
            let times = match arg.get_action() {
                ArgAction::SetTrue => {
                    let switch = switch(text).ok_or_else(|| wrong("true or false".into()))?;
                    Some(usize::from(switch))
                }
                ArgAction::Count => {
                    let count: Option<u8> = text.trim().parse().ok();
                    Some(
                        count
                            .ok_or_else(|| wrong("a whole number up to 255".into()))?
                            .into(),
                    )
                }
                _ => None,
            };
            if let Some(times) = times {
                settings.push(given(vec![vec![]; times]));
                continue;
            }
            let setting = given(split(arg, text));
            match self.fault(self.subcommand(), &setting) {
                None => settings.push(setting),
                Some(expected) if self.is_right_elsewhere(&name, text) => elsewhere.push(format!(
                    "{name}: {text} is nothing for {}, which expects {expected}",
                    self.name
                )),
                Some(expected) => return Err(wrong(expected).into()),
            }
        }
        Ok((settings, elsewhere))
    }

    /// Whether another command has a use for a variable.
    fn is_right_elsewhere(&self, name: &str, text: &str) -> bool {
        let commands = self.built.get_subcommands();
        let mut others = commands.filter(|command| command.get_name() != self.name);
        others.any(|command| {
            let mut args = command.get_arguments().filter(|arg| is_setting(arg));
            args.any(|arg| {
                let setting = || Setting {
                    arg: arg.clone(),
                    occurrences: split(arg, text),
                    origin: Origin::Variable(name.to_owned()),
                };
                variable(arg).as_deref() == Some(name) && self.fault(command, &setting()).is_none()
            })
        })
    }

    /// Messages about variables that look like ours and are no settings.
    pub(super) fn unknown_of(&self, variables: &BTreeMap<String, OsString>) -> Vec<String> {
        let commands = std::iter::once(&self.built).chain(self.built.get_subcommands());
        let mut known: Vec<String> = commands
            .flat_map(|command| settings_of(command).filter_map(variable))
            .collect();
        known.push(format!("{PREFIX}CONFIG"));
        let unknown = variables.keys().filter(|name| !known.contains(name));
        unknown
            .map(|name| {
                let like = nearest(name, known.iter().map(String::as_str));
                let like = like.map(|like| format!("; {like} is"));
                format!("{name}: is no setting{}", like.unwrap_or_default())
            })
            .collect()
    }
}

/// The environment variable of an option; an input has none.
fn variable(arg: &Arg) -> Option<String> {
    let name = arg.get_long()?.to_uppercase().replace('-', "_");
    Some(format!("{PREFIX}{name}"))
}

/// Our variables; an empty one is as good as none.
pub(super) fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> BTreeMap<String, OsString> {
    let ours = environment.into_iter().filter_map(|(name, text)| {
        let name = name.into_string().ok()?;
        (name.starts_with(PREFIX) && !text.is_empty()).then_some((name, text))
    });
    ours.collect()
}

/// Whether a variable turns a flag on or off.
fn switch(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// Splits the text of a variable into values: at blanks for an option that takes several at once, at
/// commas for an option that may be repeated.
fn split(arg: &Arg, text: &str) -> Vec<Vec<OsString>> {
    if values_at_once(arg) > 1 {
        return vec![text.split_whitespace().map(OsString::from).collect()];
    }
    match arg.get_action() {
        ArgAction::Append => {
            let values = text.split(',').map(str::trim);
            values.map(|value| vec![value.into()]).collect()
        }
        _ => vec![vec![text.into()]],
    }
}
