//! Simulated truth: fits scatter round it by as much as their errors say.

use starfit::backend::CpuBackend;
use starfit::catalog::COLUMNS;
use starfit::cutout::Noise;
use starfit::fit::FitStatus;
use starfit::fitter::Fitter;
use starfit::model::MODELS;
use starfit::simulate::{Camera, SimulationOptions, Stack};
use starfit::solver::LevenbergMarquardt;

/// Mean and standard deviation.
fn mean_and_width(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, variance.sqrt())
}

const COUNT: usize = 10_000;

/// The pulls (fit - truth) / error of every quantity of the catalogue that has an error.
fn pulls(stack: &Stack, noise: Noise) -> Vec<(&'static str, Vec<f64>)> {
    let model = stack.model;
    let mut fitter = Fitter::new(
        model,
        Box::new(LevenbergMarquardt::default()),
        Box::new(CpuBackend::default()),
    );
    let fits = fitter.fit(&stack.batch(noise, None)).unwrap();
    assert!(fits.iter().all(|fit| fit.status == FitStatus::Converged));
    let names: Vec<&'static str> = model
        .quantities(&stack.truth[0].parameters)
        .iter()
        .map(|q| q.column)
        .collect();
    let mut all: Vec<(&'static str, Vec<f64>)> =
        names.into_iter().map(|name| (name, Vec::new())).collect();
    for (fit, truth) in fits.iter().zip(&stack.truth) {
        let (found, wanted) = (
            model.quantities(&fit.parameters),
            model.quantities(&truth.parameters),
        );
        for ((found, wanted), (_, pulls)) in found.iter().zip(&wanted).zip(&mut all) {
            pulls.push((found.value - wanted.value) / fit.error(model, found).unwrap());
        }
    }
    // The peak's error is stated nowhere.
    all.retain(|(name, _)| {
        COLUMNS
            .iter()
            .any(|column| column.name == format!("{name}_err"))
    });
    all
}

/// The standard error of the mean of so many pulls is 0.01, that of their width 0.007.
#[test]
fn pulls_have_mean_zero_and_width_one() {
    for &model in MODELS {
        let camera = Camera {
            gain: 1.5,
            read_noise: 5.0,
        };
        let known = Noise::Known {
            gain: Some(camera.gain),
            read_noise: camera.read_noise,
        };
        for snr in [50.0, 200.0] {
            let options = SimulationOptions {
                model,
                snr: (snr, snr),
                camera,
                seed: 11,
                ..SimulationOptions::default()
            };
            let stack = Stack::new(COUNT, 15, &options).unwrap();
            for (name, noise) in [("noise", known), ("unit", Noise::Unit)] {
                for (column, pulls) in pulls(&stack, noise) {
                    let (mean, width) = mean_and_width(&pulls);
                    println!(
                        "{} S/N {snr} {name} weights: {column} mean {mean:+.3} width {width:.3}",
                        model.name()
                    );
                    assert!(
                        mean.abs() < 0.05,
                        "{} {snr} {name} {column}: mean {mean}",
                        model.name()
                    );
                    assert!(
                        (width - 1.0).abs() < 0.05,
                        "{} {snr} {name} {column}: width {width}",
                        model.name()
                    );
                }
            }
        }
    }
}

/// What an error that is wrong by a tenth, or a fit that is off by a fifth of it, would look like.
#[test]
fn wrong_errors_would_be_seen() {
    let options = SimulationOptions {
        snr: (200.0, 200.0),
        seed: 12,
        ..SimulationOptions::default()
    };
    let stack = Stack::new(COUNT, 15, &options).unwrap();
    let Camera { gain, read_noise } = stack.camera;
    for (_, pulls) in pulls(
        &stack,
        Noise::Known {
            gain: Some(gain),
            read_noise,
        },
    ) {
        let wrong: Vec<f64> = pulls.iter().map(|pull| 1.1 * pull + 0.2).collect();
        let (mean, width) = mean_and_width(&wrong);
        assert!(mean.abs() > 0.05 && (width - 1.0).abs() > 0.05);
    }
    // The errors of a camera with half the gain.
    let halved = pulls(
        &stack,
        Noise::Known {
            gain: Some(gain / 2.0),
            read_noise,
        },
    );
    assert!(
        halved
            .iter()
            .all(|(_, pulls)| (mean_and_width(pulls).1 - 1.0).abs() > 0.05)
    );
}

/// A sky that has been subtracted leaves no level to compute its noise from.
#[test]
fn errors_are_right_where_the_sky_has_been_subtracted() {
    let options = SimulationOptions {
        snr: (100.0, 100.0),
        seed: 13,
        ..SimulationOptions::default()
    };
    let mut stack = Stack::new(COUNT, 15, &options).unwrap();
    stack.pixels -= options.background as f32;
    for truth in &mut stack.truth {
        truth.parameters[4] -= options.background;
    }
    let Camera { gain, read_noise } = stack.camera;
    for (column, pulls) in pulls(
        &stack,
        Noise::Known {
            gain: Some(gain),
            read_noise,
        },
    ) {
        let (mean, width) = mean_and_width(&pulls);
        println!("sky subtracted: {column} mean {mean:+.3} width {width:.3}");
        // Each cutout's noise is known from some fifty pixels only, to a tenth.
        assert!(
            mean.abs() < 0.05 && (width - 1.0).abs() < 0.1,
            "{column}: {mean} {width}"
        );
    }
}
