//! What a run was asked for, as far as pixels, models and residuals depend on it.

use std::path::PathBuf;

use serde_json::Value;

use crate::estimator::Estimator;
use crate::image::Source;
use crate::io::fits::{FitsPath, HduName};
use crate::model::{self, Model};
use crate::mosaic::{Bayer, Channel};
use crate::planes::{MaskRule, NoisePlane};

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
    /// Where bad pixels are, and by which values.
    pub mask: Option<(PlaneFile, MaskRule)>,
    /// Noise of each pixel, and how it is said.
    pub noise: Option<(PlaneFile, NoisePlane)>,
    /// The colour filters of the pixels.
    pub bayer: Bayer,
    /// The colours that were fitted.
    pub channel: Channel,
}

/// A file that says something of each pixel, and what it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneFile {
    /// File and HDU; without a path it is the file of the image.
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
            mask: PlaneFile::from_json(&settings["mask"])
                .map(|file| (file, MaskRule::from_json(&settings["mask"]))),
            noise: PlaneFile::from_json(&settings["variance"]).map(|file| {
                let kind = settings["variance"]["kind"].as_str();
                (file, kind.and_then(NoisePlane::by_name).unwrap_or_default())
            }),
            // Older versions took all pixels as alike.
            bayer: text("bayer").map_or(Bayer::None, |text| text.parse().unwrap_or_default()),
            channel: text("channel").map_or(Channel::All, |text| text.parse().unwrap_or_default()),
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

    /// Whether it is the file of the image itself, and the extension in it.
    pub fn own_extension(&self) -> Option<&HduName> {
        let is_own = self.path.path.as_os_str().is_empty();
        self.path.hdu.as_ref().filter(|_| is_own)
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

    use crate::report::stars::settings::*;

    #[test]
    fn what_a_run_wrote_is_understood() {
        let settings = FitSettings::from_json(&json!({
            "model": "moffat", "estimator": "poisson", "weights": "unit", "fits_pixels": true,
            "bias": 100.5, "mask": {"path": "/a/mask.fits", "bytes": 7, "modified": -3, "hdu": ["DQ", 2], "bits": 5},
            "variance": {"path": "v.npy", "bytes": 8, "modified": 9, "hdu": null},
        }));
        assert_eq!(settings.model.map(Model::name), Some("moffat"));
        assert_eq!(settings.estimator, Estimator::Poisson);
        assert!(!settings.weighted && settings.one_based && !settings.cutouts);
        assert_eq!((settings.bias, settings.first_pixel()), (100.5, 1.0));
        let (mask, rule) = settings.mask.unwrap();
        assert_eq!(rule, MaskRule::Bits(5));
        assert_eq!(mask.own_extension(), None);
        assert_eq!(mask.path.hdu, Some(HduName::Name("DQ".into(), Some(2))));
        assert_eq!((mask.bytes, mask.modified), (7, -3));
        let (noise, kind) = settings.noise.unwrap();
        assert_eq!((noise.path.hdu, kind), (None, NoisePlane::Variance));
    }

    #[test]
    fn planes_in_the_file_of_the_image_are_understood() {
        let settings = FitSettings::from_json(&json!({
            "mask": {"path": null, "hdu": ["DQ", null], "bits": ["DO_NOT_USE"]},
            "variance": {"path": null, "hdu": 2, "kind": "error"},
        }));
        let (mask, rule) = settings.mask.unwrap();
        assert_eq!(rule, MaskRule::Named(vec!["DO_NOT_USE".into()]));
        assert_eq!(
            mask.own_extension(),
            Some(&HduName::Name("DQ".into(), None))
        );
        let (noise, kind) = settings.noise.unwrap();
        assert_eq!(noise.own_extension(), Some(&HduName::Number(2)));
        assert_eq!(kind, NoisePlane::Error);
    }

    #[test]
    fn anything_else_is_the_default() {
        for json in [
            json!(null),
            json!([1]),
            json!({"model": 3, "mask": "x", "bias": "y", "weights": {}}),
            json!({"mask": {"path": "x", "hdu": [1]}}),
            json!({"mask": {"path": null, "hdu": null}}),
        ] {
            let settings = FitSettings::from_json(&json);
            assert!(settings.model.is_none() && settings.mask.is_none() && settings.weighted);
            assert_eq!(settings.bias, 0.0);
        }
    }
}
