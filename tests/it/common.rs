//! What several tests need: the data sets, adapters and small stars.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use starfit::backend::gpu::GpuBackend;
use starfit::backend::{Backend, CpuBackend, ReferenceBackend};
use starfit::batch::{Batch, Start};
use starfit::cutout::{Cutout, CutoutOptions, Noise};
use starfit::model::{Model, Moments};

/// Whether what is missing is a failure.
pub(crate) fn insists() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// A file of the data sets, in the folder that `STARFIT_DATA` names, by default `../shared`.
/// `None`, after saying so, where it is missing and CI does not insist.
pub(crate) fn data(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("STARFIT_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let file = root.join(path);
    if !file.exists() {
        assert!(
            !insists(),
            "{}: missing; set STARFIT_DATA to the folder of the data sets",
            file.display()
        );
        eprintln!(
            "not tested: {} is missing; set STARFIT_DATA to the folder of the data sets",
            file.display()
        );
        return None;
    }
    Some(file)
}

/// A small file of the repository itself.
pub(crate) fn own_data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(path)
}

/// The GPU backend on whatever adapter there is. `None`, after saying so, where there is none and
/// CI does not insist.
pub(crate) fn gpu() -> Option<GpuBackend> {
    match GpuBackend::new(None) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            assert!(!insists(), "{error}");
            eprintln!("not tested: {error}");
            None
        }
    }
}

/// Every backend of this machine, `reference` first.
pub(crate) fn backends() -> Vec<Box<dyn Backend>> {
    let mut all: Vec<Box<dyn Backend>> =
        vec![Box::new(ReferenceBackend), Box::new(CpuBackend::default())];
    if let Some(gpu) = gpu() {
        all.push(Box::new(gpu));
    }
    all
}

pub(crate) fn rng(seed: u64) -> Pcg64 {
    Pcg64::seed_from_u64(seed)
}

/// Weights of 1, no saturation.
pub(crate) const UNIT: CutoutOptions = CutoutOptions {
    noise: Noise::Unit,
    saturation: f64::INFINITY,
};

/// A cutout of `model` at parameters drawn for its size, with noise; a tenth of the pixels missing
/// where `masked`.
pub(crate) fn random_cutout(
    rng: &mut Pcg64,
    model: &dyn Model,
    noise: Noise,
    width: usize,
    height: usize,
    masked: bool,
) -> Cutout {
    let flux = rng.random_range(500.0..50_000.0);
    let center =
        |rng: &mut Pcg64, side: usize| side as f64 / 2.0 - 0.5 + rng.random_range(-1.0..1.0);
    let sigma = rng.random_range(0.9..1.0 + width.min(height) as f64 / 10.0);
    let center = (center(rng, width), center(rng, height));
    let round = Moments::round(flux, center, sigma, rng.random_range(-50.0..500.0));
    // Up to half as wide along one diagonal as along the other.
    let moments = Moments {
        xy: round.xx * rng.random_range(-0.6..0.6),
        ..round
    };
    let parameters = model.start(&moments);
    let pixels = Array2::from_shape_fn((height, width), |(y, x)| {
        let (value, _) = model.evaluate(&parameters, x as f64, y as f64);
        if masked && rng.random_bool(0.1) {
            f64::NAN
        } else {
            value + rng.random_range(-20.0..20.0)
        }
    });
    Cutout::from_pixels(pixels.view(), None, &CutoutOptions { noise, ..UNIT })
}

/// `count` random cutouts, each to be started from its moments.
pub(crate) fn random_batch(
    seed: u64,
    model: &dyn Model,
    noise: Noise,
    width: usize,
    height: usize,
    count: usize,
    masked: bool,
) -> Batch {
    let mut rng = rng(seed);
    let mut batch = Batch::new(width, height);
    for _ in 0..count {
        let cutout = random_cutout(&mut rng, model, noise, width, height, masked);
        batch
            .push(
                &cutout,
                Start::Moments {
                    position: None,
                    fwhm: None,
                },
            )
            .unwrap();
    }
    batch
}

/// The rows of a CSV file by column; what is no number is NaN.
pub(crate) fn read_csv(path: &Path) -> Vec<HashMap<String, f64>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let names: Vec<String> = reader
        .headers()
        .unwrap()
        .iter()
        .map(str::to_owned)
        .collect();
    let number = |text: &str| text.parse().unwrap_or(f64::NAN);
    reader
        .records()
        .map(|record| {
            names
                .iter()
                .cloned()
                .zip(record.unwrap().iter().map(number))
                .collect()
        })
        .collect()
}
