//! The options of masks and noise, the files beside the inputs.

use std::path::PathBuf;

use anyhow::Result;
use starfit::Error;
use starfit::planes::{MaskRule, NoisePlane};

use super::FitArgs;

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
    /// File with the noise of each pixel, and the form in which it gives the noise.
    pub(in crate::cli::fit) fn noise(&self) -> (&Option<PathBuf>, NoisePlane) {
        let all = [
            (&self.variance, NoisePlane::Variance),
            (&self.error, NoisePlane::Error),
            (&self.inverse_variance, NoisePlane::InverseVariance),
        ];
        let given = all.into_iter().find(|(path, _)| path.is_some());
        given.unwrap_or((&self.variance, NoisePlane::Variance))
    }

    /// Which values of the mask are bad.
    pub(super) fn mask_rule(&self) -> &MaskRule {
        match &self.mask_bits {
            Some(rule) => rule,
            None if self.mask_good => &MaskRule::Zero,
            None => &MaskRule::NotZero,
        }
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
