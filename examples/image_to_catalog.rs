//! Finds and fits the stars of a FITS image and writes them into a catalogue, whose ending decides
//! what it is (.db, .csv, .ecsv, .fits, .parquet, .vot, .reg):
//!
//!     cargo run --release --example image_to_catalog -- tests/data/panoptes.fits.fz stars.csv

use std::path::Path;

use starfit::backend::CpuBackend;
use starfit::catalog::{self, ImageInfo, RunInfo, own_columns};
use starfit::io::fits::{FitsFile, FitsPath};
use starfit::measure::{MeasureOptions, measure_image};
use starfit::model::Moffat;
use starfit::settings::Settings;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: image_to_catalog IMAGE CATALOGUE".into());
    };

    // `file.fits[1]` and `file.fits[SCI]` choose an extension.
    let file = FitsFile::open(&FitsPath::parse(Path::new(&input))?)?;
    let image = file.image(0)?;

    let settings = Settings {
        measure: MeasureOptions {
            threshold: 10.0,
            ..MeasureOptions::default()
        },
        ..Settings::default().with_model(&Moffat)
    };
    let fitter = settings.fitter(Box::new(CpuBackend::default()))?;
    let measured = measure_image(&image, None, &settings.measure, &fitter)?;

    let run = RunInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        command_line: format!("image_to_catalog {input} {output}"),
        own_columns: own_columns(fitter.model),
        // In a database a run with equal settings replaces the rows of an image.
        settings: settings.to_json(),
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
