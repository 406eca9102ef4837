//! `starfit show`.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use starfit::Error;
use starfit::backend::CpuBackend;
use starfit::catalog::{ImageInfo, Row};
use starfit::io::fits::{FitsFile, FitsPath};
use starfit::io::stack::is_npy;
use starfit::measure::{MeasureOptions, measure_image};
use starfit::model::{MODELS, Model};
use starfit::report::{ImageRecord, Portrait, Records, Scene, Tone, Triplet, printable, text_art};
use starfit::settings::Settings;
use starfit::star::{Star, StarList};

use super::check_ending;
use super::fit::{number, odd, positive};

/// Which star to show, and where.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("star").required(true),
    after_long_help = "\
Examples:
  starfit show starfit.db --image m13.fits --id 12
  starfit show starfit.db --image m13.fits --id 12 -o star.png
  starfit show m13.fits --at 350 212.5 --model moffat -o star.png"
)]
pub(super) struct ShowArgs {
    /// The database; with --at, a FITS image.
    #[arg(value_name = "DB|IMAGE")]
    input: PathBuf,
    /// Image of the star: its name in the database, with or without [HDU], or its path. Not needed
    /// where there is only one.
    #[arg(long, value_name = "NAME", conflicts_with = "at")]
    image: Option<String>,
    /// Number of the star in its image.
    #[arg(long, value_name = "N", group = "star")]
    id: Option<u64>,
    /// The run that fitted it [default: the newest of the image].
    #[arg(long, value_name = "N", conflicts_with = "at")]
    run: Option<i64>,
    /// Fit the star at this place of an image now, and show it; pixels.
    #[arg(long, num_args = 2, value_names = ["X", "Y"], value_parser = number, allow_negative_numbers = true, group = "star")]
    at: Option<Vec<f64>>,
    /// Picture to write, .png, instead of letters on standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Star model; `starfit models` lists them.
    #[arg(long, value_name = "NAME", default_value = MODELS[0].name(), value_parser = super::parse_model, conflicts_with = "id", help_heading = "With --at")]
    model: &'static dyn Model,
    /// Side of the cutout in pixels, odd; by default 15, or 4 FWHM where the stars are wider.
    #[arg(long, value_name = "N", value_parser = odd, conflicts_with = "id", help_heading = "With --at")]
    size: Option<usize>,
    /// Electrons for each unit of the image; by default the header's GAIN, if plausible.
    #[arg(long, value_name = "E/ADU", value_parser = positive, conflicts_with = "id", help_heading = "With --at")]
    gain: Option<f64>,
    /// Pixels at this value and above are saturated; `inf`: none. By default the header's, else
    /// the highest value, if several pixels share it.
    #[arg(long, value_name = "LEVEL", value_parser = number, conflicts_with = "id", help_heading = "With --at")]
    saturation: Option<f64>,
    /// Plane of a cube, from 0.
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "id",
        help_heading = "With --at"
    )]
    plane: Option<usize>,
    /// Count pixels from 1, as FITS and SExtractor do.
    #[arg(long, conflicts_with = "id", help_heading = "With --at")]
    fits_pixels: bool,
}

/// A star, and its pixels where they can be had.
struct Found {
    image: String,
    id: Option<usize>,
    unit: Option<String>,
    model: Option<&'static str>,
    star: Row,
    triplet: Option<Triplet>,
    notes: Vec<String>,
}

/// Shows a star in the terminal, or writes its picture.
pub(super) fn run(args: &ShowArgs, quiet: bool) -> Result<()> {
    if let Some(output) = &args.output {
        let hint = "without -o the star is shown in the terminal";
        check_ending(output, &["png"], Some(hint))?;
    }
    let found = match (args.id, args.at.as_deref()) {
        (Some(id), _) => args.stored(id)?,
        (None, Some(&[x, y])) => args.fitted((x, y))?,
        // Clap requires either --id or --at, and two numbers for --at.
        (None, _) => return Ok(()),
    };
    let portrait = Portrait {
        image: &found.image,
        id: found.id,
        unit: found.unit.as_deref(),
        model: found.model,
        star: &found.star,
        triplet: found.triplet.as_ref(),
        notes: &found.notes,
    };
    let Some(output) = &args.output else {
        return print(&portrait);
    };
    for note in &found.notes {
        tracing::warn!("{}", printable(note, 400));
    }
    portrait.picture().write_png(output)?;
    if !quiet {
        say!("{} written to {}", portrait.name(), output.display());
    }
    Ok(())
}

impl ShowArgs {
    /// A star of a database.
    fn stored(&self, id: u64) -> Result<Found> {
        let records = Records::open(&self.input)?;
        let names: Vec<String> = self.image.iter().cloned().collect();
        let record = self.one(records.images(&names, self.run)?)?;
        let star = records.star(&record, id)?;
        let mut notes = Vec::new();
        let triplet = match Scene::open(&record) {
            Ok(scene) => {
                notes.extend(scene.notes().iter().cloned());
                Triplet::new(&scene, &star).map_err(|why| why.to_string())
            }
            Err(why) => Err(why.to_string()),
        };
        let triplet = triplet.map_err(|why| notes.push(format!("no picture: {why}")));
        Ok(Found {
            model: record.settings.model.map(Model::name),
            image: record.info.name,
            unit: record.info.header.unit,
            id: Some(star.id),
            star,
            triplet: triplet.ok(),
            notes,
        })
    }

    /// The only one of `images`; an error where there is not exactly one.
    fn one(&self, mut images: Vec<ImageRecord>) -> starfit::Result<ImageRecord> {
        const LISTED: usize = 5;
        if images.len() == 1 {
            return Ok(images.remove(0));
        }
        let names = images.iter().take(LISTED);
        let mut names: Vec<&str> = names.map(|image| image.info.name.as_str()).collect();
        if images.len() > LISTED {
            names.push("...");
        }
        let found = match &self.image {
            Some(name) => format!("{name}, which are {}", images.len()),
            None => format!("no name, and {} images", images.len()),
        };
        Err(Error::Option {
            option: "--image".to_owned(),
            expected: format!("one image of {}", self.input.display()),
            found,
            hint: (!images.is_empty()).then(|| format!("one of {}", names.join(", "))),
        })
    }

    /// Fits a star of an image now, from the start at (`x`, `y`).
    fn fitted(&self, (x, y): (f64, f64)) -> Result<Found> {
        if is_npy(&self.input) {
            return Err(Error::Unsupported {
                file: self.input.display().to_string(),
                what: "--at in ready cutouts".to_owned(),
                hint: Some("fit them, and show one with --id".to_owned()),
            }
            .into());
        }
        let file = FitsFile::open(&FitsPath::parse(&self.input)?)?;
        starfit::engine::axes::check_image(&self.input, &file)?;
        if file.planes() > 1 && self.plane.is_none() {
            return Err(Error::Option {
                option: "--plane".to_owned(),
                expected: format!("0 to {}, as it is a cube", file.planes() - 1),
                found: "none".to_owned(),
                hint: None,
            }
            .into());
        }
        let image = file.image(self.plane.unwrap_or(0))?;
        let settings = Settings {
            measure: MeasureOptions {
                size: self.size,
                gain: self.gain,
                saturation: self.saturation,
                one_based: self.fits_pixels,
                ..MeasureOptions::default()
            },
            ..Settings::default().with_model(self.model)
        };
        let first = settings.first_pixel();
        let (width, height) = (image.width() as f64, image.height() as f64);
        let is_inside = |at: f64, side: f64| (-0.5..side - 0.5).contains(&(at - first));
        if !(is_inside(x, width) && is_inside(y, height)) {
            let (last_x, last_y) = (width - 1.0 + first, height - 1.0 + first);
            return Err(Error::Option {
                option: "--at".to_owned(),
                expected: format!(
                    "a place in {}, {first} to {last_x} and {first} to {last_y}",
                    image.name
                ),
                found: format!("{x} {y}"),
                hint: None,
            }
            .into());
        }
        let list = StarList::from_stars(vec![Star {
            id: 0,
            x: x - first,
            y: y - first,
        }]);
        let fitter = settings.fitter(Box::new(CpuBackend::default()))?;
        let mut measured = measure_image(&image, Some(&list), &settings.measure, &fitter)?;
        let info = ImageInfo::new(&image);
        // One star has one row.
        let star = measured.rows.swap_remove(0);
        let mut notes = Vec::new();
        if !star.status.has_values() {
            let found = "no star is found from there: give its centre, to a pixel or two";
            notes.push(found.to_owned());
        }
        let scene = Scene::of_image(image, measured.assumed, &settings);
        Ok(Found {
            triplet: Some(Triplet::new(&scene, &star)?),
            image: info.name,
            unit: info.header.unit,
            model: Some(self.model.name()),
            id: None,
            star,
            notes,
        })
    }
}

/// Writes a star in letters.
fn print(portrait: &Portrait<'_>) -> Result<()> {
    let (width, tone) = terminal();
    let mut lines = vec![format!("{}: {}", portrait.name(), portrait.title())];
    if let Some(triplet) = portrait.triplet {
        lines.push(String::new());
        lines.extend(text_art(triplet, width, tone));
        for layer in &triplet.layers() {
            if layer.name != "model" {
                let [low, unit, high] = portrait.legend(layer);
                lines.push(format!("{}: {low} to {high} {unit}", layer.name));
            }
        }
        if tone == Tone::Plain && triplet.model.is_some() {
            lines.push("residual: = below -3, - below -1, + above 1, # above 3; x not used".into());
        }
        lines.push(String::new());
    }
    for fact in portrait.facts() {
        lines.push(format!("{:<12} {}", fact.name, fact.text));
    }
    for note in portrait.notes {
        lines.push(format!("{:<12} {}", "note", printable(note, 400)));
    }
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Letters in a line of standard output, and the tone that it can show.
fn terminal() -> (usize, Tone) {
    const USUAL: usize = 80;
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if !io::stdout().is_terminal() {
        return (USUAL, Tone::Plain);
    }
    let size = terminal_size::terminal_size();
    let width = size.map_or(USUAL, |(width, _)| usize::from(width.0));
    // https://no-color.org
    let tone = match is_set("NO_COLOR") || is_dumb {
        true => Tone::Plain,
        false => Tone::Color,
    };
    (width.max(1), tone)
}
