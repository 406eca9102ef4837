//! `starfit report`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use starfit::report::{Report, printable};

use super::check_ending;
use super::summary::count;

/// What to show.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  starfit report starfit.db
  starfit report starfit.db --image m13.fits -o m13.html
  starfit report night.db -o night.html --figures figures")]
pub(super) struct ReportArgs {
    /// The database.
    #[arg(value_name = "DB")]
    database: PathBuf,
    /// This image only: its name in the catalogue, with or without [HDU], or its path. Without it
    /// all images, with pictures of the best, the median and the worst.
    #[arg(long = "image", value_name = "NAME")]
    images: Vec<String>,
    /// Images as this run fitted them [default: the newest of each image].
    #[arg(long, value_name = "N")]
    run: Option<i64>,
    /// The page, .html, which needs no other file.
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
    /// Write each figure into this folder as well, as SVG.
    #[arg(long, value_name = "DIR")]
    figures: Option<PathBuf>,
}

/// Writes the page, and says what is in it.
pub(super) fn run(args: ReportArgs, quiet: bool) -> Result<()> {
    check_ending(&args.output, &["html", "htm"], None)?;
    let report = Report {
        images: args.images,
        run: args.run,
    };
    let written = report.write(&args.database, &args.output, args.figures.as_deref())?;
    for (_, why) in &written.unavailable {
        tracing::warn!("no pictures: {}", printable(why, 400));
    }
    if quiet {
        return Ok(());
    }
    say!(
        "{}, {} with pictures, in {} ({:.1} MB)",
        count(written.images, "image"),
        written.pictures,
        args.output.display(),
        written.bytes as f64 / 1e6
    );
    if let Some(folder) = &args.figures {
        say!(
            "{} in {}",
            count(written.figures, "figure"),
            folder.display()
        );
    }
    Ok(())
}
