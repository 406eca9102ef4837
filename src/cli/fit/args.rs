//! The options of `starfit fit`.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::json;
use starfit::estimator::Estimator;
use starfit::fitter::Fitter;
use starfit::measure::MeasureOptions;
use starfit::model::{MODELS, Model};
use starfit::solver::{GradientDescent, LevenbergMarquardt, Solver};

use crate::cli::backend::BackendArgs;

/// Options of `starfit fit`.
#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub(crate) struct FitArgs {
    /// FITS images (`file.fits[1]` or `file.fits[SCI]` chooses an extension), stacks of cutouts
    /// (`.npy`), or patterns such as 'night/*.fits'.
    #[arg(required = true, value_name = "INPUT")]
    pub(super) inputs: Vec<PathBuf>,
    /// Catalogue to write, several times for several: .db or .sqlite (appended to), .csv
    /// (replaced), - for CSV on stdout.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "starfit.db",
        help_heading = "Output"
    )]
    pub(super) output: Vec<PathBuf>,
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
    /// Fit the stars listed here instead of detecting them: CSV, ECSV or a SExtractor list with
    /// x and y.
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(super) stars: Option<PathBuf>,
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
    pub(super) size: Option<usize>,

    /// Star model; `starfit models` lists them.
    #[arg(long, default_value = MODELS[0].name(), value_parser = crate::cli::parse_model, help_heading = "Fit")]
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
pub(super) enum Weights {
    /// Noise of the background, and of the photons where the gain is known.
    Noise,
    /// Every pixel counts the same.
    Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SolverName {
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
    pub(super) fn measure_options(&self) -> MeasureOptions {
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
            fixed: Vec::new(),
            bounds: Vec::new(),
        }
    }

    pub(super) fn fitter(&self) -> Result<Fitter> {
        let solver: Box<dyn Solver> = match self.solver {
            SolverName::LevenbergMarquardt => Box::new(LevenbergMarquardt::default()),
            SolverName::GradientDescent => Box::new(GradientDescent {
                learning_rate: self.learning_rate,
            }),
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
    pub(super) fn settings(&self, fitter: &Fitter) -> serde_json::Value {
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
