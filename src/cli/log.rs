//! Messages on stderr while the work goes on: `warning: file: what`.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::progress;

/// Target of messages that are worth knowing though nothing is wrong or odd: `hint: what`.
pub(super) const HINT: &str = "starfit::hint";

/// Warnings by default, facts with `-v`; the libraries below have nothing to say to a user.
pub(super) fn init(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, 0) => LevelFilter::WARN,
        (_, 1) => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Out)
        .event_format(Plain);
    tracing_subscriber::registry()
        .with(lines.with_filter(Targets::new().with_target("starfit", level)))
        .init();
}

thread_local! {
    /// Messages of this thread, once it is asked to keep them.
    static KEPT: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Lets this thread keep its messages from now on: its work is ahead of its turn. Returns the messages
/// kept so far.
pub(super) fn keep() -> Vec<u8> {
    KEPT.replace(Some(Vec::new())).unwrap_or_default()
}

/// Writes the messages that another thread has kept.
pub(super) fn say(kept: &[u8]) {
    if kept.is_empty() {
        return;
    }
    // An error is dropped, as where the log itself cannot be written: nobody is there to be told.
    let _ = progress::aside(|| io::stderr().write_all(kept));
}

/// Standard error, or the messages that the thread keeps.
struct Out;

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        KEPT.with_borrow_mut(|kept| match kept {
            Some(kept) => kept.extend(bytes),
            // An error would be told where it just arose.
            None => drop(progress::aside(|| io::stderr().write_all(bytes))),
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The level in words, then the message: neither time nor place, which no reader asked for.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            _ if event.metadata().target() == HINT => "hint: ",
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            _ => "",
        };
        out.write_str(level)?;
        context.field_format().format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}
