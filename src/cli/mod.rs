//! The commands, one file each.

/// `eprintln!` that fails silently where the reader has gone away: the work is done all the same.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::write_line(format_args!($($text)*))
    };
}

mod backend;
mod bench;
mod fit;
mod list;
mod log;
mod matching;
mod pages;
mod progress;
mod query;
mod report;
mod settings;
mod show;
mod simulate;
mod summary;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use settings::Settings;
use starfit::estimator::Estimator;
use starfit::model::{self, MODELS, Model};

macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0    every input done
  1    some inputs failed
  2    wrong usage, or no input succeeded
  130  interrupted"
    };
}

/// Fits star models to thousands or millions of cutouts of astronomical images at once.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = exit_codes!(),
    after_long_help = concat!("\
Examples:
  starfit fit night/*.fits
  starfit query starfit.db --where 'flags = 0' --order 'snr desc' --limit 10

Settings:
  Every option may also be an environment variable, --read-noise as STARFIT_READ_NOISE, or a
  line of the file that --config or STARFIT_CONFIG names, as `starfit fit --print-config` writes
  it. What is typed wins over variables, these win over the file. Several values in a variable
  are separated by commas, those of one option, as of --box, by blanks.

", exit_codes!())
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say what was assumed of each image; twice: more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fit the stars of images, or of stacks of cutouts, into a catalogue.
    Fit(Box<fit::FitArgs>),
    /// Find stars in a database: in a box of pixels, in a cone on the sky, by any SQL condition.
    Query(Box<query::QueryArgs>),
    /// Show how good the fits of a database are: a page with pictures, maps and distributions.
    Report(report::ReportArgs),
    /// Show one star: its pixels, its model and what is left, with its numbers.
    Show(show::ShowArgs),
    /// Link the stars of a database's images that are one object, for light curves.
    Match(matching::MatchArgs),
    /// Make star fields or stacks of cutouts with known truth.
    Simulate(simulate::SimulateArgs),
    /// Measure the fits a second of every backend of this machine, checked against the reference.
    Bench(bench::BenchArgs),
    /// List the GPUs and software drivers of this machine.
    #[command(after_long_help = "Examples:\n  starfit devices")]
    Devices,
    /// List the star models with their parameters.
    #[command(after_long_help = "Examples:\n  starfit models")]
    Models,
    /// Write what completes commands and options in a shell to standard output.
    Completions(pages::CompletionsArgs),
    /// Write the man pages, one for each command, into a folder.
    Man(pages::ManArgs),
}

/// Whether the user has pressed Ctrl-C.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Exit code where some inputs failed.
const PARTIAL: u8 = 1;
/// Exit code of wrong usage, or where no input succeeded.
const FAILED: u8 = 2;
/// Exit code where the user has pressed Ctrl-C.
const ABORTED: u8 = 130;

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    quiet_mesa();
    run().unwrap_or_else(|error| {
        // A reader that has seen enough, such as `head`, is no failure.
        if is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        // The words of --help come as an error of clap, too.
        if let Some(usage) = error.downcast_ref::<clap::Error>() {
            usage.exit();
        }
        print_error(&error);
        ExitCode::from(FAILED)
    })
}

fn run() -> Result<ExitCode> {
    let settings = Settings::read(
        command(),
        std::env::args_os().collect(),
        std::env::vars_os(),
    )?;
    if settings.is_printed() {
        settings.check()?;
        settings.print(&mut std::io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    let cli = Cli::from_arg_matches(&settings.matches()?)?;
    log::init(cli.quiet, cli.verbose);
    settings.say_unknown();
    match cli.command {
        Command::Fit(args) => fit::run(&args, cli.quiet),
        Command::Query(args) => query::run(*args, cli.quiet).map(|()| ExitCode::SUCCESS),
        Command::Report(args) => report::run(args, cli.quiet).map(|()| ExitCode::SUCCESS),
        Command::Show(args) => show::run(&args, cli.quiet).map(|()| ExitCode::SUCCESS),
        Command::Match(args) => matching::run(&args, cli.quiet),
        Command::Simulate(args) => simulate::run(&args, cli.quiet).map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => bench::run(&args, cli.quiet).map(|()| ExitCode::SUCCESS),
        Command::Devices => list::devices().map(|()| ExitCode::SUCCESS),
        Command::Models => list::models().map(|()| ExitCode::SUCCESS),
        Command::Completions(args) => {
            pages::completions(&args, command()).map(|()| ExitCode::SUCCESS)
        }
        Command::Man(args) => pages::man(&args, command()).map(|()| ExitCode::SUCCESS),
    }
}

/// The command line: the commands described here, and the options that say where settings come from.
fn command() -> clap::Command {
    Cli::command().args(settings::args())
}

/// Keeps Mesa's device chooser from looking for a desktop, which it complains about on machines
/// that have none, in words that look like ours. It only sorts devices, as we do ourselves.
#[expect(
    unsafe_code,
    reason = "the environment is changed before there is a second thread"
)]
fn quiet_mesa() {
    const VARIABLE: &str = "NODEVICE_SELECT";
    if std::env::var_os(VARIABLE).is_none() {
        // SAFETY: nothing else runs yet that could read the environment.
        unsafe { std::env::set_var(VARIABLE, "1") };
    }
}

/// Prints an error on one line of stderr, and the advice, if any, on a second.
fn print_error(error: &anyhow::Error) {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Errors of starfit name their cause themselves.
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    let hint = error.downcast_ref().and_then(starfit::Error::hint);
    progress::aside(|| {
        say!("error: {message}");
        if let Some(hint) = hint {
            say!("hint: {hint}");
        }
    });
}

/// Lets Ctrl-C end the work at the next good place; a second one ends it at once.
fn heed_interrupts(quiet: bool) {
    let heeded = ctrlc::set_handler(move || {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(ABORTED.into());
        }
        // The answer has its own thread: a second Ctrl-C is heeded even where nothing can be written.
        if !quiet {
            std::thread::spawn(progress::answer_interrupt);
        }
    });
    if let Err(error) = heeded {
        tracing::debug!("Ctrl-C ends the run at once: {error}");
    }
}

fn write_line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Sets the number of threads for everything; by default one a core.
fn use_threads(threads: Option<u16>) {
    if let Some(threads) = threads {
        // The call fails only where a pool is running already, which is then as good.
        let _ = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build_global();
    }
}

fn parse_estimator(name: &str) -> Result<Estimator, String> {
    let names = || Estimator::ALL.map(Estimator::name).join(", ");
    Estimator::ALL
        .into_iter()
        .find(|estimator| estimator.name() == name)
        .ok_or_else(|| format!("expected one of {}", names()))
}

/// Checks that an output has one of these endings: no other file, such as an image or a database, may
/// be replaced.
fn check_ending(output: &Path, endings: &[&str], hint: Option<&str>) -> starfit::Result<()> {
    let ending = output.extension();
    let is_one = |known: &&str| ending.is_some_and(|ending| ending.eq_ignore_ascii_case(known));
    if endings.iter().any(is_one) {
        return Ok(());
    }
    Err(starfit::Error::Option {
        option: format!("output {}", output.display()),
        expected: format!("the ending .{}", endings.join(" or .")),
        found: ending.map_or_else(
            || "none".to_owned(),
            |ending| format!(".{}", ending.to_string_lossy()),
        ),
        hint: hint.map(str::to_owned),
    })
}

/// The model called `name`.
fn parse_model(name: &str) -> Result<&'static dyn Model, String> {
    let names = || {
        MODELS
            .iter()
            .map(|model| model.name())
            .collect::<Vec<_>>()
            .join(", ")
    };
    model::by_name(name).ok_or_else(|| format!("expected one of {}", names()))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(broken)
            || matches!(cause.downcast_ref::<starfit::Error>(), Some(starfit::Error::Io { source, .. }) if broken(source))
    })
}

#[cfg(test)]
mod tests;
