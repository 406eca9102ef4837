//! What a run was asked for, as far as pixels, models and residuals depend on it.

use std::path::PathBuf;

use serde_json::Value;

use crate::estimator::Estimator;
use crate::image::Source;
use crate::io::fits::{FitsPath, HduName};
use crate::model::{self, Model};
use crate::mosaic::{Bayer, Channel};

/// The settings of a run that say what its numbers mean.
#[derive(Debug, Clone)]
pub struct FitSettings {
    /// The model; `None` where this version does not know it.
    pub model: Option<&'static dyn Model>,
    /// What was minimised.
    pub estimator: Estimator,
    /// Whether pixels were weighted by their noise.
    pub weighted: bool,
    /// Whether the positions in the catalogue count from 1.
    pub one_based: bool,
    /// Whether FITS cubes were taken as stacks of cutouts.
    pub cutouts: bool,
    /// Level without light, units of the image.
    pub bias: f64,
    /// Electrons; `None`: the header's, where it can be one.
    pub read_noise: Option<f64>,
    /// The colour filters of the pixels.
    pub bayer: Bayer,
    /// The colours that were fitted.
    pub channel: Channel,
    /// Where bad pixels are not 0.
    pub mask: Option<PlaneFile>,
    /// Variance of each pixel.
    pub variance: Option<PlaneFile>,
}

/// A file that says something of each pixel, and what it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneFile {
    /// File and HDU.
    pub path: FitsPath,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// Modification time, seconds since 1970.
    pub modified: i64,
}

impl Default for FitSettings {
    fn default() -> Self {
        Self::from_json(&Value::Null)
    }
}

impl FitSettings {
    /// Those that a catalogue has as JSON. What is missing there, or of another kind, is as by
    /// default.
    pub fn from_json(settings: &Value) -> Self {
        let text = |name: &str| settings[name].as_str();
        let flag = |name: &str| settings[name].as_bool().unwrap_or(false);
        let estimator = text("estimator").and_then(|name| {
            let mut all = Estimator::ALL.into_iter();
            all.find(|estimator| estimator.name() == name)
        });
        Self {
            model: text("model").and_then(model::by_name),
            estimator: estimator.unwrap_or_default(),
            weighted: text("weights") != Some("unit"),
            one_based: flag("fits_pixels"),
            cutouts: flag("cutouts"),
            bias: settings["bias"].as_f64().unwrap_or(0.0),
            read_noise: settings["read_noise"].as_f64(),
            // Older versions took all pixels as alike.
            bayer: text("bayer").map_or(Bayer::None, |text| text.parse().unwrap_or_default()),
            channel: text("channel").map_or(Channel::All, |text| text.parse().unwrap_or_default()),
            mask: PlaneFile::from_json(&settings["mask"]),
            variance: PlaneFile::from_json(&settings["variance"]),
        }
    }

    /// Subtracted from a position of the catalogue gives one that counts from 0.
    pub fn first_pixel(&self) -> f64 {
        f64::from(u8::from(self.one_based))
    }
}

impl PlaneFile {
    fn from_json(file: &Value) -> Option<Self> {
        let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
        let hdu = match &file["hdu"] {
            Value::Array(name) => Some(HduName::Name(
                name.first()?.as_str()?.to_owned(),
                name.get(1).and_then(Value::as_i64),
            )),
            hdu => number(hdu).map(HduName::Number),
        };
        Some(Self {
            path: FitsPath {
                path: PathBuf::from(file["path"].as_str()?),
                hdu,
            },
            bytes: file["bytes"].as_u64()?,
            modified: file["modified"].as_i64()?,
        })
    }

    /// What the catalogue knows the file by.
    pub fn source(&self) -> Source {
        Source {
            path: self.path.path.clone(),
            bytes: self.bytes,
            modified: self.modified,
            ..Source::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_run_wrote_is_understood() {
        let settings = FitSettings::from_json(&json!({
            "model": "moffat", "estimator": "poisson", "weights": "unit", "fits_pixels": true,
            "bias": 100.5, "mask": {"path": "/a/mask.fits", "bytes": 7, "modified": -3, "hdu": ["DQ", 2]},
            "variance": {"path": "v.npy", "bytes": 8, "modified": 9, "hdu": null},
        }));
        assert_eq!(settings.model.map(Model::name), Some("moffat"));
        assert_eq!(settings.estimator, Estimator::Poisson);
        assert!(!settings.weighted && settings.one_based && !settings.cutouts);
        assert_eq!((settings.bias, settings.first_pixel()), (100.5, 1.0));
        let mask = settings.mask.unwrap();
        assert_eq!(mask.path.hdu, Some(HduName::Name("DQ".into(), Some(2))));
        assert_eq!((mask.bytes, mask.modified), (7, -3));
        assert_eq!(settings.variance.unwrap().path.hdu, None);
    }

    #[test]
    fn anything_else_is_the_default() {
        for json in [
            json!(null),
            json!([1]),
            json!({"model": 3, "mask": "x", "bias": "y", "weights": {}}),
            json!({"mask": {"path": "x", "hdu": [1]}}),
        ] {
            let settings = FitSettings::from_json(&json);
            assert!(settings.model.is_none() && settings.mask.is_none() && settings.weighted);
            assert_eq!(settings.bias, 0.0);
        }
    }
}
