//! Gain, read noise and saturation of a header, as far as they are believed.

use std::cmp::Ordering;

use rayon::prelude::*;

use super::MeasureOptions;
use super::gain::{FoundGain, PhotonNoise};
use crate::background::Background;
use crate::error::Result;
use crate::estimator::Estimator;
use crate::fitter::Fitter;
use crate::image::{Header, Image};

/// Whether a gain is plausible, electrons for each unit: cameras have 0.01 to 30. A GAIN of 100 or 139 is a
/// camera's setting, one of 0 is nothing.
fn is_plausible_gain(gain: f64) -> bool {
    (0.01..=30.0).contains(&gain)
}

/// Largest ratio of the sky's level to the square of its noise, both in electrons: most of a raw frame's
/// level may be a bias. An image scaled to 0..1 has a ratio of ten thousands.
const PEDESTAL: f64 = 200.0;

/// The sky of an image, in its units.
#[derive(Debug, Clone, Copy)]
pub(super) struct SkyNoise {
    /// Level of the sky above a pixel without light, as far as the latter's level is known.
    pub(super) level: f64,
    pub(super) noise: f64,
}

impl SkyNoise {
    /// Whether the sky has the noise of its own photons, or more.
    fn allows(self, gain: f64) -> bool {
        let has_noise = self.noise > 0.0;
        !has_noise || self.level <= PEDESTAL * gain * self.noise.powi(2)
    }
}

/// Gains by the cards of a header: the card, with its factor, and electrons for each unit of the image. The
/// most credible gain comes first.
fn stated_gains(header: &Header) -> Vec<(String, f64)> {
    let unit = header.unit.as_deref().unwrap_or_default();
    let unit: String = unit.to_lowercase().split_whitespace().collect();
    let (quantity, is_rate) = match ["/s", "/sec", "/second", "s**-1", "s^-1", "s-1"]
        .iter()
        .find_map(|ending| unit.strip_suffix(ending))
    {
        Some(quantity) => (quantity.trim_end_matches(['.', '*']), true),
        None => (unit.as_str(), false),
    };
    let quantity = quantity
        .strip_suffix("/pixel")
        .or_else(|| quantity.strip_suffix("/pix"))
        .unwrap_or(quantity);
    let exposure = header
        .exposure
        .filter(|time| *time > 0.0 && time.is_finite());
    let times = match (is_rate, exposure) {
        (false, _) => 1.0,
        (true, Some(time)) => time,
        // The header does not state the exposure time.
        (true, None) => return Vec::new(),
    };
    let by_time = |name: &str| match is_rate {
        true => format!("{name} x EXPTIME"),
        false => name.to_owned(),
    };
    match quantity {
        "electron" | "electrons" | "e-" | "e" | "elec" if is_rate => {
            vec![("BUNIT and EXPTIME".into(), times)]
        }
        "electron" | "electrons" | "e-" | "e" | "elec" => vec![("BUNIT".into(), 1.0)],
        "" if is_rate => Vec::new(),
        "" | "adu" | "dn" | "count" | "counts" | "ct" | "cts" => {
            let gains = header.gains.iter();
            gains
                .filter(|gain| is_plausible_gain(gain.value))
                .map(|gain| (by_time(&gain.keyword), gain.value * times))
                .collect()
        }
        // Calibrated units, such as MJy/sr, are not converted by the gain.
        _ => Vec::new(),
    }
}

/// A gain, and how it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Gain {
    /// Stated by the user, or by a header that the noise does not contradict.
    Stated(f64),
    /// Found in the noise of the image.
    Found(FoundGain),
    /// Unknown, and not needed.
    Hidden,
    /// Unknown, and the errors of bright stars depend on it.
    Unclear,
}

impl Gain {
    /// The gain that the user states, else the believed one; where the fits need it, `photons` looks for the
    /// gain in the noise of the image. `sky` is the level and noise of the sky, its bias included.
    ///
    /// # Errors
    ///
    /// The errors of `photons`.
    pub(super) fn of_image(
        image: &Image,
        options: &MeasureOptions,
        fitter: &Fitter,
        sky: SkyNoise,
        photons: impl FnOnce() -> Result<PhotonNoise>,
    ) -> Result<Self> {
        if let Some(gain) = options.gain {
            return Ok(Self::Stated(gain));
        }
        let is_wanted =
            fitter.estimator == Estimator::Poisson || options.weighted && image.variance.is_none();
        let photons = match is_wanted {
            true => photons()?,
            false => PhotonNoise::Hidden,
        };
        let sky = SkyNoise {
            level: sky.level - options.bias,
            ..sky
        };
        Ok(believed_gain(&image.name, &image.header, sky, photons))
    }

    /// Electrons for each unit of the image.
    pub(super) fn value(self) -> Option<f64> {
        match self {
            Self::Stated(gain) => Some(gain),
            Self::Found(found) => Some(found.value),
            Self::Hidden | Self::Unclear => None,
        }
    }

    /// The gain where it was stated.
    pub(super) fn stated(self) -> Option<f64> {
        match self {
            Self::Stated(gain) => Some(gain),
            // A gain found in the noise is good enough for weights, but not for counts.
            Self::Found(_) | Self::Hidden | Self::Unclear => None,
        }
    }

    /// The gain where it was found in the image.
    pub(super) fn found(self) -> Option<f64> {
        match self {
            Self::Found(found) => Some(found.value),
            Self::Stated(_) | Self::Hidden | Self::Unclear => None,
        }
    }

    /// Standard error of the gain where it was found in the image.
    pub(super) fn error(self) -> Option<f64> {
        match self {
            Self::Found(found) => Some(found.error),
            Self::Stated(_) | Self::Hidden | Self::Unclear => None,
        }
    }
}

/// The gain of an image: the first one of its header that the noise bears out, else the one that the noise
/// shows. A gain of the header is held against the noise where that says anything.
fn believed_gain(name: &str, header: &Header, sky: SkyNoise, photons: PhotonNoise) -> Gain {
    let found = match photons {
        PhotonNoise::Seen(found) => Some(found),
        PhotonNoise::Hidden | PhotonNoise::Unclear => None,
    };
    let stated = stated_gains(header);
    let bears_out = |gain: f64| match found {
        Some(found) => found.agrees(gain),
        None => sky.allows(gain),
    };
    let believed = stated.iter().find(|(_, gain)| bears_out(*gain));
    let unit = header.unit.as_deref().map_or("adu", str::trim);
    let unit = if unit.is_empty() { "adu" } else { unit };
    let shows = || match found {
        Some(found) => format!(
            "the noise of {} shows {} electrons for each {unit}, which is used",
            found.source,
            with_error(found.value, found.error)
        ),
        None => {
            let SkyNoise { level, noise } = sky;
            format!("with it a sky of {level:.4} {unit} would have far more noise than {noise:.3}")
        }
    };
    let refused = stated
        .iter()
        .take_while(|stated| Some(*stated) != believed)
        .find(|(_, gain)| !bears_out(*gain));
    if let Some((card, gain)) = refused {
        let instead = match believed {
            Some((card, gain)) => format!("{card} {gain} is used"),
            None => shows(),
        };
        tracing::warn!("{name}: {card} {gain} is not believed: {instead}; --gain sets it");
    } else if stated.is_empty() {
        let cards: Vec<String> = header
            .gains
            .iter()
            .map(|gain| format!("{} {}", gain.keyword, gain.value))
            .collect();
        let card = match cards.is_empty() {
            true => "no gain in the header".to_owned(),
            false => format!("{} in units of {unit} is not believed", cards.join(", ")),
        };
        match (found, photons) {
            (Some(_), _) => tracing::info!("{name}: {card}: {}; --gain sets it", shows()),
            (None, PhotonNoise::Unclear) => tracing::warn!(
                "{name}: {card}, and the noise of bright stars does not show it: errors come from \
                 the residuals; --gain sets it"
            ),
            (None, _) => tracing::info!("{name}: {card}; --gain sets it"),
        }
    }
    match (believed, photons) {
        (Some((_, gain)), _) => Gain::Stated(*gain),
        (None, PhotonNoise::Seen(found)) => Gain::Found(found),
        (None, PhotonNoise::Hidden) => Gain::Hidden,
        (None, PhotonNoise::Unclear) => Gain::Unclear,
    }
}

/// A value with its error, such as `1.52 +- 0.07`.
fn with_error(value: f64, error: f64) -> String {
    format!("{} +- {}", rounded(value, error), rounded(error, error))
}

/// A number to two digits of its error.
fn rounded(value: f64, error: f64) -> String {
    let digits = 1 - error.log10().floor() as i32;
    format!("{value:.*}", digits.clamp(0, 12) as usize)
}

/// Gain of ready cutouts by their header, which no photon noise can contradict.
pub(super) fn stated_gain(name: &str, header: &Header, sky: SkyNoise) -> Option<f64> {
    believed_gain(name, header, sky, PhotonNoise::Hidden).value()
}

/// The read noise that the user says, else the header's where it can be one, else none; electrons.
pub(crate) fn believed_read_noise(said: Option<f64>, header: &Header) -> f64 {
    let stated = header.read_noise.filter(|noise| (0.0..1e3).contains(noise));
    said.or(stated).unwrap_or(0.0)
}

/// The header's saturation where it lies above the sky.
pub(super) fn stated_saturation(name: &str, header: &Header, sky: f64) -> Option<f64> {
    let level = header.saturation?;
    if level <= sky {
        tracing::info!("{name}: SATURATE {level} is not above the sky and not believed");
        return None;
    }
    Some(level)
}

/// The header's saturation where it is believed, else the image's highest value where several pixels share
/// it, as clipped pixels do.
pub(super) fn believed_saturation(image: &Image, background: &Background) -> f64 {
    let sky = background.median_level() + 10.0 * background.median_noise();
    if let Some(level) = stated_saturation(&image.name, &image.header, sky) {
        return level;
    }
    const CLIPPED: usize = 4;
    let pixels = image.pixels.as_standard_layout();
    let parts = pixels.as_slice().unwrap_or_default().par_chunks(1 << 12);
    let (highest, sharing) = parts
        .map(|part| {
            let highest = part.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sharing = part.iter().filter(|value| **value == highest).count();
            (highest, sharing)
        })
        .reduce(
            || (f64::NEG_INFINITY, 0),
            |a, b| match a.0.total_cmp(&b.0) {
                Ordering::Less => b,
                Ordering::Equal => (a.0, a.1 + b.1),
                Ordering::Greater => a,
            },
        );
    if sharing >= CLIPPED && highest > sky {
        highest
    } else {
        f64::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::super::gain::GainSource;
    use super::*;
    use crate::image::StatedGain;

    fn header(unit: &str, exposure: Option<f64>, gains: &[(&str, f64)]) -> Header {
        let stated = |&(keyword, value): &(&str, f64)| StatedGain {
            keyword: keyword.into(),
            value,
        };
        Header {
            gains: gains.iter().map(stated).collect(),
            unit: Some(unit.into()),
            exposure,
            ..Header::default()
        }
    }

    #[test]
    fn a_unit_says_what_a_gain_is_of() {
        let both = [("EGAIN", 0.25), ("GAIN", 10.0)];
        let gains = |unit: &str, exposure, gains: &[(&str, f64)]| -> Vec<f64> {
            let stated = stated_gains(&header(unit, exposure, gains));
            stated.into_iter().map(|(_, gain)| gain).collect()
        };
        assert_eq!(gains("", None, &both), [0.25, 10.0]);
        assert_eq!(gains(" ADU ", Some(30.0), &both), [0.25, 10.0]);
        assert_eq!(gains("electron", None, &both), [1.0]);
        for unit in [
            "electron/s",
            "e-/s",
            "electrons s-1",
            "ELECTRONS/SEC",
            "electron.s**-1",
        ] {
            assert_eq!(gains(unit, Some(45.0), &both), [45.0], "{unit}");
        }
        for unit in ["adu/s", "DN/s", "COUNTS/S", "ct / s", "dn/pixel/s"] {
            assert_eq!(gains(unit, Some(30.0), &[("GAIN", 1.5)]), [45.0], "{unit}");
        }
        assert!(gains("adu/s", None, &both).is_empty());
        assert!(gains("adu/s", Some(0.0), &both).is_empty());
        assert!(gains("MJy/sr", Some(30.0), &both).is_empty());
        assert!(
            gains(
                "",
                None,
                &[("GAIN", 0.0), ("EGAIN", 139.0), ("GAIN", f64::NAN)]
            )
            .is_empty()
        );
    }

    #[test]
    fn the_noise_decides_what_is_believed() {
        let sky = |level: f64| SkyNoise { level, noise: 10.0 };
        let seen = |value: f64| {
            PhotonNoise::Seen(FoundGain {
                value,
                error: 0.1 * value,
                source: GainSource::Stars(40),
            })
        };
        let header = header("adu", None, &[("EGAIN", 0.25), ("GAIN", 10.0)]);
        let believed = |level, photons| believed_gain("a", &header, sky(level), photons);
        // A sky of 100 electrons or fewer has a noise of 10; of one with a bias nobody knows.
        for level in [100.0, 4000.0, -3.0] {
            assert_eq!(believed(level, PhotonNoise::Hidden), Gain::Stated(0.25));
        }
        assert_eq!(believed(1e5, PhotonNoise::Hidden), Gain::Stated(10.0));
        assert_eq!(believed(1e7, PhotonNoise::Hidden), Gain::Hidden);
        assert_eq!(believed(1e7, PhotonNoise::Unclear), Gain::Unclear);
        assert_eq!(believed(100.0, seen(0.2)), Gain::Stated(0.25));
        assert_eq!(believed(100.0, seen(9.0)), Gain::Stated(10.0));
        let other = believed(100.0, seen(2.0));
        assert_eq!(other.value(), Some(2.0));
        assert_eq!((other.stated(), other.found()), (None, Some(2.0)));
        assert!((other.error().unwrap() - 0.2).abs() < 1e-12);
    }

    #[test]
    fn errors_have_two_digits() {
        assert_eq!(with_error(1.5234, 0.071), "1.523 +- 0.071");
        assert_eq!(with_error(78511.4, 13831.0), "78511 +- 13831");
        assert_eq!(with_error(0.251, 0.5), "0.25 +- 0.50");
    }
}
