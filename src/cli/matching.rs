//! `starfit match`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use starfit::catalog::objects::{MatchOptions, Matched, Placement, Placing, Radius};
use starfit::fit::Flags;

use super::progress::Spinner;
use super::summary::count;
use super::{PARTIAL, print_error, query};

/// Which stars are one object.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  starfit match starfit.db
  starfit match starfit.db --radius 2\\\" --exclude saturated,crowded,duplicate
  starfit query starfit.db --where 'object_id = 7' --columns mjd,filter,flux,flux_err --order mjd")]
pub(super) struct MatchArgs {
    /// The database.
    #[arg(value_name = "DB")]
    database: PathBuf,
    /// How far apart stars of one object may be whatever their errors: pixels of the first image,
    /// or an angle like 2".
    #[arg(long, value_name = "RADIUS", default_value = "1", value_parser = radius, help_heading = "Objects")]
    radius: Radius,
    /// How far apart in units of their combined error, added in quadrature; at most 5 radii in all.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5.0,
        help_heading = "Objects"
    )]
    sigma: f64,
    /// Leave out stars with any of these flags, separated by commas, or none.
    #[arg(long, value_name = "FLAGS", default_value = "duplicate", value_parser = flags, help_heading = "Stars")]
    exclude: Flags,
    /// Register images by their star patterns although they have positions on the sky.
    #[arg(long, conflicts_with = "by_sky", help_heading = "Objects")]
    by_pattern: bool,
    /// Believe positions on the sky even where the patterns of the stars contradict them.
    #[arg(long, help_heading = "Objects")]
    by_sky: bool,
    /// Stars of this run [default: the newest of each image].
    #[arg(long, value_name = "N", help_heading = "Stars")]
    run: Option<i64>,
}

/// Links the stars of a database; images that cannot be registered are named.
pub(super) fn run(args: &MatchArgs, quiet: bool) -> Result<ExitCode> {
    let start = Instant::now();
    let options = MatchOptions {
        run: args.run,
        radius: args.radius,
        sigma: args.sigma,
        exclude: args.exclude,
        placing: match (args.by_sky, args.by_pattern) {
            (true, _) => Placing::Sky,
            (false, true) => Placing::Pattern,
            (false, false) => Placing::Judged,
        },
    };
    let spinner = Spinner::new("linking stars", !quiet);
    let matched = options.write(&args.database).map_err(name_flag)?;
    drop(spinner);
    let mut code = ExitCode::SUCCESS;
    let first = matched.images.first().map_or("", |image| &image.name);
    for image in &matched.images {
        match image.placement {
            Placement::Registered(found) if !quiet => say!(
                "{}: registered to {first} by {}, rms {:.3} pix",
                image.name,
                count(found.n_stars, "star"),
                found.rms
            ),
            Placement::Refined(found) => {
                let reference = matched.images.get(found.reference);
                let reference = reference.map_or("", |image| &image.name);
                let (sky, pattern) = (found.by_sky, found.by_pattern);
                tracing::warn!(
                    "{}: of its bright stars {} of {} are where {reference} has them on the sky, {} of {} \
                     by their pattern: its WCS is corrected by the pattern (--by-sky: as it is)",
                    image.name,
                    sky.n,
                    sky.of,
                    pattern.n,
                    pattern.of
                );
            }
            Placement::Unregistered => {
                code = ExitCode::from(PARTIAL);
                print_error(&unregistered(&image.name, first).into());
            }
            _ => {}
        }
    }
    for filter in &matched.without_flux {
        let filter = if filter.is_empty() { "none" } else { filter };
        tracing::warn!(
            "filter {filter}: images of different exposure times or units: no mean fluxes; \
             magnitudes have means where there are any (--zero-point of fit)"
        );
    }
    if !quiet {
        report(&matched, start);
    }
    Ok(code)
}

fn report(matched: &Matched, start: Instant) {
    let is_placed = |placement| placement != Placement::Unregistered;
    let placed = matched.images.iter();
    let placed = placed.filter(|image| is_placed(image.placement)).count();
    say!(
        "{} of {} in {}, {} of them in several, in {:.1} s",
        count(matched.n_objects, "object"),
        count(matched.n_stars, "star"),
        count(placed, "image"),
        matched.n_repeated,
        start.elapsed().as_secs_f64()
    );
}

fn unregistered(image: &str, first: &str) -> starfit::Error {
    starfit::Error::Malformed {
        file: image.into(),
        field: "stars".into(),
        expected: format!("a pattern as in {first}"),
        found: "none beyond chance".into(),
        hint: Some("its stars are in no object; it may be of another field".into()),
    }
}

/// Names the flag in an error: the library knows the options by their fields, the user by their flags.
fn name_flag(mut error: starfit::Error) -> starfit::Error {
    if let starfit::Error::Option { option, .. } = &mut error
        && !option.starts_with('-')
    {
        *option = format!("--{option}");
    }
    error
}

/// Parses a radius: a bare number is pixels.
fn radius(text: &str) -> Result<Radius, String> {
    match text.trim().parse() {
        Ok(pixels) => Ok(Radius::Pixels(pixels)),
        Err(_) => match query::angle(text) {
            Some(degrees) => Ok(Radius::Degrees(degrees)),
            None => Err("expected pixels, or an angle like 2\" or 0.5'".into()),
        },
    }
}

fn flags(text: &str) -> Result<Flags, String> {
    let mut flags = Flags::default();
    for name in text
        .split(',')
        .map(str::trim)
        .filter(|name| *name != "none")
    {
        let found = Flags::TABLE.iter().find(|(_, known, _)| *known == name);
        let Some((flag, ..)) = found else {
            let names = Flags::TABLE.map(|(_, name, _)| name);
            return Err(format!("expected none or some of {}", names.join(", ")));
        };
        flags.set(*flag, true);
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radii_are_pixels_or_angles() {
        assert_eq!(radius("1.5"), Ok(Radius::Pixels(1.5)));
        assert_eq!(radius("3.6\""), Ok(Radius::Degrees(0.001)));
        assert_eq!(radius("0.5d"), Ok(Radius::Degrees(0.5)));
        for text in ["", "x", "1px", "-1\""] {
            assert!(radius(text).is_err(), "{text}");
        }
    }

    #[test]
    fn flags_have_names() {
        assert_eq!(flags("none"), Ok(Flags::default()));
        let both = Flags(Flags::SATURATED.0 | Flags::DUPLICATE.0);
        assert_eq!(flags("saturated, duplicate"), Ok(both));
        assert!(flags("").is_err());
        assert!(flags("bright").is_err());
    }
}
