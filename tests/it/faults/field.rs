//! Simulated fields of well separated stars, with their truth.

use std::path::Path;

use ndarray::Array2;
use rand::RngExt;
use rand_distr::{Distribution, Normal, Poisson};
use rand_pcg::Pcg64;
use starfit::backend::CpuBackend;
use starfit::catalog::Row;
use starfit::fitter::Fitter;
use starfit::io::fits::{Card, PixelType, Value, write_image};
use starfit::model;
use starfit::solver::LevenbergMarquardt;

use crate::common::rng;

/// A star that was simulated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Truth {
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// In the units that the image counts in before it is scaled.
    pub(crate) flux: f64,
}

/// Light without noise, and the stars that it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) light: Array2<f64>,
    pub(crate) stars: Vec<Truth>,
    pub(crate) rng: Pcg64,
}

impl Field {
    /// `n` stars, no two nearer than `apart` pixels, with fluxes between two values, evenly in their
    /// logarithm.
    pub(crate) fn new(
        (height, width): (usize, usize),
        n: usize,
        (low, high): (f64, f64),
        apart: f64,
        fwhm: f64,
        seed: u64,
    ) -> Self {
        const MARGIN: f64 = 14.0;
        let mut rng = rng(seed);
        let mut stars: Vec<Truth> = Vec::new();
        for _ in 0..100_000 {
            if stars.len() == n {
                break;
            }
            let x = rng.random_range(MARGIN..width as f64 - MARGIN);
            let y = rng.random_range(MARGIN..height as f64 - MARGIN);
            let flux = rng.random_range(low.ln()..high.ln()).exp();
            if stars.iter().all(|s| (s.x - x).hypot(s.y - y) > apart) {
                stars.push(Truth { x, y, flux });
            }
        }
        assert_eq!(stars.len(), n, "no room for so many stars");
        let mut light = Array2::zeros((height, width));
        for star in &stars {
            add_star(&mut light, star, fwhm);
        }
        Self { light, stars, rng }
    }

    /// The image of a camera: Poisson noise of light and sky, both in data units, at `gain` electrons for
    /// each, and read noise in electrons.
    pub(crate) fn expose(&mut self, sky: f64, gain: f64, read_noise: f64) -> Array2<f64> {
        let (light, rng) = (&self.light, &mut self.rng);
        let read = Normal::new(0.0, read_noise).unwrap();
        light.mapv(|light| {
            let mean = (light + sky).max(1e-9) * gain;
            (Poisson::new(mean).unwrap().sample(rng) + read.sample(rng)) / gain
        })
    }

    /// The rows nearest to the stars, within 2 pixels, each with its star.
    pub(crate) fn pairs<'a>(&'a self, rows: &'a [Row]) -> Vec<(&'a Truth, &'a Row)> {
        let distance = |row: &Row, star: &Truth| {
            let at = |column| row.get(column).unwrap_or(f64::INFINITY);
            (at("x") - star.x).hypot(at("y") - star.y)
        };
        let nearest = |star: &'a Truth| {
            rows.iter()
                .min_by(|a, b| distance(a, star).total_cmp(&distance(b, star)))
                .filter(|row| distance(row, star) < 2.0)
                .map(|row| (star, row))
        };
        self.stars.iter().filter_map(nearest).collect()
    }
}

/// Adds a round Gaussian star, sampled at pixel centres.
pub(crate) fn add_star(light: &mut Array2<f64>, star: &Truth, fwhm: f64) {
    let sigma = fwhm / (8.0 * 2f64.ln()).sqrt();
    let reach = 8.0 * sigma + 2.0;
    let peak = star.flux / (2.0 * std::f64::consts::PI * sigma * sigma);
    for ((y, x), pixel) in light.indexed_iter_mut() {
        let (dx, dy) = (x as f64 - star.x, y as f64 - star.y);
        if dx.abs() < reach && dy.abs() < reach {
            *pixel += peak * (-(dx * dx + dy * dy) / (2.0 * sigma * sigma)).exp();
        }
    }
}

/// Adds a star that many times as long as wide, which has the width across.
pub(crate) fn add_trail(light: &mut Array2<f64>, star: &Truth, fwhm: f64, ratio: f64) {
    let sigma = fwhm / (8.0 * 2f64.ln()).sqrt();
    let (sin, cos) = 0.6_f64.sin_cos();
    let peak = star.flux / (std::f64::consts::TAU * sigma * sigma * ratio);
    for ((y, x), pixel) in light.indexed_iter_mut() {
        let (dx, dy) = (x as f64 - star.x, y as f64 - star.y);
        let along = (dx * cos + dy * sin) / (sigma * ratio);
        let across = (dy * cos - dx * sin) / sigma;
        *pixel += peak * (-0.5 * (along * along + across * across)).exp();
    }
}

/// Width of the scatter of (fit - truth) / error about 0, where both are there: 1 is right.
pub(crate) fn pull(pairs: &[(&Truth, &Row)], column: &str, truth: impl Fn(&Truth) -> f64) -> f64 {
    let pulls: Vec<f64> = pairs
        .iter()
        .filter_map(|(star, row)| {
            let error = row.get(&format!("{column}_err"))?;
            Some((row.get(column)? - truth(star)) / error)
        })
        .collect();
    assert!(pulls.len() > 20, "{} stars to judge by", pulls.len());
    (pulls.iter().map(|pull| pull * pull).sum::<f64>() / pulls.len() as f64).sqrt()
}

/// Writes an image as floats, with header cards.
pub(crate) fn write(path: &Path, pixels: &Array2<f64>, cards: &[(&str, Value)]) {
    let cards: Vec<Card> = cards
        .iter()
        .map(|(keyword, value)| Card::new(*keyword, value.clone(), ""))
        .collect();
    write_image(path, pixels, PixelType::F32, &cards).unwrap();
}

/// Gaussians by least squares on the CPU.
pub(crate) fn fitter() -> Fitter {
    Fitter::new(
        model::by_name("gaussian").unwrap(),
        Box::new(LevenbergMarquardt::default()),
        Box::new(CpuBackend::default()),
    )
}
