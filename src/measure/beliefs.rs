//! What is believed of a header.

use std::cmp::Ordering;

use rayon::prelude::*;

use crate::background::Background;
use crate::image::{Header, Image};

/// Electrons for each unit: cameras have 0.01 to 30. A GAIN of 100 or 139 is a camera's setting,
/// one of 0 is nothing.
fn is_plausible_gain(gain: f64) -> bool {
    (0.01..=30.0).contains(&gain)
}

/// The header's gain where it can be one: a plausible number, of an image that still counts.
pub(super) fn believed_gain(name: &str, header: &Header) -> Option<f64> {
    let unit = header
        .unit
        .as_deref()
        .map(|unit| unit.trim().to_lowercase());
    // Calibrated units, such as MJy/sr or counts/s, are no longer what the gain converts.
    let is_one_of = |names: &[&str]| unit.as_deref().is_some_and(|unit| names.contains(&unit));
    if is_one_of(&["electron", "electrons", "e-", "e"]) {
        return Some(1.0);
    }
    let gain = header.gain?;
    let counts = unit.is_none() || is_one_of(&["", "adu", "dn", "count", "counts", "ct", "cts"]);
    if !is_plausible_gain(gain) || !counts {
        let unit = unit
            .as_ref()
            .map_or_else(String::new, |unit| format!(" in units of {unit}"));
        tracing::info!("{name}: GAIN {gain}{unit} is not believed; --gain sets it");
        return None;
    }
    Some(gain)
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

/// The header's saturation where it can be, else the image's highest value where several pixels
/// share it, as clipped ones do.
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
