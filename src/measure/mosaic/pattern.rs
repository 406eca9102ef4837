//! Which mosaic an image has: by the user, by its header, by its pixels.

use ndarray::{ArrayView2, s};
use rayon::prelude::*;

use super::Mosaic;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::measure::MeasureOptions;
use crate::mosaic::{Bayer, BayerPattern, Channel, Color, Stated};
use crate::numbers::median;

/// Message about the source of a mosaic.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Nothing,
    Info(String),
    Warning(String),
}

/// The mosaic of an image, if it has one; says what the mosaic is and how it is known.
///
/// # Errors
///
/// [`Error::Option`] where a channel is asked for that an image has not.
pub(super) fn mosaic_of(image: &Image, options: &MeasureOptions) -> Result<Option<Mosaic>> {
    let name = &image.name;
    let (mosaic, said) = decide(image, options.bayer);
    match said {
        Said::Nothing => {}
        Said::Info(text) => tracing::info!("{name}: {text}"),
        Said::Warning(text) => tracing::warn!("{name}: {text}"),
    }
    let wanted = match (mosaic, options.channel) {
        (Some(mosaic), Channel::One(color)) => {
            let is_untold = !mosaic.is_red_known && color != Color::Green;
            is_untold.then(|| mosaic.either())
        }
        (None, Channel::One(_)) => Some("--bayer RGGB, BGGR, GRBG or GBRG".into()),
        (_, Channel::All) => None,
    };
    if let Some(hint) = wanted {
        return Err(Error::Option {
            option: format!("{name}: --channel {}", options.channel),
            expected: "a colour frame whose pattern is known".into(),
            found: match mosaic {
                None => "an image without a mosaic".into(),
                Some(_) => "a mosaic whose red and blue pixels nothing tells apart".into(),
            },
            hint: Some(format!("{hint} says what its pixels are")),
        });
    }
    Ok(mosaic)
}

/// The mosaic of an image, without a message: for pictures of the fits, of which all was said when they were
/// made.
#[cfg(feature = "report")]
pub(super) fn silently(image: &Image, bayer: Bayer) -> Option<Mosaic> {
    decide(image, bayer).0
}

/// The mosaic of an image by the user, the header and the pixels, with its message.
fn decide(image: &Image, bayer: Bayer) -> (Option<Mosaic>, Said) {
    match bayer {
        Bayer::None => (None, Said::Nothing),
        Bayer::Pattern(pattern) => {
            let said = match contradicts(pattern, seen(image.pixels.view())) {
                true => Said::Warning(format!(
                    "--bayer {pattern}: by their sky the green pixels are the others, as in {} or {}",
                    pattern.moved(1, 0),
                    pattern.moved(0, 1),
                )),
                false => Said::Nothing,
            };
            (Some(Mosaic::known(pattern)), said)
        }
        Bayer::Auto => found(image),
    }
}

/// The mosaic of an image by its header and pixels, with its message.
fn found(image: &Image) -> (Option<Mosaic>, Said) {
    let stated = image.header.bayer.pattern_of(image.height());
    let seen = seen(image.pixels.view());
    let untold = |pattern: BayerPattern| Mosaic {
        pattern,
        is_red_known: false,
    };
    match (stated, seen) {
        (Stated::Unknown(text), _) => {
            let text = format!(
                "colour filters {text}: no pattern of Bayer's (RGGB, BGGR, GRBG, GBRG), fitted as \
                 if all pixels were alike"
            );
            (None, Said::Warning(text))
        }
        // An image made of a mosaic often still has its card: a plane of a cube is one colour.
        (Stated::Pattern(pattern), None) if image.source.plane.is_some() => {
            let text = format!("colour filters {pattern} are not seen in this plane");
            (None, Said::Info(text))
        }
        (Stated::Pattern(pattern), seen) if contradicts(pattern, seen) => {
            let mosaic = untold(pattern.moved(0, 1));
            let text = format!(
                "colour filters {pattern} by the header, but by their sky the green pixels are the \
                 others: fitted as a colour frame without flux_r and flux_b; {} says which pixels \
                 are red",
                mosaic.either(),
            );
            (Some(mosaic), Said::Warning(text))
        }
        (Stated::Pattern(pattern), _) => {
            let text = format!("a colour frame, {pattern} by its header");
            (Some(Mosaic::known(pattern)), Said::Info(text))
        }
        (Stated::Nothing, None) => (None, Said::Nothing),
        (Stated::Nothing, Some(seen)) => {
            let mosaic = untold(seen.greens.pattern());
            let levels = seen.levels.map(|level| format!("{level:.0}")).join(", ");
            if !seen.is_plain {
                let text = format!(
                    "the skies of two by two pixels differ ({levels}): if this is a colour frame, {} \
                     says so",
                    mosaic.either(),
                );
                return (None, Said::Warning(text));
            }
            let text = format!(
                "a colour frame by the skies of two by two pixels ({levels}), though no card says \
                 so: fitted as one, without flux_r and flux_b; {} says which pixels are red, \
                 --bayer none takes all as alike",
                mosaic.either(),
            );
            (Some(mosaic), Said::Warning(text))
        }
    }
}

/// Whether the pixels plainly have their greens where a pattern has none.
fn contradicts(pattern: BayerPattern, seen: Option<Seen>) -> bool {
    seen.is_some_and(|seen| seen.is_plain && !seen.greens.are_of(pattern))
}

/// Where the green pixels are among two by two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Greens {
    /// The first of the first row and the second of the second.
    First,
    /// The second of the first row and the first of the second.
    Second,
}

impl Greens {
    /// One of the two patterns that have them there.
    fn pattern(self) -> BayerPattern {
        match self {
            Self::First => BayerPattern::GRBG,
            Self::Second => BayerPattern::RGGB,
        }
    }

    fn are_of(self, pattern: BayerPattern) -> bool {
        pattern == self.pattern() || pattern == self.pattern().exchanged()
    }

    /// Phases of the greens, then those of the others.
    fn phases(self) -> [usize; 4] {
        match self {
            Self::First => [0, 3, 1, 2],
            Self::Second => [1, 2, 0, 3],
        }
    }
}

/// A mosaic that the sky shows.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    greens: Greens,
    /// Whether noises differ as the levels do, which offsets of amplifiers do not cause.
    is_plain: bool,
    /// Levels of the four phases, units of the image.
    levels: [f64; 4],
}

/// Side of a patch of sky that is looked at, pixels, and most patches along each axis.
const PATCH: usize = 16;
const PATCHES: usize = 16;
/// Fewest patches that tell anything.
const FEWEST: usize = 9;

/// The mosaic that the sky of some patches shows: two levels on a diagonal are alike, and far from
/// one of the others at least. Amplifiers that take turns make stripes, of which no diagonal is
/// alike.
fn seen(pixels: ArrayView2<'_, f64>) -> Option<Seen> {
    let (height, width) = pixels.dim();
    let along = |length: usize| {
        let count = (length / PATCH).min(PATCHES);
        // From the middle of each part of the image, on even pixels.
        (0..count).map(move |at| ((2 * at + 1) * length / (2 * count) - PATCH / 2) & !1)
    };
    let corners: Vec<(usize, usize)> = along(height)
        .flat_map(|y| along(width).map(move |x| (y, x)))
        .collect();
    let patch = |(y, x): (usize, usize)| pixels.slice(s![y..y + PATCH, x..x + PATCH]);
    let patches: Vec<((usize, usize), [f64; 4])> = corners
        .par_iter()
        .with_min_len(32)
        .filter_map(|&corner| Some((corner, levels_of(patch(corner))?)))
        .collect();
    if patches.len() < FEWEST {
        return None;
    }
    let middle = |mut values: Vec<f64>| median(&mut values).unwrap_or(0.0);
    let over = |of: &dyn Fn(&[f64; 4]) -> f64| {
        middle(patches.iter().map(|(_, levels)| of(levels)).collect())
    };
    let mean = |values: &[f64; 4]| values.iter().sum::<f64>() / 4.0;
    let levels = std::array::from_fn(|phase| over(&|patch| patch[phase]));
    let above = |patch: &[f64; 4], phase: usize| patch[phase] - mean(patch);
    let offsets: [f64; 4] = std::array::from_fn(|phase| over(&|patch| above(patch, phase)));
    let root = (patches.len() as f64).sqrt();
    let error = (0..4)
        .map(|phase| over(&|patch| (above(patch, phase) - offsets[phase]).abs()))
        .fold(0.0, f64::max);
    // 1.4826 of a median deviation is sigma, a median has 1.2533 of the error of a mean.
    let error = 1.4826 * 1.2533 * error / root;
    // Error of the noise of 64 pixels, as a part of that noise: 1.17 / 8.
    let noise_error = 0.15 / root;

    let greens = [Greens::First, Greens::Second].map(|greens| {
        let [g1, g2, o1, o2] = greens.phases();
        let level = 0.5 * (offsets[g1] + offsets[g2]);
        let contrast = (offsets[o1] - level).abs().max((offsets[o2] - level).abs());
        let is_alike = (offsets[g1] - offsets[g2]).abs() < 0.15 * contrast;
        (is_alike && contrast > 10.0 * error).then_some((greens, level, contrast))
    });
    // Most images end here.
    if greens == [None; 2] {
        return None;
    }
    let noises_of = |&(corner, levels): &_| noises_of(patch(corner), &levels);
    let all_noises: Vec<[f64; 4]> = patches.par_iter().with_min_len(32).map(noises_of).collect();
    let noises: [f64; 4] = std::array::from_fn(|phase| {
        middle(all_noises.iter().map(|noises| noises[phase]).collect())
    });
    let least = 0.2 * mean(&noises);
    let greens = greens.map(|seen| seen.filter(|(.., contrast)| *contrast > least));
    // Where red and blue are alike, green is the brighter pair, as it is of nearly every sky.
    let (greens, level, contrast) = match greens {
        [Some(first), Some(second)] if second.1 > first.1 => second,
        [Some(first), _] => first,
        [None, second] => second?,
    };
    let [g1, g2, others @ ..] = greens.phases();
    let green_noise = 0.5 * (noises[g1] + noises[g2]);
    let are_alike = (noises[g1] - noises[g2]).abs() < (5.0 * noise_error).max(0.1) * green_noise;
    let follows = |&phase: &usize| {
        let brighter = offsets[phase] - level;
        let noisier = noises[phase] / green_noise - 1.0;
        brighter.abs() < 0.5 * contrast
            || noisier * brighter.signum() > (5.0 * noise_error).max(0.03)
    };
    Some(Seen {
        greens,
        is_plain: are_alike && others.iter().all(follows),
        levels,
    })
}

/// The pixels of a phase of a patch that have values.
fn of_phase(patch: ArrayView2<'_, f64>, phase: usize) -> Vec<f64> {
    let pixels = patch.slice(s![phase / 2..;2, phase % 2..;2]);
    pixels.iter().copied().filter(|v| v.is_finite()).collect()
}

/// Levels of the phases of a patch, if it has pixels enough.
fn levels_of(patch: ArrayView2<'_, f64>) -> Option<[f64; 4]> {
    let mut levels = [0.0; 4];
    for (phase, level) in levels.iter_mut().enumerate() {
        let mut values = of_phase(patch, phase);
        if values.len() < PATCH * PATCH / 8 {
            return None;
        }
        *level = median(&mut values)?;
    }
    Some(levels)
}

/// Noises of the phases of a patch of these levels.
fn noises_of(patch: ArrayView2<'_, f64>, levels: &[f64; 4]) -> [f64; 4] {
    std::array::from_fn(|phase| {
        let mut off = of_phase(patch, phase);
        off.iter_mut()
            .for_each(|value| *value = (*value - levels[phase]).abs());
        1.4826 * median(&mut off).unwrap_or(0.0)
    })
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal};
    use rand_pcg::Pcg64;

    use super::*;

    /// A sky whose four phases have these levels and noises.
    fn sky(levels: [f64; 4], noises: [f64; 4], seed: u64) -> Array2<f64> {
        let mut rng = Pcg64::seed_from_u64(seed);
        let normal = Normal::new(0.0, 1.0).unwrap();
        Array2::from_shape_fn((200, 300), |(y, x)| {
            let phase = crate::mosaic::phase(x, y);
            (levels[phase] + noises[phase] * normal.sample(&mut rng)).round()
        })
    }

    fn seen_of(levels: [f64; 4], noises: [f64; 4]) -> Option<(Greens, bool)> {
        seen(sky(levels, noises, 1).view()).map(|seen| (seen.greens, seen.is_plain))
    }

    #[test]
    fn a_mosaic_shows_in_levels_and_noises() {
        let panoptes = seen_of([2233.0, 2179.0, 2141.0, 2234.0], [22.0, 18.0, 15.0, 22.0]);
        assert_eq!(panoptes, Some((Greens::First, true)));
        let simulated = seen_of([300.0, 600.0, 600.0, 250.0], [17.0, 24.0, 24.0, 16.0]);
        assert_eq!(simulated, Some((Greens::Second, true)));
        let alike = seen_of([300.0, 600.0, 600.0, 300.0], [17.0, 24.0, 24.0, 17.0]);
        assert_eq!(alike, Some((Greens::Second, true)));
        // One colour as bright as green.
        let warm = seen_of([590.0, 600.0, 600.0, 250.0], [24.0, 24.0, 24.0, 16.0]);
        assert_eq!(warm, Some((Greens::Second, true)));
    }

    #[test]
    fn offsets_without_their_noise_are_only_a_hint() {
        let offsets = seen_of([300.0, 320.0, 320.0, 280.0], [10.0; 4]);
        assert_eq!(offsets, Some((Greens::Second, false)));
    }

    #[test]
    fn what_is_no_mosaic_is_none() {
        for seed in 0..20 {
            assert_eq!(seen(sky([300.0; 4], [10.0; 4], seed).view()), None);
            assert_eq!(seen(sky([300.0; 4], [0.4; 4], seed).view()), None);
        }
        let columns = seen_of([300.0, 340.0, 300.0, 340.0], [10.0, 12.0, 10.0, 12.0]);
        assert_eq!(columns, None);
        let rows = seen_of([300.0, 300.0, 340.0, 340.0], [10.0; 4]);
        assert_eq!(rows, None);
        let four = seen_of([300.0, 340.0, 360.0, 320.0], [10.0; 4]);
        assert_eq!(four, None);
        for shape in [(0, 0), (1, 300), (30, 30)] {
            assert_eq!(seen(Array2::zeros(shape).view()), None);
        }
        assert_eq!(seen(Array2::from_elem((100, 100), f64::NAN).view()), None);
    }
}
