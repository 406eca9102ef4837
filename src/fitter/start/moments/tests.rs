use fearless_simd::dispatch;
use ndarray::Array2;
use proptest::prelude::*;

use super::*;
use crate::batch::Batch;
use crate::batch::tests::{OPTIONS, START};
use crate::cutout::{Cutout, CutoutOptions};
use crate::pixels::Pixels;
use crate::rim::rim_median;

/// What registers find of one star: level of the rim, and place of the brightest spot.
fn found(level: Level, block: &PixelBlock, star: usize) -> (f64, (f64, f64)) {
    #[inline(always)]
    fn in_lanes<S: Simd>(simd: S, block: &PixelBlock, star: usize) -> (f64, (f64, f64)) {
        let (register, lane) = (star / Lanes::<S>::COUNT, star % Lanes::<S>::COUNT);
        let register = Register::all(simd).nth(register).unwrap();
        let mut cutouts = Cutouts::new(RegisterPixels::new(register, block));
        cutouts.subtract();
        let (x, y) = cutouts.brightest();
        (cutouts.background.lane(lane), (x.lane(lane), y.lane(lane)))
    }
    dispatch!(level, simd => in_lanes(simd, block, star))
}

/// The brightest spot of scaled pixels, by the rule, and by how much it is brighter than the next.
fn brightest(pixels: &Pixels<'_>, background: f64) -> ((f64, f64), f64) {
    let (width, height) = (pixels.width, pixels.data.len() / pixels.width);
    let is_used = |&(x, y): &(usize, usize)| pixels.weight[y * width + x] > 0.0;
    let light = |(x, y): (usize, usize)| pixels.data[y * width + x] - background;
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let mut sums: Vec<(f64, (usize, usize))> = places
        .map(|(x, y)| {
            let rows = y.saturating_sub(1)..(y + 2).min(height);
            let columns = x.saturating_sub(1)..(x + 2).min(width);
            let near = rows.flat_map(|y| columns.clone().map(move |x| (x, y)));
            let (used, unused): (Vec<_>, Vec<_>) = near.partition(is_used);
            let sum: f64 = used.into_iter().map(light).sum();
            (sum * 9.0 / (9 - unused.len().min(8)) as f64, (x, y))
        })
        .collect();
    sums.push((0.0, (width / 2, height / 2)));
    sums.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (x, y) = sums[0].1;
    ((x as f64, y as f64), sums[0].0 - sums[1].0)
}

proptest! {
    /// In registers rim and brightest spot are what they are star by star in `f64`.
    #[test]
    fn registers_see_what_f64_sees(
        width in 1..24usize,
        height in 1..24usize,
        masked in 0..10u32,
        seed in any::<u64>(),
    ) {
        let mut state = seed | 1;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u32
        };
        let mut batch = Batch::new(width, height);
        for _ in 0..LANES {
            let pixels = Array2::from_shape_fn((height, width), |_| match next() % 10 < masked {
                true => f64::NAN,
                false => f64::from(next() % 4096),
            });
            let cutout = Cutout::from_pixels(pixels.view(), None, &OPTIONS);
            batch.push(&cutout, START).unwrap();
        }
        let chunk = batch.chunk(0, LANES);
        let blocks = chunk.pack();
        for star in 0..LANES {
            let pixels = chunk.pixels(star);
            let level = rim_median(&pixels, height);
            let (place, margin) = brightest(&pixels, level);
            for simd in [Level::new(), Level::baseline()] {
                let (background, spot) = found(simd, &blocks[0], star);
                prop_assert!((background - level).abs() < 1e-6, "{background} {level}");
                // Sums that f32 cannot tell apart may be taken for each other.
                prop_assert!(spot == place || margin < 1e-5, "{spot:?} {place:?}");
            }
        }
    }
}

#[test]
fn a_hot_pixel_is_not_a_star_and_no_light_is_in_the_middle() {
    let at = |pixel: &dyn Fn(i32, i32) -> f64| {
        let pixels = Array2::from_shape_fn((15, 15), |(y, x)| pixel(x as i32, y as i32));
        let mut batch = Batch::new(15, 15);
        let cutout = Cutout::from_pixels(pixels.view(), None, &OPTIONS);
        batch.push(&cutout, START).unwrap();
        found(Level::new(), &batch.chunk(0, 1).pack()[0], 0).1
    };
    let star = |x: i32, y: i32| 100.0 * (f64::from((x - 11).pow(2) + (y - 3).pow(2)) / -4.0).exp();
    let hot = |height: f64| {
        at(&|x, y| match (x, y) {
            (2, 12) => height,
            _ => star(x, y),
        })
    };
    assert_eq!(hot(300.0), (11.0, 3.0));
    assert_eq!(
        hot(3000.0),
        (1.0, 11.0),
        "the control: it is as bright as the star"
    );
    assert_eq!(at(&|_, _| 7.0), (7.0, 7.0));
    assert_eq!(at(&|x, y| -star(x, y)), (7.0, 7.0));
}

#[test]
fn a_saturated_core_is_where_the_star_is() {
    let cutout = |saturation: f64| {
        let pixels = Array2::from_shape_fn((15, 15), |(y, x)| {
            let square = (x as f64 - 7.2).powi(2) + (y as f64 - 6.8).powi(2);
            1000.0 * (-square / 8.0).exp()
        });
        let options = CutoutOptions {
            saturation,
            ..OPTIONS
        };
        Cutout::from_pixels(pixels.view(), None, &options)
    };
    let mut batch = Batch::new(15, 15);
    for saturation in [f64::INFINITY, 900.0, 700.0] {
        batch.push(&cutout(saturation), START).unwrap();
    }
    let block = &batch.chunk(0, 3).pack()[0];
    assert!(!block.has_uniform_weights());
    for star in 0..3 {
        let masked = 225 - batch.stars[star].n_pixels;
        assert!(masked >= 3 * star, "{masked} masked");
        for level in [Level::new(), Level::baseline()] {
            let (_, (x, y)) = found(level, block, star);
            let off = (x - 7.2).hypot(y - 6.8);
            assert!(off < 0.9, "{masked} masked: {x}, {y}");
        }
    }
}

#[test]
fn moments_of_a_gaussian_are_its_own() {
    for level in [Level::new(), Level::baseline()] {
        let (x, y, sigma, background) = (8.3, 6.6, 1.7, 0.25);
        let pixels = Array2::from_shape_fn((15, 15), |(row, column)| {
            let square = (column as f64 - x).powi(2) + (row as f64 - y).powi(2);
            background + (-0.5 * square / (sigma * sigma)).exp()
        });
        let mut batch = Batch::new(15, 15);
        let cutout = Cutout::from_pixels(pixels.view(), None, &OPTIONS);
        batch.push(&cutout, START).unwrap();
        let expected = Expected::anywhere(FWHM_OF_SIGMA * sigma);
        let block = &batch.chunk(0, 1).pack()[0];
        let moments = moments_of_block(level, block, &expected)[0];
        let flux = 2.0 * std::f64::consts::PI * sigma * sigma;
        for (name, found, truth, error) in [
            ("x", moments.x, x, 0.02),
            ("y", moments.y, y, 0.02),
            ("xx", moments.xx, sigma * sigma, 0.05),
            ("xy", moments.xy, 0.0, 0.05),
            ("yy", moments.yy, sigma * sigma, 0.05),
            ("flux", moments.flux, flux, 0.05 * flux),
        ] {
            assert!(
                (found - truth).abs() < error,
                "{name}: {found}, not {truth}"
            );
        }
    }
}
