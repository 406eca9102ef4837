//! A file of planes: one plane for each plane or cutout of an input, or one for all.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::io::stack::StackFile;
use crate::numbers::significant;
use crate::planes::{BadPixels, Claim, MaskRule, NoisePlane, SkyNoise, Verdict, judge};
use ndarray::{Array, Array2, Array3, ArrayView, Axis, Dimension, Zip};
use rayon::prelude::*;

/// A file of `--mask`, or of `--variance` or its like.
#[derive(Debug)]
pub(crate) struct PlanesFile {
    option: &'static str,
    path: String,
    stack: StackFile,
    meaning: Meaning,
    /// The plane that stands for all, as [`PlanesFile::block`] gives it: (1, height, width).
    one: Option<Array3<f64>>,
}

/// Meaning of the values of a file.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    Mask(BadPixels),
    Noise(NoisePlane),
}

/// Meaning of the values of a file, as the user states it.
#[derive(Debug)]
pub(crate) enum Values {
    Mask(MaskRule),
    Noise(NoisePlane),
}

impl PlanesFile {
    pub(crate) fn new(
        option: &'static str,
        path: String,
        stack: StackFile,
        values: &Values,
    ) -> Result<Self> {
        let meaning = match values {
            Values::Mask(rule) => Meaning::Mask(rule.resolve(&path, &stack.bit_names())?),
            Values::Noise(kind) => Meaning::Noise(*kind),
        };
        let mut file = Self {
            option,
            path,
            stack,
            meaning,
            one: None,
        };
        if file.planes() == 1 {
            file.one = Some(file.block(0..1)?);
        }
        Ok(file)
    }

    /// Number of planes.
    pub(crate) fn planes(&self) -> usize {
        self.stack.dim().0
    }

    /// Whether the file says which pixels are bad.
    #[cfg(feature = "report")]
    pub(crate) fn is_mask(&self) -> bool {
        matches!(self.meaning, Meaning::Mask(_))
    }

    /// Whether a pixel is left out where the plane has this value: a mask's value as it is, a noise's as a
    /// variance.
    pub(crate) fn is_bad(&self, value: f64) -> bool {
        match self.meaning {
            Meaning::Mask(bad) => bad.has(value),
            Meaning::Noise(_) => is_no_variance(value),
        }
    }

    /// The mask or the variances for plane `at` of the `planes` of the input `name`.
    pub(crate) fn plane(
        &self,
        name: &str,
        shape: (usize, usize),
        at: usize,
        planes: usize,
    ) -> Result<Array2<f64>> {
        self.check_shape(name, planes, shape)?;
        Ok(self.block(at..at + 1)?.index_axis_move(Axis(0), 0))
    }

    /// The planes of these cutouts, or the one that stands for all.
    pub(super) fn block(&self, cutouts: Range<usize>) -> Result<Array3<f64>> {
        if let Some(one) = &self.one {
            return Ok(one.clone());
        }
        let mut planes = self.stack.read(cutouts)?;
        if let Meaning::Noise(kind) = self.meaning {
            kind.convert(&mut planes);
        }
        Ok(planes)
    }

    pub(super) fn check_shape(
        &self,
        name: &str,
        planes: usize,
        shape: (usize, usize),
    ) -> Result<()> {
        let (found_planes, height, width) = self.stack.dim();
        let found = (height, width);
        if found == shape && [1, planes].contains(&found_planes) {
            return Ok(());
        }
        let text = |planes: usize, (height, width): (usize, usize)| match planes {
            1 => format!("{width} x {height} pixels"),
            _ => format!("{planes} planes of {width} x {height} pixels"),
        };
        let or_one = if planes > 1 {
            ", or one plane for all"
        } else {
            ""
        };
        let hint = if found == (shape.1, shape.0) && found != shape {
            "x and y are swapped: transpose it"
        } else if found != shape {
            "make it for these pixels; file.fits[EXT] chooses an extension of a file"
        } else {
            "give a plane for each of the input, in their order, or one for all"
        };
        Err(self.error(
            self.option.into(),
            format!("{} of {name}{or_one}", text(planes, shape)),
            text(found_planes, found),
            hint,
        ))
    }

    /// Whether single bits of a mask are asked for.
    pub(super) fn has_bits(&self) -> bool {
        matches!(self.meaning, Meaning::Mask(BadPixels::Bits(_)))
    }

    /// Refuses a mask that cannot be a sum of bits, where its bits are asked for.
    pub(super) fn check_bits<D: Dimension>(
        &self,
        name: &str,
        mask: ArrayView<'_, f64, D>,
    ) -> Result<()> {
        let Meaning::Mask(bad @ BadPixels::Bits(_)) = self.meaning else {
            return Ok(());
        };
        let is_odd = |value: &&f64| !bad.understands(**value);
        let odd = match mask.as_slice() {
            Some(values) => values.par_iter().find_first(is_odd),
            None => mask.iter().find(is_odd),
        };
        odd.map_or(Ok(()), |value| {
            Err(self.error(
                format!("--mask-bits of {name}"),
                "whole numbers, sums of bits".into(),
                value.to_string(),
                "without --mask-bits every pixel that is not 0 is bad",
            ))
        })
    }

    /// Reports how many of all pixels of an input are left out.
    pub(super) fn report(&self, name: &str, bad: usize, all: usize) {
        let (option, path) = (self.option, &self.path);
        let advice = match self.meaning {
            Meaning::Mask(BadPixels::NotZero) => {
                "in a mask 0 is good: --mask-good turns that round, --mask-bits says which bits are bad"
            }
            Meaning::Mask(BadPixels::Zero) => "with --mask-good 0 is bad",
            Meaning::Mask(BadPixels::Bits(_)) => "--mask-bits says which bits are bad",
            Meaning::Noise(_) => "they have no noise above 0",
        };
        if 2 * bad > all {
            tracing::warn!("{name}: {option} {path} leaves out {bad} of {all} pixels; {advice}");
        } else if bad > 0 {
            tracing::info!("{name}: {option} {path} leaves out {}", count(bad));
        }
    }

    /// Refuses noise below 0 of pixels that have a value, and a file without any above 0.
    pub(super) fn refuse(&self, name: &str, found: &Variances) -> Result<()> {
        let Meaning::Noise(kind) = self.meaning else {
            return Ok(());
        };
        if found.negative > 0 {
            let pixels = count(found.negative);
            let lowest = kind.of_variance(found.lowest);
            return Err(self.error(
                format!("{} of {name}", self.option),
                format!("{kind} of 0 or more"),
                match kind {
                    // The lowest value has the variance next to 0.
                    NoisePlane::InverseVariance => format!("{pixels} below 0"),
                    _ => format!("{pixels} below 0, the lowest {lowest}"),
                },
                "leave these pixels out with --mask, or set them to 0 or NaN, which means the same",
            ));
        }
        if !found.is_useful {
            return Err(self.error(
                self.option.into(),
                format!("{kind} above 0"),
                "none".into(),
                match kind {
                    NoisePlane::Variance => {
                        "--variance is the square of the noise of each pixel, not its inverse or a mask"
                    }
                    NoisePlane::Error => "--error is the noise of each pixel, one sigma",
                    NoisePlane::InverseVariance => {
                        "--inverse-variance is one over the square of the noise of each pixel"
                    }
                },
            ));
        }
        Ok(())
    }

    /// Holds the noise of the sky by the planes, one sigma, against the noise that is `seen`; returns whether
    /// they differ, with a message if so.
    ///
    /// # Errors
    ///
    /// An error where the planes are of another kind than they are given for.
    pub(super) fn judge(&self, name: &str, sigma: f64, seen: SkyNoise) -> Result<bool> {
        let Meaning::Noise(given) = self.meaning else {
            return Ok(false);
        };
        let named = self.stack.noise_plane();
        let claim = Claim {
            given,
            named,
            sigma,
        };
        let digits = |value: f64| significant(value, value);
        let value = digits(given.of_variance(sigma * sigma));
        match judge(&claim, seen) {
            Verdict::Fits => Ok(false),
            Verdict::Is(kind) => {
                let sky = seen.nearest(kind.to_variance(given.of_variance(sigma * sigma)).sqrt());
                let is_by_name = named == Some(kind);
                let why = if is_by_name {
                    ", and the file calls them so"
                } else {
                    ""
                };
                let expected = given.of_variance(sky * sky);
                Err(self.error(
                    format!("{} of {name}", self.option),
                    format!(
                        "{given} of about {}, by the sky's noise of {}",
                        digits(expected),
                        digits(sky)
                    ),
                    format!("a median of {value}"),
                    &format!("these are {kind}{why}: give them with {}", kind.option()),
                ))
            }
            Verdict::Differs => {
                let sky = seen.nearest(sigma);
                tracing::warn!(
                    "{name}: {} {}: the sky has a noise of {} by these {given}, and of {} by its pixels: \
                     errors are off by a factor of about {:.1}",
                    self.option,
                    self.path,
                    digits(sigma),
                    digits(sky),
                    (sigma / sky).max(sky / sigma)
                );
                Ok(true)
            }
        }
    }

    fn error(&self, field: String, expected: String, found: String, hint: &str) -> Error {
        Error::Malformed {
            file: self.path.clone(),
            field,
            expected,
            found,
            hint: Some(hint.into()),
        }
    }
}

/// A number of pixels, in words.
fn count(pixels: usize) -> String {
    match pixels {
        1 => "1 pixel".into(),
        n => format!("{n} pixels"),
    }
}

fn is_no_variance(variance: f64) -> bool {
    !(variance > 0.0 && variance.is_finite())
}

/// Takes the value from each pixel where the plane says so; returns the number of these pixels.
pub(super) fn leave_out<D: Dimension>(
    pixels: &mut Array<f64, D>,
    plane: ArrayView<'_, f64, D>,
    is_bad: impl Fn(f64) -> bool,
) -> usize {
    let mut bad = 0;
    Zip::from(pixels).and(plane).for_each(|pixel, &value| {
        if is_bad(value) {
            *pixel = f64::NAN;
            bad += 1;
        }
    });
    bad
}

/// Count of the variances that are negative, and whether any is useful.
#[derive(Debug, Default)]
pub(super) struct Variances {
    /// Number of variances below 0, of pixels that have a value.
    negative: usize,
    lowest: f64,
    /// Whether at least one value is above 0 and finite.
    pub(super) is_useful: bool,
}

impl Variances {
    pub(super) fn add<D: Dimension>(
        &mut self,
        pixels: &Array<f64, D>,
        variance: ArrayView<'_, f64, D>,
    ) {
        self.is_useful |= !variance.iter().all(|&variance| is_no_variance(variance));
        Zip::from(pixels)
            .and(variance)
            .for_each(|pixel, &variance| {
                if pixel.is_finite() && variance < 0.0 {
                    self.negative += 1;
                    self.lowest = variance.min(self.lowest);
                }
            });
    }
}
