//! `starfit fit`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use starfit::catalog::{self, CatalogWriter, ImageInfo, RunInfo};
use starfit::estimator::Estimator;
use starfit::fitter::Fitter;
use starfit::image::{Header, Source};
use starfit::io::fits::{FitsFile, FitsPath};
use starfit::io::npy;
use starfit::measure::{MeasureOptions, Measured, measure_image, measure_stack};
use starfit::model::{MODELS, Model};
use starfit::solver::{GradientDescent, LevenbergMarquardt, Solver};
use starfit::star::{Star, read_stars};

use super::backend::BackendArgs;
use super::{FAILED, PARTIAL, print_error, summary};

/// Options of `starfit fit`.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(super) struct FitArgs {
    /// FITS images (`file.fits[1]` or `file.fits[SCI]` chooses an extension), stacks of cutouts
    /// (`.npy`), or patterns such as 'night/*.fits'.
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Catalogue to write, several times for several: .db or .sqlite (appended to), .csv
    /// (replaced), - for CSV on stdout.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "starfit.db",
        help_heading = "Output"
    )]
    output: Vec<PathBuf>,
    /// Magnitude of a flux of 1: fills the columns mag and mag_err.
    #[arg(long, value_name = "MAG", value_parser = finite, help_heading = "Output")]
    zero_point: Option<f64>,
    /// Count pixels from 1, as FITS and SExtractor do, in --stars and in the catalogue.
    #[arg(long, help_heading = "Output")]
    fits_pixels: bool,

    /// The inputs are cubes of ready cutouts, not images.
    #[arg(long, help_heading = "Input")]
    cutouts: bool,
    /// Plane of a cube, from 0; by default all, one after the other.
    #[arg(long, value_name = "N", help_heading = "Input")]
    plane: Option<usize>,
    /// Fit the stars listed here instead of detecting them: CSV, ECSV or a SExtractor list with
    /// x and y.
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    stars: Option<PathBuf>,
    /// Electrons for each unit of the image; by default the header's GAIN, if plausible.
    #[arg(long, value_name = "E/ADU", value_parser = positive, help_heading = "Input")]
    gain: Option<f64>,
    /// Read noise in electrons, of ready cutouts; in images the noise is measured.
    #[arg(long, value_name = "E", value_parser = not_negative, help_heading = "Input")]
    read_noise: Option<f64>,
    /// Level without light, in units of the image, of ready cutouts; in images the sky is measured.
    #[arg(long, value_name = "LEVEL", default_value_t = 0.0, value_parser = finite, help_heading = "Input")]
    bias: f64,
    /// Pixels at this value and above are saturated; `inf`: none. By default the header's, else
    /// the highest value, if several pixels share it.
    #[arg(long, value_name = "LEVEL", value_parser = number, help_heading = "Input")]
    saturation: Option<f64>,

    /// Least significance of a detection, in sigma.
    #[arg(long, value_name = "SIGMA", default_value_t = 5.0, value_parser = positive, help_heading = "Detection")]
    threshold: f64,
    /// Full width of the stars at half maximum, in pixels; by default measured.
    #[arg(long, value_name = "PIXELS", value_parser = positive, help_heading = "Detection")]
    fwhm: Option<f64>,
    /// Side of the cutouts in pixels, odd; by default 15, or 4 FWHM where the stars are wider.
    #[arg(long, value_name = "N", value_parser = odd, help_heading = "Detection")]
    size: Option<usize>,

    /// Star model; `starfit models` lists them.
    #[arg(long, default_value = MODELS[0].name(), value_parser = super::parse_model, help_heading = "Fit")]
    model: &'static dyn Model,
    /// What is minimised.
    #[arg(long, default_value = Estimator::default().name(), value_parser = estimator, help_heading = "Fit")]
    estimator: Estimator,
    /// Weights of the pixels.
    #[arg(long, value_enum, default_value_t = Weights::Noise, help_heading = "Fit")]
    weights: Weights,
    /// Way to the minimum.
    #[arg(long, value_enum, default_value_t = SolverName::LevenbergMarquardt, help_heading = "Fit")]
    solver: SolverName,
    /// Most steps of Levenberg-Marquardt.
    #[arg(long, value_name = "N", default_value_t = 50, help_heading = "Fit")]
    max_iterations: u32,
    /// A fit is done when the next step would lower chi-square by less than this part of it.
    #[arg(long, value_name = "PART", default_value_t = 1e-6, value_parser = positive, help_heading = "Fit")]
    tolerance: f64,
    /// Learning rate of gradient descent.
    #[arg(long, value_name = "RATE", default_value_t = 1.0, value_parser = positive, help_heading = "Fit")]
    learning_rate: f64,
    /// Most steps of gradient descent.
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "Fit")]
    steps: u32,

    #[command(flatten, next_help_heading = "Machine")]
    backend: BackendArgs,
    /// Stars on the device at once; by default as many as fit.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Machine")]
    chunk: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Weights {
    /// Noise of the background, and of the photons where the gain is known.
    Noise,
    /// Every pixel counts the same.
    Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SolverName {
    /// Damped Newton steps: five or six do.
    LevenbergMarquardt,
    /// The blog post's: many small steps.
    GradientDescent,
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if !value.is_nan() => Ok(value),
        _ => Err("expected a number".into()),
    }
}

fn finite(text: &str) -> Result<f64, String> {
    number(text)?
        .is_finite()
        .then_some(number(text)?)
        .ok_or_else(|| "expected a finite number".into())
}

fn positive(text: &str) -> Result<f64, String> {
    let value = finite(text)?;
    (value > 0.0)
        .then_some(value)
        .ok_or_else(|| "expected a number above 0".into())
}

fn not_negative(text: &str) -> Result<f64, String> {
    let value = finite(text)?;
    (value >= 0.0)
        .then_some(value)
        .ok_or_else(|| "expected a number of 0 or more".into())
}

fn odd(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(size) if size % 2 == 1 && (3..=1023).contains(&size) => Ok(size),
        _ => Err("expected an odd number from 3 to 1023, so that a star has a middle pixel".into()),
    }
}

fn estimator(name: &str) -> Result<Estimator, String> {
    let names = || Estimator::ALL.map(Estimator::name).join(", ");
    Estimator::ALL
        .into_iter()
        .find(|estimator| estimator.name() == name)
        .ok_or_else(|| format!("expected one of {}", names()))
}

impl FitArgs {
    fn measure_options(&self) -> MeasureOptions {
        MeasureOptions {
            size: self.size,
            fwhm: self.fwhm,
            threshold: self.threshold,
            gain: self.gain,
            read_noise: self.read_noise,
            bias: self.bias,
            saturation: self.saturation,
            weighted: self.weights == Weights::Noise,
            zero_point: self.zero_point,
            one_based: self.fits_pixels,
        }
    }

    fn fitter(&self) -> Result<Fitter> {
        let solver: Box<dyn Solver> = match self.solver {
            SolverName::LevenbergMarquardt => Box::new(LevenbergMarquardt::default()),
            SolverName::GradientDescent => {
                let rates = self
                    .model
                    .parameters()
                    .iter()
                    .map(|parameter| parameter.rate);
                Box::new(GradientDescent::new(self.learning_rate, rates))
            }
        };
        let mut fitter = Fitter::new(self.model, solver, self.backend.open()?);
        fitter.estimator = self.estimator;
        fitter.tolerance = self.tolerance;
        fitter.max_iterations = match self.solver {
            SolverName::LevenbergMarquardt => self.max_iterations,
            SolverName::GradientDescent => self.steps,
        };
        fitter.chunk = self.chunk.map(|chunk| chunk as usize);
        Ok(fitter)
    }

    /// All that the numbers depend on: with the same settings an image replaces its earlier rows.
    fn settings(&self, fitter: &Fitter) -> serde_json::Value {
        let stars = self.stars.as_ref().map(|path| path.display().to_string());
        let rate = (self.solver == SolverName::GradientDescent).then_some(self.learning_rate);
        json!({
            "model": self.model.name(),
            "estimator": self.estimator.name(),
            "solver": fitter.solver.name(),
            "weights": if self.weights == Weights::Noise { "noise" } else { "unit" },
            "tolerance": fitter.tolerance,
            "max_iterations": fitter.max_iterations,
            "learning_rate": rate,
            "threshold": self.threshold,
            "fwhm": self.fwhm,
            "size": self.size,
            "gain": self.gain,
            "read_noise": self.read_noise,
            "bias": self.bias,
            "saturation": self.saturation.map(|level| level.to_string()),
            "zero_point": self.zero_point,
            "fits_pixels": self.fits_pixels,
            "cutouts": self.cutouts,
            "stars": stars,
        })
    }
}

/// The catalogues of a run.
struct Outputs {
    paths: Vec<PathBuf>,
    writers: Vec<Box<dyn CatalogWriter>>,
    /// Whether one of them could not be written.
    is_broken: bool,
}

impl Outputs {
    /// Opens every output, before the long work starts; none may be a file that is read.
    fn open<'a>(
        paths: &[PathBuf],
        read: impl Iterator<Item = &'a PathBuf>,
        run: &RunInfo,
    ) -> Result<Self> {
        let file =
            |path: &Path| FitsPath::parse(path).map_or_else(|_| path.to_owned(), |path| path.path);
        let read: Vec<PathBuf> = read
            .filter_map(|path| file(path).canonicalize().ok())
            .collect();
        let mut outputs = Self {
            paths: paths.to_vec(),
            writers: Vec::new(),
            is_broken: false,
        };
        for (index, path) in paths.iter().enumerate() {
            let name = path.display();
            let is_read = path.canonicalize().is_ok_and(|path| read.contains(&path));
            let opened = if is_read {
                Err(anyhow::anyhow!(
                    "--output {name}: is an input of this run; choose another name"
                ))
            } else if paths[..index].contains(path) {
                Err(anyhow::anyhow!("--output {name}: is given twice"))
            } else {
                catalog::create(path, run).map_err(Into::into)
            };
            match opened {
                Ok(writer) => outputs.writers.push(writer),
                Err(error) => {
                    outputs.abandon()?;
                    return Err(error);
                }
            }
        }
        Ok(outputs)
    }

    /// Writes an image to every output. One that fails is given up: a database keeps the images
    /// before, any other file is not made.
    fn write(&mut self, image: &ImageInfo, measured: &Measured) -> starfit::Result<()> {
        for index in 0..self.writers.len() {
            if let Err(error) = self.writers[index].write(image, &measured.rows) {
                self.is_broken = true;
                self.paths.remove(index);
                drop(self.writers.remove(index));
                return Err(error);
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        self.writers
            .into_iter()
            .try_for_each(|writer| Ok(writer.finish()?))
    }

    fn abandon(self) -> Result<()> {
        self.writers
            .into_iter()
            .try_for_each(|writer| Ok(writer.abandon()?))
    }
}

/// Fits every input; one that fails is named and the others are done.
pub(super) fn run(args: &FitArgs, quiet: bool) -> Result<ExitCode> {
    let start = Instant::now();
    let inputs = expand(&args.inputs);
    let read = inputs.iter().flatten().chain(&args.stars);
    let stars = args
        .stars
        .as_ref()
        .map(|path| read_stars(path, args.fits_pixels))
        .transpose()?;
    let mut fitter = args.fitter()?;
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
        options: args.measure_options(),
        stars,
        quiet,
        outputs: Outputs::open(&args.output, read, &run)?,
        bar: bar(inputs.len(), quiet),
        images: 0,
        rows: 0,
    };
    let mut failed = 0;
    for input in inputs {
        if let Err(error) = input.and_then(|input| job.input(&input, &mut fitter)) {
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
        return Ok(ExitCode::from(FAILED));
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
    stars: Option<Vec<Star>>,
    quiet: bool,
    outputs: Outputs,
    bar: ProgressBar,
    images: usize,
    rows: usize,
}

impl Job<'_> {
    /// Fits one file: an image, each plane of a cube, or a stack of cutouts.
    fn input(&mut self, path: &Path, fitter: &mut Fitter) -> Result<()> {
        if path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("npy"))
        {
            let stack = npy::read_stack(path)?;
            let (source, header) = (source(path)?, Header::default());
            return self.stack(&stack, source, header, fitter);
        }
        let file = FitsFile::open(&FitsPath::parse(path)?)?;
        if self.args.cutouts {
            let first = file.image(0)?;
            let source = Source {
                plane: None,
                ..first.source
            };
            return self.stack(&file.stack()?, source, first.header, fitter);
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
            let image = file.image(plane)?;
            let measured = measure_image(&image, self.stars.as_deref(), &self.options, fitter)?;
            self.take(&ImageInfo::new(&image, None), &measured)?;
        }
        Ok(())
    }

    fn stack(
        &mut self,
        stack: &ndarray::Array3<f64>,
        source: Source,
        header: Header,
        fitter: &mut Fitter,
    ) -> Result<()> {
        let name = source
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for (option, given) in [
            ("--stars", self.args.stars.is_some()),
            ("--plane", self.args.plane.is_some()),
            ("--size", self.args.size.is_some()),
        ] {
            if given {
                bail!("{name}: {option} is for images, and these are ready cutouts");
            }
        }
        let measured = measure_stack(&name, stack, &header, &self.options, fitter)?;
        let (_, height, width) = stack.dim();
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
