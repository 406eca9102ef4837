//! `starfit query`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use starfit::catalog::query::{Order, Query, QueryFormat, Region};

/// Which stars to write, and how.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  starfit query starfit.db --image m13.fits --box 100 100 200 150
  starfit query starfit.db --cone 250.4235 36.4613 2\\' --where 'snr > 20' -o m13.fits
  starfit query starfit.db --near 350 350 5 --columns x,y,flux,distance
  starfit query starfit.db --where 'flags = 0' --order 'snr desc' --limit 10")]
pub(super) struct QueryArgs {
    /// The database.
    #[arg(value_name = "DB")]
    database: PathBuf,
    /// Stars of this image only: its name in the catalogue, with or without [HDU], or its path.
    #[arg(long = "image", value_name = "NAME", help_heading = "Stars")]
    images: Vec<String>,
    /// Stars between two corners, pixels.
    #[arg(long = "box", num_args = 4, value_names = ["X0", "Y0", "X1", "Y1"], allow_negative_numbers = true, group = "region", help_heading = "Stars")]
    corners: Option<Vec<f64>>,
    /// Stars around a place on the sky, the nearest first; degrees, and a radius like 30", 2', 0.1d.
    #[arg(long, num_args = 3, value_names = ["RA", "DEC", "RADIUS"], allow_negative_numbers = true, group = "region", help_heading = "Stars")]
    cone: Option<Vec<String>>,
    /// The N stars of each image that are nearest to a place, pixels.
    #[arg(long, num_args = 3, value_names = ["X", "Y", "N"], allow_negative_numbers = true, group = "region", help_heading = "Stars")]
    near: Option<Vec<String>>,
    /// Stars that fulfil an SQL condition on the columns, such as 'flags = 0 AND snr > 20'.
    #[arg(long = "where", value_name = "SQL", help_heading = "Stars")]
    condition: Option<String>,
    /// These columns, separated by commas [default: all; for table, a few].
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        help_heading = "Output"
    )]
    columns: Vec<String>,
    /// Sort by these columns, separated by commas, each with asc or desc after it; null comes last
    /// [default: image, y, x; or distance].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = order, help_heading = "Output")]
    order: Vec<Order>,
    /// Write so many rows at most [default: all].
    #[arg(long, value_name = "N", help_heading = "Output")]
    limit: Option<u64>,
    /// Stars of this run [default: the newest of each image].
    #[arg(long, value_name = "N", help_heading = "Stars")]
    run: Option<i64>,
    /// How to write them [default: what the ending of -o says; table on a terminal, else csv].
    #[arg(long, value_name = "FORMAT", value_parser = format, help_heading = "Output")]
    format: Option<QueryFormat>,
    /// Write to a file instead of standard output: .csv .ecsv .fits .json .parquet .vot .xml.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "-",
        hide_default_value = true,
        help_heading = "Output"
    )]
    output: PathBuf,
}

/// Writes the stars that are asked for.
pub(super) fn run(args: QueryArgs, quiet: bool) -> Result<()> {
    let is_stdout = args.output == Path::new("-");
    let format = match args.format {
        Some(format) => format,
        None if !is_stdout => QueryFormat::from_path(&args.output)?,
        None if io::stdout().is_terminal() => QueryFormat::Table,
        None => QueryFormat::Csv,
    };
    let region = args.region()?;
    let query = Query {
        images: args.images,
        run: args.run,
        region,
        condition: args.condition,
        columns: args.columns,
        order: args.order,
        limit: args.limit,
    };
    let rows = query.write(&args.database, format, &args.output)?;
    if !quiet && (!is_stdout || format == QueryFormat::Table) {
        let to = if is_stdout {
            String::new()
        } else {
            format!(" written to {}", args.output.display())
        };
        say!("{}{to}", super::summary::count(rows as usize, "star"));
    }
    Ok(())
}

impl QueryArgs {
    fn region(&self) -> Result<Option<Region>> {
        if let Some([x0, y0, x1, y1]) = self.corners.as_deref() {
            return Ok(Some(Region::Box {
                x: [*x0, *x1],
                y: [*y0, *y1],
            }));
        }
        if let Some([ra, dec, radius]) = self.cone.as_deref() {
            return Ok(Some(Region::Cone {
                ra: number("--cone RA", ra)?,
                dec: number("--cone DEC", dec)?,
                radius: angle(radius).ok_or_else(|| {
                    wrong(
                        "--cone RADIUS",
                        "an angle like 30\", 2', 0.1d or 0.1",
                        radius,
                    )
                })?,
            }));
        }
        if let Some([x, y, count]) = self.near.as_deref() {
            return Ok(Some(Region::Near {
                x: number("--near X", x)?,
                y: number("--near Y", y)?,
                count: count
                    .parse()
                    .map_err(|_| wrong("--near N", "a number of stars", count))?,
            }));
        }
        Ok(None)
    }
}

fn wrong(option: &str, expected: &str, found: &str) -> starfit::Error {
    starfit::Error::Option {
        option: option.into(),
        expected: expected.into(),
        found: found.into(),
        hint: None,
    }
}

fn number(option: &str, text: &str) -> starfit::Result<f64> {
    let number = text
        .trim()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| wrong(option, "a number of degrees or pixels", text))
}

/// An angle in degrees: a bare number is degrees already.
pub(super) fn angle(text: &str) -> Option<f64> {
    let text = text.trim();
    let units = [
        ("\"", 3600.0),
        ("''", 3600.0),
        ("'", 60.0),
        ("d", 1.0),
        ("", 1.0),
    ];
    units.into_iter().find_map(|(unit, in_a_degree)| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        (number.is_finite() && number >= 0.0).then_some(number / in_a_degree)
    })
}

fn format(name: &str) -> Result<QueryFormat, String> {
    let found = QueryFormat::ALL.iter().find(|(known, _)| *known == name);
    found.map(|(_, format)| *format).ok_or_else(|| {
        let names = QueryFormat::ALL.map(|(name, _)| name);
        format!("expected one of {}", names.join(", "))
    })
}

fn order(text: &str) -> Result<Order, String> {
    let mut words = text.split_whitespace();
    let column = words
        .next()
        .ok_or("expected the name of a column")?
        .to_owned();
    let descending = match words.next().map(str::to_lowercase).as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(word) => return Err(format!("expected asc or desc after {column}, found {word}")),
    };
    match words.next() {
        None => Ok(Order { column, descending }),
        Some(word) => Err(format!("expected a comma before {word}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_have_units() {
        for (text, degrees) in [
            ("5\"", 5.0 / 3600.0),
            ("5''", 5.0 / 3600.0),
            ("2'", 2.0 / 60.0),
            ("0.1d", 0.1),
            ("0.1", 0.1),
            (" 1e-3 ", 1e-3),
        ] {
            assert_eq!(angle(text), Some(degrees));
        }
        for text in ["", "\"", "-1", "-1\"", "x", "1x", "nan", "inf", "1'2\""] {
            assert_eq!(angle(text), None, "{text}");
        }
    }

    #[test]
    fn orders_have_directions() {
        let of = |column: &str, descending| Order {
            column: column.into(),
            descending,
        };
        assert_eq!(order("snr"), Ok(of("snr", false)));
        assert_eq!(order(" snr  DESC "), Ok(of("snr", true)));
        assert_eq!(order("y asc"), Ok(of("y", false)));
        for text in ["", "snr down", "snr desc x"] {
            assert!(order(text).is_err(), "{text}");
        }
    }
}
