//! The gain: a header that does not know it, or says what cannot be.

use ndarray::Array2;
use starfit::error::Error;
use starfit::estimator::Estimator;
use starfit::image::{Header, Image, StatedGain};
use starfit::io::fits::{FitsFile, FitsPath};
use starfit::measure::{MeasureOptions, Measured, measure_image};

use super::field::{Field, Truth, fitter, pull};
use crate::common::data;

/// A field of stars with signal-to-noise ratios of 10 to 1,500, on a sky of so many electrons and a bias.
fn field(gain: f64, sky: f64, seed: u64) -> (Field, Array2<f64>) {
    let low = 12.0 * (sky + 25.0_f64).sqrt() / gain * 4.7;
    let mut field = Field::new((480, 640), 120, (low, 3e5), 22.0, 3.0, seed);
    let pixels = field.expose(sky / gain, gain, 5.0);
    (field, pixels + 300.0)
}

fn header(gains: &[(&str, f64)]) -> Header {
    let stated = |&(keyword, value): &(&str, f64)| StatedGain {
        keyword: keyword.into(),
        value,
    };
    Header {
        gains: gains.iter().map(stated).collect(),
        ..Header::default()
    }
}

fn measure(pixels: Array2<f64>, header: Header, options: &MeasureOptions) -> Measured {
    let image = Image {
        header,
        ..Image::from_pixels("field", pixels)
    };
    measure_image(&image, None, options, &fitter()).unwrap()
}

/// Widths of the pulls of flux, x and y of the stars with a signal-to-noise ratio of 20 to 1,500, where data
/// units are `scale` of those of the truth.
fn pulls(measured: &Measured, field: &Field, scale: f64) -> [f64; 3] {
    let mut pairs = field.pairs(&measured.rows);
    assert_eq!(pairs.len(), field.stars.len(), "every star is found");
    pairs.retain(|(_, row)| {
        row.get("snr")
            .is_some_and(|snr| (20.0..1500.0).contains(&snr))
    });
    [
        pull(&pairs, "flux", |star: &Truth| star.flux * scale),
        pull(&pairs, "x", |star| star.x),
        pull(&pairs, "y", |star| star.y),
    ]
}

/// A hundred stars know the width of their pulls to 0.07: within 3.5 times that of 1.
fn are_right(pulls: &[f64; 3]) -> bool {
    pulls.iter().all(|pull| (0.75..1.25).contains(pull))
}

/// Its name, electrons for each unit, electrons of the sky, and the cards of the gain.
type Case<'a> = (&'a str, f64, f64, &'a [(&'a str, f64)]);

#[test]
fn errors_count_the_photons_whatever_the_header_says() {
    let cases: [Case<'_>; 6] = [
        ("no card", 1.5, 100.0, &[]),
        ("no card, little gain", 0.25, 800.0, &[]),
        ("no card, much sky", 4.0, 5000.0, &[]),
        (
            "a setting beside EGAIN",
            0.25,
            800.0,
            &[("EGAIN", 0.25), ("GAIN", 10.0)],
        ),
        ("a setting alone", 0.25, 800.0, &[("GAIN", 26.0)]),
        (
            "nothing beside EGAIN",
            0.25,
            800.0,
            &[("EGAIN", 0.25), ("GAIN", 0.0)],
        ),
    ];
    let mut squares = [0.0; 3];
    for (number, (name, gain, sky, gains)) in cases.into_iter().enumerate() {
        let (field, pixels) = field(gain, sky, 200 + number as u64);
        let measured = measure(pixels, header(gains), &MeasureOptions::default());
        let pulls = pulls(&measured, &field, 1.0);
        println!(
            "{name}: gain {:?}, pulls {pulls:.2?}",
            measured.assumed.gain
        );
        assert!(are_right(&pulls), "{name}: {pulls:?}");
        let is_stated = gains.first().is_some_and(|(card, _)| *card == "EGAIN");
        assert_eq!(measured.assumed.gain_err.is_none(), is_stated);
        for (square, pull) in squares.iter_mut().zip(pulls) {
            *square += pull * pull / 6.0;
        }
    }
    // Six hundred stars know it to 0.03.
    for square in squares {
        assert!((0.9..1.1).contains(&square.sqrt()), "{squares:?}");
    }
}

/// Negative control: what the user says is believed, and shows.
#[test]
fn a_wrong_gain_gives_wrong_errors() {
    let (field, pixels) = field(0.25, 800.0, 210);
    for gain in [10.0, 0.02] {
        let options = MeasureOptions {
            gain: Some(gain),
            ..MeasureOptions::default()
        };
        let measured = measure(pixels.clone(), Header::default(), &options);
        let pulls = pulls(&measured, &field, 1.0);
        assert!(!are_right(&pulls), "{gain}: {pulls:?}");
    }
}

#[test]
fn a_rate_is_counted_by_its_exposure() {
    for (unit, gains, exposure) in [
        ("electron/s", vec![("GAIN", 45.0)], 45.0),
        ("e-/s", vec![], 45.0),
        ("adu/s", vec![("EGAIN", 1.5)], 30.0),
    ] {
        let mut field = Field::new((480, 640), 120, (30.0, 1e4), 22.0, 2.8, 220);
        let pixels = field.expose(400.0 / 45.0, 45.0, 5.0);
        let header = Header {
            unit: Some(unit.into()),
            exposure: Some(exposure),
            ..header(&gains)
        };
        let measured = measure(pixels, header, &MeasureOptions::default());
        assert_eq!(measured.assumed.gain, Some(45.0), "{unit}");
        let pulls = pulls(&measured, &field, 1.0);
        assert!(are_right(&pulls), "{unit}: {pulls:?}");
    }
}

#[test]
fn the_gain_of_a_raw_frame_is_not_that_of_a_rescaled_one() {
    for (name, scale) in [("0..1", 1.0 / 65535.0), ("a mean of many", 1.0 / 300.0)] {
        let mut field = Field::new((300, 400), 60, (3e3, 2e5), 18.0, 3.0, 34);
        let pixels = field.expose(1000.0, 1.5, 5.0) * scale;
        let options = MeasureOptions::default();
        let measured = measure(pixels.clone(), header(&[("GAIN", 1.5)]), &options);
        let found = measured.assumed.gain.unwrap();
        assert!((found * scale / 1.5 - 1.0).abs() < 0.5, "{name}: {found}");
        let pulls = pulls(&measured, &field, scale);
        assert!(are_right(&pulls), "{name}: {pulls:?}");

        // Counts they are not.
        let image = Image {
            header: header(&[("GAIN", 1.5)]),
            ..Image::from_pixels("scaled", pixels)
        };
        let mut poisson = fitter();
        poisson.estimator = Estimator::Poisson;
        let error = measure_image(&image, None, &options, &poisson).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
    // Those of the frame itself are.
    let mut field = Field::new((300, 400), 60, (3e3, 2e5), 18.0, 3.0, 34);
    let image = Image {
        header: header(&[("GAIN", 1.5)]),
        ..Image::from_pixels("raw", field.expose(1000.0, 1.5, 5.0))
    };
    let mut poisson = fitter();
    poisson.estimator = Estimator::Poisson;
    let measured = measure_image(&image, None, &MeasureOptions::default(), &poisson).unwrap();
    assert!(are_right(&pulls(&measured, &field, 1.0)));
}

/// Stars that a Gaussian does not quite fit, the brightest clipped at a level that nobody states: where the gain is
/// not seen, photons are not silently left out.
#[test]
fn a_gain_that_is_not_seen_is_not_taken_for_none() {
    let Some(path) = data("data/sim/sim_dev_const.fits.fz") else {
        return;
    };
    let file = FitsFile::open(&FitsPath { path, hdu: None }).unwrap();
    let image = file.image(0).unwrap();
    let stated = measure_image(&image, None, &MeasureOptions::default(), &fitter()).unwrap();
    assert_eq!(stated.assumed.gain, Some(2.5));
    let mut silent = image;
    silent.header.gains.clear();
    silent.header.saturation = None;
    let assumed = measure_image(&silent, None, &MeasureOptions::default(), &fitter())
        .unwrap()
        .assumed;
    let is_found = assumed
        .gain
        .zip(assumed.gain_err)
        .is_some_and(|(gain, error)| (gain - 2.5).abs() < 3.0 * error);
    assert!(is_found || assumed.by_residuals, "{assumed:?}");
}
