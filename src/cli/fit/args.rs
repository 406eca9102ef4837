//! The options of `starfit fit`.

mod companions;

use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use starfit::backend::Backend;
use starfit::catalog::CatalogFormat;
use starfit::estimator::Estimator;
use starfit::measure::MeasureOptions;
use starfit::model::{MODELS, Model, TYPICAL_BETA};
use starfit::mosaic::{Bayer, Channel};
use starfit::planes::MaskRule;
use starfit::settings::{Companion, Settings, SolverSettings};
use starfit::star::Positions;

use crate::cli::backend::BackendArgs;
use companions::contradiction;

/// Options of `starfit fit`.
#[derive(Debug, Args)]
#[command(
    allow_negative_numbers = true,
    after_long_help = "\
Examples:
  starfit fit m13.fits
  starfit fit night -o night.db --resume
  starfit fit m13.fits --model moffat --bound beta=2:6 -o m13.csv -o m13.reg
  starfit fit m13.fits --stars list.csv --fix x --fix y -o forced.csv
  starfit fit other.fits --stars m13.fits[STARS] --positions sky -o other.csv
  starfit fit stack.npy --gain 1.5 --read-noise 5 -o - > stack.csv
  starfit fit m13.fits --gain 1.5 --print-config > starfit.toml
  starfit fit --config starfit.toml --threshold 8"
)]
pub(crate) struct FitArgs {
    /// FITS images (`file.fits[1]` or `file.fits[SCI]` chooses an extension), stacks of cutouts
    /// (`.npy`), patterns such as 'night/*.fits', or folders, whose FITS files are taken.
    #[arg(required = true, value_name = "INPUT")]
    pub(super) inputs: Vec<PathBuf>,
    /// Catalogue to write, several times for several: .db or .sqlite (appended to), .csv, .ecsv,
    /// .fits, .parquet, .vot, .xml, .reg for SAOImage DS9 (replaced), - for CSV on stdout.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "starfit.db",
        help_heading = "Output"
    )]
    pub(super) output: Vec<PathBuf>,
    /// Leave out the images that the database has already, with these settings and from files of
    /// the same size and modification time: goes on where a run was stopped.
    #[arg(long, help_heading = "Output")]
    pub(super) resume: bool,
    /// Magnitude of a flux of 1: fills the columns mag and mag_err.
    #[arg(long, value_name = "MAG", value_parser = finite, help_heading = "Output")]
    zero_point: Option<f64>,
    /// Count pixels from 1, as FITS and SExtractor do, in --stars and in the catalogue.
    #[arg(long, help_heading = "Output")]
    pub(super) fits_pixels: bool,

    /// The inputs are cubes of ready cutouts, not images.
    #[arg(long, help_heading = "Input")]
    pub(super) cutouts: bool,
    /// Plane of a cube, from 0; by default all, one after the other.
    #[arg(long, value_name = "N", help_heading = "Input")]
    pub(super) plane: Option<usize>,
    /// Fit the stars listed here instead of detecting them; of ready cutouts, one row for each.
    /// CSV, ECSV, columns between blanks, SExtractor's lists, a FITS table (`file.fits[EXT]`),
    /// VOTable, Parquet or DS9 regions, with x and y, or with ra and dec (ICRS, degrees) where the
    /// image has a WCS; a column name or id names the stars, further columns named as those of the
    /// catalogue are start values, NAME_min and NAME_max bounds of that star.
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(super) stars: Option<PathBuf>,
    /// Which positions of --stars count where it has x, y and ra, dec; by default the pixels, unless
    /// the image's WCS puts ra and dec elsewhere, as those of another image.
    #[arg(long, value_enum, value_name = "WHICH", help_heading = "Input")]
    positions: Option<PositionsName>,
    /// Pixels that are not 0 here, or NaN, are bad and left out of everything: FITS (`file[EXT]`,
    /// or `[EXT]` alone for that extension of each input) or .npy of the input's shape, or one
    /// plane for all planes or cutouts.
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(super) mask: Option<PathBuf>,
    /// Which bits of --mask are bad: their sum, 5 or 0x5, or names with commas between them, those of the
    /// mask's header (MP_..., Rubin) or of JWST: DO_NOT_USE,SATURATED. By default all are.
    #[arg(long, value_name = "BITS|NAMES", help_heading = "Input")]
    pub(super) mask_bits: Option<MaskRule>,
    /// Pixels that are not 0 in --mask are the good ones.
    #[arg(long, help_heading = "Input")]
    pub(super) mask_good: bool,
    /// Total variance of each pixel, for the weights; shaped as --mask. 0, NaN and inf: the pixel
    /// is left out.
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(super) variance: Option<PathBuf>,
    /// Total noise of each pixel, one standard deviation, in the place of --variance.
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(super) error: Option<PathBuf>,
    /// One over the variance of each pixel, in the place of --variance.
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(super) inverse_variance: Option<PathBuf>,
    /// Electrons for each unit of the image; by default the header's GAIN, if plausible.
    #[arg(long, value_name = "E/ADU", value_parser = positive, help_heading = "Input")]
    gain: Option<f64>,
    /// Read noise in electrons, by default the header's: for ready cutouts, and with
    /// --estimator poisson. Else the noise of images is measured.
    #[arg(long, value_name = "E", value_parser = not_negative, help_heading = "Input")]
    read_noise: Option<f64>,
    /// Level without light, in units of the image, where a raw frame starts to count: for ready
    /// cutouts, and with --estimator poisson. Else the sky of images is measured.
    #[arg(long, value_name = "LEVEL", default_value_t = 0.0, value_parser = finite, help_heading = "Input")]
    bias: f64,
    /// Pixels at this value and above are saturated; `inf`: none. By default the header's, else
    /// the highest value, if several pixels share it.
    #[arg(long, value_name = "LEVEL", value_parser = number, help_heading = "Input")]
    saturation: Option<f64>,
    /// Colour filters of a Bayer mosaic, rows in the order in which they are stored: RGGB, BGGR, GRBG,
    /// GBRG, or none; auto: those of the header (BAYERPAT, XBAYROFF, YBAYROFF, ROWORDER), or that
    /// the sky shows.
    #[arg(long, value_name = "PATTERN", default_value_t = Bayer::Auto, help_heading = "Input")]
    pub(super) bayer: Bayer,
    /// Colours of a mosaic that are fitted: all, or red, green or blue, with no weight for the
    /// others.
    #[arg(long, value_name = "COLOUR", default_value_t = Channel::All, help_heading = "Input")]
    pub(super) channel: Channel,

    /// Least significance of a detection, in sigma.
    #[arg(long, value_name = "SIGMA", default_value_t = 5.0, value_parser = positive, help_heading = "Detection")]
    threshold: f64,
    /// Full width of the stars at half maximum, in pixels; by default measured.
    #[arg(long, value_name = "PIXELS", value_parser = positive, help_heading = "Detection")]
    fwhm: Option<f64>,
    /// Side of the cutouts in pixels, odd; by default 15, or 4 FWHM where the stars are wider.
    #[arg(long, value_name = "N", value_parser = odd, help_heading = "Detection")]
    pub(super) size: Option<usize>,

    /// Star model; `starfit models` lists them.
    #[arg(long, value_name = "NAME", default_value = MODELS[0].name(), value_parser = crate::cli::parse_model, help_heading = "Fit")]
    pub(super) model: &'static dyn Model,
    /// What is minimised: least-squares, or poisson, the maximum likelihood of counts, for frames
    /// whose gain and bias level are known.
    #[arg(long, value_name = "NAME", default_value = Estimator::default().name(), value_parser = super::super::parse_estimator, help_heading = "Fit")]
    pub(super) estimator: Estimator,
    /// Weights of the pixels in least squares.
    #[arg(long, value_enum, default_value_t = Weights::Noise, help_heading = "Fit")]
    pub(super) weights: Weights,
    /// Hold a parameter at a value, or at each star's start value: `--fix x --fix y` with --stars
    /// is forced photometry. Several times for several; `starfit models` lists the names.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = fixed, help_heading = "Fit")]
    fix: Vec<(String, Option<f64>)>,
    /// Keep a parameter between two values, either of which may be left out: fwhm=2:4, beta=1.5:.
    /// Several times for several.
    #[arg(long, value_name = "NAME=LO:HI", value_parser = bound, help_heading = "Fit")]
    bound: Vec<(String, f64, f64)>,
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
pub(super) enum Weights {
    /// Noise of the background, and of the photons where the gain is known; or --variance.
    Noise,
    /// Every pixel counts the same.
    Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PositionsName {
    /// The columns ra and dec.
    Sky,
    /// The columns x and y.
    Pixels,
}

impl PositionsName {
    fn positions(self) -> Positions {
        match self {
            Self::Sky => Positions::Sky,
            Self::Pixels => Positions::Pixels,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SolverName {
    /// Damped Newton steps: five or six do.
    LevenbergMarquardt,
    /// The blog post's: many small steps.
    GradientDescent,
}

pub(crate) fn number(text: &str) -> Result<f64, String> {
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

pub(crate) fn positive(text: &str) -> Result<f64, String> {
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

pub(crate) fn odd(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(size) if size % 2 == 1 && (3..=1023).contains(&size) => Ok(size),
        _ => Err("expected an odd number from 3 to 1023, so that a star has a middle pixel".into()),
    }
}

/// A name of --fix or --bound, in small letters, and what follows it.
fn named<'a>(text: &'a str, example: &str) -> Result<(String, Option<&'a str>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (text.trim(), None),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(format!(
            "expected the name of a parameter first, as in {example}"
        ));
    }
    Ok((name.to_lowercase(), value))
}

fn fixed(text: &str) -> Result<(String, Option<f64>), String> {
    let (name, value) = named(text, "fwhm=2.5")?;
    let wrong =
        |_| format!("expected a finite number after the =, as in {name}=2.5, or {name} alone");
    let value = value.map(finite).transpose().map_err(wrong)?;
    Ok((name, value))
}

fn bound(text: &str) -> Result<(String, f64, f64), String> {
    let (name, range) = named(text, "fwhm=2:4")?;
    let wrong =
        || format!("expected two numbers LO:HI, either of which may be left out, as in {name}=2:4");
    let (low, high) = range
        .and_then(|range| range.split_once(':'))
        .ok_or_else(wrong)?;
    let end = |text: &str, none: f64| match text.trim() {
        "" => Ok(none),
        text => number(text).map_err(|_| wrong()),
    };
    let (low, high) = (end(low, f64::NEG_INFINITY)?, end(high, f64::INFINITY)?);
    if low > high || low == f64::INFINITY || high == f64::NEG_INFINITY {
        return Err(format!(
            "expected LO:HI with LO not above HI, as in {name}=2:4"
        ));
    }
    Ok((name, low, high))
}

impl FitArgs {
    /// Refuses options that contradict each other.
    pub(super) fn check(&self) -> Result<()> {
        let is_unit = self.weights == Weights::Unit;
        if self.estimator == Estimator::Poisson && is_unit {
            return Err(contradiction(
                "--weights unit",
                "--estimator least-squares",
                "poisson, whose variances are the counts themselves",
                "leave out one of both",
            ));
        }
        let (noise, kind) = self.noise();
        if self.estimator == Estimator::Poisson && noise.is_some() {
            return Err(contradiction(
                kind.option(),
                "--estimator least-squares",
                "poisson, whose variances are the counts themselves",
                "leave out one of both; --mask takes bad pixels out of either",
            ));
        }
        if noise.is_some() && is_unit {
            return Err(contradiction(
                kind.option(),
                "--weights noise",
                "unit, with which every pixel counts the same",
                "leave out one of both; --mask takes bad pixels out of either",
            ));
        }
        self.check_planes()?;
        let is_new = |path: &&PathBuf| {
            CatalogFormat::from_path(path).is_ok_and(|format| format != CatalogFormat::Sqlite)
        };
        if let Some(output) = self.output.iter().find(is_new).filter(|_| self.resume) {
            return Err(contradiction(
                "--resume",
                "databases alone as outputs, .db or .sqlite",
                &format!("{}, which is written anew", output.display()),
                "`starfit query DB -o FILE` makes such a file of a database",
            ));
        }
        Ok(())
    }

    /// Hint for light curves where each star has wings of its own; `typical` is the median exponent of
    /// the wings.
    pub(super) fn of_wings(&self, typical: Option<f64>) -> Option<String> {
        let column = "beta";
        let is_free = self.model.columns().iter().any(|own| own.name == column)
            && !self.fix.iter().any(|(fixed, _)| fixed == column);
        let beta = typical.unwrap_or(TYPICAL_BETA);
        is_free.then(|| {
            format!(
                "hint: for light curves take --model gaussian, or hold {column} for all images, \
                 --fix {column}={beta:.1}: where {column} is free, fluxes scatter about twice as much"
            )
        })
    }

    /// Whether rows appear where bars would be.
    pub(super) fn writes_to_terminal(&self) -> bool {
        self.output.iter().any(|path| path == Path::new("-")) && stdout().is_terminal()
    }

    /// Everything that the numbers depend on, with the files beside the inputs as they are now: to be
    /// called before these are read.
    pub(super) fn settings(&self) -> Result<Settings> {
        let companion = |path: &PathBuf| Companion::of(path);
        let (noise, kind) = self.noise();
        let mask = self.mask.as_ref().map(companion).transpose()?;
        let noise = noise.as_ref().map(companion).transpose()?;
        Ok(Settings {
            model: Some(self.model),
            estimator: self.estimator,
            solver: match self.solver {
                SolverName::LevenbergMarquardt => SolverSettings::LevenbergMarquardt {
                    max_iterations: self.max_iterations,
                },
                SolverName::GradientDescent => SolverSettings::GradientDescent {
                    learning_rate: self.learning_rate,
                    max_iterations: self.steps,
                },
            },
            tolerance: self.tolerance,
            measure: MeasureOptions {
                size: self.size,
                fwhm: self.fwhm,
                threshold: self.threshold,
                gain: self.gain,
                read_noise: self.read_noise,
                bias: self.bias,
                saturation: self.saturation,
                weighted: self.weights == Weights::Noise,
                zero_point: self.zero_point,
                positions: self.positions.map(PositionsName::positions),
                one_based: self.fits_pixels,
                fixed: self.fix.clone(),
                bounds: self.bound.clone(),
                bayer: self.bayer,
                channel: self.channel,
            },
            cutouts: self.cutouts,
            stars: self.stars.as_ref().map(companion).transpose()?,
            mask: mask.map(|mask| (mask, self.mask_rule().clone())),
            noise: noise.map(|noise| (noise, kind)),
        })
    }

    /// The backend, and why it is this one.
    pub(super) fn backend(&self) -> Result<(Box<dyn Backend>, &'static str)> {
        self.backend.open()
    }

    /// Stars on the device at once.
    pub(super) fn chunk(&self) -> Option<usize> {
        self.chunk.map(|chunk| chunk as usize)
    }

    /// Refuses what makes no sense with ready cutouts.
    pub(super) fn check_stack(&self, name: &str) -> Result<()> {
        for (option, given) in [
            ("--plane", self.plane.is_some()),
            ("--size", self.size.is_some()),
        ] {
            if given {
                bail!("{name}: {option} is for images, and these are ready cutouts");
            }
        }
        let is_region =
            |path: &PathBuf| matches!(CatalogFormat::from_path(path), Ok(CatalogFormat::Region));
        if self.output.iter().any(is_region) {
            bail!("{name}: .reg files are for images, and these are ready cutouts");
        }
        Ok(())
    }
}
