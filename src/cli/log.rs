//! What is said on stderr while the work goes on: `warning: file: what`.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Warnings by default, facts with `-v`; `STARFIT_LOG` overrides both, as `RUST_LOG` would.
pub(super) fn init(quiet: bool, verbose: u8) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("STARFIT_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("off,starfit={level}")));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).event_format(Plain).init();
}

/// The level in words, then the message: neither time nor place, which no reader asked for.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            _ => "",
        };
        out.write_str(level)?;
        context.field_format().format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}
