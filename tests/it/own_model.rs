//! A model that this crate does not know: its rows have its own columns in every format.

#[path = "../../examples/own_model.rs"]
#[expect(dead_code, reason = "the example is a program")]
mod example;

use std::fs;

use example::TiltedGaussian;
use serde_json::json;
use starfit::backend::CpuBackend;
use starfit::catalog::query::{Query, QueryFormat};
use starfit::catalog::{self, COLUMNS, ImageInfo, Row, RunInfo, own_columns};
use starfit::fitter::Fitter;
use starfit::image::Image;
use starfit::io::fits::{FitsFile, FitsPath};
use starfit::measure::{MeasureOptions, measure_image};
use starfit::model::{Gaussian, Model};
use starfit::mosaic::Bayer;
use starfit::solver::LevenbergMarquardt;

use crate::cli::{folder, starfit};
use crate::common::own_data;

const OWN: [&str; 4] = ["slope_x", "slope_x_err", "slope_y", "slope_y_err"];

/// Change of the sky from one pixel to the next that the tests add to the sample image.
const TILT: [f64; 2] = [0.5, -0.25];

/// Rows of the sample image with that much more of a slope.
fn measure(model: &'static dyn Model, tilt: [f64; 2]) -> (Image, Vec<Row>) {
    let path = own_data("panoptes.fits.fz");
    let mut image = FitsFile::open(&FitsPath { path, hdu: None })
        .and_then(|file| file.image(0))
        .unwrap();
    for ((y, x), pixel) in image.pixels.indexed_iter_mut() {
        *pixel += tilt[0] * x as f64 + tilt[1] * y as f64;
    }
    let fitter = Fitter::new(
        model,
        Box::new(LevenbergMarquardt::default()),
        Box::new(CpuBackend::default()),
    );
    let options = MeasureOptions {
        bayer: Bayer::None,
        ..MeasureOptions::default()
    };
    let rows = measure_image(&image, None, &options, &fitter).unwrap().rows;
    (image, rows)
}

fn run(model: &dyn Model) -> RunInfo {
    RunInfo {
        settings: json!({ "model": model.name() }),
        own_columns: own_columns(model),
        ..RunInfo::default()
    }
}

#[test]
fn columns_of_a_model_of_ones_own_are_in_every_format() {
    let names: Vec<_> = own_columns(&TiltedGaussian)
        .iter()
        .map(|column| column.name)
        .collect();
    assert_eq!(names, OWN);
    assert!(own_columns(&Gaussian).is_empty());
    let unit = own_columns(&TiltedGaussian)[0].unit;
    assert_eq!(unit.resolve(None).as_deref(), Some("adu/pix2"));
    assert_eq!(
        unit.resolve(Some("electron")).as_deref(),
        Some("electron/pix2")
    );

    let (image, rows) = measure(&TiltedGaussian, TILT);
    let (_, flat) = measure(&TiltedGaussian, [0.0; 2]);
    let place = |row: &Row| row.get("x").zip(row.get("y")).unwrap();
    let is_clean = |row: &&Row| row.status.has_values() && row.flags.0 == 0;
    let clean: Vec<&Row> = flat.iter().filter(is_clean).collect();
    let pairs: Vec<(&Row, &Row)> = rows
        .iter()
        .filter(is_clean)
        .filter_map(|row| {
            let (x, y) = place(row);
            let is_near = |other: &&&Row| (place(other).0 - x).hypot(place(other).1 - y) < 0.2;
            Some((row, *clean.iter().find(is_near)?))
        })
        .collect();
    assert!(pairs.len() > 100, "{}", pairs.len());
    for (name, added) in ["slope_x", "slope_y"].into_iter().zip(TILT) {
        let pairs = pairs.iter();
        let mut more: Vec<f64> = pairs
            .filter_map(|(row, flat)| Some(row.get(name)? - flat.get(name)?))
            .collect();
        let more = starfit::numbers::median(&mut more).unwrap();
        assert!((more / added - 1.0).abs() < 0.02, "{name}: {more}");
    }

    let folder = folder();
    let info = ImageInfo::new(&image);
    for ending in ["csv", "ecsv", "fits", "parquet", "vot", "db"] {
        let path = folder.path().join(format!("stars.{ending}"));
        let mut writer = catalog::create(&path, &run(&TiltedGaussian)).unwrap();
        writer.write(&info, &rows).unwrap();
        writer.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        for name in OWN {
            let is_there = bytes
                .windows(name.len())
                .any(|part| part == name.as_bytes());
            assert!(is_there, "{name} in {ending}");
        }
    }
    let csv = fs::read_to_string(folder.path().join("stars.csv")).unwrap();
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    assert_eq!(header.len(), COLUMNS.len() + OWN.len());
    assert_eq!(header[COLUMNS.len()..], OWN);
    for (line, row) in lines.zip(&rows) {
        let value = line[COLUMNS.len()].parse().ok();
        assert_eq!(value, row.get("slope_x"));
    }
}

#[test]
fn a_slope_in_three_colours_is_refused() {
    let path = own_data("panoptes.fits.fz");
    let file = FitsFile::open(&FitsPath { path, hdu: None }).unwrap();
    let fitter = Fitter::new(
        &TiltedGaussian,
        Box::new(LevenbergMarquardt::default()),
        Box::new(CpuBackend::default()),
    );
    let options = MeasureOptions::default();
    let error = measure_image(&file.image(0).unwrap(), None, &options, &fitter).unwrap_err();
    assert!(error.to_string().contains("slope_x"), "{error}");
}

#[test]
fn a_database_takes_runs_of_models_with_and_without_columns_of_their_own() {
    let folder = folder();
    let path = folder.path().join("stars.db");
    let models: [&'static dyn Model; 3] = [&Gaussian, &TiltedGaussian, &Gaussian];
    for (number, model) in models.into_iter().enumerate() {
        let (mut image, rows) = measure(model, TILT);
        image.source.plane = Some(number);
        let mut writer = catalog::create(&path, &run(model)).unwrap();
        writer.write(&ImageInfo::new(&image), &rows).unwrap();
        writer.finish().unwrap();
    }
    let ask = |query: &Query| {
        let output = folder.path().join("answer.csv");
        query.write(&path, QueryFormat::Csv, &output).unwrap();
        fs::read_to_string(output).unwrap()
    };
    let all = ask(&Query::default());
    let header = all.lines().next().unwrap();
    assert!(header.ends_with(&format!(",{}", OWN.join(","))), "{header}");
    let steep = ask(&Query {
        columns: vec!["id".into(), "slope_x".into()],
        condition: Some("slope_x > 0.4".into()),
        ..Query::default()
    });
    let rows = all.lines().count() - 1;
    let found = steep.lines().count() - 1;
    assert!(found > 50 && found < rows / 3, "{found} of {rows}");
    // A name of no column is still refused.
    let wrong = starfit(
        folder.path(),
        &["query", "stars.db", "--where", "slope_z > 0"],
    );
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("slope_z"), "{}", wrong.stderr);
}
