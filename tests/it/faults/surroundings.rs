//! What is round a star: neighbours, galaxies, nebulae.

use ndarray::Array2;
use rand::RngExt;
use rand_distr::{Distribution, Normal};
use starfit::catalog::Row;
use starfit::fit::Flags;
use starfit::image::Image;
use starfit::measure::{MeasureOptions, Measured, measure_image};

use super::field::{Field, Truth, add_star, fitter, pull};

fn measure(pixels: Array2<f64>) -> Measured {
    let options = MeasureOptions {
        gain: Some(1.5),
        ..MeasureOptions::default()
    };
    let image = Image::from_pixels("field", pixels);
    measure_image(&image, None, &options, &fitter()).unwrap()
}

/// Smooth noise of unit scatter: white noise after three running means along each axis.
fn smooth(field: &mut Field, (height, width): (usize, usize), reach: usize) -> Array2<f64> {
    let normal = Normal::new(0.0, 1.0).unwrap();
    let mut map = Array2::from_shape_simple_fn((height, width), || normal.sample(&mut field.rng));
    for _ in 0..3 {
        for axis in [0, 1] {
            let from = map.clone();
            for ((y, x), value) in map.indexed_iter_mut() {
                let (at, side) = if axis == 0 { (y, height) } else { (x, width) };
                let near = at.saturating_sub(reach)..(at + reach + 1).min(side);
                let n = near.len() as f64;
                let of = |at: usize| {
                    if axis == 0 {
                        from[[at, x]]
                    } else {
                        from[[y, at]]
                    }
                };
                *value = near.map(of).sum::<f64>() / n;
            }
        }
    }
    let scatter = (map.iter().map(|value| value * value).sum::<f64>() / map.len() as f64).sqrt();
    map / scatter
}

#[test]
fn stars_over_a_nebula_are_stars_and_its_lumps_are_not() {
    let shape = (400, 500);
    let mut field = Field::new(shape, 80, (5e3, 3e5), 18.0, 3.0, 32);
    let cloud = smooth(&mut field, shape, 12);
    let lumps = smooth(&mut field, shape, 3);
    ndarray::Zip::from(&mut field.light)
        .and(&cloud)
        .and(&lumps)
        .for_each(|light, &cloud, &lump| {
            let cloud = 3000.0 * cloud.max(0.0);
            *light += cloud
                + if cloud > 500.0 {
                    600.0 * lump.max(0.0)
                } else {
                    0.0
                };
        });
    let measured = measure(field.expose(1000.0, 1.5, 5.0));
    let width = measured.assumed.fwhm.unwrap();
    assert!((width / 3.0 - 1.0).abs() < 0.15, "{width}");
    let pairs = field.pairs(&measured.rows);
    let is_sharp = |row: &Row| row.flags.contains(Flags::SHARP);
    assert_eq!(pairs.iter().filter(|(_, row)| is_sharp(row)).count(), 0);
    let bright = |star: &Truth| star.flux > 3e4;
    let found = pairs.iter().filter(|(star, _)| bright(star)).count();
    let all = field.stars.iter().filter(|star| bright(star)).count();
    let is_star = |row: &Row| pairs.iter().any(|(_, other)| std::ptr::eq(*other, row));
    let others = measured.rows.iter().filter(|row| !is_star(row));
    let all_others = others.clone().count();
    let clean = others.clone().filter(|row| row.flags.0 == 0).count();
    println!(
        "{found} of {all} bright stars, {} of 80, {clean} of {} lumps clean",
        pairs.len(),
        others.count()
    );
    assert!(found + 1 >= all, "{found} of {all}");
    assert!(5 * clean <= all_others, "{clean} of {all_others}");

    // The sky's structure under a star is not in its errors; where it is much more than the noise, a flag says so.
    let (clean, flagged): (Vec<_>, Vec<_>) =
        pairs.iter().copied().partition(|(_, row)| row.flags.0 == 0);
    let [clean, flagged] = [clean, flagged].map(|pairs| pull(&pairs, "flux", |star| star.flux));
    println!("flux pull of clean stars {clean}, of flagged ones {flagged}");
    assert!(clean < 3.0 && flagged > 2.0 * clean, "{clean}, {flagged}");
}

#[test]
fn a_star_on_a_galaxy_stays_where_it_is_or_says_so() {
    for sigma in [8.0, 5.0] {
        let mut field = Field::new((200, 200), 0, (1.0, 2.0), 0.0, 3.0, 40);
        let star = |x: f64, y: f64, flux: f64| Truth { x, y, flux };
        field.stars = vec![
            star(108.0, 100.0, 235_000.0),
            star(40.0, 40.0, 5e4),
            star(160.0, 40.0, 5e4),
            star(40.0, 160.0, 5e4),
            star(160.0, 160.0, 5e4),
            star(100.0, 30.0, 3e4),
            star(30.0, 100.0, 3e4),
        ];
        for star in &field.stars {
            add_star(&mut field.light, star, 3.0);
        }
        let galaxy = star(
            100.0,
            100.0,
            1e4 * 2.0 * std::f64::consts::PI * sigma * sigma,
        );
        add_star(&mut field.light, &galaxy, 2.3548 * sigma);
        let measured = measure(field.expose(1000.0, 1.5, 5.0));
        let pairs = field.pairs(&measured.rows);
        assert_eq!(pairs.len(), 7);
        let (_, row) = pairs[0];
        let at = |column| row.get(column).unwrap();
        let off = (at("x") - 108.0).hypot(at("y") - 100.0);
        println!(
            "galaxy of sigma {sigma}: {off:.2} pixels off, FWHM {:.2}, flags {}",
            at("fwhm"),
            row.flags.0
        );
        assert!(off < 0.6 && at("fwhm") < 4.2);
        let warned = Flags(Flags::CROWDED.0 | Flags::POOR_FIT.0);
        assert!(row.flags.0 & warned.0 != 0, "{}", row.flags.0);
        // Those that are alone are clean.
        assert!(pairs[1..].iter().all(|(_, row)| row.flags.0 == 0));
    }
}

/// Pairs at 8 to 11 pixels, of FWHM 3.5: what is clean is right.
#[test]
fn what_a_neighbour_moves_is_not_clean() {
    let mut wrong = 0;
    let mut clean = 0;
    for seed in 0..4 {
        let mut field = Field::new((400, 500), 40, (5e3, 3e5), 40.0, 3.5, 50 + seed);
        let companions: Vec<Truth> = field
            .stars
            .clone()
            .iter()
            .map(|star| {
                let angle: f64 = field.rng.random_range(0.0..std::f64::consts::TAU);
                let distance = field.rng.random_range(8.0..11.0);
                let flux = star.flux * 10f64.powf(field.rng.random_range(-1.0..1.0));
                Truth {
                    x: star.x + distance * angle.cos(),
                    y: star.y + distance * angle.sin(),
                    flux,
                }
            })
            .collect();
        for star in &companions {
            add_star(&mut field.light, star, 3.5);
        }
        field.stars.extend(companions);
        let measured = measure(field.expose(1000.0, 1.5, 5.0));
        for (star, row) in field.pairs(&measured.rows) {
            if row.flags.0 == 0 {
                clean += 1;
                let off = row.get("flux").unwrap() - star.flux;
                wrong += usize::from(off.abs() > 5.0 * row.get("flux_err").unwrap());
            }
        }
    }
    println!("{wrong} of {clean} clean stars are more than 5 errors off");
    assert!(clean > 150, "{clean}");
    assert!(wrong as f64 <= 0.02 * clean as f64, "{wrong} of {clean}");
}
