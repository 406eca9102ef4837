//! Hot pixels: more of them than stars, and in the cutouts of stars.

use std::path::Path;

use ndarray::Array2;
use rand::RngExt;
use starfit::catalog::Row;
use starfit::fit::Flags;
use starfit::image::Image;
use starfit::io::fits::Value;
use starfit::measure::{MeasureOptions, Measured, measure_image};

use super::field::{Field, Truth, add_star, fitter, pull, write};
use crate::cli::{count, folder, starfit};

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
        let is_near = |star: &Truth| (star.x - x as f64).hypot(star.y - y as f64) < 12.0;
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
    for (fwhm, seed) in [(1.2, 119), (1.5, 120), (2.0, 121), (2.6, 122), (4.0, 123)] {
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

/// Exposures of a field that drifts over the same hot pixels.
fn write_run(folder: &Path, n: usize) -> (Field, Vec<(usize, usize)>) {
    let (mut field, _, hot) = with_hot_pixels(2.6, 60, 126);
    let still = field.stars.clone();
    for frame in 0..n {
        field.light.fill(0.0);
        for star in &still {
            let x = star.x + 1.7 * frame as f64;
            add_star(&mut field.light, &Truth { x, ..*star }, 2.6);
        }
        let mut pixels = field.expose(SKY, 1.0, 5.0) + 100.0;
        for (number, &(x, y)) in hot.iter().enumerate() {
            pixels[[y, x]] += 200.0 * 1.06f64.powi(number as i32);
        }
        write(
            &folder.join(format!("{frame}.fits")),
            &pixels,
            &[("GAIN", Value::Float(1.0))],
        );
    }
    field.stars = still;
    (field, hot)
}

#[test]
fn a_pixel_that_is_hot_in_the_frames_of_a_run_is_left_out_of_all() {
    let folder = folder();
    let folder = folder.path();
    let (field, hot) = write_run(folder, 6);
    let names: Vec<String> = (0..6).map(|frame| format!("{frame}.fits")).collect();
    let fit = |output: &str, names: &[String]| {
        let mut args = vec!["fit", "--backend", "cpu", "-o", output];
        args.extend(names.iter().map(String::as_str));
        let ran = starfit(folder, &args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr
    };
    let rows = |catalog: &str, more: &str| {
        count(
            &folder.join(catalog),
            &format!("SELECT count(*) FROM stars WHERE {more}"),
        )
    };
    let at_hot = |catalog: &str| -> i64 {
        let near = |&(x, y): &(usize, usize)| {
            rows(
                catalog,
                &format!("abs(x - {x}) < 1 AND abs(y - {y}) < 1 AND flags & 128 > 0"),
            )
        };
        hot.iter().map(near).sum()
    };
    let said = fit("run.db", &names);
    assert!(
        said.contains("60 of the pixels are hot in most of 6 frames"),
        "{said}"
    );
    assert_eq!(at_hot("run.db"), 0);
    assert_eq!(rows("run.db", "flags & 128 > 0"), 0, "{said}");
    assert_eq!(said.matches("hot in most").count(), 1, "{said}");
    // Every star of every frame is there, those with a hot pixel beside them too.
    assert!(rows("run.db", "snr > 10") >= 6 * field.stars.len() as i64 - 6);

    // One frame cannot tell, and has them as rows that are sharp.
    let said = fit("one.db", &names[..1]);
    assert!(!said.contains("hot in most"), "{said}");
    assert!(at_hot("one.db") > 50, "{}", at_hot("one.db"));

    let said = fit("few.db", &names[..3]);
    assert!(!said.contains("hot in most"), "{said}");
}
