//! Whether pixels are counts, as the Poisson likelihood assumes.

use crate::cutout::Noise;
use crate::error::{Error, Result};

/// The sky of an image, as it is found, in the image's units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sky<'a> {
    pub(super) name: &'a str,
    /// Electrons for each unit, as stated.
    pub(super) gain: Option<f64>,
    /// The gain that the noise shows where none is stated that can be believed.
    pub(super) found: Option<f64>,
    /// Electrons.
    pub(super) read_noise: f64,
    /// Level without light.
    pub(super) bias: f64,
    pub(super) level: f64,
    pub(super) noise: f64,
}

/// Factor by which the sky's counts may differ from the square of its noise: flat fields, stacking
/// and resampling change both, but not by so much.
const LEEWAY: f64 = 4.0;

/// Noise of pixels that are counts; an error where the pixels are no counts, or too far from counts.
pub(super) fn counts(sky: &Sky<'_>) -> Result<Noise> {
    let Some(gain) = sky.gain else {
        return Err(Error::Malformed {
            file: sky.name.into(),
            field: "GAIN".into(),
            expected: "the gain in electrons for each unit, as poisson fits counts".into(),
            found: "none that can be believed".into(),
            hint: Some(match sky.found {
                Some(gain) => format!(
                    "--gain gives it, and the noise of the image shows {gain:.3}; --estimator \
                     least-squares does without"
                ),
                None => "--gain gives it; --estimator least-squares does without".into(),
            }),
        });
    };
    let counted = gain * (sky.level - sky.bias) + sky.read_noise.powi(2);
    let scatter = (gain * sky.noise).powi(2);
    // One or two counts prove nothing, and photon counters have skies without a count.
    let believable = scatter / LEEWAY - 1.0..=scatter * LEEWAY + 1.0;
    if believable.contains(&counted) {
        return Ok(Noise::counts(gain, sky.bias, sky.read_noise));
    }
    let bias = sky.level - (scatter - sky.read_noise.powi(2)).max(0.0) / gain;
    let reason = match counted > scatter {
        true => "the level without light seems to be in the pixels",
        false => "a sky seems to have been subtracted",
    };
    Err(Error::Malformed {
        file: sky.name.into(),
        field: "counts of the sky".into(),
        expected: format!("about {scatter:.1}, the square of its noise, as poisson fits counts"),
        found: format!("{counted:.1}"),
        hint: Some(format!(
            "{reason}: --bias says where counts start, here about {bias:.1}; --estimator least-squares does without"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKY: Sky<'_> = Sky {
        name: "a.fits[0]",
        gain: Some(2.0),
        found: None,
        read_noise: 5.0,
        bias: 0.0,
        level: 500.0,
        // sqrt(2 x 500 + 25) / 2
        noise: 16.0,
    };

    #[test]
    fn a_sky_with_the_noise_of_its_counts_is_counts() {
        let noise = counts(&SKY).unwrap();
        assert_eq!(
            noise,
            Noise::Counts {
                gain: 2.0,
                zero: -12.5
            }
        );
        let dark = Sky {
            level: 0.0,
            noise: 0.0,
            read_noise: 0.0,
            ..SKY
        };
        assert!(counts(&dark).is_ok(), "a photon counter's");
    }

    #[test]
    fn what_is_no_count_gets_a_hint_that_mends_it() {
        for shift in [3000.0, -500.0] {
            let shifted = Sky {
                level: SKY.level + shift,
                ..SKY
            };
            let error = counts(&shifted).unwrap_err();
            let hint = error.hint().unwrap().to_owned();
            let (_, rest) = hint.split_once("about ").unwrap();
            let bias: f64 = rest.split(';').next().unwrap().parse().unwrap();
            assert!((bias - shift).abs() < 20.0, "{hint}");
            assert!(counts(&Sky { bias, ..shifted }).is_ok());
        }
        let error = counts(&Sky { gain: None, ..SKY }).unwrap_err();
        assert!(error.hint().unwrap().contains("--gain"));
    }
}
