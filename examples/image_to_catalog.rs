//! Finds and fits the stars of a FITS image and writes them into a catalogue, whose ending decides
//! what it is (.db, .csv, .ecsv, .fits, .parquet, .vot, .reg):
//!
//!     cargo run --release --example image_to_catalog -- tests/data/panoptes.fits.fz stars.csv

use std::path::Path;

use starfit::backend::CpuBackend;
use starfit::catalog::{self, ImageInfo, RunInfo};
use starfit::fitter::Fitter;
use starfit::io::fits::{FitsFile, FitsPath};
use starfit::measure::{MeasureOptions, measure_image};
use starfit::model::Moffat;
use starfit::solver::LevenbergMarquardt;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: image_to_catalog IMAGE CATALOGUE".into());
    };

    // `file.fits[1]` and `file.fits[SCI]` choose an extension.
    let file = FitsFile::open(&FitsPath::parse(Path::new(&input))?)?;
    let image = file.image(0)?;

    let solver = Box::new(LevenbergMarquardt::default());
    let fitter = Fitter::new(&Moffat, solver, Box::new(CpuBackend::default()));
    let options = MeasureOptions {
        threshold: 10.0,
        ..MeasureOptions::default()
    };
    let measured = measure_image(&image, None, &options, &fitter)?;

    let run = RunInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        command_line: format!("image_to_catalog {input} {output}"),
        settings: serde_json::json!({ "model": "moffat", "threshold": options.threshold }),
        backend: fitter.backend.name().into(),
        adapter: Some(fitter.backend.adapter()),
    };
    let mut catalog = catalog::create(Path::new(&output), &run)?;
    let info = ImageInfo {
        assumed: measured.assumed,
        ..ImageInfo::new(&image)
    };
    catalog.write(&info, &measured.rows)?;
    // A database has each image as soon as it is written; any other file appears only now.
    catalog.finish()?;
    println!(
        "{} stars of {} in {output}",
        measured.rows.len(),
        image.name
    );
    Ok(())
}
