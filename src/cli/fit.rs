//! `starfit fit`.

mod args;
mod outputs;
mod planes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::Array3;
use starfit::catalog::{ImageInfo, RunInfo};
use starfit::fitter::Fitter;
use starfit::image::{Header, Source};
use starfit::io::fits::{FitsFile, FitsPath};
use starfit::io::npy;
use starfit::measure::{Cutouts, MeasureOptions, Measured, measure_image, measure_stack};
use starfit::star::{StarList, read_stars};

use super::{ABORTED, FAILED, PARTIAL, print_error, summary};
pub(super) use args::FitArgs;
use outputs::Outputs;
use planes::Planes;

/// Fits every input; one that fails is named and the others are done.
pub(super) fn run(args: &FitArgs, quiet: bool) -> Result<ExitCode> {
    let start = Instant::now();
    args.check()?;
    let inputs = expand(&args.inputs);
    let stars = args
        .stars
        .as_ref()
        .map(|path| read_stars(path, args.fits_pixels))
        .transpose()?;
    let options = args.measure_options();
    options.check(args.model, stars.as_ref())?;
    let planes = Planes::open(args.mask.as_deref(), args.variance.as_deref())?;
    let companions = [&args.stars, &args.mask, &args.variance];
    let read = inputs
        .iter()
        .flatten()
        .chain(companions.into_iter().flatten());
    let fitter = args.fitter()?;
    let run = RunInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        command_line: std::env::args_os()
            .map(|word| word.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" "),
        settings: args.settings(&fitter),
        backend: fitter.backend.name().into(),
        adapter: Some(fitter.backend.adapter()),
    };
    let mut job = Job {
        args,
        options,
        stars,
        planes,
        quiet,
        outputs: Outputs::open(&args.output, read, &run)?,
        bar: bar(inputs.len(), quiet),
        images: 0,
        rows: 0,
    };
    let mut failed = 0;
    super::heed_interrupts();
    for input in inputs {
        if super::is_interrupted() {
            break;
        }
        if let Err(error) = input.and_then(|input| job.input(&input, &fitter)) {
            if super::is_broken_pipe(&error) {
                return Err(error);
            }
            job.bar.suspend(|| print_error(&error));
            failed += 1;
            // What could not be written will not be written next time either.
            if job.outputs.is_broken {
                break;
            }
        }
        job.bar.inc(1);
    }
    job.bar.finish_and_clear();
    let Job {
        outputs,
        images,
        rows,
        ..
    } = job;
    if images == 0 {
        outputs.abandon()?;
        return Ok(ExitCode::from(if super::is_interrupted() {
            ABORTED
        } else {
            FAILED
        }));
    }
    if super::is_interrupted() {
        eprintln!(
            "interrupted: databases keep the {} done",
            summary::count(images, "image")
        );
        return Ok(ExitCode::from(ABORTED));
    }
    let written = outputs.paths.clone();
    outputs.finish()?;
    if !quiet {
        report(&written, &fitter, images, rows, start);
    }
    Ok(if failed > 0 {
        ExitCode::from(PARTIAL)
    } else {
        ExitCode::SUCCESS
    })
}

/// The inputs, with patterns that no shell has expanded; a pattern may end in an extension,
/// `'night/*.fits[1]'`.
fn expand(inputs: &[PathBuf]) -> Vec<Result<PathBuf>> {
    inputs
        .iter()
        .flat_map(|input| expand_one(input).unwrap_or_else(|error| vec![Err(error)]))
        .collect()
}

fn expand_one(input: &Path) -> Result<Vec<Result<PathBuf>>> {
    let is_pattern = |text: &&str| text.contains(['*', '?']) && !input.exists();
    let Some(text) = input.to_str().filter(is_pattern) else {
        return Ok(vec![Ok(input.to_owned())]);
    };
    let (pattern, hdu) = match text
        .strip_suffix(']')
        .and_then(|text| text.rsplit_once('['))
    {
        Some((pattern, hdu)) => (pattern, format!("[{hdu}]")),
        None => (text, String::new()),
    };
    let matches = glob::glob(pattern).with_context(|| format!("{text}: not a pattern"))?;
    let mut paths = Vec::new();
    for path in matches {
        let mut path = path?.into_os_string();
        path.push(&hdu);
        paths.push(Ok(path.into()));
    }
    if paths.is_empty() {
        bail!("{text}: no file matches");
    }
    Ok(paths)
}

/// What stays the same from input to input, and what grows.
struct Job<'a> {
    args: &'a FitArgs,
    options: MeasureOptions,
    stars: Option<StarList>,
    planes: Planes,
    quiet: bool,
    outputs: Outputs,
    bar: ProgressBar,
    images: usize,
    rows: usize,
}

impl Job<'_> {
    /// Fits one file: an image, each plane of a cube, or a stack of cutouts.
    fn input(&mut self, path: &Path, fitter: &Fitter) -> Result<()> {
        if is_npy(path) {
            let stack = npy::read_stack(path)?;
            let (source, header) = (source(path)?, Header::default());
            return self.stack(stack, source, header, fitter);
        }
        let file = FitsFile::open(&FitsPath::parse(path)?)?;
        if self.args.cutouts {
            let first = file.image(0)?;
            let source = Source {
                plane: None,
                ..first.source
            };
            return self.stack(file.stack()?, source, first.header, fitter);
        }
        let planes = match self.args.plane {
            Some(plane) => plane..plane + 1,
            None => 0..file.planes(),
        };
        if planes.len() > 1 {
            tracing::warn!(
                "{}: a cube of {} planes, fitted one after the other; --plane chooses one, --cutouts takes them as cutouts",
                path.display(),
                planes.len()
            );
        }
        for plane in planes {
            let mut image = file.image(plane)?;
            self.planes.apply(&mut image, plane, file.planes())?;
            let measured = measure_image(&image, self.stars.as_ref(), &self.options, fitter)?;
            self.take(&ImageInfo::new(&image, None), &measured)?;
        }
        Ok(())
    }

    fn stack(
        &mut self,
        mut stack: Array3<f64>,
        source: Source,
        header: Header,
        fitter: &Fitter,
    ) -> Result<()> {
        let name = source
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for (option, given) in [
            ("--plane", self.args.plane.is_some()),
            ("--size", self.args.size.is_some()),
        ] {
            if given {
                bail!("{name}: {option} is for images, and these are ready cutouts");
            }
        }
        let shape = stack.dim();
        let variance = self.planes.apply_to_stack(&name, &mut stack)?;
        let cutouts = Cutouts {
            name: &name,
            pixels: &stack,
            variance: variance
                .as_ref()
                .and_then(|variance| variance.broadcast(shape)),
            header: &header,
        };
        let measured = measure_stack(&cutouts, self.stars.as_ref(), &self.options, fitter)?;
        let (_, height, width) = shape;
        self.take(
            &ImageInfo {
                name,
                source,
                header,
                width,
                height,
                wcs: None,
            },
            &measured,
        )
    }

    /// Writes the rows of an image and says what they are.
    fn take(&mut self, image: &ImageInfo, measured: &Measured) -> Result<()> {
        self.outputs.write(image, measured)?;
        self.images += 1;
        self.rows += measured.rows.len();
        self.bar.suspend(|| {
            if measured.rows.is_empty() {
                tracing::warn!("{}: no star found", image.name);
            } else if !self.quiet {
                let unit = image.header.unit.as_deref().unwrap_or("adu");
                eprintln!("{}: {}", image.name, summary::of_image(measured, unit));
            }
            tracing::info!("{}: {}", image.name, summary::of_assumptions(measured));
        });
        Ok(())
    }
}

fn is_npy(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("npy"))
}

/// What the file system says of a file.
fn source(path: &Path) -> Result<Source> {
    let metadata = std::fs::metadata(path).map_err(|error| starfit::Error::io(path, error))?;
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(Source {
        path: path.into(),
        bytes: metadata.len(),
        modified: modified.map_or(0, |since| since.as_secs() as i64),
        ..Source::default()
    })
}

/// A bar for people who watch several inputs.
fn bar(inputs: usize, quiet: bool) -> ProgressBar {
    if quiet || inputs < 2 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} inputs, {eta} left");
    ProgressBar::new(inputs as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The last words of a run.
fn report(outputs: &[PathBuf], fitter: &Fitter, images: usize, rows: usize, start: Instant) {
    let names: Vec<String> = outputs
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let of = if images == 1 {
        String::new()
    } else {
        format!(" of {images} images")
    };
    eprintln!(
        "{}{of} written to {} in {:.1} s ({}: {})",
        summary::count(rows, "star"),
        names.join(", "),
        start.elapsed().as_secs_f64(),
        fitter.backend.name(),
        fitter.backend.adapter()
    );
    let is_database =
        |path: &&PathBuf| path.extension().is_some_and(|e| e == "db" || e == "sqlite");
    if let Some(database) = outputs.iter().find(is_database) {
        eprintln!(
            "look at the best: sqlite3 -box {} \"SELECT image, x, y, flux, flux_err, fwhm, snr FROM catalog WHERE flags = 0 ORDER BY snr DESC LIMIT 10\"",
            database.display()
        );
    }
}
