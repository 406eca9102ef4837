//! Stars whose cores a camera has clipped, at a seventh of their height or more.

use ndarray::Array2;
use starfit::batch::{Batch, Start};
use starfit::catalog::Row;
use starfit::cutout::{Cutout, CutoutOptions, Noise};
use starfit::estimator::Estimator;
use starfit::fit::Flags;
use starfit::measure::MeasureOptions;

use super::cutouts::{Counted, Kind, off};
use super::field::{Truth, fitter, pull};

const LEVEL: f64 = 4000.0;

fn kind(model: &'static str) -> Kind {
    Kind {
        model,
        sigma: (1.2, 2.2),
        peak: (1500.0, 30_000.0),
        slant: if model.starts_with("elliptical") {
            0.4
        } else {
            0.0
        },
        sky: 100.0,
    }
}

fn options(saturation: f64) -> MeasureOptions {
    MeasureOptions {
        gain: Some(1.0),
        saturation: Some(saturation),
        ..Default::default()
    }
}

/// Stars with enough pixels left that are more than 5 errors from their truth, or have no error.
fn lost(pairs: &[(&Truth, &Row)]) -> usize {
    let enough = pairs
        .iter()
        .filter(|(_, row)| row.get("n_pixels") >= Some(20.0));
    let is_lost = |(star, row): &&&(&Truth, &Row)| {
        let columns = [("x", star.x), ("y", star.y), ("flux", star.flux)];
        columns
            .iter()
            .any(|(column, truth)| off(row, column, *truth) > 5.0)
    };
    enough
        .collect::<Vec<_>>()
        .iter()
        .filter(|pair| is_lost(pair))
        .count()
}

#[test]
fn clipped_stars_are_fitted_by_their_flanks() {
    for model in [
        "gaussian",
        "elliptical-gaussian",
        "moffat",
        "elliptical-moffat",
    ] {
        let stack = Counted::new(400, kind(model), 61).clipped_at(LEVEL);
        for estimator in [Estimator::Poisson, Estimator::LeastSquares] {
            let rows = stack.measure(model, estimator, &options(LEVEL)).unwrap();
            let pairs = stack.pairs(&rows);
            let clipped = rows
                .iter()
                .filter(|row| row.flags.contains(Flags::SATURATED));
            assert!(clipped.count() > 300);
            assert_eq!(lost(&pairs), 0, "{model} {estimator:?}");
            if estimator == Estimator::Poisson && model.ends_with("gaussian") {
                let width = pull(&pairs, "flux", |star| star.flux);
                assert!((0.85..1.15).contains(&width), "{model}: {width}");
            }
        }
    }
}

#[test]
fn clipped_pixels_that_nobody_tells_of_spoil_the_fit() {
    let stack = Counted::new(200, kind("gaussian"), 61).clipped_at(LEVEL);
    let told = options(f64::INFINITY);
    let rows = stack
        .measure("gaussian", Estimator::LeastSquares, &told)
        .unwrap();
    assert!(lost(&stack.pairs(&rows)) > 100, "the control");
}

/// A clipped star with a brighter one beside it, a trail of charge from its core, and a bad column.
fn spoilt(trail: bool, hole: bool) -> Cutout {
    let bell = |x: f64, y: f64, sigma: f64| (-0.5 * (x * x + y * y) / (sigma * sigma)).exp();
    let pixels = Array2::from_shape_fn((31, 31), |(row, column)| {
        let (x, y) = (column as f64, row as f64);
        let light = 100.0
            + 20_000.0 * bell(x - 14.3, y - 15.2, 2.0)
            + 30_000.0 * bell(x - 27.0, y - 4.0, 2.0);
        match (trail && column == 14 && row > 12, column == 3) {
            (true, _) => LEVEL,
            (_, true) => f64::NAN,
            _ if hole && light > LEVEL => f64::NAN,
            _ => light.min(LEVEL),
        }
    });
    let options = CutoutOptions {
        noise: Noise::Known {
            gain: Some(1.0),
            read_noise: 0.0,
        },
        saturation: LEVEL,
    };
    Cutout::from_pixels(pixels.view(), None, &options)
}

#[test]
fn a_core_is_told_from_trails_holes_and_neighbours() {
    for (trail, hole) in [(false, false), (true, false), (false, true)] {
        let mut batch = Batch::new(31, 31);
        let start = Start::Moments {
            position: Some((14.0, 15.0)),
            fwhm: Some(4.7),
        };
        batch.push(&spoilt(trail, hole), start).unwrap();
        let mut starts = fitter();
        starts.max_iterations = 0;
        let fit = &starts.fit(&batch).unwrap()[0];
        let [flux, x, y, sigma, ..] = fit.parameters;
        let off = (x - 14.3).hypot(y - 15.2);
        let truth = 20_000.0 * std::f64::consts::TAU * 4.0;
        assert!(off < 0.3, "{trail} {hole}: {x}, {y}");
        assert!((sigma / 2.0 - 1.0).abs() < 0.1, "{trail} {hole}: {sigma}");
        assert!((flux / truth - 1.0).abs() < 0.2, "{trail} {hole}: {flux}");
    }
}
