//! Stars that a mount has drawn into trails, fitted with a round model.

use ndarray::Array2;
use rand_distr::{Distribution, Normal};
use starfit::catalog::Row;
use starfit::image::Image;
use starfit::measure::{MeasureOptions, measure_image};

use super::field::{Field, add_trail, fitter};

/// A field whose stars are this many times as long as wide.
fn field(ratio: f64, seed: u64) -> (Field, Array2<f64>) {
    const FWHM: f64 = 3.0;
    let mut field = Field::new((500, 600), 60, (2e3, 2e5), 40.0, FWHM, seed);
    field.light.fill(0.0);
    for star in &field.stars {
        add_trail(&mut field.light, star, FWHM, ratio);
    }
    let pixels = field.expose(200.0, 1.0, 5.0);
    (field, pixels)
}

fn rows(pixels: &Array2<f64>) -> Vec<Row> {
    let image = Image::from_pixels("trails", pixels.clone());
    let options = MeasureOptions {
        gain: Some(1.0),
        ..Default::default()
    };
    measure_image(&image, None, &options, &fitter())
        .unwrap()
        .rows
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn round_models_say_how_long_stars_are() {
    for (ratio, seed) in [(1.0, 91), (1.4, 92), (2.0, 93), (3.0, 94)] {
        let (field, pixels) = field(ratio, seed);
        let rows = rows(&pixels);
        let pairs = field.pairs(&rows);
        assert!(pairs.len() > 50, "{ratio}: {} found", pairs.len());
        let ellipticity = |row: &Row| row.get("ellipticity");
        for (_, row) in &pairs {
            let is_clear = row.get("snr") >= Some(20.0);
            assert_eq!(ellipticity(row).is_some(), is_clear, "{ratio}");
        }
        let found = middle(
            pairs
                .iter()
                .filter_map(|(_, row)| ellipticity(row))
                .collect(),
        );
        let truth = 1.0 - 1.0 / ratio;
        assert!(
            (found - truth).abs() < 0.06,
            "{ratio}: {found}, not {truth}"
        );
        // What the advice is for.
        let lost = middle(
            pairs
                .iter()
                .map(|(s, row)| 1.0 - row.get("flux").unwrap() / s.flux)
                .collect(),
        );
        assert_eq!(lost > 0.02, ratio > 1.2, "{ratio}: {lost}");
    }
}

#[test]
fn faint_round_stars_are_not_long() {
    let normal = Normal::new(0.0, 1.0).unwrap();
    let (mut field, _) = field(1.0, 95);
    let scale = 0.05;
    let noise = Array2::from_shape_simple_fn(field.light.dim(), || normal.sample(&mut field.rng));
    let pixels = field.light.mapv(|light| 100.0 + light * scale) + noise * 4.0;
    let rows = rows(&pixels);
    let clear: Vec<f64> = rows
        .iter()
        .filter_map(|row| row.get("ellipticity"))
        .collect();
    assert!(clear.len() > 15, "{}", clear.len());
    assert!(middle(clear.clone()) < 0.1, "{clear:?}");
}
