//! The files beside the inputs: what is asked of them, and what they are known again by.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use starfit::Error;
use starfit::estimator::Estimator;
use starfit::image::Source;
use starfit::io::fits::{FitsPath, HduName};
use starfit::planes::{MaskRule, NoisePlane};

use super::{FitArgs, Weights};
use crate::cli::fit::planes::{PlanePath, PlanePaths};

/// What tells the files beside the inputs from others, and from what they were before.
pub(in crate::cli::fit) struct Companions {
    pub(in crate::cli::fit) stars: Option<Value>,
    pub(in crate::cli::fit) mask: Option<Value>,
    /// Of the noise of each pixel, whichever way it is said.
    pub(in crate::cli::fit) variance: Option<Value>,
}

fn list(path: &Path) -> starfit::Result<Value> {
    let source = Source::of_file(path)?;
    Ok(json!({
        "path": source.absolute_path(),
        "bytes": source.bytes,
        "modified": source.modified,
    }))
}

fn planes(path: &Path) -> starfit::Result<Value> {
    let (mut planes, hdu) = match PlanePath::parse(path)? {
        PlanePath::File(FitsPath { path, hdu }) => (list(&path)?, hdu),
        // The file is the image's, which is asked for its size and time itself.
        PlanePath::Own(hdu) => (json!({"path": null}), Some(hdu)),
    };
    planes["hdu"] = match hdu {
        None => Value::Null,
        Some(HduName::Number(number)) => number.into(),
        Some(HduName::Name(name, version)) => json!([name, version]),
    };
    Ok(planes)
}

/// Adds what the values of planes mean, where that is not what it always was.
fn meaning(mut planes: Value, meaning: Option<(&str, Value)>) -> Value {
    if let Some((name, value)) = meaning {
        planes[name] = value;
    }
    planes
}

/// Options that contradict each other.
pub(in crate::cli::fit) fn contradiction(
    option: &str,
    expected: &str,
    found: &str,
    hint: &str,
) -> anyhow::Error {
    Error::Option {
        option: option.into(),
        expected: expected.into(),
        found: found.into(),
        hint: Some(hint.into()),
    }
    .into()
}

impl FitArgs {
    /// The file that says the noise of each pixel, and how.
    pub(in crate::cli::fit) fn noise(&self) -> (&Option<PathBuf>, NoisePlane) {
        let all = [
            (&self.variance, NoisePlane::Variance),
            (&self.error, NoisePlane::Error),
            (&self.inverse_variance, NoisePlane::InverseVariance),
        ];
        let given = all.into_iter().find(|(path, _)| path.is_some());
        given.unwrap_or((&self.variance, NoisePlane::Variance))
    }

    /// Whether the noise of each pixel would be of use.
    pub(in crate::cli::fit) fn takes_noise(&self) -> bool {
        self.estimator == Estimator::LeastSquares && self.weights == Weights::Noise
    }

    /// Which values of the mask are bad.
    fn mask_rule(&self) -> &MaskRule {
        match &self.mask_bits {
            Some(rule) => rule,
            None if self.mask_good => &MaskRule::Zero,
            None => &MaskRule::NotZero,
        }
    }

    /// The planes beside the inputs.
    pub(in crate::cli::fit) fn planes(&self) -> PlanePaths<'_> {
        let (noise, kind) = self.noise();
        PlanePaths {
            mask: self.mask.as_deref().map(|path| (path, self.mask_rule())),
            noise: noise.as_deref().map(|path| (path, kind)),
        }
    }

    /// The files beside the inputs as they are now, which is to be asked before they are read.
    pub(in crate::cli::fit) fn companions(&self) -> Result<Companions> {
        let (noise, kind) = self.noise();
        let kind = (kind != NoisePlane::Variance).then(|| ("kind", kind.name().into()));
        let mask = self.mask.as_deref().map(planes).transpose()?;
        let noise = noise.as_deref().map(planes).transpose()?;
        Ok(Companions {
            stars: self.stars.as_deref().map(planes).transpose()?,
            mask: mask.map(|mask| meaning(mask, self.mask_rule().to_json())),
            variance: noise.map(|noise| meaning(noise, kind)),
        })
    }

    /// Refuses options of masks and noise that contradict each other.
    pub(in crate::cli::fit) fn check_planes(&self) -> Result<()> {
        let given = [&self.variance, &self.error, &self.inverse_variance];
        if given.into_iter().flatten().count() > 1 {
            return Err(contradiction(
                "--variance, --error, --inverse-variance",
                "one of them",
                "more",
                "each says the noise of every pixel: as its square, as it is, as one over its square",
            ));
        }
        if self.mask_bits.is_some() && self.mask_good {
            return Err(contradiction(
                "--mask-good",
                "a mask without --mask-bits",
                "--mask-bits, which says which bits are bad",
                "leave out one of both",
            ));
        }
        let lone = match (&self.mask_bits, self.mask_good) {
            (Some(_), _) => Some("--mask-bits"),
            (None, true) => Some("--mask-good"),
            (None, false) => None,
        };
        if let Some(option) = lone.filter(|_| self.mask.is_none()) {
            return Err(contradiction(
                option,
                "--mask, whose values it explains",
                "none",
                "--mask FILE, or --mask '[DQ]' for that extension of each input",
            ));
        }
        Ok(())
    }
}
