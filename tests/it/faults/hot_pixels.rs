//! Hot pixels: more of them than stars, and in the cutouts of stars.

use ndarray::Array2;
use rand::RngExt;
use starfit::catalog::Row;
use starfit::fit::Flags;
use starfit::image::Image;
use starfit::measure::{MeasureOptions, Measured, measure_image};

use super::field::{Field, fitter, pull};

const SKY: f64 = 250.0;

/// A field of stars of that width, and so many hot pixels, 10 sigma of the sky or more, none nearer than 12
/// pixels to a star.
fn with_hot_pixels(fwhm: f64, n: usize, seed: u64) -> (Field, Array2<f64>, Vec<(usize, usize)>) {
    let mut field = Field::new((480, 640), 110, (2500.0, 2e5), 26.0, fwhm, seed);
    let mut pixels = field.expose(SKY, 1.0, 5.0) + 100.0;
    let mut hot = Vec::new();
    while hot.len() < n {
        let x = field.rng.random_range(8..632);
        let y = field.rng.random_range(8..472);
        let is_near =
            |star: &super::field::Truth| (star.x - x as f64).hypot(star.y - y as f64) < 12.0;
        if !field.stars.iter().any(is_near) && !hot.contains(&(x, y)) {
            pixels[[y, x]] += 10f64.powf(field.rng.random_range(2.3..4.3));
            hot.push((x, y));
        }
    }
    (field, pixels, hot)
}

fn measure(pixels: &Array2<f64>) -> Measured {
    let image = Image::from_pixels("field", pixels.clone());
    let options = MeasureOptions {
        gain: Some(1.0),
        ..MeasureOptions::default()
    };
    measure_image(&image, None, &options, &fitter()).unwrap()
}

fn is_at(row: &Row, (x, y): (usize, usize)) -> bool {
    let at = |column| row.get(column).unwrap_or(f64::NAN);
    (at("x") - x as f64).hypot(at("y") - y as f64) < 1.5
}

#[test]
fn hot_pixels_have_no_vote_and_are_sharp() {
    for (fwhm, seed) in [(1.5, 120), (2.0, 121), (2.6, 122), (4.0, 123)] {
        let (field, pixels, hot) = with_hot_pixels(fwhm, 300, seed);
        let measured = measure(&pixels);
        let expected = measured.assumed.fwhm.unwrap();
        assert!((expected / fwhm - 1.0).abs() < 0.05, "{fwhm}: {expected}");
        let at_hot: Vec<&Row> = measured
            .rows
            .iter()
            .filter(|row| hot.iter().any(|&place| is_at(row, place)))
            .collect();
        let sharp = at_hot.iter().filter(|row| row.flags.contains(Flags::SHARP));
        let sharp = sharp.count();
        println!(
            "FWHM {fwhm}: {sharp} of {} rows at hot pixels are sharp",
            at_hot.len()
        );
        assert!(at_hot.len() > 200 && sharp as f64 > 0.95 * at_hot.len() as f64);

        let pairs = field.pairs(&measured.rows);
        assert_eq!(
            pairs.len(),
            field.stars.len(),
            "FWHM {fwhm}: every star is found"
        );
        let stars = pairs
            .iter()
            .filter(|(_, row)| row.flags.contains(Flags::SHARP));
        assert_eq!(stars.count(), 0, "FWHM {fwhm}: no star is sharp");
    }
}

#[test]
fn a_hot_pixel_beside_a_star_is_left_out_of_its_fit() {
    let mut field = Field::new((480, 640), 110, (2e4, 2e5), 26.0, 3.0, 125);
    let clean = field.expose(SKY, 1.0, 5.0) + 100.0;
    let mut pixels = clean.clone();
    for star in &field.stars {
        let angle = field.rng.random_range(0.0..std::f64::consts::TAU);
        let distance = field.rng.random_range(2.5..6.0);
        let x = (star.x + distance * angle.cos()).round() as usize;
        let y = (star.y + distance * angle.sin()).round() as usize;
        pixels[[y, x]] += 0.3 * star.flux / 10.0;
    }
    let pulls = |measured: &Measured| {
        let pairs = field.pairs(&measured.rows);
        assert!(
            pairs.len() + 2 >= field.stars.len(),
            "{} found",
            pairs.len()
        );
        let clean = |row: &Row| row.flags.0 & !Flags::MASKED.0 == 0;
        let good: Vec<_> = pairs.into_iter().filter(|(_, row)| clean(row)).collect();
        assert!(good.len() > 95, "{} are clean", good.len());
        [
            pull(&good, "flux", |star| star.flux),
            pull(&good, "x", |star| star.x),
        ]
    };
    let (right, mended) = (pulls(&measure(&clean)), pulls(&measure(&pixels)));
    println!("pulls without hot pixels {right:.2?}, with {mended:.2?}");
    for (right, mended) in right.into_iter().zip(mended) {
        assert!(mended < 1.3 * right, "{mended} for {right}");
    }
}
