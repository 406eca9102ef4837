//! Stars out of focus: rings that are wider than any filter for stars.

use ndarray::Array2;
use rand_distr::{Distribution, Normal};
use starfit::catalog::Row;
use starfit::image::Image;
use starfit::measure::{MeasureOptions, Measured, measure_image};

use super::field::{Field, fitter};

/// Rings of this radius and width in a field of noise 10, with this light in a pixel.
fn field(count: usize, radius: f64, width: f64, light: f64, seed: u64) -> (Field, Array2<f64>) {
    let mut field = Field::new((700, 900), count, (1.0, 1.0001), 100.0, 3.0, seed);
    field.light.fill(0.0);
    for star in &field.stars {
        for ((y, x), pixel) in field.light.indexed_iter_mut() {
            let distance = (x as f64 - star.x).hypot(y as f64 - star.y);
            if (distance - radius).abs() < 0.5 * width {
                *pixel += light;
            }
        }
    }
    let normal = Normal::new(500.0, 10.0).unwrap();
    let pixels = field
        .light
        .mapv(|light| light + normal.sample(&mut field.rng));
    (field, pixels)
}

fn measured(pixels: Array2<f64>) -> Measured {
    let image = Image::from_pixels("rings", pixels);
    measure_image(&image, None, &MeasureOptions::default(), &fitter()).unwrap()
}

/// Rings with a row within a quarter of their radius.
fn found(field: &Field, rows: &[Row], radius: f64) -> usize {
    let near = |x: f64, y: f64| {
        rows.iter().any(|row| {
            let at = |column| row.get(column).unwrap_or(f64::NAN);
            (at("x") - x).hypot(at("y") - y) < 0.25 * radius
        })
    };
    field
        .stars
        .iter()
        .filter(|star| near(star.x, star.y))
        .count()
}

#[test]
fn rings_are_found_as_wide_as_they_are() {
    for (radius, width, light, seed) in [
        (20.0, 6.0, 20.0, 102),
        (20.0, 6.0, 200.0, 103),
        (14.0, 5.0, 10.0, 104),
    ] {
        let (field, pixels) = field(30, radius, width, light, seed);
        let measured = measured(pixels);
        let count = found(&field, &measured.rows, radius);
        let fwhm = measured.assumed.fwhm.unwrap();
        println!(
            "{light}: {count} of 30 rings, {} rows, width {fwhm:.1}",
            measured.rows.len()
        );
        assert!(count >= 28, "{light}: {count} found of 30, width {fwhm}");
        assert!((1.0..3.0).contains(&(fwhm / radius)), "{light}: {fwhm}");
        assert!(
            measured.rows.len() <= 40,
            "{light}: {} rows",
            measured.rows.len()
        );
    }
}

#[test]
fn noise_alone_has_no_wide_stars() {
    let (_, pixels) = field(0, 20.0, 6.0, 0.0, 105);
    let measured = measured(pixels);
    assert_eq!(measured.assumed.fwhm, Some(3.0), "the control");
    assert!(measured.rows.len() < 5, "{} rows", measured.rows.len());
}
