//! The settings that the numbers of a run depend on, and how a catalogue keeps them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::estimator::Estimator;
use crate::fitter::Fitter;
use crate::image::Source;
use crate::io::fits::{FitsPath, HduName};
use crate::io::stack::StackFile;
use crate::measure::MeasureOptions;
use crate::model::{self, Gaussian, Model};
use crate::mosaic::{Bayer, Channel};
use crate::planes::{MaskRule, NoisePlane};
use crate::solver::{GradientDescent, LevenbergMarquardt, Solver};
use crate::star::Positions;

/// The settings of a run. In a database a run with equal settings replaces the rows of an image, a run with
/// others adds to them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The model; `None` where this version does not know it.
    pub model: Option<&'static dyn Model>,
    /// Estimator, whose value is minimised.
    pub estimator: Estimator,
    /// The way to the minimum.
    pub solver: SolverSettings,
    /// Predicted decrease of chi-square over chi-square at which a fit is done.
    pub tolerance: f64,
    /// Options of the search for stars, their cutouts and their columns.
    pub measure: MeasureOptions,
    /// Whether FITS cubes are taken as stacks of cutouts.
    pub cutouts: bool,
    /// The list of the stars, where they are not looked for.
    pub stars: Option<Companion>,
    /// File of bad pixels, and the values that mark them.
    pub mask: Option<(Companion, MaskRule)>,
    /// File of the noise of each pixel, and the kind of its values.
    pub noise: Option<(Companion, NoisePlane)>,
}

/// A solver with its settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SolverSettings {
    /// Damped Newton steps.
    LevenbergMarquardt {
        /// Steps allowed.
        max_iterations: u32,
    },
    /// Steps down the gradient.
    GradientDescent {
        /// Length of a step over that of the first one.
        learning_rate: f64,
        /// Steps allowed.
        max_iterations: u32,
    },
}

impl Default for SolverSettings {
    fn default() -> Self {
        Self::LevenbergMarquardt { max_iterations: 50 }
    }
}

/// A file beside the images, with its size and time when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companion {
    /// File and HDU; without a path it is the file of each image.
    pub path: FitsPath,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// Modification time, seconds since 1970.
    pub modified: i64,
}

impl Default for Settings {
    /// Circular Gaussians by least squares, weighted by the noise that is found.
    fn default() -> Self {
        Self {
            model: Some(&Gaussian),
            estimator: Estimator::default(),
            solver: SolverSettings::default(),
            tolerance: 1e-6,
            measure: MeasureOptions::default(),
            cutouts: false,
            stars: None,
            mask: None,
            noise: None,
        }
    }
}

impl Settings {
    /// The settings with another model.
    #[must_use]
    pub fn with_model(mut self, model: &'static dyn Model) -> Self {
        self.model = Some(model);
        self
    }

    /// A fitter of these settings.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] where the model is not known.
    pub fn fitter(&self, backend: Box<dyn Backend>) -> Result<Fitter> {
        let model = self.model.ok_or_else(|| Error::Option {
            option: "model".into(),
            expected: "a model that this version has".into(),
            found: "another one".into(),
            hint: Some("`starfit models` lists them".into()),
        })?;
        let (solver, max_iterations): (Box<dyn Solver>, u32) = match self.solver {
            SolverSettings::LevenbergMarquardt { max_iterations } => {
                (Box::new(LevenbergMarquardt::default()), max_iterations)
            }
            SolverSettings::GradientDescent {
                learning_rate,
                max_iterations,
            } => (Box::new(GradientDescent { learning_rate }), max_iterations),
        };
        let mut fitter = Fitter::new(model, solver, backend);
        fitter.estimator = self.estimator;
        fitter.tolerance = self.tolerance;
        fitter.max_iterations = max_iterations;
        Ok(fitter)
    }

    /// JSON of the settings for a catalogue; equal for settings that make the same numbers.
    pub fn to_json(&self) -> Value {
        let measure = &self.measure;
        // JSON has no infinity, and an order of options is no difference.
        let mut fixed: Vec<_> = measure.fixed.iter().collect();
        fixed.sort_by_key(|(name, _)| name);
        let bounds = measure.bounds.iter();
        let mut bounds: Vec<_> = bounds
            .map(|(name, low, high)| (name, low.to_string(), high.to_string()))
            .collect();
        bounds.sort();
        let (solver, max_iterations, rate) = match self.solver {
            SolverSettings::LevenbergMarquardt { max_iterations } => {
                (LevenbergMarquardt::NAME, max_iterations, None)
            }
            SolverSettings::GradientDescent {
                learning_rate,
                max_iterations,
            } => (GradientDescent::NAME, max_iterations, Some(learning_rate)),
        };
        json!({
            "model": self.model.map(Model::name),
            "estimator": self.estimator.name(),
            "solver": solver,
            "weights": if measure.weighted { "noise" } else { "unit" },
            "tolerance": self.tolerance,
            "max_iterations": max_iterations,
            "learning_rate": rate,
            "threshold": measure.threshold,
            "fwhm": measure.fwhm,
            "size": measure.size,
            "gain": measure.gain,
            "read_noise": measure.read_noise,
            "bias": measure.bias,
            "saturation": measure.saturation.map(|level| level.to_string()),
            "zero_point": measure.zero_point,
            "fits_pixels": measure.one_based,
            "bayer": measure.bayer.to_string(),
            "channel": measure.channel.to_string(),
            "cutouts": self.cutouts,
            "stars": self.stars.as_ref().map(|list| list.to_json(None)),
            "positions": measure.positions.map(Positions::name),
            "mask": self.mask.as_ref().map(|(file, rule)| file.to_json(rule.to_json())),
            "variance": self.noise.as_ref().map(|(file, kind)| {
                // The kind of noise is kept only where it is no variance, as it always was in older versions.
                let kind = Some(*kind).filter(|kind| *kind != NoisePlane::Variance);
                file.to_json(kind.map(|kind| ("kind", kind.name().into())))
            }),
            "fixed": fixed,
            "bounds": bounds,
        })
    }

    /// Settings from the JSON of [`to_json`](Self::to_json), by this version or an older one. A value that is
    /// missing there, or of another kind, is the default.
    pub fn from_json(settings: &Value) -> Self {
        let default = MeasureOptions::default();
        let text = |name: &str| settings[name].as_str();
        let number = |name: &str| settings[name].as_f64();
        let flag = |name: &str| settings[name].as_bool().unwrap_or(false);
        let estimator = text("estimator").and_then(|name| {
            let mut all = Estimator::ALL.into_iter();
            all.find(|estimator| estimator.name() == name)
        });
        let steps = settings["max_iterations"].as_u64();
        let steps = steps.and_then(|steps| u32::try_from(steps).ok());
        let solver = match (text("solver"), SolverSettings::default()) {
            (Some(GradientDescent::NAME), _) => SolverSettings::GradientDescent {
                learning_rate: number("learning_rate").unwrap_or(1.0),
                max_iterations: steps.unwrap_or(1000),
            },
            (_, SolverSettings::LevenbergMarquardt { max_iterations }) => {
                SolverSettings::LevenbergMarquardt {
                    max_iterations: steps.unwrap_or(max_iterations),
                }
            }
            (_, other) => other,
        };
        let items = |name: &str| settings[name].as_array().cloned().unwrap_or_default();
        let in_text = |value: &Value| value.as_str()?.parse().ok();
        let fixed = |item: &Value| Some((item[0].as_str()?.to_owned(), item[1].as_f64()));
        let bounds = |item: &Value| {
            let name = item[0].as_str()?.to_owned();
            Some((name, in_text(&item[1])?, in_text(&item[2])?))
        };
        Self {
            model: text("model").and_then(model::by_name),
            estimator: estimator.unwrap_or_default(),
            solver,
            tolerance: number("tolerance").unwrap_or(1e-6),
            measure: MeasureOptions {
                size: settings["size"].as_u64().map(|size| size as usize),
                fwhm: number("fwhm"),
                threshold: number("threshold").unwrap_or(default.threshold),
                gain: number("gain"),
                read_noise: number("read_noise"),
                bias: number("bias").unwrap_or(default.bias),
                saturation: in_text(&settings["saturation"]),
                weighted: text("weights") != Some("unit"),
                zero_point: number("zero_point"),
                positions: text("positions").and_then(Positions::by_name),
                one_based: flag("fits_pixels"),
                fixed: items("fixed").iter().filter_map(fixed).collect(),
                bounds: items("bounds").iter().filter_map(bounds).collect(),
                // Older versions took all pixels as alike.
                bayer: text("bayer").map_or(Bayer::None, |text| text.parse().unwrap_or_default()),
                channel: text("channel")
                    .map_or(Channel::All, |text| text.parse().unwrap_or_default()),
            },
            cutouts: flag("cutouts"),
            stars: Companion::from_json(&settings["stars"]),
            mask: Companion::from_json(&settings["mask"])
                .map(|file| (file, MaskRule::from_json(&settings["mask"]))),
            noise: Companion::from_json(&settings["variance"]).map(|file| {
                let kind = settings["variance"]["kind"].as_str();
                (file, kind.and_then(NoisePlane::by_name).unwrap_or_default())
            }),
        }
    }

    /// Whether the noise of each pixel would be of use.
    pub fn takes_noise(&self) -> bool {
        self.estimator == Estimator::LeastSquares && self.measure.weighted
    }

    /// Number of the first pixel: a position of the catalogue less this number counts from 0.
    pub fn first_pixel(&self) -> f64 {
        f64::from(u8::from(self.measure.one_based))
    }
}

impl Companion {
    /// A file as it is now, with the HDU in brackets behind its name; a name in brackets alone is an
    /// extension of the file of each image.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where there is no such file, [`Error::Option`] where what is in brackets is no HDU.
    pub fn of(path: &Path) -> Result<Self> {
        let path = Self::parse(path)?;
        if path.path.as_os_str().is_empty() {
            // The file is the image's, which is asked for its size and time itself.
            return Ok(Self {
                path,
                bytes: 0,
                modified: 0,
            });
        }
        let source = Source::of_file(&path.path)?;
        Ok(Self {
            path,
            bytes: source.bytes,
            modified: source.modified,
        })
    }

    /// File and HDU of what a user wrote; the path is empty for an extension of each image's file.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] where what is in brackets is no HDU.
    pub fn parse(path: &Path) -> Result<FitsPath> {
        let own = path
            .to_str()
            .filter(|text| text.starts_with('[') && text.ends_with(']') && !path.exists());
        let Some(own) = own else {
            return FitsPath::parse(path);
        };
        // Whatever stands before the bracket is the file.
        let parsed = FitsPath::parse(format!("input{own}"))?;
        Ok(match parsed.hdu {
            None => path.to_owned().into(),
            hdu => FitsPath {
                path: PathBuf::new(),
                hdu,
            },
        })
    }

    /// The extension, where the file is that of the image itself.
    pub fn own_extension(&self) -> Option<&HduName> {
        let is_own = self.path.path.as_os_str().is_empty();
        self.path.hdu.as_ref().filter(|_| is_own)
    }

    /// The file with the HDU in brackets behind its name, as a user writes it.
    pub fn typed(&self) -> PathBuf {
        match self.path.hdu {
            None => self.path.path.clone(),
            Some(_) => self.path.to_string().into(),
        }
    }

    /// Opens the planes in the file.
    ///
    /// # Errors
    ///
    /// The errors of [`StackFile::open`].
    pub(crate) fn open_stack(&self) -> Result<StackFile> {
        match self.path.hdu {
            None => StackFile::open(&self.path.path),
            Some(_) => StackFile::open_fits(&self.path),
        }
    }

    /// Source of the file, by which the catalogue knows it.
    pub fn source(&self) -> Source {
        Source {
            path: self.path.path.clone(),
            bytes: self.bytes,
            modified: self.modified,
            ..Source::default()
        }
    }

    /// JSON of the file, with the meaning of its values where there is one to keep.
    fn to_json(&self, meaning: Option<(&str, Value)>) -> Value {
        let mut file = match self.own_extension() {
            Some(_) => json!({ "path": null }),
            None => json!({
                "path": self.source().absolute_path(),
                "bytes": self.bytes,
                "modified": self.modified,
            }),
        };
        file["hdu"] = match &self.path.hdu {
            None => Value::Null,
            Some(HduName::Number(number)) => (*number).into(),
            Some(HduName::Name(name, version)) => json!([name, version]),
        };
        if let Some((name, value)) = meaning {
            file[name] = value;
        }
        file
    }

    fn from_json(file: &Value) -> Option<Self> {
        let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
        let hdu = match &file["hdu"] {
            Value::Array(name) => Some(HduName::Name(
                name.first()?.as_str()?.to_owned(),
                name.get(1).and_then(Value::as_i64),
            )),
            hdu => number(hdu).map(HduName::Number),
        };
        if file.get("path") == Some(&Value::Null) && hdu.is_some() {
            return Some(Self {
                path: FitsPath {
                    path: PathBuf::new(),
                    hdu,
                },
                bytes: 0,
                modified: 0,
            });
        }
        Some(Self {
            path: FitsPath {
                path: PathBuf::from(file["path"].as_str()?),
                hdu,
            },
            bytes: file["bytes"].as_u64()?,
            modified: file["modified"].as_i64()?,
        })
    }
}
#[cfg(test)]
mod tests;
