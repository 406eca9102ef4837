//! Cutouts that their stars fill, so that no pixel of the rim is sky.

use starfit::estimator::Estimator;
use starfit::measure::MeasureOptions;

use super::cutouts::{Counted, Kind};
use super::field::pull;

const KIND: Kind = Kind {
    model: "gaussian",
    sigma: (2.6, 4.5),
    peak: (300.0, 3000.0),
    slant: 0.0,
    sky: 100.0,
};

fn options() -> MeasureOptions {
    MeasureOptions {
        gain: Some(1.0),
        ..Default::default()
    }
}

#[test]
fn counts_of_stars_that_fill_their_cutouts_are_counts() {
    let bright = Kind {
        peak: (10_000.0, 60_000.0),
        ..KIND
    };
    for (kind, seed) in [(KIND, 71), (KIND, 72), (bright, 73)] {
        let stack = Counted::new(400, kind, seed);
        for estimator in [Estimator::Poisson, Estimator::LeastSquares] {
            let rows = stack.measure("gaussian", estimator, &options()).unwrap();
            let pairs = stack.pairs(&rows);
            for column in ["x", "y", "flux"] {
                let width = pull(&pairs, column, |star| match column {
                    "x" => star.x,
                    "y" => star.y,
                    _ => star.flux,
                });
                // The rim's scatter, which least squares takes for noise, has a part of the star in it.
                let least = if estimator == Estimator::Poisson {
                    0.9
                } else {
                    0.8
                };
                assert!(
                    (least..1.1).contains(&width),
                    "{estimator:?} {column}: {width}"
                );
            }
        }
    }
}

#[test]
fn what_is_no_count_is_still_refused() {
    let counts = Counted::new(400, KIND, 74);
    let refused = |change: &dyn Fn(f64) -> f64| {
        let mut stack = counts.clone();
        stack.pixels.mapv_inplace(change);
        let rows = stack.measure("gaussian", Estimator::Poisson, &options());
        rows.err().map(|error| error.to_string())
    };
    assert_eq!(refused(&|value| value), None, "the control");
    for (what, change) in [
        (
            "a bias",
            &(|value: f64| value + 3000.0) as &dyn Fn(f64) -> f64,
        ),
        ("a sky taken out", &|value| value - 400.0),
        ("another gain", &|value| value * 8.0),
    ] {
        let said = refused(change).unwrap_or_else(|| panic!("{what}: accepted"));
        assert!(said.contains("counts of the sky"), "{what}: {said}");
    }
}

#[test]
fn errors_of_filled_cutouts_have_the_noise_of_their_photons() {
    let stack = Counted::new(400, KIND, 75);
    let rows = stack
        .measure("gaussian", Estimator::LeastSquares, &options())
        .unwrap();
    let mut chi2: Vec<f64> = rows
        .iter()
        .filter_map(|row| row.get("reduced_chi2"))
        .collect();
    chi2.sort_by(f64::total_cmp);
    let middle = chi2[chi2.len() / 2];
    assert!((0.9..1.1).contains(&middle), "{middle}");
    // The control: most rims scatter by far more than their photons, which once was taken for noise.
    let is_lit = |star: &usize| {
        let cutout = stack.cutout(*star);
        let rim = cutout.row(0);
        let mean = rim.mean().unwrap();
        rim.mapv(|value| (value - mean).powi(2)).mean().unwrap() > 2.5 * mean
    };
    assert!((0..400).filter(is_lit).count() > 200);
}
