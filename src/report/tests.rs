//! From a fit through the database back to its pixels.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3, arr2};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::backend::ReferenceBackend;
use crate::catalog::{self, ImageInfo, Row, RunInfo};
use crate::estimator::Estimator;
use crate::fit::{FitStatus, Flags};
use crate::fitter::Fitter;
use crate::image::{Header, Source};
use crate::io::fits::{FitsFile, FitsPath};
use crate::io::npy;
use crate::measure::{Cutouts, MeasureOptions, Measured, measure_image, measure_stack};
use crate::model::{self, Gaussian, MODELS, Model, Moments};
use crate::solver::LevenbergMarquardt;
use crate::star::{Star, StarList};

fn fitter(model: &'static dyn Model) -> Fitter {
    let solver = Box::new(LevenbergMarquardt::default());
    Fitter::new(model, solver, Box::new(ReferenceBackend))
}

/// A database of one image with these rows, and its record.
pub(super) fn written(
    folder: &Path,
    info: &ImageInfo,
    settings: Value,
    rows: &[Row],
) -> ImageRecord {
    let path = folder.join("a.db");
    let run = RunInfo {
        settings,
        ..RunInfo::default()
    };
    let mut writer = catalog::create(&path, &run).unwrap();
    writer.write(info, rows).unwrap();
    writer.finish().unwrap();
    let records = Records::open(&path).unwrap();
    records.images(&[], Some(run_of(&path))).unwrap().remove(0)
}

fn run_of(path: &Path) -> i64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    let sql = "SELECT max(run_id) FROM runs";
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// A copy of the shipped field of six stars.
pub(super) fn field() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.fits");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/base.fits");
    fs::copy(shipped, &path).unwrap();
    (folder, path)
}

pub(super) fn fitted(
    path: &Path,
    model: &'static dyn Model,
    options: &MeasureOptions,
) -> (ImageInfo, Measured) {
    let image = FitsFile::open(&FitsPath::parse(path).unwrap()).unwrap();
    let image = image.image(0).unwrap();
    let measured = measure_image(&image, None, options, &fitter(model)).unwrap();
    // Again from where the stars are: pictures are cut out there.
    let stars = measured.rows.iter().map(|row| Star {
        id: row.id,
        x: row.get("x").unwrap() - f64::from(u8::from(options.one_based)),
        y: row.get("y").unwrap() - f64::from(u8::from(options.one_based)),
    });
    let list = StarList::from_stars(stars.collect());
    let measured = measure_image(&image, Some(&list), options, &fitter(model)).unwrap();
    let mut info = ImageInfo::new(&image);
    info.assumed = measured.assumed;
    (info, measured)
}

#[test]
fn columns_becomesthe_parameters_that_they_are_from() {
    let mut rng = Pcg64::seed_from_u64(1);
    for model in MODELS {
        for first_pixel in [0.0, 1.0] {
            let round = Moments::round(
                rng.random_range(100.0..1e6),
                (rng.random_range(0.0..900.0), rng.random_range(0.0..900.0)),
                rng.random_range(0.8..4.0),
                rng.random_range(-50.0..1000.0),
            );
            let moments = Moments {
                xy: round.xx * rng.random_range(-0.6..0.6),
                ..round
            };
            let parameters = model.start(&moments);
            let mut star = Row::new(0, FitStatus::Converged, Flags(0));
            for quantity in model.quantities(&parameters) {
                star.set(quantity.column, quantity.value);
            }
            for column in ["x", "y"] {
                star.set(column, star.get(column).unwrap() + first_pixel);
            }
            let found = parameters_of(*model, &star, first_pixel).unwrap();
            let is_same = |found: &[f64]| {
                let mut all = found.iter().zip(&parameters);
                all.all(|(a, b)| (a - b).abs() <= 1e-9 * b.abs().max(1.0))
            };
            assert!(
                is_same(&found),
                "{}: {found:?} {parameters:?}",
                model.name()
            );
            let shifted = parameters_of(*model, &star, 1.0 - first_pixel).unwrap();
            assert!(!is_same(&shifted), "{}", model.name());
            star.set("flux", f64::NAN);
            assert!(parameters_of(*model, &star, first_pixel).is_none());
        }
    }
}

/// Chi-square from the catalogue's columns and the pixels is the one that the fit found: pixels,
/// cutout, weights, parameters and model are all the same again.
#[test]
fn chi_square_comes_out_again() {
    for model in MODELS {
        for (one_based, weights) in [(false, "noise"), (true, "noise"), (true, "unit")] {
            let (folder, path) = field();
            let options = MeasureOptions {
                one_based,
                gain: Some(1.5),
                saturation: Some(1700.0),
                weighted: weights == "noise",
                ..MeasureOptions::default()
            };
            let (info, measured) = fitted(&path, *model, &options);
            let settings =
                json!({"model": model.name(), "weights": weights, "fits_pixels": one_based});
            let record = written(folder.path(), &info, settings, &measured.rows);
            let scene = Scene::open(&record).unwrap();
            let mut compared = 0;
            // Between two pixels start and end may not be rounded alike.
            let is_clear = |at: Option<f64>| (at.unwrap().rem_euclid(1.0) - 0.5).abs() > 0.05;
            let stars = measured.rows.iter().filter(|star| star.status.has_values());
            let stars = stars.filter(|star| is_clear(star.get("x")) && is_clear(star.get("y")));
            // Nor of one that has wandered from its start to the rim of the image.
            for star in stars.filter(|star| !star.flags.contains(Flags::TRUNCATED)) {
                let triplet = Triplet::new(&scene, star).unwrap();
                let fit = triplet.model.as_ref().unwrap();
                let expected = match fit.unit {
                    ResidualUnit::Noise => star.get("chi2").unwrap(),
                    ResidualUnit::Rms(rms) => star.get("chi2").unwrap() / (rms * rms),
                };
                assert_eq!(fit.unit == ResidualUnit::Noise, weights == "noise");
                let is_same = |found: f64| (found / expected - 1.0).abs() < 1e-6;
                assert!(
                    is_same(fit.chi2()),
                    "{}: {} {expected}",
                    model.name(),
                    fit.chi2()
                );
                compared += 1;
                let mut wrong = star.clone();
                wrong.set("x", star.get("x").unwrap() + 0.2);
                let wrong = Triplet::new(&scene, &wrong).unwrap().model.unwrap();
                if let ResidualUnit::Noise = fit.unit {
                    assert!(!is_same(wrong.chi2()));
                }
            }
            assert!(compared >= 4, "{}: {compared}", model.name());
        }
    }
}

#[test]
fn masks_and_variances_are_read_again() {
    let (folder, path) = field();
    let image = FitsFile::open(&FitsPath::parse(&path).unwrap()).unwrap();
    let mut image = image.image(0).unwrap();
    let (height, width) = image.pixels.dim();
    let list = StarList::from_stars(vec![Star {
        id: 0,
        x: 74.2,
        y: 60.9,
    }]);
    let bad = Array3::from_shape_fn((1, height, width), |(_, y, x)| {
        f32::from(u8::from((x, y) == (75, 63)))
    });
    let variance = Array3::from_shape_fn((1, height, width), |(_, y, _)| 100.0 + y as f32);
    let files = ["mask.npy", "variance.npy"].map(|name| folder.path().join(name));
    npy::write_stack(&files[0], &bad).unwrap();
    npy::write_stack(&files[1], &variance).unwrap();
    let plane = |stack: &Array3<f32>| stack.mapv(f64::from).index_axis_move(ndarray::Axis(0), 0);
    image.mask(&plane(&bad));
    image.variance = Some(plane(&variance));
    let options = MeasureOptions::default();
    let measured = measure_image(&image, Some(&list), &options, &fitter(&Gaussian)).unwrap();
    let mut info = ImageInfo::new(&image);
    info.assumed = measured.assumed;
    let file = |path: &Path| {
        let source = Source::of_file(path).unwrap();
        json!({"path": path, "bytes": source.bytes, "modified": source.modified, "hdu": null})
    };
    let settings =
        json!({"model": "gaussian", "mask": file(&files[0]), "variance": file(&files[1])});
    let record = written(folder.path(), &info, settings, &measured.rows);
    let star = &measured.rows[0];
    let triplet = |record| {
        let scene = Scene::open(record).unwrap();
        let triplet = Triplet::new(&scene, star).unwrap();
        (triplet, scene.notes().to_vec())
    };
    let (with, notes) = triplet(&record);
    assert!(notes.is_empty(), "{notes:?}");
    let fit = with.model.unwrap();
    let expected = star.get("chi2").unwrap();
    assert!((fit.chi2() / expected - 1.0).abs() < 1e-6);
    assert_eq!(with.data.iter().filter(|value| value.is_nan()).count(), 1);
    // Without them it is said, and the noise is unknown.
    fs::remove_file(&files[0]).unwrap();
    fs::write(&files[1], "something else").unwrap();
    let (without, notes) = triplet(&record);
    assert!(
        notes[0].contains("mask") && notes[0].contains("gone"),
        "{notes:?}"
    );
    assert!(
        notes[1].contains("variances") && notes[1].contains("changed"),
        "{notes:?}"
    );
    assert!(matches!(without.model.unwrap().unit, ResidualUnit::Rms(_)));
    assert!(!without.data.iter().any(|value| value.is_nan()));
}

#[test]
fn cutouts_of_a_stack_are_read_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let moments = |at: f64| Moments::round(5000.0, (6.0 + 0.1 * at, 7.0), 1.6, 150.0);
    let mut rng = Pcg64::seed_from_u64(3);
    let stack = Array3::from_shape_fn((9, 13, 15), |(at, y, x)| {
        let parameters = Gaussian.start(&moments(at as f64));
        let (value, _) = Gaussian.evaluate(&parameters, x as f64, y as f64);
        (value + rng.random_range(-8.0..8.0)) as f32
    });
    let npy_path = folder.path().join("stack.npy");
    npy::write_stack(&npy_path, &stack).unwrap();
    let header = Header::default();
    for estimator in Estimator::ALL {
        let options = MeasureOptions {
            bias: 100.0,
            gain: Some(2.0),
            read_noise: Some(3.0),
            ..MeasureOptions::default()
        };
        let mut fitter = fitter(&Gaussian);
        fitter.estimator = estimator;
        let pixels = stack.mapv(f64::from);
        let cutouts = Cutouts {
            name: "stack.npy",
            pixels: &pixels,
            variance: None,
            header: &header,
        };
        let measured = measure_stack(&cutouts, None, &options, &fitter).unwrap();
        let info = ImageInfo {
            name: "stack.npy".into(),
            source: Source::of_file(&npy_path).unwrap(),
            width: 15,
            height: 13,
            assumed: measured.assumed,
            ..ImageInfo::default()
        };
        let settings = json!({
            "model": "gaussian", "estimator": estimator.name(), "bias": 100.0, "read_noise": 3.0,
        });
        let record = written(folder.path(), &info, settings, &measured.rows);
        assert!(record.is_stack());
        let scene = Scene::open(&record).unwrap();
        assert!(scene.image().is_none());
        for star in &measured.rows {
            let triplet = Triplet::new(&scene, star).unwrap();
            assert_eq!(triplet.data[[3, 4]], pixels[[star.id, 3, 4]]);
            let fit = triplet.model.unwrap();
            assert_eq!(fit.unit, ResidualUnit::Noise);
            let ratio = fit.chi2() / star.get("chi2").unwrap();
            // Twice the log-likelihood ratio of counts is chi-square only where they are many.
            let tolerance = match estimator {
                Estimator::LeastSquares => 1e-6,
                Estimator::Poisson => 0.02,
            };
            assert!(
                (ratio - 1.0).abs() < tolerance,
                "{} {ratio}",
                estimator.name()
            );
        }
        let beyond = Row::new(9, FitStatus::Converged, Flags(0));
        assert!(Triplet::new(&scene, &beyond).is_err());
        let far = Row::new(usize::MAX, FitStatus::Converged, Flags(0));
        assert!(Triplet::new(&scene, &far).is_err());
    }
}

#[test]
fn pixels_that_are_not_there_any_more_are_told_apart() {
    let (folder, path) = field();
    let (info, measured) = fitted(&path, &Gaussian, &MeasureOptions::default());
    let record = written(
        folder.path(),
        &info,
        json!({"model": "gaussian"}),
        &measured.rows,
    );
    assert!(Pixels::open(&record).is_ok());
    let why = |record: &ImageRecord| Pixels::open(record).unwrap_err().to_string();

    let mut other = record.clone();
    other.info.width += 1;
    assert!(why(&other).contains("97 x 80 pixels"), "{}", why(&other));
    let mut other = record.clone();
    other.info.source.plane = Some(7);
    assert!(matches!(
        Pixels::open(&other),
        Err(Unavailable::Unreadable(_))
    ));
    let mut other = record.clone();
    other.settings.cutouts = true;
    assert!(
        why(&other).contains("1 cutouts of 96 x 80"),
        "{}",
        why(&other)
    );
    let mut other = record.clone();
    other.info.source.modified += 1;
    assert!(why(&other).contains("written again"), "{}", why(&other));

    // Of the same length and time, but something else.
    let keep = fs::metadata(&path).unwrap().modified().unwrap();
    let whole = fs::read(&path).unwrap();
    let becomes = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(keep)
            .unwrap();
    };
    becomes(&vec![b'x'; whole.len()]);
    assert!(matches!(
        Pixels::open(&record),
        Err(Unavailable::Unreadable(_))
    ));
    becomes(&whole[..whole.len() - 1]);
    assert!(why(&record).contains("has changed") && why(&record).contains("bytes"));
    fs::remove_file(&path).unwrap();
    assert!(matches!(Pixels::open(&record), Err(Unavailable::Gone(_))));
    fs::create_dir(&path).unwrap();
    assert!(Pixels::open(&record).is_err());
}

#[test]
fn stars_without_values_show_their_pixels() {
    let (folder, path) = field();
    let (info, measured) = fitted(&path, &Gaussian, &MeasureOptions::default());
    let settings = json!({"model": "gaussian"});
    let record = written(folder.path(), &info, settings, &measured.rows);
    let scene = Scene::open(&record).unwrap();
    let mut star = Row::new(0, FitStatus::SingularCurvature, Flags(0));
    assert!(Triplet::new(&scene, &star).is_err(), "nowhere");
    star.set("x", 1.0);
    star.set("y", 2.0);
    let triplet = Triplet::new(&scene, &star).unwrap();
    assert!(triplet.model.is_none());
    assert_eq!(triplet.first, (1 - 8, 2 - 8));
    assert!(triplet.data[[0, 0]].is_nan() && triplet.data[[7, 7]].is_finite());
    assert_eq!(triplet.panels(4).len(), 1);
    // Far outside nothing is there to be seen.
    for far in [1e300, -1e300, 1e15] {
        star.set("x", far);
        let triplet = Triplet::new(&scene, &star).unwrap();
        assert!(triplet.data.iter().all(|value| value.is_nan()));
        triplet.panels(3);
    }
    // A model of some other version.
    let record = ImageRecord {
        settings: Settings::from_json(&json!({"model": "sersic"})),
        ..record
    };
    let scene = Scene::open(&record).unwrap();
    let triplet = Triplet::new(&scene, &measured.rows[0]).unwrap();
    assert!(triplet.model.is_none());
}

#[test]
fn panels_show_the_star_and_its_ellipses() {
    let (folder, path) = field();
    let (info, measured) = fitted(&path, &Gaussian, &MeasureOptions::default());
    let settings = json!({"model": "gaussian"});
    let record = written(folder.path(), &info, settings, &measured.rows);
    let scene = Scene::open(&record).unwrap();
    let star = &measured.rows[0];
    let triplet = Triplet::new(&scene, star).unwrap();
    let panels = triplet.panels(16);
    assert_eq!(panels.len(), 3);
    let panel = Panel {
        first: (triplet.first.0 as f64, triplet.first.1 as f64),
        columns: triplet.data.ncols(),
        rows: triplet.data.nrows(),
        magnification: 16.0,
    };
    let (x, y) = (star.get("x").unwrap(), star.get("y").unwrap());
    let sigma = star.get("fwhm").unwrap() / model::FWHM_OF_SIGMA;
    let dot = |panel_at: usize, radius: f64, angle: f64| {
        let (sin, cos) = angle.sin_cos();
        let (x, y) = panel.of((x + radius * cos, y + radius * sin));
        panels[panel_at]
            .dot(x.round() as usize, y.round() as usize)
            .unwrap()
    };
    let is_orange = |color: Color| color.0[0] > color.0[2].saturating_add(80);
    for step in 0..20 {
        let angle = f64::from(step) / 3.0;
        for at in [0, 1] {
            for sigmas in [1.0, 2.0, 3.0] {
                assert!(is_orange(dot(at, sigmas * sigma, angle)), "{sigmas}");
            }
            for sigmas in [0.5, 1.5, 2.5] {
                assert!(!is_orange(dot(at, sigmas * sigma, angle)), "{sigmas}");
            }
        }
        assert!(!is_orange(dot(2, sigma, angle)));
    }
    // Bright in the middle, dark beyond, and flat in the residual.
    assert!(dot(1, 0.0, 0.0).0[0] > 240 && dot(1, 3.5 * sigma, 0.3).0[0] < 120);
    let [red, _, blue] = dot(2, 0.0, 0.0).0;
    assert!(red > 150 && blue > 150, "white within a sigma or two");
    let side = 16 * triplet.data.nrows();
    assert_eq!((panels[0].width(), panels[0].height()), (side, side));
}

#[test]
fn limits_of_residuals_are_round() {
    let of = |residual: Array2<f64>| {
        ModelStar {
            values: Array2::zeros((1, 2)),
            residual,
            unit: ResidualUnit::Noise,
            ellipse: Ellipse {
                x: 0.0,
                y: 0.0,
                major: 1.0,
                minor: 1.0,
                theta: 0.0,
            },
        }
        .limit()
    };
    assert_eq!(of(arr2(&[[1.0, -2.0]])), 5.0);
    assert_eq!(of(arr2(&[[f64::NAN, f64::NAN]])), 5.0);
    assert_eq!(of(arr2(&[[7.0, -8.0]])), 10.0);
    assert_eq!(of(arr2(&[[-130.0, 1.0]])), 200.0);
    assert!(of(arr2(&[[f64::MAX, 1.0]])).is_finite());
}
