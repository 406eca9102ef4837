//! The front door of the library: one call from pixels to stars.

use std::path::Path;

use ndarray::{Array2, Array3};
use starfit::backend::CpuBackend;
use starfit::catalog::{ColumnValues, Row};
use starfit::io::fits::{FitsFile, FitsPath};
use starfit::measure::{MeasureOptions, measure_image};
use starfit::planes::MaskRule;
use starfit::settings::{Companion, SolverSettings};
use starfit::simulate::Stack;
use starfit::{Pixel, Settings, Stars, fit_cutouts, fit_image, model};

use crate::cli::folder;
use crate::common::own_data;

/// Every value of every row.
fn text(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .map(|row| format!("{:?}", row.values("").collect::<Vec<_>>()))
        .collect()
}

#[test]
fn an_image_is_one_call() {
    let path = own_data("panoptes.fits.fz");
    let settings = Settings {
        measure: MeasureOptions {
            threshold: 20.0,
            ..MeasureOptions::default()
        },
        ..Settings::default()
    };
    let stars = fit_image(&path, &settings).unwrap();
    assert!(stars.len() > 100, "{}", stars.len());

    let file = FitsFile::open(&FitsPath { path, hdu: None }).unwrap();
    let image = file.image(0).unwrap();
    let fitter = settings.fitter(Box::new(CpuBackend::default())).unwrap();
    let parts = measure_image(&image, None, &settings.measure, &fitter).unwrap();
    assert_eq!(text(&stars.rows), text(&parts.rows));
    assert_eq!(stars.assumed, parts.assumed);
    let in_memory = fit_image(&image, &settings).unwrap();
    assert_eq!(text(&in_memory.rows), text(&parts.rows));

    let flux = stars.column("flux").unwrap();
    let flags = stars.column("flags").unwrap();
    for ((row, flux), flags) in stars.rows.iter().zip(&flux).zip(flags) {
        assert_eq!(row.get("flux"), Some(*flux).filter(|flux| flux.is_finite()));
        assert_eq!(f64::from(row.flags.0), flags);
    }
    let ColumnValues::Texts(statuses) = stars.values("status").unwrap() else {
        panic!("statuses are texts")
    };
    let names = stars.rows.iter().map(|row| row.status.name());
    assert!(names.eq(statuses.iter().flatten().map(|name| &**name)));
    let error = stars.column("fluxx").unwrap_err().to_string();
    assert!(
        error.contains("fluxx") && error.contains("flux_err"),
        "{error}"
    );
    assert!(stars.column("status").is_err());
}

#[test]
fn cutouts_are_one_call_whatever_their_numbers_are() {
    let simulated = Stack::w2(200, 7);
    let whole = simulated.pixels.mapv(f32::round);
    let settings = Settings {
        measure: MeasureOptions {
            gain: Some(simulated.camera.gain),
            read_noise: Some(simulated.camera.read_noise),
            ..MeasureOptions::default()
        },
        ..Settings::default()
    };
    fn rows<T: Pixel>(cutouts: &Array3<T>, settings: &Settings) -> Stars {
        fit_cutouts(cutouts.view(), settings).unwrap()
    }
    let stars = rows(&whole, &settings);
    assert_eq!(stars.len(), 200);
    let truth = simulated.truth.iter().map(|truth| truth.parameters[0]);
    let pulls: Vec<f64> = stars
        .column("flux")
        .unwrap()
        .into_iter()
        .zip(stars.column("flux_err").unwrap())
        .zip(truth)
        .map(|((flux, error), truth)| (flux - truth) / error)
        .collect();
    let pull = (pulls.iter().map(|pull| pull * pull).sum::<f64>() / 200.0).sqrt();
    assert!((0.85..1.15).contains(&pull), "{pull}");

    let expected = text(&stars.rows);
    assert_eq!(
        text(&rows(&whole.mapv(f64::from), &settings).rows),
        expected
    );
    assert_eq!(
        text(&rows(&whole.mapv(|v| v as i32), &settings).rows),
        expected
    );
    assert_eq!(
        text(&rows(&whole.mapv(|v| v as u16), &settings).rows),
        expected
    );
    // Any view, such as one of an array in Fortran's order.
    let turned = whole.clone().reversed_axes();
    let view = turned.view().reversed_axes();
    let of_view = fit_cutouts(view, &settings).unwrap();
    assert_eq!(text(&of_view.rows), expected);

    let mut holed = whole.clone();
    holed[[3, 7, 7]] = f32::INFINITY;
    let of_holed = rows(&holed, &settings);
    assert_eq!(of_holed.rows[3].get("n_pixels"), Some(15.0 * 15.0 - 1.0));
    assert_eq!(text(&of_holed.rows[4..]), expected[4..]);

    // The files that settings name are read.
    let folder = folder();
    let path = folder.path().join("mask.npy");
    let mut mask = Array2::<u8>::zeros((15, 15));
    mask[[0, 0]] = 1;
    ndarray_npy::write_npy(&path, &mask).unwrap();
    let masked = Settings {
        mask: Some((Companion::of(&path).unwrap(), MaskRule::NotZero)),
        ..settings.clone()
    };
    let of_masked = rows(&whole, &masked);
    assert_eq!(of_masked.rows[0].get("n_pixels"), Some(15.0 * 15.0 - 1.0));
    let own = Settings {
        mask: Some((Companion::of(Path::new("[DQ]")).unwrap(), MaskRule::NotZero)),
        ..settings
    };
    let error = fit_cutouts(whole.view(), &own).unwrap_err().to_string();
    assert!(error.contains("DQ"), "{error}");
}

#[test]
fn settings_are_what_a_catalogue_keeps_of_them() {
    let settings = Settings {
        solver: SolverSettings::GradientDescent {
            learning_rate: 0.5,
            max_iterations: 77,
        },
        tolerance: 1e-4,
        measure: MeasureOptions {
            size: Some(21),
            fwhm: Some(3.5),
            threshold: 7.0,
            gain: Some(1.5),
            read_noise: Some(4.0),
            bias: 100.0,
            saturation: Some(f64::INFINITY),
            weighted: false,
            zero_point: Some(25.0),
            one_based: true,
            fixed: vec![("beta".into(), Some(3.0)), ("x".into(), None)],
            bounds: vec![("fwhm".into(), 1.0, f64::INFINITY)],
            ..MeasureOptions::default()
        },
        cutouts: true,
        ..Settings::default().with_model(model::by_name("moffat").unwrap())
    };
    for settings in [settings, Settings::default()] {
        let json = settings.to_json();
        let again = Settings::from_json(&json);
        assert_eq!(again.to_json(), json);
        assert_eq!(again.solver, settings.solver);
        assert_eq!(again.measure.bounds, settings.measure.bounds);
    }
    let unknown = Settings::from_json(&serde_json::json!({"model": "sersic"}));
    let error = unknown.fitter(Box::new(CpuBackend::default())).unwrap_err();
    assert!(error.to_string().contains("model"), "{error}");
}
