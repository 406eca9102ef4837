use ndarray::{Array2, array, s};
use rand::SeedableRng;
use rand_distr::{Distribution, Normal};
use rand_pcg::Pcg64;

use super::*;

/// A sky of level 0 and noise 1.
fn sky(height: usize, width: usize, seed: u64) -> Array2<f64> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let normal = Normal::new(0.0, 1.0).unwrap();
    Array2::from_shape_simple_fn((height, width), || normal.sample(&mut rng))
}

fn is_close(found: f64, expected: f64, tolerance: f64) -> bool {
    (found - expected).abs() <= tolerance
}

#[test]
fn level_and_noise_at_any_scale_and_pedestal() {
    let sky = sky(300, 400, 1);
    for scale in [1e-300, 1e-20, 1.0, 1e30, 1e290] {
        for pedestal in [0.0, -3000.0, 1e6, 2e9] {
            let pixels = sky.map(|value| (value + pedestal) * scale);
            let background = Background::estimate(pixels.view(), 64);
            let level = background.median_level() / scale - pedestal;
            let noise = background.median_noise() / scale;
            assert!(is_close(level, 0.0, 0.02), "{scale} {pedestal}: {level}");
            assert!(is_close(noise, 1.0, 0.03), "{scale} {pedestal}: {noise}");
            assert!(!is_close(1.1 * noise, 1.0, 0.03) && !is_close(level + 0.1, 0.0, 0.02));
        }
    }
}

#[test]
fn gradients_are_followed_to_the_border() {
    let mut pixels = sky(400, 500, 2);
    let truth = |x: usize, y: usize| 1000.0 + 0.1 * x as f64 - 0.05 * y as f64;
    for ((y, x), pixel) in pixels.indexed_iter_mut() {
        *pixel += truth(x, y);
    }
    let background = Background::estimate(pixels.view(), 50);
    let map = background.level_map();
    let worst = |off: f64| {
        map.indexed_iter()
            .map(|((y, x), level)| (level + off - truth(x, y)).abs())
            .fold(0.0, f64::max)
    };
    // The median filter flattens the corners: half a cell each way, 3.75.
    assert!(worst(0.0) < 7.0, "{}", worst(0.0));
    assert!(worst(4.0) > 7.0);
    let inner = map[[200, 250]] - truth(250, 200);
    assert!(inner.abs() < 0.3, "{inner}");

    let difference = background.subtract(pixels.view());
    let mut row = vec![0.0; 500];
    background.level_row(123, &mut row);
    for x in [0, 1, 24, 25, 250, 499] {
        let level = background.level(x as f64, 123.0);
        assert!(is_close(row[x], level, 1e-9) && is_close(map[[123, x]], level, 1e-9));
        assert!(is_close(
            difference[[123, x]],
            pixels[[123, x]] - level,
            1e-9
        ));
        assert!(!is_close(row[x], level + 1e-6, 1e-9));
    }
}

#[test]
fn stars_and_holes_change_little() {
    let mut pixels = sky(256, 256, 3);
    for (y, x) in (0..256)
        .step_by(16)
        .flat_map(|y| (0..256).step_by(16).map(move |x| (y, x)))
    {
        for (dy, dx) in (0..4).flat_map(|dy| (0..4).map(move |dx| (dy, dx))) {
            pixels[[y + dy, x + dx]] += 1000.0;
        }
    }
    let plain = Background::estimate(pixels.view(), 64);
    assert!(
        is_close(plain.median_level(), 0.0, 0.1),
        "{}",
        plain.median_level()
    );
    assert!(
        is_close(plain.median_noise(), 1.0, 0.1),
        "{}",
        plain.median_noise()
    );
    let (mean, deviation) = (pixels.mean().unwrap(), pixels.std(0.0));
    assert!(!is_close(mean, 0.0, 0.1) && !is_close(deviation, 1.0, 0.1));

    // A whole cell without pixels, one with few left, and the zeros of an aligned frame.
    pixels += 500.0;
    pixels.slice_mut(s![..64, ..120]).fill(f64::NAN);
    pixels.slice_mut(s![200.., ..]).fill(0.0);
    pixels[[100, 100]] = f64::INFINITY;
    let background = Background::estimate(pixels.view(), 64);
    for (x, y) in [
        (0.0, 0.0),
        (30.0, 30.0),
        (128.0, 128.0),
        (128.0, 250.0),
        (255.0, 255.0),
    ] {
        assert!(
            is_close(background.level(x, y), 500.0, 1.0),
            "{}",
            background.level(x, y)
        );
        assert!(
            is_close(background.noise(x, y), 1.0, 0.3),
            "{}",
            background.noise(x, y)
        );
    }
}

#[test]
fn digits_have_at_least_the_noise_of_rounding() {
    let step = 4.0;
    let fine = sky(128, 128, 4).map(|value| step * (25.0 + 0.2 * value).round());
    let noise = Background::estimate(fine.view(), 64).median_noise();
    assert!(is_close(noise, step / 12f64.sqrt(), 1e-12), "{noise}");
    let coarse = sky(128, 128, 4).map(|value| step * (25.0 + 2.0 * value).round());
    let noise = Background::estimate(coarse.view(), 64).median_noise();
    assert!(is_close(noise, 2.0 * step, 0.3), "{noise}");
}

#[test]
fn noise_of_each_part() {
    let mut pixels = sky(256, 512, 5);
    pixels
        .slice_mut(s![.., 256..])
        .mapv_inplace(|value| 5.0 * value);
    let background = Background::estimate(pixels.view(), 32);
    assert!(is_close(background.noise(60.0, 128.0), 1.0, 0.1));
    assert!(is_close(background.noise(450.0, 128.0), 5.0, 0.3));
    let map = background.noise_map();
    assert!(map.iter().all(|&noise| noise > 0.8 && noise < 5.5));
    let mut row = vec![0.0; 512];
    background.noise_row(7, &mut row);
    assert_eq!(row, map.row(7).to_vec());
}

#[test]
fn any_size_and_content() {
    for (height, width) in [
        (0, 0),
        (0, 5),
        (5, 0),
        (1, 1),
        (1, 300),
        (300, 1),
        (3, 3),
        (70, 2),
    ] {
        for value in [0.0, 42.0, f64::NAN, f64::INFINITY, -f64::MAX] {
            for cell in [0, 1, 64, usize::MAX] {
                let background =
                    Background::estimate(Array2::from_elem((height, width), value).view(), cell);
                let expected = if value.abs() < 1e300 && height * width > 0 {
                    value
                } else {
                    0.0
                };
                assert_eq!(background.median_level(), expected);
                assert_eq!(background.level(0.3, -7.0), expected);
                assert_eq!(background.noise(1e9, f64::NAN).max(0.0), 0.0);
                assert_eq!(background.level_map().dim(), (height, width));
            }
        }
    }
    let strip = sky(1, 300, 6);
    assert!(is_close(
        Background::estimate(strip.view(), 64).median_noise(),
        1.0,
        0.2
    ));
    // One pixel out of all proportion.
    let mut far = sky(100, 100, 7);
    far[[40, 55]] = 1e200;
    assert!(is_close(
        Background::estimate(far.view(), 64).median_noise(),
        1.0,
        0.05
    ));
    let mixed = array![[f64::MAX, -f64::MAX, 1.0], [f64::NAN, 2.0, 3.0]];
    assert!(
        Background::estimate(mixed.view(), 64)
            .median_level()
            .is_finite()
    );
    // Integers and single precision.
    assert_eq!(
        Background::estimate(Array2::from_elem((9, 9), 7u16).view(), 64).median_level(),
        7.0
    );
    assert_eq!(
        Background::estimate(Array2::from_elem((9, 9), 7f32).view(), 64).median_level(),
        7.0
    );
}

#[test]
fn splines_pass_through_the_cells_and_are_smooth() {
    // A natural spline reproduces a straight line exactly and is its nodes' values at the nodes.
    let values = array![
        [1.0, 4.0, 2.0, 8.0],
        [0.0, 3.0, 5.0, 7.0],
        [2.0, 2.0, 2.0, 2.0]
    ];
    let mesh = Mesh::new(values.clone(), 40, 30);
    for ((row, column), &value) in values.indexed_iter() {
        let (x, y) = (10.0 * column as f64 + 4.5, 10.0 * row as f64 + 4.5);
        assert!(is_close(mesh.at(x, y), value, 1e-12));
        // The slope does not jump at a node.
        let slope = |h: f64| (mesh.at(x + h, y) - mesh.at(x, y)) / h;
        assert!(
            is_close(slope(1e-6), slope(-1e-6), 1e-4),
            "{} {}",
            slope(1e-6),
            slope(-1e-6)
        );
    }
    // scipy.interpolate.CubicSpline([0, 1, 2, 3], [1, 4, 2, 8], bc_type="natural")([0.5, 1.5, 2.5])
    for (u, expected) in [(0.5, 3.2), (1.5, 2.775), (2.5, 4.075)] {
        let found = mesh.at(10.0 * u + 4.5, 4.5);
        assert!(is_close(found, expected, 1e-12), "{u}: {found}");
    }
}

#[test]
fn rows_are_made_of_the_right_pieces() {
    // A node may fall on a pixel, and rounding beside it.
    for (columns, width) in [(1, 9), (2, 9), (3, 9), (3, 35), (17, 1059), (5, 7)] {
        let wave = |row: usize, column: usize| ((7 * row + 5 * column) % 11) as f64;
        let values = Array2::from_shape_fn((4, columns), |(row, column)| wave(row, column));
        let mesh = Mesh::new(values, width, 40);
        let mut row = vec![0.0; width];
        for y in [0, 13, 39] {
            mesh.row(y, &mut row);
            for (x, &value) in row.iter().enumerate() {
                let at = |x: usize| mesh.at(x as f64, y as f64);
                assert!(is_close(value, at(x), 1e-9), "{columns} {width}: {x} {y}");
                let moved = (x + width / 3) % width;
                assert!(columns == 1 || !is_close(value, at(moved) + 1e-6, 1e-9));
            }
        }
    }
}
