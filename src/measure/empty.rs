//! Why an image has no star.

use rayon::prelude::*;

use super::MeasureOptions;
use crate::background::Background;
use crate::catalog::Assumptions;
use crate::detect::{DetectOptions, Detection, detect, detect_in};
use crate::image::Image;

/// Significance at which the noise of any image has peaks.
const NOISE_HAS_PEAKS: f64 = 2.0;

/// Why no star was found in an image, in words; `assumed` is what was assumed of the image. The pixels are
/// read several times, which only images without a star cost, and these are rare.
pub fn why_no_star(image: &Image, options: &MeasureOptions, assumed: &Assumptions) -> String {
    let values = image.pixels.as_standard_layout();
    let values = values.as_slice().unwrap_or_default();
    let pixels = values.len();
    let valid = values.par_iter().filter(|value| value.is_finite());
    let (count, low, high) = valid.map(|value| (1_usize, *value, *value)).reduce(
        || (0, f64::INFINITY, f64::NEG_INFINITY),
        |a, b| (a.0 + b.0, a.1.min(b.1), a.2.max(b.2)),
    );
    if pixels == 0 {
        return "it has no pixels".to_owned();
    }
    if count == 0 {
        return format!("none of its {pixels} pixels has a value: all are NaN, blank or masked");
    }
    if low == high {
        return format!("all {count} pixels that have a value have the same, {low}");
    }
    let cell = Background::cell_for(image.width(), image.height());
    let background = Background::estimate(image.pixels.view(), cell);
    if background.median_noise() <= 0.0 {
        return format!(
            "its sky has no noise to measure stars against: pixels have the same value as those \
             round them, about {}",
            background.median_level()
        );
    }
    let detection = DetectOptions {
        threshold: options.threshold,
        fwhm: assumed.fwhm.unwrap_or_default(),
        gain: assumed.gain,
        saturation: assumed.saturation.unwrap_or(f64::INFINITY),
    };
    let width = format!("looked for with a FWHM of {:.1} pix", detection.fwhm);
    let mut why = match highest(image, &background, &detection) {
        Some(highest) => format!(
            "the highest peak has {highest:.1} sigma, --threshold asks for {} ({width})",
            options.threshold
        ),
        None => format!("nothing stands out from the noise ({width})"),
    };
    let negative = image.pixels.mapv(|value| -value);
    let troughs = detect_in(
        negative.view(),
        &Background::estimate(negative.view(), cell),
        &DetectOptions {
            saturation: f64::INFINITY,
            ..detection
        },
    );
    if !troughs.is_empty() {
        why.push_str(&format!(
            "; {} below the sky: is it a negative?",
            match troughs.len() {
                1 => "one place is as clear".to_owned(),
                n => format!("{n} places are as clear"),
            }
        ));
    }
    if 2 * count < pixels {
        why.push_str(&format!(
            "; {} of {pixels} pixels have no value",
            pixels - count
        ));
    }
    why
}

/// The significance of the highest peak below the threshold.
fn highest(image: &Image, background: &Background, options: &DetectOptions) -> Option<f64> {
    let mut threshold = options.threshold;
    while threshold > NOISE_HAS_PEAKS {
        threshold = (0.5 * threshold).max(NOISE_HAS_PEAKS);
        let options = DetectOptions {
            threshold,
            ..options.clone()
        };
        let found = detect(image, background, &options);
        let highest = found
            .iter()
            .map(|Detection { significance, .. }| *significance);
        if let Some(highest) = highest.reduce(f64::max) {
            return Some(highest);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal};
    use rand_pcg::Pcg64;

    use super::*;

    fn why(pixels: Array2<f64>) -> String {
        let options = MeasureOptions {
            threshold: 40.0,
            ..MeasureOptions::default()
        };
        let assumed = Assumptions {
            fwhm: Some(3.0),
            ..Assumptions::default()
        };
        why_no_star(&Image::from_pixels("image", pixels), &options, &assumed)
    }

    /// Noise of 1 on a level of 100, with a star of that height.
    fn star(height: f64) -> Array2<f64> {
        let mut rng = Pcg64::seed_from_u64(3);
        let normal = Normal::new(100.0, 1.0).unwrap();
        Array2::from_shape_fn((100, 120), |(y, x)| {
            let r2 = (x as f64 - 60.0).powi(2) + (y as f64 - 50.0).powi(2);
            normal.sample(&mut rng) + height * 2f64.powf(-4.0 * r2 / 9.0)
        })
    }

    #[test]
    fn each_reason_is_told() {
        assert_eq!(why(Array2::zeros((0, 5))), "it has no pixels");
        let nan = why(Array2::from_elem((4, 5), f64::NAN));
        assert_eq!(
            nan,
            "none of its 20 pixels has a value: all are NaN, blank or masked"
        );
        let equal = why(Array2::from_elem((4, 5), 7.5));
        assert_eq!(equal, "all 20 pixels that have a value have the same, 7.5");
        let halves = Array2::from_shape_fn((128, 128), |(_, x)| if x < 64 { 7.0 } else { 9.0 });
        assert!(why(halves).starts_with("its sky has no noise to measure stars against: "));
    }

    #[test]
    fn the_highest_peak_is_told() {
        let below = why(star(10.0));
        let told: f64 = below
            .strip_prefix("the highest peak has ")
            .and_then(|rest| {
                rest.split_once(
                    " sigma, --threshold asks for 40 (looked for with a FWHM of 3.0 pix)",
                )
            })
            .unwrap_or_else(|| panic!("{below}"))
            .0
            .parse()
            .unwrap();
        // A filter as wide as the star: height times the root of the sum of its squares.
        let expected = 10.0 * (std::f64::consts::PI * 9.0 / (8.0 * 2f64.ln())).sqrt();
        assert!((told / expected - 1.0).abs() < 0.15, "{told}, {expected}");
        assert!(!below.contains("negative"), "{below}");
    }

    #[test]
    fn negatives_and_holes_are_told() {
        let negative = why(star(-40.0));
        assert!(
            negative.contains("is as clear below the sky: is it a negative?"),
            "{negative}"
        );
        let mut holes = star(0.0);
        holes.slice_mut(ndarray::s![30.., ..]).fill(f64::NAN);
        let holes = why(holes);
        assert!(
            holes.contains("; 8400 of 12000 pixels have no value"),
            "{holes}"
        );
    }
}
