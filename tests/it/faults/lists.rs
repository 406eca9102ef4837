//! Lists of stars: those of another image, and in every format that starfit itself writes.

use std::collections::HashMap;
use std::path::Path;

use starfit::io::fits::Value;

use super::field::{Field, add_star, write};
use crate::cli::{Ran, folder, starfit};

const SIDE: usize = 220;
const N: usize = 30;

/// Where the second image lies on the first, pixels.
const SHIFT: (f64, f64) = (37.0, -21.0);

/// Cards of an image of 1 arcsecond a pixel, whose reference pixel is off by that much.
fn cards((dx, dy): (f64, f64)) -> Vec<(&'static str, Value)> {
    let text = |value: &str| Value::Text(value.into());
    vec![
        ("GAIN", Value::Float(1.5)),
        ("CTYPE1", text("RA---TAN")),
        ("CTYPE2", text("DEC--TAN")),
        ("CRVAL1", Value::Float(202.5)),
        ("CRVAL2", Value::Float(47.2)),
        ("CRPIX1", Value::Float(110.5 + dx)),
        ("CRPIX2", Value::Float(110.5 + dy)),
        ("CDELT1", Value::Float(-1.0 / 3600.0)),
        ("CDELT2", Value::Float(1.0 / 3600.0)),
    ]
}

/// Writes first.fits and second.fits, which shows the same stars shifted, and named.csv, which has
/// them with names; gives the stars of the first.
fn images(folder: &Path) -> Field {
    let mut first = Field::new((SIDE, SIDE), N, (2e4, 2e5), 16.0, 3.0, 11);
    let pixels = first.expose(200.0, 1.5, 5.0);
    write(&folder.join("first.fits"), &pixels, &cards((0.0, 0.0)));
    let mut second = first.clone();
    second.light.fill(0.0);
    for star in &mut second.stars {
        star.x += SHIFT.0;
        star.y += SHIFT.1;
    }
    for star in &second.stars {
        add_star(&mut second.light, star, 3.0);
    }
    let pixels = second.expose(200.0, 1.5, 5.0);
    write(&folder.join("second.fits"), &pixels, &cards(SHIFT));
    let mut text = String::from("name,x,y\n");
    for (number, star) in first.stars.iter().enumerate() {
        text += &format!("\"HD {number}\",{},{}\n", star.x, star.y);
    }
    std::fs::write(folder.join("named.csv"), text).unwrap();
    first
}

fn fit(folder: &Path, args: &[&str]) -> Ran {
    let mut all = vec!["fit", "--backend", "cpu"];
    all.extend(args);
    let ran = starfit(folder, &all);
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
    ran
}

/// The rows of a CSV catalogue as texts.
fn rows(path: &Path) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

fn number(row: &HashMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap_or(f64::NAN)
}

/// How many rows are where the star of their number is in the image, moved by `shift`; the last
/// column of all is the name, which they keep.
fn right(path: &Path, field: &Field, (dx, dy): (f64, f64)) -> usize {
    let rows = rows(path);
    assert_eq!(rows.len(), N);
    let is_right = |(number_of, row): (usize, &HashMap<String, String>)| {
        assert_eq!(row["name"], format!("HD {number_of}"));
        let star = &field.stars[number_of];
        let off = (number(row, "x") - star.x - dx).hypot(number(row, "y") - star.y - dy);
        row["status"] == "converged" && off < 0.1
    };
    rows.iter()
        .enumerate()
        .filter(|(n, row)| is_right((*n, row)))
        .count()
}

/// The stars whose whole cutouts are in the second image.
fn shown(field: &Field) -> usize {
    let is_inside = |at: f64| (7.0..SIDE as f64 - 7.0).contains(&at);
    let stars = field.stars.iter();
    stars
        .filter(|star| is_inside(star.x + SHIFT.0) && is_inside(star.y + SHIFT.1))
        .count()
}

#[test]
fn every_format_is_a_list_again() {
    let folder = folder();
    let path = folder.path();
    let field = images(path);
    let endings = ["csv", "ecsv", "fits", "parquet", "vot", "reg"];
    let outputs: Vec<String> = endings
        .iter()
        .map(|ending| format!("made.{ending}"))
        .collect();
    let mut args = vec!["first.fits", "--stars", "named.csv"];
    for output in &outputs {
        args.extend(["-o", output]);
    }
    fit(path, &args);
    assert_eq!(right(&path.join("made.csv"), &field, (0.0, 0.0)), N);
    let made = rows(&path.join("made.csv"));
    for (ending, output) in endings.iter().zip(&outputs) {
        // Held where the list has them: the positions are those of the first fit, to the digits
        // that regions have.
        let held = [
            "first.fits",
            "--stars",
            output,
            "--fix",
            "x",
            "--fix",
            "y",
            "-o",
            "again.csv",
        ];
        let ran = fit(path, &held);
        assert!(!ran.stderr.contains("warn"), "{ending}: {}", ran.stderr);
        let again = rows(&path.join("again.csv"));
        assert_eq!(again.len(), N);
        let limit = if *ending == "reg" { 1e-4 } else { 1e-9 };
        for (a, b) in made.iter().zip(&again) {
            assert_eq!(a["name"], b["name"], "{ending}");
            for column in ["x", "y"] {
                let off = (number(a, column) - number(b, column)).abs();
                assert!(off < limit, "{ending}: {column} {off}");
            }
        }
    }
    // A database is none, and says what makes a list of it.
    fit(path, &["first.fits", "-o", "made.db"]);
    let ran = starfit(
        path,
        &["fit", "first.fits", "--stars", "made.db", "-o", "x.csv"],
    );
    assert!(
        ran.code == 2 && ran.stderr.contains("starfit query DB -o list.csv"),
        "{}",
        ran.stderr
    );
    // Names are in the database, and found there.
    fit(
        path,
        &[
            "first.fits",
            "--stars",
            "made.fits[STARS]",
            "-o",
            "named.db",
        ],
    );
    let wanted = [
        "query",
        "named.db",
        "--where",
        "name = 'HD 7'",
        "--columns",
        "name,id",
        "--format",
        "csv",
    ];
    assert_eq!(starfit(path, &wanted).stdout, "name,id\nHD 7,7\n");
    // Databases of before had none.
    let old = crate::cli::shipped("databases/version_1.db");
    let ran = starfit(
        path,
        &["query", &old, "--columns", "id,name,x", "--limit", "1"],
    );
    assert!(ran.code == 0 && ran.stdout.contains(",,"), "{}", ran.stderr);
}

#[test]
fn a_catalogue_of_another_image_is_taken_on_the_sky() {
    let folder = folder();
    let path = folder.path();
    let field = images(path);
    let expected = shown(&field);
    assert!(expected > N / 2 && expected < N);
    for (made, one_based) in [
        ("made.csv", false),
        ("made.fits", false),
        ("made.vot", true),
    ] {
        let origin = if one_based { 1.0 } else { 0.0 };
        let flags: &[&str] = if one_based { &["--fits-pixels"] } else { &[] };
        if one_based {
            // The list counts from 1 then, as all that is said and written.
            let mut text = String::from("name,x,y\n");
            for (number, star) in field.stars.iter().enumerate() {
                text += &format!("HD {number},{},{}\n", star.x + 1.0, star.y + 1.0);
            }
            std::fs::write(path.join("named.csv"), text).unwrap();
        }
        let first = ["first.fits", "--stars", "named.csv", "-o", made];
        fit(path, &[&first[..], flags].concat());
        let second = ["second.fits", "--stars", made, "-o", "out.csv"];
        let ran = fit(path, &[&second[..], flags].concat());
        assert!(
            ran.stderr.contains("median distance 42.5 pixels")
                && ran.stderr.contains("--positions pixels"),
            "{}",
            ran.stderr
        );
        let shift = (SHIFT.0 + origin, SHIFT.1 + origin);
        // More are cut by the rim.
        let found = right(&path.join("out.csv"), &field, shift);
        assert!(found >= expected, "{made}: {found} of {expected}");
        // The same image agrees, and nothing is said.
        let ran = fit(
            path,
            &[&["first.fits", "--stars", made, "-o", "same.csv"], flags].concat(),
        );
        assert!(!ran.stderr.contains("positions"), "{}", ran.stderr);
        assert_eq!(right(&path.join("same.csv"), &field, (origin, origin)), N);
        // Told so, pixels count: none is right.
        let told = [&second[..], &["--positions", "pixels"], flags].concat();
        let ran = fit(path, &told);
        assert!(!ran.stderr.contains("positions"), "{}", ran.stderr);
        assert_eq!(right(&path.join("out.csv"), &field, shift), 0);
        let told = [
            &[
                "first.fits",
                "--stars",
                made,
                "-o",
                "sky.csv",
                "--positions",
                "sky",
            ],
            flags,
        ]
        .concat();
        fit(path, &told);
        assert_eq!(right(&path.join("sky.csv"), &field, (origin, origin)), N);
    }
    // Read as if it counted from 0, a list that counts from 1 is noticed.
    let ran = fit(
        path,
        &["first.fits", "--stars", "made.vot", "-o", "out.csv"],
    );
    assert!(
        ran.stderr
            .contains("--fits-pixels is for lists that count from 1"),
        "{}",
        ran.stderr
    );
}

#[test]
fn bounds_of_pixels_are_those_of_their_image() {
    let folder = folder();
    let path = folder.path();
    let field = images(path);
    fit(
        path,
        &["first.fits", "--stars", "named.csv", "-o", "made.csv"],
    );
    let made = std::fs::read_to_string(path.join("made.csv")).unwrap();
    let mut lines = made.lines();
    let mut text = format!("{},x_min,x_max\n", lines.next().unwrap());
    for (line, star) in lines.zip(&field.stars) {
        text += &format!("{line},{},{}\n", star.x - 2.0, star.x + 2.0);
    }
    std::fs::write(path.join("bounded.csv"), text).unwrap();
    fit(
        path,
        &["first.fits", "--stars", "bounded.csv", "-o", "out.csv"],
    );
    assert_eq!(right(&path.join("out.csv"), &field, (0.0, 0.0)), N);
    fit(
        path,
        &["second.fits", "--stars", "bounded.csv", "-o", "out.csv"],
    );
    assert!(right(&path.join("out.csv"), &field, SHIFT) >= shown(&field));
    // By the pixels they hold: there is no star of the second image.
    let pixels = [
        "second.fits",
        "--stars",
        "bounded.csv",
        "-o",
        "out.csv",
        "--positions",
        "pixels",
    ];
    fit(path, &pixels);
    assert_eq!(right(&path.join("out.csv"), &field, SHIFT), 0);
}
