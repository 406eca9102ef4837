//! Detection against the truth of simulated fields and against what others find on real images.

use std::collections::HashMap;

use starfit::background::Background;
use starfit::detect::{DetectOptions, Detection, detect};
use starfit::image::Image;
use starfit::io::fits::{FitsFile, FitsPath};

use crate::common::{data, read_csv};

type Row = HashMap<String, f64>;

fn image(path: &str) -> Option<Image> {
    let path = FitsPath {
        path: data(path)?,
        hdu: None,
    };
    Some(FitsFile::open(&path).unwrap().image(0).unwrap())
}

fn rows(path: &str) -> Option<Vec<Row>> {
    Some(read_csv(&data(path)?))
}

fn found(image: &Image, options: &DetectOptions) -> Vec<Detection> {
    let cell = Background::cell_for(image.width(), image.height());
    detect(
        image,
        &Background::estimate(image.pixels.view(), cell),
        options,
    )
}

/// Part of `rows`, moved by `shift` pixels, with a detection nearer than `within` pixels.
fn part_found<'a>(
    rows: impl IntoIterator<Item = &'a Row>,
    found: &[Detection],
    shift: f64,
    within: f64,
) -> f64 {
    let near = |row: &&Row| {
        found
            .iter()
            .any(|d| (d.x - row["x"] - shift).hypot(d.y - row["y"] - shift) < within)
    };
    let rows: Vec<&Row> = rows.into_iter().collect();
    assert!(rows.len() > 5, "{} stars to judge by", rows.len());
    rows.iter().filter(|row| near(row)).count() as f64 / rows.len() as f64
}

/// Part of the detections without a row of `truth` within 2 pixels.
fn part_false(found: &[Detection], truth: &[Row]) -> f64 {
    let is_false = |d: &&Detection| {
        truth
            .iter()
            .all(|row| (d.x - row["x"]).hypot(d.y - row["y"]) >= 2.0)
    };
    found.iter().filter(is_false).count() as f64 / found.len() as f64
}

#[test]
fn simulated_stars_are_found_and_nothing_else() {
    for (name, gain, saturation) in [
        ("sim_dev_const", 2.5, 60_000.0),
        ("sim_dev_vary", 2.0, 62_000.0),
    ] {
        let Some(image) = image(&format!("data/sim/{name}.fits.fz")) else {
            return;
        };
        let Some(truth) = rows(&format!("data/sim/{name}.truth.csv")) else {
            return;
        };
        let clear = |row: &&Row| {
            row["nn_dist"] > 12.0
                && row["saturated"] == 0.0
                && row["edge"] == 0.0
                && row["snr"] > 15.0
        };
        let known = DetectOptions {
            gain: Some(gain),
            saturation,
            ..Default::default()
        };
        // The right width and half and nearly twice of it; with gain and saturation and without.
        for (fwhm, least) in [(3.8, 0.99), (2.0, 0.97), (6.0, 0.97)] {
            for options in [
                DetectOptions {
                    fwhm,
                    ..known.clone()
                },
                DetectOptions {
                    fwhm,
                    ..Default::default()
                },
            ] {
                let found = found(&image, &options);
                let part = part_found(truth.iter().filter(clear), &found, 0.0, 1.0);
                let wrong = part_false(&found, &truth);
                println!(
                    "{name} fwhm {fwhm}: {} found, {part} of clear, {wrong} false",
                    found.len()
                );
                assert!(
                    part >= least && wrong <= 0.01,
                    "{name} fwhm {fwhm}: {part} {wrong}"
                );
                assert!(part_found(truth.iter().filter(clear), &found, 3.0, 1.0) < 0.1);
            }
        }
        let low = found(
            &image,
            &DetectOptions {
                threshold: 2.0,
                ..known.clone()
            },
        );
        assert!(
            part_false(&low, &truth) > 0.1,
            "{}",
            part_false(&low, &truth)
        );

        let saturated: Vec<Detection> = found(&image, &known)
            .into_iter()
            .filter(|detection| detection.saturated)
            .collect();
        assert!(saturated.len() >= 7 && part_false(&saturated, &truth) == 0.0);
    }
}

#[test]
fn odd_files_hold_the_same_six_stars() {
    let Some(truth) = rows("data/bad/base_truth.csv") else {
        return;
    };
    let options = DetectOptions {
        fwhm: 4.2,
        ..Default::default()
    };
    for name in [
        "base",
        "negative_sky",
        "pedestal_1e6_f64",
        "scale_1e-20_f32",
        "scale_1e30_f32",
        "int64",
        "uint16_bzero",
        "uint8",
        "nan_inf_pixels",
        "blank_int16",
    ] {
        let Some(image) = image(&format!("data/bad/{name}.fits")) else {
            return;
        };
        let found = found(&image, &options);
        assert_eq!(found.len(), 6, "{name}: {found:?}");
        // Stars with holes are found a little off.
        let within = if name.starts_with("nan") { 1.0 } else { 0.5 };
        assert_eq!(
            part_found(&truth, &found, 0.0, within),
            1.0,
            "{name}: {found:?}"
        );
        assert_eq!(part_found(&truth, &found, 2.0, within), 0.0);
    }
    for name in ["constant", "all_nan", "tiny_3x3", "strip_1xN"] {
        let Some(image) = image(&format!("data/bad/{name}.fits")) else {
            return;
        };
        assert_eq!(found(&image, &options), [], "{name}");
    }
}
