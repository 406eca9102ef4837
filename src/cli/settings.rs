//! Values that the user wants for every option: from the command line, else from the environment, else
//! from a file, else the default.
//!
//! Everything is derived from clap's description of the options, so that a new option needs nothing
//! here. The variables and the file become a command line, which clap then judges like any other.

mod environment;
mod file;
mod print;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use file::Kind;

/// Beginning of the names of environment variables.
pub(super) const PREFIX: &str = "STARFIT_";

/// The options that say where settings come from and go to, and are no settings themselves.
const FILE: &str = "config";
const PRINT: &str = "print_config";

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    CommandLine,
    /// An environment variable.
    Variable(String),
    /// A file and the line in it.
    File(PathBuf, usize),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => out.write_str("command line"),
            Self::Variable(name) => out.write_str(name),
            Self::File(path, line) => write!(out, "{}, line {line}", path.display()),
            Self::Default => out.write_str("default"),
        }
    }
}

/// Values that one argument is set to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    arg: Arg,
    /// Values for each time that the argument is given; a flag has none.
    occurrences: Vec<Vec<OsString>>,
    origin: Origin,
}

impl Setting {
    /// Words of a command line that set the same.
    fn words(&self) -> Vec<OsString> {
        let mut words = Vec::new();
        for values in &self.occurrences {
            let name = self.arg.get_long().map(|long| format!("--{long}"));
            match name {
                // A word that begins with a hyphen is a value all the same, and so is each part of a
                // list that was typed between commas.
                Some(name) if values_at_once(&self.arg) == 1 && !values.is_empty() => {
                    words.extend(values.iter().map(|value| {
                        let mut word = OsString::from(format!("{name}="));
                        word.push(value);
                        word
                    }));
                }
                name => {
                    words.extend(name.map(OsString::from));
                    words.extend(values.iter().cloned());
                }
            }
        }
        words
    }
}

/// Everything that is set for one run of one command.
#[derive(Debug)]
pub(super) struct Settings {
    command: Command,
    /// The command with the arguments of the whole program in every subcommand.
    built: Command,
    /// The subcommand.
    name: String,
    /// Words that the user typed.
    typed: Vec<OsString>,
    settings: Vec<Setting>,
    is_printed: bool,
    /// Messages about variables that set nothing here.
    unknown: Vec<String>,
}

/// The options that this module reads itself.
pub(super) fn args() -> [Arg; 2] {
    let file = Arg::new(FILE)
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Read settings from a TOML file: options under their names, those of a command in a table such as [fit]");
    let print = Arg::new(PRINT)
        .long("print-config")
        .action(ArgAction::SetTrue)
        .help("Write the settings that would be used as such a file to standard output, and end");
    [file, print].map(|arg| arg.global(true))
}

/// The name of an argument in a file.
fn key(arg: &Arg) -> &str {
    arg.get_long().unwrap_or(arg.get_id().as_str())
}

/// Whether an argument is a setting, which a file may contain.
fn is_setting(arg: &Arg) -> bool {
    use ArgAction::{Help, HelpLong, HelpShort, Version};
    let tells = matches!(arg.get_action(), Help | HelpShort | HelpLong | Version);
    !tells && ![FILE, PRINT].contains(&arg.get_id().as_str())
}

/// Arguments of a command that are settings; arguments of the whole program belong to the program alone.
fn settings_of(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_program = command.has_subcommands();
    let here = move |arg: &&Arg| is_setting(arg) && arg.is_global_set() == is_program;
    command.get_arguments().filter(here)
}

/// The one of `names` that `wanted` was meant to be, if any is like it.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Two letters exchanged or one left out are well above it, other words below.
    const LIKE: f64 = 0.85;
    names
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(likeness, _)| *likeness > LIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

impl Settings {
    /// Reads the settings of a command line, of the environment and of the file that either names. A
    /// missing argument is the only error of the command line that may pass: it may be in the other
    /// two.
    pub(super) fn read(
        command: Command,
        typed: Vec<OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self> {
        let matches = match command.clone().try_get_matches_from(&typed) {
            Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => {
                let lenient = command.clone().ignore_errors(true);
                lenient.try_get_matches_from(&typed)?
            }
            matches => matches?,
        };
        let mut built = command.clone();
        built.build();
        let Some((name, matches)) = matches.subcommand() else {
            return Err(command
                .clone()
                .error(ErrorKind::MissingSubcommand, "")
                .into());
        };
        let mut all = Self {
            command,
            built,
            name: name.to_owned(),
            typed,
            settings: Vec::new(),
            is_printed: matches.get_flag(PRINT),
            unknown: Vec::new(),
        };
        all.settings = all.values(matches, ValueSource::CommandLine, Origin::CommandLine);
        let variables = environment::variables(environment);
        let file = matches.get_one(FILE).cloned();
        // A shell that asks for completions as it starts has no use for settings.
        let has_options = settings_of(all.subcommand()).any(|arg| !arg.is_positional());
        let named = || variables.get(&format!("{PREFIX}CONFIG"));
        let named = || named().filter(|_| has_options).map(PathBuf::from);
        let file = file.or_else(named);
        let (set, elsewhere) = all.set_by(&variables)?;
        all.add(set);
        if let Some(path) = file {
            let set = file::read(&all, &path)?;
            all.add(set);
        }
        all.unknown = elsewhere;
        all.unknown.extend(all.unknown_of(&variables));
        Ok(all)
    }

    /// Refuses settings that contradict each other. Something may be missing still.
    pub(super) fn check(&self) -> Result<()> {
        match self.matches() {
            Err(error) if error.kind() != ErrorKind::MissingRequiredArgument => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whether the settings are to be printed, and nothing else done.
    pub(super) fn is_printed(&self) -> bool {
        self.is_printed
    }

    /// Says, with `-v`, which variables look like settings and set nothing.
    pub(super) fn say_unknown(&self) {
        for message in &self.unknown {
            tracing::info!("{message}");
        }
    }

    /// Matches of clap for these settings.
    ///
    /// # Errors
    ///
    /// The errors of clap, with the settings from elsewhere than the command line that matter for them.
    pub(super) fn matches(&self) -> Result<ArgMatches, clap::Error> {
        let is_typed = |setting: &Setting| setting.origin == Origin::CommandLine;
        if self.settings.iter().all(is_typed) {
            return self.command.clone().try_get_matches_from(&self.typed);
        }
        self.judge(&self.settings).map_err(|mut error| {
            // The usage would name every option that is set anywhere.
            error.remove(ContextKind::Usage);
            let complaint = self.complaint(&self.settings);
            let matters = |setting: &&Setting| {
                let mut others = self.settings.clone();
                others.retain(|other| other != *setting);
                self.complaint(&others) != complaint
            };
            let set = self.settings.iter().filter(|setting| !is_typed(setting));
            let tips: Vec<StyledStr> = set
                .filter(matters)
                .map(|setting| format!("--{} is from {}", key(&setting.arg), setting.origin).into())
                .collect();
            if !tips.is_empty() {
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
            }
            error
        })
    }

    /// Complaint of clap about these settings: kind of the error, and its arguments.
    fn complaint(&self, settings: &[Setting]) -> Option<(ErrorKind, Option<String>)> {
        let error = self.judge(settings).err()?;
        let args = error.get(ContextKind::InvalidArg);
        Some((error.kind(), args.map(ToString::to_string)))
    }

    fn subcommand(&self) -> &Command {
        self.built
            .find_subcommand(&self.name)
            .unwrap_or(&self.built)
    }

    /// Judgement of clap on a command line of these settings.
    fn judge(&self, settings: &[Setting]) -> Result<ArgMatches, clap::Error> {
        let program = self.typed.first().cloned().unwrap_or_default();
        let mut words = vec![program, OsString::from(&self.name)];
        let (mut inputs, options): (Vec<_>, Vec<_>) = settings
            .iter()
            .partition(|setting| setting.arg.is_positional());
        words.extend(options.iter().flat_map(|setting| setting.words()));
        if !inputs.is_empty() {
            inputs.sort_by_key(|setting| setting.arg.get_index());
            words.push("--".into());
            words.extend(inputs.iter().flat_map(|setting| setting.words()));
        }
        self.command.clone().try_get_matches_from(words)
    }

    /// Adds settings that yield to earlier ones: an argument that is set already, or excluded by one
    /// that is set, is left out.
    fn add(&mut self, settings: Vec<Setting>) {
        let before = self.settings.clone();
        for setting in settings {
            let is_set = |other: &Setting| other.arg.get_id() == setting.arg.get_id();
            if before.iter().any(is_set) {
                continue;
            }
            let with = [before.as_slice(), std::slice::from_ref(&setting)].concat();
            let judged = self.judge(&with);
            let is_excluded = |error: clap::Error| error.kind() == ErrorKind::ArgumentConflict;
            if !judged.is_err_and(is_excluded) {
                self.settings.push(setting);
            }
        }
    }

    /// Settings of the arguments whose values come from `source`.
    fn values(&self, matches: &ArgMatches, source: ValueSource, origin: Origin) -> Vec<Setting> {
        let args = self.subcommand().get_arguments();
        let args = args.filter(|arg| is_setting(arg));
        let args = args.filter(|arg| matches.value_source(arg.get_id().as_str()) == Some(source));
        args.map(|arg| {
            let id = arg.get_id().as_str();
            let occurrences = match arg.get_action() {
                ArgAction::SetTrue => vec![vec![]; usize::from(matches.get_flag(id))],
                ArgAction::Count => vec![vec![]; usize::from(matches.get_count(id))],
                _ => matches
                    .get_raw_occurrences(id)
                    .into_iter()
                    .flatten()
                    .map(|values| values.map(OsStr::to_owned).collect())
                    .collect(),
            };
            Setting {
                arg: arg.clone(),
                occurrences,
                origin: origin.clone(),
            }
        })
        .collect()
    }

    /// Value that a setting of `command` should have, where its own values are wrong, whatever the
    /// other settings.
    fn fault(&self, command: &Command, setting: &Setting) -> Option<String> {
        let count = values_at_once(&setting.arg);
        // Clap takes values beyond the count for inputs.
        let is_wrong = |values: &Vec<OsString>| values.len() != count;
        if count > 1 && setting.occurrences.iter().any(is_wrong) {
            return Some(format!("{count} values"));
        }
        let words = std::iter::once(OsString::new())
            .chain(setting.arg.is_positional().then(|| "--".into()))
            .chain(setting.words());
        let error = command.clone().try_get_matches_from(words).err()?;
        let text = |kind| match error.get(kind) {
            Some(ContextValue::Strings(names)) => names.join(", "),
            Some(other) => other.to_string(),
            None => "something else".into(),
        };
        use ErrorKind::*;
        match error.kind() {
            ArgumentConflict | MissingRequiredArgument | MissingSubcommand => None,
            WrongNumberOfValues => Some(format!("{} values", text(ContextKind::ExpectedNumValues))),
            InvalidValue if !text(ContextKind::ValidValue).is_empty() => {
                Some(format!("one of {}", text(ContextKind::ValidValue)))
            }
            _ => {
                let cause = std::error::Error::source(&error)
                    .unwrap_or(&error)
                    .to_string();
                let cause = cause.lines().next().unwrap_or_default();
                let ours = cause.strip_prefix("expected ").map(str::to_owned);
                // Clap's words say what is wrong, not what is right.
                let range = || cause.split_once(" is not in ");
                let range = || range().map(|(_, range)| format!("a number in {range}"));
                let kind = || Kind::of(&setting.arg).name().to_owned();
                ours.or_else(range).or_else(|| Some(kind()))
            }
        }
    }
}

/// How many values an argument takes at once.
fn values_at_once(arg: &Arg) -> usize {
    arg.get_num_args()
        .map_or(1, |range| range.min_values().max(1))
}

/// The name of a file as it is said to the user.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
