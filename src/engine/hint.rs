//! A hint at the noise and masks that the file of an image has beside its pixels.

use crate::io::fits::{Extension, FitsFile};
use crate::planes::NoisePlane;

/// Extensions beside the image with its noise and its bad pixels, as far as these are asked for: one line
/// that names the options to type, where there are any.
pub(super) fn of_file(file: &FitsFile, wants_noise: bool, wants_mask: bool) -> Option<String> {
    let image = file.extension()?;
    if is_companion(&image.name) {
        return None;
    }
    let noise = wants_noise.then(|| find(file, image, noise_rank)).flatten();
    let mask = wants_mask.then(|| find(file, image, mask_rank)).flatten();
    let mut options = Vec::new();
    if let Some(unit) = noise {
        let kind = NoisePlane::of_extension(&unit.name)?;
        options.push(format!("{} '[{}]'", kind.option(), unit.name));
    }
    if let Some(unit) = mask {
        options.push(format!("--mask '[{}]'", unit.name));
        options.extend(bits(file, unit).map(|bits| format!("--mask-bits {bits}")));
    }
    let names: Vec<&str> = [noise, mask]
        .into_iter()
        .flatten()
        .map(|unit| unit.name.as_str())
        .collect();
    let name = file.identify(0).1.path;
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    (!names.is_empty()).then(|| {
        format!(
            "{name} has {} beside {}: {}",
            names.join(" and "),
            image.label(),
            options.join(" ")
        )
    })
}

/// The best extension of the image's shape: of its version first, then by rank.
fn find<'a>(
    file: &'a FitsFile,
    image: &Extension,
    rank: fn(&str) -> Option<usize>,
) -> Option<&'a Extension> {
    let is_fitting = |unit: &&Extension| {
        let [width, height, planes] = unit.axes;
        unit.number != image.number
            && [width, height] == [image.axes[0], image.axes[1]]
            && [1, image.axes[2]].contains(&planes)
    };
    let units = file.extensions().iter().filter(is_fitting);
    units
        .filter_map(|unit| Some((unit.version != image.version, rank(&unit.name)?, unit)))
        .min_by_key(|(other, rank, _)| (*other, *rank))
        .map(|(.., unit)| unit)
}

/// Errors before variances, both before weights, which may be times of exposure.
fn noise_rank(name: &str) -> Option<usize> {
    Some(match NoisePlane::of_extension(name)? {
        NoisePlane::Error => 0,
        NoisePlane::Variance => 1,
        NoisePlane::InverseVariance if name.eq_ignore_ascii_case("IVAR") => 2,
        NoisePlane::InverseVariance => 3,
    })
}

fn mask_rank(name: &str) -> Option<usize> {
    const NAMES: [&str; 8] = [
        "DQ", "MASK", "FLAGS", "FLAG", "DQA", "BPM", "QUAL", "QUALITY",
    ];
    NAMES
        .iter()
        .position(|known| name.trim().eq_ignore_ascii_case(known))
}

fn is_companion(name: &str) -> bool {
    noise_rank(name).is_some() || mask_rank(name).is_some()
}

/// Value for `--mask-bits`: the names in the mask's header that make a pixel useless; for a data quality
/// array in the manner of JWST the bit of useless pixels; else nothing.
fn bits(file: &FitsFile, mask: &Extension) -> Option<String> {
    const USELESS: [&str; 4] = ["BAD", "SAT", "CR", "NO_DATA"];
    if mask.names_bits {
        let hdu = crate::io::fits::HduName::Number(mask.number);
        let names = file.beside(&hdu).ok()?.bit_names();
        let is_known = |wanted: &&str| names.iter().any(|(name, _)| name == wanted);
        let known: Vec<&str> = USELESS.into_iter().filter(is_known).collect();
        return (!known.is_empty()).then(|| known.join(","));
    }
    // Arrays of other telescopes have other bits, Hubble's 16 of them.
    let mut cards = file.cards().chain(file.primary_cards());
    let telescope = cards.find(|(keyword, _)| *keyword == "TELESCOP");
    let is_other = telescope.is_some_and(|(_, name)| {
        let name = name.text().unwrap_or_default().trim().to_uppercase();
        !["", "JWST", "ROMAN"].contains(&name.as_str())
    });
    let is_wide = mask.bitpix.is_none_or(|bitpix| bitpix >= 32);
    (mask.name.eq_ignore_ascii_case("DQ") && is_wide && !is_other).then(|| "DO_NOT_USE".to_owned())
}
