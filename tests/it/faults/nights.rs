//! Nights of images whose WCS is right, and others whose headers hold where the mount meant to
//! point.

use std::path::Path;

use starfit::io::fits::Value;

use super::field::{Field, Truth, add_star, write};
use crate::cli::{Ran, count, folder, starfit};

const SIDE: usize = 260;
const N: usize = 45;

/// How an image lies and what its header says of that.
struct Frame {
    /// Where the stars are, pixels from their place in the field.
    drift: (f64, f64),
    /// The same as its WCS has it.
    said: (f64, f64),
}

fn frame(drift: (f64, f64), said: (f64, f64)) -> Frame {
    Frame { drift, said }
}

/// Fits the frames of a field into night.db.
fn night(folder: &Path, frames: &[Frame]) {
    let field = Field::new((SIDE, SIDE), N, (2e4, 2e5), 14.0, 3.0, 5);
    let mut args = vec!["fit", "-q", "--backend", "cpu", "-o", "night.db"];
    let names: Vec<String> = (0..frames.len()).map(|k| format!("{k}.fits")).collect();
    for (k, frame) in frames.iter().enumerate() {
        let mut seen = field.clone();
        seen.rng = crate::common::rng(100 + k as u64);
        seen.light.fill(0.0);
        for star in &field.stars {
            let moved = Truth {
                x: star.x + frame.drift.0,
                y: star.y + frame.drift.1,
                ..*star
            };
            add_star(&mut seen.light, &moved, 3.0);
        }
        let pixels = seen.expose(200.0, 1.5, 5.0);
        let text = |value: &str| Value::Text(value.into());
        let cards = [
            ("GAIN", Value::Float(1.5)),
            ("DATE-OBS", text(&format!("2023-01-01T{k:02}:00:00"))),
            ("CTYPE1", text("RA---TAN")),
            ("CTYPE2", text("DEC--TAN")),
            ("CRVAL1", Value::Float(83.8)),
            ("CRVAL2", Value::Float(-5.4)),
            ("CRPIX1", Value::Float(130.5 + frame.said.0)),
            ("CRPIX2", Value::Float(130.5 + frame.said.1)),
            ("CDELT1", Value::Float(-4e-4)),
            ("CDELT2", Value::Float(4e-4)),
        ];
        write(&folder.join(&names[k]), &pixels, &cards);
    }
    args.extend(names.iter().map(String::as_str));
    let ran = starfit(folder, &args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

fn link(folder: &Path, args: &[&str]) -> Ran {
    let ran = starfit(folder, &[&["match", "night.db"], args].concat());
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
    ran
}

/// Objects with that many visits.
fn seen(folder: &Path, times: usize) -> i64 {
    let sql = format!("SELECT count(*) FROM objects WHERE n_visits = {times}");
    count(&folder.join("night.db"), &sql)
}

fn corrected(folder: &Path) -> i64 {
    count(
        &folder.join("night.db"),
        "SELECT count(*) FROM registrations",
    )
}

#[test]
fn nominal_positions_give_way_to_patterns() {
    let folder = folder();
    let path = folder.path();
    let still = (0.0, 0.0);
    night(
        path,
        &[
            frame(still, still),
            frame((3.0, 1.0), still),
            frame((8.0, -2.0), still),
        ],
    );
    let ran = link(path, &[]);
    let all = seen(path, 3);
    // One or two may be lost beside each other or a rim.
    assert!(all >= N as i64 - 3, "{all}: {}", ran.stderr);
    for said in [
        "0 of ",
        "where 0.fits[0] has them on the sky",
        "by their pattern",
        "--by-sky",
    ] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
    assert_eq!(
        ran.stderr.matches("its WCS is corrected").count(),
        2,
        "{}",
        ran.stderr
    );
    assert_eq!(corrected(path), 2);
    let maps = "SELECT count(*) FROM registrations WHERE reference_id = 1 \
                AND abs(abs(x0) - CASE image_id WHEN 2 THEN 3 ELSE 8 END) < 0.2";
    assert_eq!(count(&path.join("night.db"), maps), 2);
    // The objects are where the first image has them.
    let off = "SELECT count(*) FROM objects JOIN stars USING (object_id) WHERE image_id = 1 \
               AND abs(objects.dec - stars.dec) < 4e-5 AND abs(objects.x - stars.x) < 0.1 \
               AND abs(objects.ra - stars.ra) < 4e-5 AND n_visits = 3";
    assert_eq!(count(&path.join("night.db"), off), all);
    // Believed as they are, the positions link nothing.
    let ran = link(path, &["--by-sky"]);
    assert!(seen(path, 3) < 3 && corrected(path) == 0, "{}", ran.stderr);
    assert!(!ran.stderr.contains("corrected"), "{}", ran.stderr);
    let by_pattern = link(path, &["--by-pattern"]);
    assert!((seen(path, 3) - all).abs() <= 1, "{}", by_pattern.stderr);
    let both = starfit(path, &["match", "night.db", "--by-sky", "--by-pattern"]);
    assert_eq!(both.code, 2);
}

#[test]
fn what_most_images_say_is_believed() {
    let folder = folder();
    let path = folder.path();
    // Images are dithered and solved, but the first one.
    let (a, b, c) = ((0.0, 0.0), (5.0, 2.0), (-4.0, 3.0));
    night(path, &[frame(a, (20.0, 9.0)), frame(b, b), frame(c, c)]);
    let ran = link(path, &[]);
    assert!(seen(path, 3) >= N as i64 - 3, "{}", ran.stderr);
    assert_eq!(
        ran.stderr.matches("its WCS is corrected").count(),
        1,
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("0.fits[0]: of its bright stars"),
        "{}",
        ran.stderr
    );
    let reference = "SELECT count(*) FROM registrations WHERE image_id = 1 AND reference_id = 2";
    assert_eq!(count(&path.join("night.db"), reference), 1);
}

#[test]
fn a_right_wcs_is_used_as_it_is() {
    let folder = folder();
    let path = folder.path();
    let (a, b, c) = ((0.0, 0.0), (5.0, 2.0), (-90.0, 40.0));
    night(path, &[frame(a, a), frame(b, b), frame(c, c)]);
    let ran = link(path, &[]);
    assert!(
        !ran.stderr.contains("corrected") && corrected(path) == 0,
        "{}",
        ran.stderr
    );
    let (twice, thrice) = (seen(path, 2), seen(path, 3));
    assert!(twice + thrice >= N as i64 - 3, "{twice} {thrice}");
    let before = (twice, thrice);
    link(path, &["--by-sky"]);
    assert_eq!((seen(path, 2), seen(path, 3)), before);
}

#[test]
fn other_fields_and_shallow_overlaps_are_left_alone() {
    let folder = folder();
    let path = folder.path();
    // The second image is of a place a field away, whatever its stars look like; the third has a
    // strip in common with the first, and a WCS that is right.
    let strip = (SIDE as f64 - 45.0, 0.0);
    let nowhere = (1000.0, 0.0);
    night(
        path,
        &[
            frame((0.0, 0.0), (0.0, 0.0)),
            frame((2.0, 0.0), nowhere),
            frame(strip, strip),
        ],
    );
    let ran = link(path, &[]);
    assert!(
        !ran.stderr.contains("corrected") && corrected(path) == 0,
        "{}",
        ran.stderr
    );
}
