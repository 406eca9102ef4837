//! Planes beside an image, which state the noise of its pixels or bad pixels.
//!
//! Observatories write the noise of each pixel in one of three ways ([`NoisePlane`]) and bad pixels in as
//! many ([`MaskRule`]). [`judge`] compares a noise plane with the noise that the image shows.

mod bits;
mod sky;

use std::fmt;

use ndarray::{ArrayBase, DataMut, Dimension};
use rayon::prelude::*;

pub use bits::{BadPixels, BitNames, MaskRule};
pub use sky::{Claim, SkyNoise, Verdict, cutout_noise, judge};

/// Values converted by one core at a time.
const PART: usize = 1 << 14;

/// Kind of the values of a noise plane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum NoisePlane {
    /// The square of the noise of each pixel, in the square of the image's unit.
    #[default]
    Variance,
    /// The noise of each pixel, one standard deviation in the image's unit.
    Error,
    /// One over the variance; 0: the pixel is not known.
    InverseVariance,
}

impl NoisePlane {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Variance, Self::Error, Self::InverseVariance];

    /// The option of `starfit fit` that takes a plane of this kind.
    pub fn option(self) -> &'static str {
        match self {
            Self::Variance => "--variance",
            Self::Error => "--error",
            Self::InverseVariance => "--inverse-variance",
        }
    }

    /// Name of the kind in the settings of a run.
    pub fn name(self) -> &'static str {
        match self {
            Self::Variance => "variance",
            Self::Error => "error",
            Self::InverseVariance => "inverse_variance",
        }
    }

    /// The kind of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The variance by a value of the plane. A value below 0 gives a result below 0, which is no variance.
    pub fn to_variance(self, value: f64) -> f64 {
        match self {
            Self::Variance => value,
            Self::Error => value * value.abs(),
            Self::InverseVariance => value.recip(),
        }
    }

    /// The value of the plane for this variance.
    pub fn of_variance(self, variance: f64) -> f64 {
        match self {
            Self::Variance => variance,
            Self::Error => variance.abs().sqrt().copysign(variance),
            Self::InverseVariance => variance.recip(),
        }
    }

    /// Turns the values of planes into variances.
    pub fn convert<S, D>(self, planes: &mut ArrayBase<S, D>)
    where
        S: DataMut<Elem = f64>,
        D: Dimension,
    {
        if self == Self::Variance {
            return;
        }
        let convert = |values: &mut [f64]| {
            for value in values {
                *value = self.to_variance(*value);
            }
        };
        match planes.as_slice_memory_order_mut() {
            Some(values) => values.par_chunks_mut(PART).for_each(convert),
            None => planes.mapv_inplace(|value| self.to_variance(value)),
        }
    }

    /// Kind of the values in an extension of that name, by the habits of observatories and pipelines:
    /// `ERR` of HST and JWST, `STAT` of MUSE, `VARIANCE` of Rubin, `IVAR` of SDSS and DESI, `UNCERT` of
    /// astropy. Weights (`WHT`) are taken for inverse variances.
    pub fn of_extension(name: &str) -> Option<Self> {
        const NAMES: [(NoisePlane, &[&str]); 3] = [
            (
                NoisePlane::Error,
                &[
                    "ERR", "ERROR", "ERRORS", "ERRS", "RMS", "SIGMA", "UNCERT", "UNC", "STD",
                    "STDDEV",
                ],
            ),
            (NoisePlane::Variance, &["VAR", "VARIANCE", "STAT"]),
            (
                NoisePlane::InverseVariance,
                &["IVAR", "INVVAR", "IVM", "WHT", "WGT", "WEIGHT"],
            ),
        ];
        let is_name = |known: &&str| name.trim().eq_ignore_ascii_case(known);
        let found = NAMES.iter().find(|(_, names)| names.iter().any(is_name));
        found.map(|(kind, _)| *kind)
    }

    /// Kind of the values by astropy's `UTYPE` card of an uncertainty.
    pub fn of_utype(utype: &str) -> Option<Self> {
        match utype.trim() {
            "StdDevUncertainty" => Some(Self::Error),
            "VarianceUncertainty" => Some(Self::Variance),
            "InverseVariance" => Some(Self::InverseVariance),
            _ => None,
        }
    }
}

impl fmt::Display for NoisePlane {
    /// Writes the kind in words, in the plural.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Variance => "variances",
            Self::Error => "standard deviations",
            Self::InverseVariance => "inverse variances",
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn each_kind_says_the_same_variance() {
        for (kind, value) in [
            (NoisePlane::Variance, 9.0),
            (NoisePlane::Error, 3.0),
            (NoisePlane::InverseVariance, 1.0 / 9.0),
        ] {
            assert!((kind.to_variance(value) - 9.0).abs() < 1e-12);
            assert!((kind.of_variance(9.0) - value).abs() < 1e-12);
            assert!(kind.to_variance(-value) < 0.0, "below 0 stays below 0");
            assert_eq!(NoisePlane::by_name(kind.name()), Some(kind));
        }
        assert_ne!(NoisePlane::Error.to_variance(9.0), 9.0);
        assert_eq!(NoisePlane::InverseVariance.to_variance(0.0), f64::INFINITY);
    }

    #[test]
    fn planes_are_converted_in_any_order_of_memory() {
        let plane = array![[1.0, 2.0], [3.0, f64::NAN]];
        let mut whole = plane.clone();
        NoisePlane::Error.convert(&mut whole);
        assert_eq!((whole[[0, 1]], whole[[1, 0]]), (4.0, 9.0));
        assert!(whole[[1, 1]].is_nan());
        let mut wide = Array2::from_elem((2, 4), 2.0);
        NoisePlane::Error.convert(&mut wide.slice_mut(ndarray::s![.., ..;2]));
        assert_eq!((wide[[1, 2]], wide[[1, 1]]), (4.0, 2.0));
    }

    #[test]
    fn extensions_are_known_by_name() {
        for (name, kind) in [
            ("ERR", Some(NoisePlane::Error)),
            ("uncert", Some(NoisePlane::Error)),
            (" VARIANCE", Some(NoisePlane::Variance)),
            ("IVAR", Some(NoisePlane::InverseVariance)),
            ("VAR_POISSON", None),
            ("SCI", None),
        ] {
            assert_eq!(NoisePlane::of_extension(name), kind, "{name}");
        }
    }
}
