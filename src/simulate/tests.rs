use ndarray::{Axis, s};
use rayon::ThreadPoolBuilder;

use super::field::render;
use super::*;
use crate::backend::CpuBackend;
use crate::batch::{Batch, Start};
use crate::catalog::COLUMNS;
use crate::cutout::{Cutout, CutoutOptions, Noise};
use crate::fit::{FitStatus, Flags};
use crate::fitter::Fitter;
use crate::io::fits::{self, FitsFile, FitsPath};
use crate::io::npy;
use crate::model::MODELS;
use crate::solver::LevenbergMarquardt;

fn small() -> SimulationOptions {
    SimulationOptions {
        seed: 7,
        ..SimulationOptions::default()
    }
}

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(work)
}

#[test]
fn a_seed_names_a_data_set() {
    let other = SimulationOptions { seed: 8, ..small() };
    let field = |threads, options: &SimulationOptions| {
        on_threads(threads, || StarField::new(50, 150, 130, options).unwrap())
    };
    let one = field(1, &small());
    let many = field(5, &small());
    assert_eq!(one.image.pixels, many.image.pixels);
    assert_eq!(one.truth, many.truth);
    let different = field(5, &other);
    assert_ne!(one.truth, different.truth);
    let equal = one.image.pixels.iter().zip(&different.image.pixels);
    assert_eq!(equal.filter(|(a, b)| a == b).count(), 0);

    let stack = |threads, options: &SimulationOptions| {
        on_threads(threads, || Stack::new(100, 15, options).unwrap())
    };
    let one = stack(1, &small());
    assert_eq!(one.pixels, stack(5, &small()).pixels);
    assert_ne!(one.pixels, stack(5, &other).pixels);
    // No two stars share their noise, and the first stars do not depend on how many follow.
    assert_ne!(
        one.pixels.index_axis(Axis(0), 0),
        one.pixels.index_axis(Axis(0), 1)
    );
    let fewer = Stack::new(10, 15, &small()).unwrap();
    assert_eq!(fewer.pixels, one.pixels.slice(s![..10, .., ..]));

    let w2 = |threads, seed| on_threads(threads, || Stack::w2(100, seed));
    assert_eq!(w2(1, 3).pixels, w2(5, 3).pixels);
    assert_ne!(w2(1, 3).pixels, w2(1, 4).pixels);
}

#[test]
fn noise_is_that_of_the_camera() {
    for (background, gain, read_noise) in [
        (1000.0, 1.5, 5.0),
        (3.0, 1.0, 0.0),
        (20.0, 0.3, 8.0),
        (0.0, 2.0, 10.0),
    ] {
        let camera = Camera { gain, read_noise };
        let options = SimulationOptions {
            background,
            camera,
            ..small()
        };
        let pixels = StarField::new(0, 700, 700, &options).unwrap().image.pixels;
        let n = pixels.len() as f64;
        let mean = pixels.mean().unwrap();
        let variance = pixels.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let expected = (background * gain + read_noise * read_noise) / (gain * gain);
        // Errors in units of their own standard deviation, about 1/700 and 1/500 here.
        let of_mean = |wanted: f64| (mean - wanted) / (expected / n).sqrt();
        let of_variance = |wanted: f64| (variance / wanted - 1.0) / (2.5 / n).sqrt();
        assert!(of_mean(background).abs() < 4.0, "{mean} {background}");
        assert!(of_variance(expected).abs() < 4.0, "{variance} {expected}");
        assert!(of_mean(background + 0.02 * expected.sqrt()).abs() > 4.0);
        assert!(of_variance(expected * 1.02).abs() > 4.0);
        assert!((camera.variance(background) - expected).abs() < 1e-12 * expected);
    }
}

#[test]
fn the_light_in_an_image_is_the_flux() {
    for &model in MODELS {
        let options = SimulationOptions {
            model,
            fwhm: 4.0,
            snr: (50.0, 5000.0),
            ..small()
        };
        let mut field = StarField::new(30, 300, 300, &options).unwrap();
        // What falls off the rim is no light of the image.
        field.truth.retain(|star| {
            [star.x, star.y]
                .iter()
                .all(|place| (30.0..270.0).contains(place))
        });
        assert!(field.truth.len() > 10);
        let light = render(&field.truth, 300, 300, &options).iter().sum::<f64>()
            - options.background * 90_000.0;
        let flux: f64 = field.truth.iter().map(|star| star.flux).sum();
        // Relative to the errors of a measurement: nothing cut off may be seen.
        let error: f64 = field.truth.iter().map(|star| star.flux_err).sum();
        let wide_wings = if model.name().contains("moffat") {
            0.05 * flux
        } else {
            0.0
        };
        assert!(
            (light - flux).abs() < 0.01 * error + wide_wings,
            "{light} {flux} {error}"
        );
        assert!((light - 1.1 * flux).abs() > 0.01 * error + wide_wings);
    }
}

#[test]
fn the_images_show_the_truth() {
    let field = StarField::new(20, 200, 100, &small()).unwrap();
    let expected = render(&field.truth, 200, 100, &field.options);
    let pulls = |pixels: &ndarray::Array2<f64>| {
        let chi2 = pixels
            .iter()
            .zip(&expected)
            .map(|(pixel, value)| (pixel - value).powi(2) / field.options.camera.variance(*value));
        (chi2.sum::<f64>() / 20_000.0 - 1.0) / (2.0 / 20_000f64).sqrt()
    };
    assert!(pulls(&field.image.pixels).abs() < 4.0);
    let mut shifted = field.image.pixels.clone();
    shifted.assign(&field.image.pixels.clone().slice(s![.., ..;-1]));
    assert!(pulls(&shifted) > 4.0);
}

/// Pulls `(flux - truth) / bound` of fits, their mean and width.
fn pulls(stack: &Stack, factor: f64) -> (f64, f64) {
    let (_, height, width) = stack.pixels.dim();
    let Camera { gain, read_noise } = stack.camera;
    let noise = Noise::Known {
        gain: Some(gain),
        read_noise,
    };
    let options = CutoutOptions {
        noise,
        saturation: f64::INFINITY,
    };
    let mut batch = Batch::new(width, height);
    for (pixels, star) in stack.pixels.outer_iter().zip(&stack.truth) {
        let pixels = pixels.mapv(f64::from);
        let cutout = Cutout::from_pixels(pixels.view(), None, &options);
        batch.push(&cutout, Start::Given(star.parameters)).unwrap();
    }
    let solver = Box::new(LevenbergMarquardt::default());
    let fitter = Fitter::new(stack.model, solver, Box::new(CpuBackend::default()));
    let fits = fitter.fit(&batch).unwrap();
    let pulls: Vec<f64> = fits
        .iter()
        .zip(&stack.truth)
        .filter(|(fit, _)| fit.status == FitStatus::Converged)
        .map(|(fit, star)| {
            let flux = brightness(stack.model, &fit.parameters).value;
            (flux - star.flux) / (factor * star.flux_err)
        })
        .collect();
    assert!(pulls.len() * 1000 >= fits.len() * 999);
    let n = pulls.len() as f64;
    let mean = pulls.iter().sum::<f64>() / n;
    let width = pulls.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / n;
    (mean, width.sqrt())
}

#[test]
fn the_bound_is_the_scatter_of_fits() {
    for &model in MODELS {
        let options = SimulationOptions {
            model,
            snr: (50.0, 50.0),
            ..small()
        };
        let stack = Stack::new(4000, 15, &options).unwrap();
        for star in &stack.truth {
            assert!((star.snr - 50.0).abs() < 1e-4, "{}", star.snr);
        }
        // The standard error of the width is 0.011.
        let (mean, width) = pulls(&stack, 1.0);
        println!("{}: mean {mean:.3}, width {width:.3}", model.name());
        assert!((width - 1.0).abs() < 0.05, "{width}");
        assert!(mean.abs() < 0.2, "{mean}");
        // The bound at another ratio.
        let (_, width) = pulls(&stack, 50.0 / 40.0);
        assert!((width - 1.0).abs() > 0.05, "{width}");
    }
}

#[test]
fn every_ratio_is_reached() {
    let bare = Camera {
        gain: 3.0,
        read_noise: 0.0,
    };
    let noisy = Camera {
        gain: 0.1,
        read_noise: 100.0,
    };
    for &model in MODELS {
        for (camera, background) in [(small().camera, 1000.0), (bare, 1e-3), (noisy, 0.0)] {
            for fwhm in [1.2, 3.0, 7.0] {
                for snr in [1e-3, 1.0, 10.0, 1e3, 1e6] {
                    let options = SimulationOptions {
                        model,
                        camera,
                        background,
                        fwhm,
                        snr: (snr, snr),
                        ..small()
                    };
                    let stack = Stack::new(5, 15, &options).unwrap();
                    for star in &stack.truth {
                        assert!(
                            (star.snr / snr - 1.0).abs() < 2e-6,
                            "{options:?} {}",
                            star.snr
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn stars_are_as_asked() {
    for &model in MODELS {
        let options = SimulationOptions {
            model,
            fwhm: 3.7,
            ..small()
        };
        let stack = Stack::new(3000, 15, &options).unwrap();
        let (mut below, mut left) = (0, 0);
        for star in &stack.truth {
            let fwhm = model.quantities(&star.parameters);
            let fwhm = fwhm.iter().find(|q| q.column == "fwhm").unwrap().value;
            assert!((fwhm - 3.7).abs() < 1e-6);
            assert!((star.x - 7.0).abs() <= 1.0 && (star.y - 7.0).abs() <= 1.0);
            assert!((4.999_99..500.001).contains(&star.snr));
            below += usize::from(star.snr < 50.0);
            left += usize::from(star.x < 7.0);
        }
        // 50 is the middle of 5 to 500; 27 stars are one standard deviation.
        assert!(
            below.abs_diff(1500) < 110 && left.abs_diff(1500) < 110,
            "{below} {left}"
        );
    }
}

#[test]
fn w2_is_the_recipe() {
    let stack = Stack::w2(2000, 1);
    assert_eq!(stack.pixels.dim(), (2000, 15, 15));
    assert!(stack.pixels.iter().all(|v| *v >= 0.0 && v.fract() == 0.0));
    let column = |name: &str| -> (f64, f64) {
        let values = stack.truth.iter().map(|star| {
            let quantities = stack.model.quantities(&star.parameters);
            quantities.iter().find(|q| q.column == name).unwrap().value
        });
        values.fold((f64::INFINITY, 0.0), |(low, high), v| {
            (v.min(low), v.max(high))
        })
    };
    let spans = |name, low: f64, high: f64| {
        let (lowest, highest) = column(name);
        let margin = 0.01 * (high - low);
        assert!(
            lowest >= low - 1e-9 && lowest < low + margin,
            "{name} {lowest}"
        );
        assert!(
            highest <= high + 1e-9 && highest > high - margin,
            "{name} {highest}"
        );
    };
    spans("peak", 200.0, 2000.0);
    spans(
        "fwhm",
        1.2 * crate::model::FWHM_OF_SIGMA,
        2.2 * crate::model::FWHM_OF_SIGMA,
    );
    spans("x", 5.5, 8.5);
    spans("y", 5.5, 8.5);
    assert_eq!(column("background"), (100.0, 100.0));
    let (_, width) = pulls(&stack, 1.0);
    assert!((width - 1.0).abs() < 0.08, "{width}");
}

#[test]
fn fields_come_back_from_fits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("field.fits");
    let options = SimulationOptions {
        snr: (5.0, 2000.0),
        ..small()
    };
    let field = StarField::new(80, 120, 90, &options).unwrap();
    field.write_fits(&path).unwrap();
    let file = FitsFile::open(&FitsPath::from(path.clone())).unwrap();
    let read = file.image(0).unwrap();
    assert_eq!(read.header, field.image.header);
    assert_eq!(read.header.gain(), Some(1.5));
    assert_eq!(read.header.saturation, Some(65535.0));
    assert!(
        file.cards()
            .any(|(k, v)| k == "BITPIX" && v == fits::Value::Integer(16))
    );
    let wanted = field.image.pixels.mapv(|v| v.round().min(65535.0));
    assert_eq!(read.pixels, wanted);
    assert_ne!(read.pixels, field.image.pixels);

    let mut flags = [0; 2];
    for star in &field.truth {
        let truncated = star.x < 6.5 || star.y < 6.5 || star.x >= 112.5 || star.y >= 82.5;
        assert_eq!(star.flags.contains(Flags::TRUNCATED), truncated, "{star:?}");
        flags[0] += usize::from(truncated);
        let (x, y) = (star.x.round() as usize, star.y.round() as usize);
        let saturated = star.flags.contains(Flags::SATURATED);
        if wanted[[y.min(89), x.min(119)]] == 65535.0 {
            assert!(saturated, "{star:?}");
        }
        flags[1] += usize::from(saturated);
    }
    assert!(flags[0] > 5 && flags[1] > 2 && flags[1] < 60, "{flags:?}");

    let mut csv = csv::Reader::from_path(truth_path(&path)).unwrap();
    let header = csv.headers().unwrap().clone();
    assert_eq!(
        header.iter().collect::<Vec<_>>().join(" "),
        "id x x_err y y_err ra dec flux flux_err background background_err peak fwhm fwhm_err snr flags"
    );
    assert!(
        header
            .iter()
            .all(|name| COLUMNS.iter().any(|column| column.name == name))
    );
    let rows: Vec<_> = csv.records().map(|row| row.unwrap()).collect();
    assert_eq!(rows.len(), 80);
    for (id, (row, star)) in rows.iter().zip(&field.truth).enumerate() {
        let number = |name: &str| {
            let at = header.iter().position(|column| column == name).unwrap();
            row[at].parse::<f64>().unwrap()
        };
        assert_eq!(number("id"), id as f64);
        assert_eq!((number("x"), number("y")), (star.x, star.y));
        assert_eq!((number("flux"), number("snr")), (star.flux, star.snr));
        assert!((number("flux_err") / star.flux_err - 1.0).abs() < 1e-12);
        assert_eq!(number("flags"), f64::from(star.flags.0));
        // North is up but for 10 degrees, east is left, a pixel is an arcsecond.
        let (dx, dy) = (star.x - 59.5, star.y - 44.5);
        let (sin, cos) = 10f64.to_radians().sin_cos();
        let (east, north) = (-dx * cos + dy * sin, dx * sin + dy * cos);
        let dec = 36.4613 + north / 3600.0;
        let ra = 250.4235 + east / 3600.0 / dec.to_radians().cos();
        assert!((number("dec") - dec).abs() < 0.05 / 3600.0);
        assert!((number("ra") - ra).abs() < 0.05 / 3600.0);
        assert!((number("ra") - (250.4235 + dx / 3600.0)).abs() > 0.05 / 3600.0);
    }
}

#[test]
fn pixels_that_16_bits_would_spoil_are_floats() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("field.fits");
    let dark = SimulationOptions {
        background: 0.0,
        ..small()
    };
    let bright = SimulationOptions {
        background: 1e6,
        ..small()
    };
    let mut smooth = small();
    smooth.camera.gain = 1e4;
    for options in [dark, bright, smooth] {
        let field = StarField::new(5, 40, 40, &options).unwrap();
        field.write_fits(&path).unwrap();
        let file = FitsFile::open(&FitsPath::from(path.clone())).unwrap();
        let read = file.image(0).unwrap();
        assert_eq!(
            read.pixels,
            field.image.pixels.mapv(|v| f64::from(v as f32))
        );
        assert_eq!(read.header.saturation, None);
    }
}

#[test]
fn stacks_come_back_from_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    let stack = Stack::new(12, 16, &small()).unwrap();
    let wanted = stack.pixels.mapv(f64::from);
    for name in ["a.npy", "a.fits"] {
        let path = folder.path().join(name);
        stack.write(&path).unwrap();
        let read = match name {
            "a.npy" => npy::read_stack(&path),
            _ => FitsFile::open(&FitsPath::from(path.clone())).and_then(|file| file.stack()),
        };
        let read = read.unwrap();
        assert_eq!(read, wanted);
        assert_ne!(read, &wanted + 1.0);
        let truth = std::fs::read_to_string(truth_path(&path)).unwrap();
        assert_eq!(truth.lines().count(), 13);
        assert!(!truth.contains("ra,dec"));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    assert!(stack.write(folder.path().join("a.jpg")).is_err());
    assert!(stack.write(folder.path().join("no/a.npy")).is_err());
}

#[test]
fn nonsense_is_refused() {
    let refused = |change: fn(&mut SimulationOptions)| {
        let mut options = small();
        change(&mut options);
        Stack::new(2, 15, &options).unwrap_err().to_string()
    };
    insta::assert_snapshot!(refused(|o| o.snr = (9.0, 5.0)), @"snr: expected LO:HI with 0.001 <= LO <= HI <= 1000000, found 9:5");
    insta::assert_snapshot!(refused(|o| o.fwhm = -1.0), @"fwhm: expected 1 to 100, found -1");
    insta::assert_snapshot!(refused(|o| o.fwhm = 50.0), @"fwhm: expected a width that the model gaussian allows in cutouts of 15 pixels, found 50");
    insta::assert_snapshot!(refused(|o| { o.background = 0.0; o.camera.read_noise = 0.0; }), @"background: expected more than 0, or some read noise: pixels need noise, found 0");
    insta::assert_snapshot!(refused(|o| o.camera.gain = f64::NAN), @"gain: expected 0.000001 to 1000000, found NaN");
    insta::assert_snapshot!(Stack::new(0, 15, &small()).unwrap_err(), @"stack: expected 1 to 10000000, found 0");
    insta::assert_snapshot!(Stack::new(9_000_000, 15, &small()).unwrap_err(), @"stack: expected at most 4772185 cutouts of 15 x 15 pixels, found 9000000");
    insta::assert_snapshot!(StarField::new(1, 0, 9, &small()).unwrap_err(), @"width: expected 1 to 65535, found 0");
    insta::assert_snapshot!(StarField::new(1, 60_000, 60_000, &small()).unwrap_err(), @"height: expected at most 4473 with a width of 60000, found 60000");
}

#[test]
fn fields_of_any_shape() {
    for (stars, width, height) in [(0, 1, 1), (3, 1, 1), (5, 200, 1), (5, 1, 200), (2, 31, 33)] {
        let field = StarField::new(stars, width, height, &small()).unwrap();
        assert_eq!(field.image.pixels.dim(), (height, width));
        assert_eq!(field.truth.len(), stars);
        assert!(field.image.pixels.iter().all(|v| v.is_finite()));
    }
}
