//! Times cones in a large database: `cargo bench --bench query`.
//!
//! The database, 10 million stars in 100 fields of a square degree, is made once, in the target
//! folder, which takes minutes and 3 GB; `STARFIT_BENCH_STARS` is another number of stars.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use starfit::catalog::query::{Query, QueryFormat, Region};
use starfit::catalog::{self, ImageInfo, Row, RunInfo};
use starfit::fit::{FitStatus, Flags};
use starfit::image::Image;

const FIELDS: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stars = match std::env::var("STARFIT_BENCH_STARS") {
        Ok(stars) => stars.parse()?,
        Err(_) => 10_000_000,
    };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let database = folder.join(format!("query-{stars}.db"));
    if !database.exists() {
        let start = Instant::now();
        make(&database, stars)?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{stars} stars written in {seconds:.0} s, {:.0} rows/s",
            stars as f64 / seconds
        );
    }
    let bytes = fs::metadata(&database)?.len() as f64;
    println!("{:.0} bytes a star", bytes / stars as f64);
    let output = folder.join("query.csv");
    for (name, degrees) in [("5\"", 5.0 / 3600.0), ("30\"", 30.0 / 3600.0), ("6'", 0.1)] {
        let mut rng = Pcg64::seed_from_u64(7);
        let mut times = Vec::new();
        let mut found = 0;
        for _ in 0..200 {
            let (ra, dec) = center(rng.random_range(0..FIELDS));
            let query = Query {
                region: Some(Region::Cone {
                    ra: ra + rng.random_range(-0.4..0.4),
                    dec: dec + rng.random_range(-0.4..0.4),
                    radius: degrees,
                }),
                ..Query::default()
            };
            let start = Instant::now();
            found += query.write(&database, QueryFormat::Csv, &output)?;
            times.push(start.elapsed());
        }
        times.sort();
        let milliseconds = |time: Option<&Duration>| time.map_or(0.0, |t| t.as_secs_f64() * 1e3);
        println!(
            "cone of {name}: median {:.2} ms, worst {:.2} ms, {:.1} stars, opened and written as CSV",
            milliseconds(times.get(times.len() / 2)),
            milliseconds(times.last()),
            found as f64 / times.len() as f64
        );
    }
    fs::remove_file(output)?;
    Ok(())
}

/// The middle of a field; they are all over the sky.
fn center(field: usize) -> (f64, f64) {
    let golden = 137.507_764;
    let z = (2.0 * field as f64 + 1.0) / FIELDS as f64 - 1.0;
    ((field as f64 * golden) % 360.0, z.asin().to_degrees())
}

fn make(path: &Path, stars: usize) -> starfit::Result<()> {
    let run = RunInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        backend: "none".into(),
        ..RunInfo::default()
    };
    let part = path.with_extension("part.db");
    let mut catalog = catalog::create(&part, &run)?;
    let mut rng = Pcg64::seed_from_u64(3);
    for field in 0..FIELDS {
        let pixels = Array2::zeros((0, 0));
        let mut image = ImageInfo::new(&Image::from_pixels(format!("{field}"), pixels));
        (image.width, image.height) = (8000, 8000);
        let (ra, dec) = center(field);
        let rows: Vec<Row> = (0..stars / FIELDS)
            .map(|id| {
                let mut row = Row::new(id, FitStatus::Converged, Flags::default());
                for column in catalog::COLUMNS {
                    if !matches!(column.name, "image" | "id" | "status" | "flags" | "name") {
                        row.set(column.name, rng.random_range(0.0..100.0));
                    }
                }
                let (dx, dy) = (rng.random_range(-0.5..0.5), rng.random_range(-0.5..0.5));
                row.set("x", 4000.0 + 8000.0 * dx);
                row.set("y", 4000.0 + 8000.0 * dy);
                let dec: f64 = dec + dy;
                row.set("dec", dec.clamp(-90.0, 90.0));
                row.set("ra", (ra + dx / dec.to_radians().cos()).rem_euclid(360.0));
                row
            })
            .collect();
        catalog.write(&image, &rows)?;
    }
    catalog.finish()?;
    fs::rename(&part, path).map_err(|error| starfit::Error::io(path, error))
}
