//! Writes a million stars in every format: `cargo bench --bench catalog`, or with the endings of
//! some formats behind `--`. `STARFIT_BENCH_STARS` is another number of stars.
//!
//! The rows are those of a fit of a simulated field, again and again, with every number a little
//! different, so that no format can make much of repetition.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use starfit::backend::CpuBackend;
use starfit::catalog::{self, ImageInfo, Kind, Row, RunInfo};
use starfit::fitter::Fitter;
use starfit::image::Image;
use starfit::measure::{MeasureOptions, measure_image};
use starfit::model::Gaussian;
use starfit::simulate::{SimulationOptions, StarField};
use starfit::solver::LevenbergMarquardt;
use starfit::wcs::Wcs;

const SIDE: usize = 2048;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stars = match std::env::var("STARFIT_BENCH_STARS") {
        Ok(stars) => stars.parse()?,
        Err(_) => 1_000_000,
    };
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let formats = ["sqlite", "csv", "fits", "parquet", "ecsv"];
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (image, rows) = fitted()?;
    for (images, fields) in [(1, 1), (200, 1), (200, 200)] {
        let per_image = stars / images;
        println!("{images} x {per_image} stars in {fields} fields");
        for format in formats {
            if asked.is_empty() || asked.iter().any(|ending| ending == format) {
                let path = folder.path().join(format!("stars.{format}"));
                let seconds = write(&path, &image, &rows, [images, fields, per_image])?;
                let written = (images * per_image) as f64;
                let bytes = fs::metadata(&path)?.len() as f64;
                println!(
                    "{format:>8}: {:.0} rows/s, {:.0} bytes a star",
                    written / seconds,
                    bytes / written
                );
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// A field with a WCS, and its rows.
fn fitted() -> Result<(Image, Vec<Row>), Box<dyn std::error::Error>> {
    let mut image = StarField::new(3000, SIDE, SIDE, &SimulationOptions::default())?.image;
    let wcs = "CTYPE1 = 'RA---TAN'\nCTYPE2 = 'DEC--TAN'\nCRVAL1 = 250.4\nCRVAL2 = 36.5\n\
        CRPIX1 = 1024.5\nCRPIX2 = 1024.5\nCD1_1 = -2e-4\nCD1_2 = 1e-6\nCD2_1 = 1e-6\nCD2_2 = 2e-4";
    let wcs = Wcs::from_text(wcs);
    image.wcs = Some(wcs.map_err(|unsupported| format!("WCS: {unsupported:?}"))?);
    let fitter = Fitter::new(
        &Gaussian,
        Box::new(LevenbergMarquardt::default()),
        Box::new(CpuBackend::default()),
    );
    let measured = measure_image(&image, None, &MeasureOptions::default(), &fitter)?;
    Ok((image, measured.rows))
}

/// Seconds that it takes from opening to closing, without those of making the rows.
fn write(
    path: &Path,
    image: &Image,
    rows: &[Row],
    [images, fields, per_image]: [usize; 3],
) -> Result<f64, Box<dyn std::error::Error>> {
    let run = RunInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        backend: "none".into(),
        ..RunInfo::default()
    };
    let mut rng = Pcg64::seed_from_u64(1);
    let start = Instant::now();
    let mut catalog = catalog::create(path, &run)?;
    let mut seconds = start.elapsed().as_secs_f64();
    for number in 0..images {
        let mut info = ImageInfo::new(image);
        info.name = format!("field{number:03}.fits[0]");
        // In the order of detection: by row and column of the brightest pixel.
        let mut places: Vec<(f64, f64)> = (0..per_image).map(|_| place(&mut rng)).collect();
        places.sort_by_key(|(x, y)| (y.round() as u32, x.round() as u32));
        let rows: Vec<Row> = places
            .into_iter()
            .zip(rows.iter().cycle())
            .enumerate()
            .map(|(id, (place, row))| {
                let mut row = vary(row, id, place, image, &mut rng);
                if let Some(dec) = row.get("dec") {
                    row.set("dec", dec - 0.5 * (number % fields) as f64);
                }
                row
            })
            .collect();
        let start = Instant::now();
        catalog.write(&info, &rows)?;
        seconds += start.elapsed().as_secs_f64();
    }
    let start = Instant::now();
    catalog.finish()?;
    Ok(seconds + start.elapsed().as_secs_f64())
}

/// Anywhere in the image.
fn place(rng: &mut impl Rng) -> (f64, f64) {
    let side = 0.0..SIDE as f64 - 1.0;
    (rng.random_range(side.clone()), rng.random_range(side))
}

/// Another star like this one, at another place.
fn vary(row: &Row, id: usize, (x, y): (f64, f64), image: &Image, rng: &mut impl Rng) -> Row {
    let mut varied = row.clone();
    varied.id = id;
    for column in catalog::COLUMNS {
        if column.kind == Kind::Float
            && let Some(value) = row.get(column.name)
        {
            varied.set(column.name, value * rng.random_range(0.9..1.1));
        }
    }
    varied.set("x", x);
    varied.set("y", y);
    if let Some(sky) = image.wcs.as_ref().and_then(|wcs| wcs.to_sky(x, y)) {
        varied.set("ra", sky.ra);
        varied.set("dec", sky.dec);
    }
    varied
}
