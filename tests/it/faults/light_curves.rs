//! A night of one field: which model makes the steadiest light curves.

use std::path::Path;

use ndarray::Array2;
use starfit::backend::CpuBackend;
use starfit::catalog::Row;
use starfit::fitter::Fitter;
use starfit::image::Image;
use starfit::io::fits::{Value, write_image};
use starfit::measure::{MeasureOptions, measure_image};
use starfit::model;
use starfit::numbers::median;
use starfit::solver::LevenbergMarquardt;

use super::field::{Field, Truth};
use crate::cli::{folder, starfit};

const FRAMES: usize = 12;
const BETA: f64 = 3.0;
const GAIN: f64 = 1.5;

/// Adds a Moffat star with the usual wings.
fn add_moffat(light: &mut Array2<f64>, star: &Truth, fwhm: f64) {
    const REACH: f64 = 40.0;
    let gamma = 0.5 * fwhm / (BETA.recip().exp2() - 1.0).sqrt();
    let peak = star.flux * (BETA - 1.0) / (std::f64::consts::PI * gamma * gamma);
    for ((y, x), pixel) in light.indexed_iter_mut() {
        let (dx, dy) = (x as f64 - star.x, y as f64 - star.y);
        if dx.abs() < REACH && dy.abs() < REACH {
            let r2 = (dx * dx + dy * dy) / (gamma * gamma);
            *pixel += peak * (1.0 + r2).powf(-BETA);
        }
    }
}

/// The frames: the field drifts by some pixels, the seeing and the air change.
fn night(seed: u64) -> Vec<(Array2<f64>, Field)> {
    let field = Field::new((200, 200), 36, (2e4, 2e5), 22.0, 3.0, seed);
    (0..FRAMES)
        .map(|frame| {
            let turn = frame as f64 / FRAMES as f64 * std::f64::consts::TAU;
            let fwhm = 3.3 + 0.9 * (2.0 * turn).sin();
            let clear = 0.9 + 0.1 * turn.cos();
            let mut field = field.clone();
            field.rng = crate::common::rng(seed + 1 + frame as u64);
            for star in &mut field.stars {
                star.x += 2.7 * turn.cos();
                star.y += 1.9 * turn.sin();
                star.flux *= clear;
            }
            field.light.fill(0.0);
            for star in field.stars.clone() {
                add_moffat(&mut field.light, &star, fwhm);
            }
            (field.expose(200.0, GAIN, 5.0), field)
        })
        .collect()
}

/// Median over the stars of the scatter of their light curves, magnitudes, once the median of all
/// stars is taken out of each frame.
fn scatter(night: &[(Array2<f64>, Field)], name: &str, fixed: &[(&str, f64)]) -> f64 {
    let options = MeasureOptions {
        gain: Some(GAIN),
        fixed: fixed
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some(*value)))
            .collect(),
        ..MeasureOptions::default()
    };
    let fitter = Fitter::new(
        model::by_name(name).unwrap(),
        Box::new(LevenbergMarquardt::default()),
        Box::new(CpuBackend::default()),
    );
    // Magnitudes, a row for each frame: fainter is larger, NaN where a star is not found.
    let frames: Vec<Vec<f64>> = night
        .iter()
        .map(|(pixels, field)| {
            let image = Image::from_pixels("frame", pixels.clone());
            let rows = measure_image(&image, None, &options, &fitter).unwrap().rows;
            let pairs = field.pairs(&rows);
            let magnitude = |star: &Truth| {
                let is_it = |(other, row): &&(&Truth, &Row)| {
                    std::ptr::eq(*other, star) && row.status.has_values()
                };
                let row = pairs.iter().find(is_it).map(|(_, row)| row);
                row.map_or(f64::NAN, |row| -2.5 * row.get("flux").unwrap().log10())
            };
            field.stars.iter().map(magnitude).collect()
        })
        .collect();
    let middle = |values: &mut dyn Iterator<Item = f64>| {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        median(&mut values).unwrap()
    };
    let stars = frames[0].len();
    let means: Vec<f64> = (0..stars)
        .map(|star| middle(&mut frames.iter().map(|frame| frame[star])))
        .collect();
    let curves: Vec<Vec<f64>> = frames
        .iter()
        .map(|frame| {
            let differences = || frame.iter().zip(&means).map(|(value, mean)| value - mean);
            let air = middle(&mut differences());
            differences().map(|difference| difference - air).collect()
        })
        .collect();
    let mut scatters = (0..stars).map(|star| {
        let curve = curves.iter().map(|frame| frame[star]);
        let curve: Vec<f64> = curve.filter(|value| value.is_finite()).collect();
        assert!(curve.len() > FRAMES / 2, "{name}: star {star} is lost");
        let squares: f64 = curve.iter().map(|value| value * value).sum();
        (squares / (curve.len() - 1) as f64).sqrt()
    });
    middle(&mut scatters)
}

#[test]
fn a_free_beta_scatters_light_curves_and_a_held_one_does_not() {
    let night = night(71);
    let gaussian = scatter(&night, "gaussian", &[]);
    let free = scatter(&night, "moffat", &[]);
    let held = scatter(&night, "moffat", &[("beta", BETA)]);
    // Holding a wrong one does no harm: what is lost of the wings is the same of all stars.
    let wrong = scatter(&night, "moffat", &[("beta", 4.0)]);
    println!(
        "scatter of light curves, mag: gaussian {gaussian:.4}, moffat {free:.4}, with beta held at \
         3 {held:.4}, at 4 {wrong:.4}"
    );
    assert!(free > 1.5 * gaussian && free > 1.5 * held);
    for good in [held, wrong] {
        assert!((good / gaussian - 1.0).abs() < 0.25);
    }
}

fn write_night(folder: &Path, frames: usize) {
    for (at, (pixels, _)) in night(72).iter().take(frames).enumerate() {
        let cards = [starfit::io::fits::Card::new("GAIN", Value::Float(GAIN), "")];
        let path = folder.join(format!("frame{at}.fits"));
        write_image(&path, pixels, starfit::io::fits::PixelType::F32, &cards).unwrap();
    }
}

#[test]
fn who_fits_a_night_with_a_free_beta_is_told_what_light_curves_need() {
    let folder = folder();
    write_night(folder.path(), 3);
    let said = |options: &str, input: &str| {
        let mut args = vec!["fit", "--backend", "cpu", "-o", "night.csv", input];
        args.extend(options.split_whitespace());
        let ran = starfit(folder.path(), &args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr
    };
    let words = said("--model moffat", "frame*.fits");
    let (_, beta) = words.split_once("hint: for light curves ").unwrap();
    let (_, beta) = beta.split_once("--fix beta=").unwrap();
    let beta: f64 = beta.split(':').next().unwrap().parse().unwrap();
    assert!((beta / BETA - 1.0).abs() < 0.2, "{words}");
    assert!(said("--model elliptical-moffat", "frame*.fits").contains("hint: for light curves"));
    for (options, input) in [
        ("--model moffat --fix beta=3", "frame*.fits"),
        ("--model gaussian", "frame*.fits"),
        ("--model moffat", "frame0.fits"),
    ] {
        let words = said(options, input);
        assert!(!words.contains("light curves"), "{options}: {words}");
    }
}
