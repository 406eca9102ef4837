use ndarray::{Array2, s};
use rand::SeedableRng;
use rand_distr::{Distribution, Normal};
use rand_pcg::Pcg64;

use super::*;

const FWHM: f64 = 4.0;

fn sky(height: usize, width: usize, seed: u64) -> Array2<f64> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let normal = Normal::new(0.0, 1.0).unwrap();
    Array2::from_shape_simple_fn((height, width), || normal.sample(&mut rng))
}

/// Adds a Moffat profile of beta 3, width `FWHM`.
fn add(pixels: &mut Array2<f64>, x: f64, y: f64, peak: f64) {
    let alpha = FWHM / 2.0 / (2f64.powf(1.0 / 3.0) - 1.0).sqrt();
    for ((row, column), pixel) in pixels.indexed_iter_mut() {
        let r2 = (column as f64 - x).powi(2) + (row as f64 - y).powi(2);
        *pixel += peak * (1.0 + r2 / (alpha * alpha)).powi(-3);
    }
}

fn found(pixels: &Array2<f64>, options: &DetectOptions) -> Vec<Detection> {
    let image = Image::from_pixels("test", pixels.clone());
    detect(&image, &Background::estimate(pixels.view(), 64), options)
}

fn options() -> DetectOptions {
    DetectOptions {
        fwhm: FWHM,
        ..Default::default()
    }
}

#[track_caller]
fn assert_one(found: &[Detection], x: f64, y: f64, within: f64) {
    assert!(
        found.len() == 1 && (found[0].x - x).hypot(found[0].y - y) < within,
        "not one at {x}, {y}: {found:?}"
    );
}

#[test]
fn one_star_at_any_scale() {
    let mut field = sky(100, 120, 1);
    add(&mut field, 50.3, 61.8, 60.0);
    for (scale, pedestal) in [
        (1.0, 0.0),
        (1e-20, 100.0),
        (1e30, -1e4),
        (1.0, 1e6),
        (1.0, 2e9),
    ] {
        let pixels = field.map(|value| scale * (value + pedestal));
        let found = found(&pixels, &options());
        assert_one(&found, 50.3, 61.8, 0.1);
        let Detection {
            significance,
            peak,
            saturated,
            edge,
            ..
        } = found[0];
        assert!((100.0..200.0).contains(&significance), "{significance}");
        assert!((50.0..70.0).contains(&(peak / scale)), "{peak}");
        assert!(!saturated && !edge);
    }
    // A bare sky, at the threshold and far below it.
    assert!(found(&sky(100, 120, 1), &options()).is_empty());
    assert!(
        found(
            &sky(100, 120, 1),
            &DetectOptions {
                threshold: 2.0,
                ..options()
            }
        )
        .len()
            > 10
    );
}

#[test]
fn without_noise() {
    let mut pixels = Array2::zeros((100, 120));
    add(&mut pixels, 50.3, 61.8, 60.0);
    add(&mut pixels, 90.0, 20.0, 1.0);
    let found = found(&pixels, &options());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].y < found[1].y);
}

#[test]
fn noise_that_is_correlated() {
    // Each pixel the sum of its neighbourhood: 25 times fewer independent ones.
    let white = sky(404, 404, 2);
    let grain = Array2::from_shape_fn((400, 400), |(y, x)| {
        white.slice(s![y..y + 5, x..x + 5]).sum()
    });
    assert!(found(&grain, &options()).len() <= 1);
    // Of independent pixels of the same noise the filtered image has far less.
    let filter = |pixels: &Array2<f64>| {
        filter::significance(
            pixels.view(),
            &Background::estimate(pixels.view(), 64),
            FWHM,
        )
        .pixel_sigma
    };
    let ratio = filter(&grain) / filter(&white.slice(s![..400, ..400]).to_owned());
    assert!((2.0..5.0).contains(&ratio), "{ratio}");
}

#[test]
fn neighbours_are_told_apart_and_wings_are_not_stars() {
    let mut pixels = sky(200, 200, 3);
    add(&mut pixels, 100.0, 100.0, 5000.0);
    assert_one(&found(&pixels, &options()), 100.0, 100.0, 0.1);
    add(&mut pixels, 110.0, 100.0, 500.0);
    add(&mut pixels, 100.0, 115.0, 30.0);
    let three = found(&pixels, &options());
    assert_eq!(three.len(), 3, "{three:?}");
    // Of one width and a half apart they are one.
    let mut pixels = sky(200, 200, 3);
    add(&mut pixels, 100.0, 100.0, 500.0);
    add(&mut pixels, 102.0, 100.0, 500.0);
    assert_one(&found(&pixels, &options()), 101.0, 100.0, 0.2);
}

#[test]
fn a_photon_noisy_halo_is_one_star_when_the_gain_says_so() {
    // A halo 60 pixels wide of 400 sigma, with the noise that a gain of 0.1 makes.
    let mut pixels = sky(300, 300, 4);
    let mut rng = Pcg64::seed_from_u64(5);
    let normal = Normal::new(0.0, 1.0).unwrap();
    for ((y, x), pixel) in pixels.indexed_iter_mut() {
        let r2 = (x as f64 - 150.0).powi(2) + (y as f64 - 150.0).powi(2);
        let light = 400.0 * (-r2 / 800.0).exp();
        *pixel += light + (light / 0.1f64).sqrt() * normal.sample(&mut rng);
    }
    let gain = |gain: f64| {
        found(
            &pixels,
            &DetectOptions {
                gain: Some(gain),
                ..options()
            },
        )
        .len()
    };
    assert_eq!(gain(0.1), 1);
    assert!(gain(1e6) > 3, "{}", gain(1e6));
}

#[test]
fn a_saturated_star_is_one_at_the_middle_of_its_plateau() {
    let mut pixels = sky(150, 150, 6);
    add(&mut pixels, 70.0, 80.0, 20_000.0);
    let saturation = 1000.0;
    // The plateau is not quite flat, and one column bleeds over.
    let noise = sky(150, 150, 7);
    for (pixel, noise) in pixels.iter_mut().zip(&noise) {
        if *pixel > saturation {
            *pixel = saturation + 20.0 + 5.0 * noise;
        }
    }
    pixels.slice_mut(s![50..110, 70]).fill(saturation + 20.0);
    let with = found(
        &pixels,
        &DetectOptions {
            saturation,
            ..options()
        },
    );
    assert_one(&with, 70.0, 80.0, 0.6);
    assert!(with[0].saturated);
    let without = found(&pixels, &options());
    assert!(without.iter().all(|star| !star.saturated));
    // A saturation below the sky ruins nothing.
    let nonsense = found(
        &pixels,
        &DetectOptions {
            saturation: -1e9,
            ..options()
        },
    );
    assert_one(&nonsense, 70.0, 80.0, 1.0);
}

#[test]
fn a_hole_in_a_star_is_no_ring_of_stars() {
    for radius in 0..9 {
        let mut pixels = sky(150, 150, 8);
        add(&mut pixels, 70.0, 80.0, 20_000.0);
        for ((y, x), pixel) in pixels.indexed_iter_mut() {
            if (x as f64 - 70.0).powi(2) + (y as f64 - 80.0).powi(2) <= f64::from(radius * radius) {
                *pixel = f64::NAN;
            }
        }
        assert_one(&found(&pixels, &options()), 70.0, 80.0, 0.5);
    }
    // Holes elsewhere are nothing: in the sky, in the wing of a star, a column through it.
    let mut pixels = sky(150, 150, 9);
    add(&mut pixels, 70.0, 80.0, 2000.0);
    pixels.slice_mut(s![20..40, 20..40]).fill(f64::NAN);
    pixels.slice_mut(s![79..82, 76..79]).fill(f64::NAN);
    pixels.slice_mut(s![.., 70..72]).fill(f64::NAN);
    pixels[[100, 100]] = f64::INFINITY;
    pixels[[78, 68]] = f64::NEG_INFINITY;
    assert_one(&found(&pixels, &options()), 70.0, 80.0, 0.5);
}

#[test]
fn a_hot_pixel_is_one_detection() {
    for height in [50.0, 1e4, 1e9, 1e38, 1e200] {
        let mut pixels = sky(100, 100, 10);
        pixels[[40, 55]] += height;
        pixels[[60, 20]] -= height;
        assert_one(&found(&pixels, &options()), 55.0, 40.0, 0.3);
        let narrow = found(
            &pixels,
            &DetectOptions {
                fwhm: 0.8,
                ..options()
            },
        );
        assert_one(&narrow, 55.0, 40.0, 0.3);
    }
}

#[test]
fn the_border() {
    let mut pixels = sky(100, 100, 11);
    // One too far out to be known for a maximum.
    add(&mut pixels, -1.0, 50.0, 300.0);
    add(&mut pixels, 50.0, 2.0, 300.0);
    let found = found(&pixels, &options());
    assert_one(&found, 50.0, 2.0, 0.3);
    assert!(found[0].edge);
}

#[test]
fn any_size_content_and_option() {
    let mut rng = Pcg64::seed_from_u64(12);
    let wild = Normal::new(0.0, 1e3).unwrap();
    for (height, width) in [
        (0, 0),
        (0, 4),
        (1, 1),
        (1, 200),
        (200, 1),
        (2, 2),
        (3, 3),
        (5, 90),
    ] {
        let contents = [
            Array2::zeros((height, width)),
            Array2::from_elem((height, width), f64::NAN),
            Array2::from_shape_simple_fn((height, width), || wild.sample(&mut rng)),
            Array2::from_shape_fn((height, width), |(y, x)| {
                [f64::MAX, -f64::MAX, f64::NAN, 1.0][(3 * y + x) % 4]
            }),
        ];
        for pixels in &contents {
            for value in [-1.0, 0.0, 1e-300, 2.0, 1e300, f64::NAN, f64::INFINITY] {
                let odd = DetectOptions {
                    fwhm: value,
                    threshold: value,
                    saturation: value,
                    gain: Some(value),
                };
                for options in [
                    DetectOptions {
                        fwhm: value,
                        ..options()
                    },
                    DetectOptions {
                        threshold: value,
                        ..options()
                    },
                    DetectOptions {
                        saturation: value,
                        ..options()
                    },
                    DetectOptions {
                        gain: Some(value),
                        ..options()
                    },
                    odd,
                ] {
                    for star in found(pixels, &options) {
                        assert!(star.x >= 0.0 && star.x < width as f64, "{star:?}");
                        assert!(star.y >= 0.0 && star.y < height as f64, "{star:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_background_of_another_image_is_no_panic() {
    let small = Background::estimate(sky(20, 20, 13).view(), 64);
    let image = Image::from_pixels("test", sky(90, 130, 14));
    detect(&image, &small, &options());
}
