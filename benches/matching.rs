//! Times the linking of stars: `cargo bench --bench matching`.
//!
//! 20 images of 5,000 stars, registered by their patterns and on the sky, and 1,000,000 stars in
//! 20 images.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;
use starfit::catalog::objects::MatchOptions;
use starfit::catalog::{self, ImageInfo, Row, RunInfo};
use starfit::fit::{FitStatus, Flags};
use starfit::image::Image;
use starfit::wcs::Wcs;

const IMAGES: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for (name, stars, side, has_sky) in [
        ("patterns", 5_000, 2048.0, false),
        ("sky", 5_000, 2048.0, true),
        ("patterns", 50_000, 8192.0, false),
        ("sky", 50_000, 8192.0, true),
    ] {
        let database = folder.join(format!("matching-{name}-{stars}.db"));
        if database.exists() {
            std::fs::remove_file(&database)?;
        }
        make(&database, stars, side, has_sky)?;
        let start = Instant::now();
        let matched = MatchOptions::default().write(&database)?;
        println!(
            "{IMAGES} images of {stars} stars by {name}: {:.2} s, {} objects",
            start.elapsed().as_secs_f64(),
            matched.n_objects
        );
        let start = Instant::now();
        MatchOptions::default().write(&database)?;
        println!("again: {:.2} s", start.elapsed().as_secs_f64());
        std::fs::remove_file(&database)?;
    }
    Ok(())
}

/// Images of one field, each shifted, nine tenths of whose stars are seen.
fn make(
    path: &Path,
    stars: usize,
    side: f64,
    has_sky: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let run = RunInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        backend: "none".into(),
        ..RunInfo::default()
    };
    let mut catalog = catalog::create(path, &run)?;
    let mut rng = Pcg64::seed_from_u64(3);
    let field: Vec<(f64, f64, f64)> = (0..stars * 10 / 9)
        .map(|_| {
            let (x, y) = (rng.random_range(0.0..side), rng.random_range(0.0..side));
            (x, y, 5.0 * 100_f64.powf(rng.random()))
        })
        .collect();
    for number in 0..IMAGES {
        let shift = 7.0 * number as f64;
        let pixels = Array2::zeros((0, 0));
        let mut image = ImageInfo::new(&Image::from_pixels(format!("{number}"), pixels));
        (image.width, image.height) = (side as usize, side as usize);
        image.header.date = Some(format!("2026-01-02T03:{number:02}:00"));
        let wcs = Wcs::from_text(&format!(
            "CTYPE1 = 'RA---TAN'\nCTYPE2 = 'DEC--TAN'\nCRVAL1 = 80.0\nCRVAL2 = 40.0\n\
             CRPIX1 = {:?}\nCRPIX2 = 1000.0\nCDELT1 = -0.0003\nCDELT2 = 0.0003",
            1000.0 + shift
        ))?;
        image.wcs = has_sky.then(|| wcs.text().to_owned());
        let mut rows = Vec::new();
        for &(x, y, snr) in &field {
            let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
            let error = 1.3 / snr;
            let (x, y) = (x + shift + error * normal(), y + error * normal());
            let flux = 100.0 * (snr + normal());
            if rng.random_bool(0.1) {
                continue;
            }
            let mut row = Row::new(rows.len(), FitStatus::Converged, Flags::default());
            for column in catalog::COLUMNS {
                if !matches!(
                    column.name,
                    "image"
                        | "name"
                        | "id"
                        | "status"
                        | "flags"
                        | "mag"
                        | "mag_err"
                        | "ra"
                        | "dec"
                        | "ra_err"
                        | "dec_err"
                ) {
                    row.set(column.name, rng.random_range(0.0..100.0));
                }
            }
            let values = [("x", x), ("y", y), ("x_err", error), ("y_err", error)];
            for (name, value) in values
                .into_iter()
                .chain([("flux", flux), ("flux_err", 100.0)])
            {
                row.set(name, value);
            }
            if let Some(sky) = wcs.to_sky(x, y).filter(|_| has_sky) {
                let error = error * 0.0003;
                for (name, value) in [
                    ("ra", sky.ra),
                    ("dec", sky.dec),
                    ("ra_err", error),
                    ("dec_err", error),
                ] {
                    row.set(name, value);
                }
            }
            rows.push(row);
        }
        catalog.write(&image, &rows)?;
    }
    catalog.finish()?;
    Ok(())
}
