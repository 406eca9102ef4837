use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

use super::*;

/// Error of a coordinate, pixels.
const NOISE: f64 = 0.1;

/// Stars on 1000 x 1000 pixels, as many faint ones as skies have.
fn field(n: usize, rng: &mut Pcg64) -> Vec<(Point, f64)> {
    (0..n)
        .map(|_| {
            let place = (rng.random_range(0.0..1000.0), rng.random_range(0.0..1000.0));
            (place, rng.random_range(0.001_f64..1.0).powf(-1.0))
        })
        .collect()
}

/// Rotation by `angle` degrees about the middle of the field, after a mirror, a scale and a shift.
fn turn(angle: f64, scale: f64, mirrored: bool) -> Affine {
    let (sin, cos) = angle.to_radians().sin_cos();
    let sign = if mirrored { -1.0 } else { 1.0 };
    let map = Affine {
        xx: scale * cos,
        xy: -sign * scale * sin,
        x0: 0.0,
        yx: scale * sin,
        yy: sign * scale * cos,
        y0: 0.0,
    };
    let (x, y) = map.apply((500.0, 500.0));
    Affine {
        x0: 523.0 - x,
        y0: 481.0 - y,
        ..map
    }
}

/// Another image of the field: a part of its stars, moved by the map, with other fluxes, and as
/// many others as `spurious` says.
fn seen(
    field: &[(Point, f64)],
    map: &Affine,
    (missing, spurious): (f64, f64),
    rng: &mut Pcg64,
) -> Vec<(Point, f64)> {
    let mut stars = Vec::new();
    for (place, flux) in field {
        if rng.random_bool(1.0 - missing) {
            let (x, y) = map.apply(*place);
            let [dx, dy, change]: [f64; 3] = std::array::from_fn(|_| StandardNormal.sample(rng));
            let flux = flux * (1.0 + 0.1 * change);
            stars.push(((x + NOISE * dx, y + NOISE * dy), flux));
        }
    }
    let others = field_of(spurious * field.len() as f64, rng);
    stars.extend(others);
    stars
}

fn field_of(n: f64, rng: &mut Pcg64) -> Vec<(Point, f64)> {
    field(n as usize, rng)
}

/// How far the corners of the field are from where they should be, at most.
fn error(registration: &Registration, map: &Affine) -> f64 {
    let corners = [(0.0, 0.0), (1000.0, 0.0), (0.0, 1000.0), (1000.0, 1000.0)];
    let wrong = corners.map(|corner| distance(registration.map.apply(map.apply(corner)), corner));
    wrong.into_iter().fold(0.0, f64::max)
}

#[test]
fn images_are_registered_however_they_are_turned() {
    let mut rng = Pcg64::seed_from_u64(1);
    for (index, angle) in (0..12).map(|k| (k, 31.0 * f64::from(k))) {
        let field = field(400, &mut rng);
        let reference = Pattern::new(field.clone());
        let map = turn(angle, 0.9 + 0.02 * f64::from(index % 11), index % 2 == 1);
        for (missing, spurious) in [(0.0, 0.0), (0.5, 0.3)] {
            let stars = seen(&field, &map, (missing, spurious), &mut rng);
            let found = Pattern::new(stars).register(&reference);
            let found = found.unwrap_or_else(|| panic!("{angle} {missing}"));
            let error = error(&found, &map);
            assert!(error < 0.15, "{angle} {missing}: {error}");
            let expected = 400.0 * (1.0 - missing);
            assert!((found.n_stars as f64 - expected).abs() < 0.1 * expected + 10.0);
            // Two coordinates, each with the noise of one image, scaled.
            let rms = found.rms / (NOISE * 2_f64.sqrt() * found.map.stretch().0);
            assert!((0.85..1.15).contains(&rms), "{rms}");
        }
    }
}

#[test]
fn a_wrong_map_is_seen_by_its_error() {
    let mut rng = Pcg64::seed_from_u64(2);
    let field = field(200, &mut rng);
    let map = turn(40.0, 1.0, false);
    let stars = seen(&field, &map, (0.2, 0.1), &mut rng);
    let found = Pattern::new(stars).register(&Pattern::new(field)).unwrap();
    assert!(error(&found, &map) < 0.15);
    assert!(error(&found, &turn(40.1, 1.0, false)) > 0.5);
}

#[test]
fn few_stars_are_enough_if_they_agree() {
    let mut rng = Pcg64::seed_from_u64(3);
    let field = field(12, &mut rng);
    let map = turn(200.0, 1.05, true);
    let stars = seen(&field, &map, (0.0, 0.2), &mut rng);
    let found = Pattern::new(stars).register(&Pattern::new(field)).unwrap();
    assert!(error(&found, &map) < 1.0);
    assert!((10..=12).contains(&found.n_stars), "{}", found.n_stars);
}

#[test]
fn unrelated_fields_are_refused() {
    let mut rng = Pcg64::seed_from_u64(4);
    for n in [0, 1, 2, 3, 5, 8, 20, 60, 400, 2000] {
        for _ in 0..4 {
            let (a, b) = (field(n, &mut rng), field(n, &mut rng));
            let found = Pattern::new(a).register(&Pattern::new(b));
            assert_eq!(found, None, "{n}");
        }
    }
}

#[test]
fn unrelated_fields_with_a_tenth_in_common_are_refused_or_right() {
    let mut rng = Pcg64::seed_from_u64(5);
    for k in 0..6 {
        let field = field(300, &mut rng);
        let map = turn(60.0 * f64::from(k), 1.0, false);
        let stars = seen(&field, &map, (0.9, 0.9), &mut rng);
        if let Some(found) = Pattern::new(stars).register(&Pattern::new(field)) {
            assert!(error(&found, &map) < 1.0);
        }
    }
}

#[test]
fn lines_and_points_are_refused() {
    let line = |n: i32| -> Pattern {
        let places = (0..n).map(|k| (10.0 * f64::from(k * k), 20.0 * f64::from(k * k)));
        Pattern::new(places.map(|place| (place, 1.0)).collect())
    };
    assert_eq!(line(30).register(&line(30)), None);
    let point = Pattern::new(vec![((5.0, 5.0), 1.0); 30]);
    assert_eq!(point.register(&point), None);
    let nowhere = Pattern::new(vec![((f64::NAN, 5.0), 1.0), ((5.0, 5.0), f64::NAN)]);
    assert_eq!(nowhere.register(&point), None);
}

#[test]
fn tails_are_probabilities() {
    assert!((poisson_tail(2.0, 0) - 1.0).abs() < 1e-12);
    assert!((poisson_tail(2.0, 1) - (1.0 - (-2_f64).exp())).abs() < 1e-12);
    let tiny = poisson_tail(0.02, 5);
    assert!(
        (tiny / (0.02_f64.powi(5) / 120.0) - 1.0).abs() < 0.03,
        "{tiny}"
    );
}
