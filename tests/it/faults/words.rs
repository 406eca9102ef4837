//! What is said where something is not as the user thinks.

use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

use ndarray::Array2;
use rand::RngExt;
use rusqlite::Connection;
use starfit::fit::Flags;
use starfit::io::fits::{Card, PixelType, Value, write_image};

use super::field::{Field, write};
use crate::cli::{Ran, count, folder, shipped, starfit};
use crate::common::read_csv;

/// Runs starfit with the words of a line; names with blanks are quoted.
fn run(folder: &Path, line: &str) -> Ran {
    let words = shlex::split(line).unwrap();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    starfit(folder, &words)
}

fn write_field(path: &Path, seed: u64) {
    let mut field = Field::new((160, 160), 12, (3e3, 1e5), 30.0, 3.0, seed);
    write(path, &field.expose(200.0, 1.5, 5.0), &[]);
}

/// Number of rows of a CSV catalogue.
fn rows(folder: &Path) -> usize {
    read_csv(&folder.join("stars.csv")).len()
}

#[test]
fn files_folders_and_patterns_are_each_image_once() {
    let folder = folder();
    let folder = folder.path();
    let night = folder.join("M31 [Ha]");
    fs::create_dir(&night).unwrap();
    write_field(&night.join("a.fits"), 1);
    write_field(&night.join("b.fits"), 2);
    fs::write(night.join("notes.txt"), "clouds").unwrap();
    let fit = |inputs: &str| {
        let ran = run(folder, &format!("fit --backend cpu -o stars.csv {inputs}"));
        assert_eq!(ran.code, 0, "{inputs}: {}", ran.stderr);
        (rows(folder), ran.stderr)
    };
    let (one, words) = fit("'M31 [Ha]/a.fits'");
    assert!(!words.contains("more than once"), "{words}");
    let (both, _) = fit("'M31 [Ha]/a.fits' 'M31 [Ha]/b.fits'");
    assert!(one > 10 && both > one + 10, "{one}, {both}");
    for inputs in [
        "'M31 [Ha]/*.fits'",
        "'M31 [Ha]'",
        "'M31 [Ha]/'",
        "'M31 [Ha]/*.fits[0]'",
    ] {
        assert_eq!(fit(inputs).0, both, "{inputs}");
    }
    let again = [
        "'M31 [Ha]/a.fits' 'M31 [Ha]/a.fits'",
        "'M31 [Ha]/a.fits' './M31 [Ha]/a.fits'",
        // The same HDU under two names, which shows only when the file is open.
        "'M31 [Ha]/a.fits' 'M31 [Ha]/a.fits[0]'",
    ];
    for inputs in again {
        let (found, words) = fit(inputs);
        assert_eq!(found, one, "{inputs}");
        let warned = words.matches("given more than once, fitted once").count();
        assert!(warned == 1 && words.contains("a.fits"), "{words}");
    }
    assert_eq!(fit("'M31 [Ha]' 'M31 [Ha]/*.fits'").0, both);

    let empty = run(folder, "fit -o stars.csv .");
    assert_eq!(empty.code, 2);
    assert!(
        empty
            .stderr
            .contains("files that end in .fits, .fit, .fts, .fz"),
        "{}",
        empty.stderr
    );
}

#[test]
fn an_image_without_a_star_says_why() {
    let folder = folder();
    let folder = folder.path();
    let why = |pixels: &Array2<f64>, options: &str| {
        write(&folder.join("image.fits"), pixels, &[]);
        let line = format!("fit --backend cpu -o stars.csv image.fits {options}");
        let ran = run(folder, &line);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let (_, why) = ran
            .stderr
            .split_once("warning: image.fits[0]: no star found: ")
            .unwrap();
        why.lines().next().unwrap().to_owned()
    };
    let all_nan = Array2::from_elem((60, 80), f64::NAN);
    assert!(why(&all_nan, "").starts_with("none of its 4800 pixels has a value"));
    let constant = Array2::from_elem((60, 80), 31.0);
    assert!(why(&constant, "").contains("the same, 31"));
    let mut field = Field::new((160, 160), 12, (3e3, 1e4), 30.0, 3.0, 3);
    let pixels = field.expose(200.0, 1.5, 5.0);
    let words = why(&pixels, "--threshold 100000");
    assert!(
        words.contains(" sigma, --threshold asks for 100000"),
        "{words}"
    );
    write(&folder.join("mask.fits"), &Array2::ones((160, 160)), &[]);
    assert!(why(&pixels, "--mask mask.fits").contains("NaN, blank or masked"));
    assert!(why(&pixels.mapv(|value| 1e4 - value), "").contains("is it a negative?"));

    fs::write(folder.join("none.csv"), "x,y\n").unwrap();
    let listed = run(
        folder,
        "fit --backend cpu -o stars.csv image.fits --stars none.csv",
    );
    assert!(
        listed.stderr.contains("no star found: the list has none"),
        "{}",
        listed.stderr
    );
}

/// A camera that stood still while the sky turned: arcs round the pole.
fn trails() -> Array2<f64> {
    const SIDE: usize = 400;
    let mut field = Field::new((SIDE, SIDE), 0, (1.0, 2.0), 1.0, 3.0, 5);
    let arcs: Vec<(f64, f64)> = (0..30)
        .map(|_| {
            let radius = field.rng.random_range(0.0..0.7 * SIDE as f64);
            (radius, 400.0 * field.rng.random_range(-1.5_f64..1.5).exp())
        })
        .collect();
    for ((y, x), pixel) in field.light.indexed_iter_mut() {
        let middle = 0.5 * SIDE as f64;
        let at = (x as f64 - middle).hypot(y as f64 - middle);
        *pixel += arcs
            .iter()
            .map(|(radius, height)| height * (-((at - radius) / 1.1).powi(2) / 2.0).exp())
            .sum::<f64>();
    }
    field.expose(200.0, 1.5, 3.0)
}

#[test]
fn the_bound_of_the_width_is_no_width() {
    let folder = folder();
    let folder = folder.path();
    write(&folder.join("trails.fits"), &trails(), &[]);
    let ran = run(
        folder,
        "fit --backend cpu --fwhm 3 trails.fits -o trails.db",
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let at_bound = "SELECT count(*) FROM catalog WHERE fwhm > 35 AND fwhm_err IS NULL \
                    AND status = 'converged'";
    let at_bound = count(&folder.join("trails.db"), at_bound);
    assert!(at_bound >= 5, "{at_bound}: {}", ran.stderr);
    let words = format!("{at_bound} of ");
    assert!(
        ran.stderr.contains(&words) && ran.stderr.contains("ended at the largest width"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("FWHM 35."), "{}", ran.stderr);
    let report = run(folder, "report trails.db -o trails.html");
    assert_eq!(report.code, 0, "{}", report.stderr);
    let page = fs::read_to_string(folder.join("trails.html")).unwrap();
    assert!(page.contains(" stars ended at the largest width"));
    // An ellipse ends with its major axis there.
    let ran = run(
        folder,
        "fit --backend cpu --fwhm 3 --model elliptical-gaussian trails.fits -o ellipses.db",
    );
    assert!(
        ran.stderr.contains("ended at the largest width"),
        "{}",
        ran.stderr
    );

    // An image of stars says nothing of the kind.
    write_field(&folder.join("stars.fits"), 6);
    let ran = run(folder, "fit --backend cpu stars.fits -o stars.db");
    assert!(ran.stderr.contains(", FWHM ") && !ran.stderr.contains("largest width"));
}

#[test]
fn the_best_are_looked_for_by_a_line_that_works() {
    let folder = folder();
    let folder = folder.path();
    write_field(&folder.join("a.fits"), 7);
    let best = |output: &str| {
        let ran = run(folder, &format!("fit --backend cpu a.fits -o '{output}'"));
        let (_, line) = ran.stderr.split_once("look at the best: starfit ").unwrap();
        let found = run(folder, line.trim_end());
        assert_eq!(found.code, 0, "{line}: {}", found.stderr);
        (line.to_owned(), found.stdout)
    };
    let (line, found) = best("one night [2].db");
    assert!(
        line.contains("status = 'converged' AND flags = 0"),
        "{line}"
    );
    assert!(
        found.lines().count() == 11 && !found.contains("singular"),
        "{found}"
    );

    // Where the stars are narrow all have the flag that says so.
    let mut narrow = Field::new((160, 160), 12, (3e3, 1e5), 30.0, 1.2, 8);
    write(&folder.join("a.fits"), &narrow.expose(200.0, 1.5, 5.0), &[]);
    let (line, found) = best("narrow.db");
    assert!(line.contains("flags & ~256 = 0"), "{line}");
    assert_eq!(found.lines().count(), 11, "{found}");
}

#[test]
fn who_asks_a_wrong_database_or_name_is_helped() {
    let folder = folder();
    let folder = folder.path();
    let other = Connection::open(folder.join("places.sqlite")).unwrap();
    other
        .execute_batch("CREATE TABLE moz_places (id); CREATE TABLE moz_hosts (id)")
        .unwrap();
    drop(other);
    for command in ["query", "match", "report", "show --id 3"] {
        let ran = run(folder, &format!("{command} places.sqlite"));
        assert_eq!(ran.code, 2);
        assert!(
            ran.stderr
                .contains("another program's database with the tables moz_places, moz_hosts")
                && !ran.stderr.contains("choose another name"),
            "{command}: {}",
            ran.stderr
        );
    }
    // Who writes needs another name.
    let base = shipped("base.fits");
    let ran = run(folder, &format!("fit '{base}' -o places.sqlite"));
    assert!(
        ran.stderr.contains("hint: choose another name"),
        "{}",
        ran.stderr
    );

    let ran = run(folder, &format!("fit --backend cpu -q '{base}' -o base.db"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for (question, hint) in [
        ("--where 'fwmh > 3'", "hint: did you mean fwhm?"),
        (
            "--where 'flags = 0 AND object_idd = 3'",
            "hint: did you mean object_id?",
        ),
        ("--where 'xyzzy > 3'", "hint: for example --where"),
        ("--image bse.fits", "hint: did you mean base.fits[0]?"),
        ("--image andromeda", "hint: there is only base.fits[0]"),
        ("--columns x,fluxx", "hint: did you mean flux?"),
        ("--order snrr", "hint: did you mean snr?"),
    ] {
        let ran = run(folder, &format!("query base.db {question}"));
        assert!(
            ran.code == 2 && ran.stderr.contains(hint),
            "{question}: {}",
            ran.stderr
        );
    }
}

#[test]
fn a_database_that_is_locked_is_waited_for_and_that_is_said() {
    let folder = folder();
    let folder = folder.path();
    let base = shipped("base.fits");
    let fit = || run(folder, &format!("fit --backend cpu '{base}' -o base.db"));
    assert_eq!(fit().code, 0);
    let other = Connection::open(folder.join("base.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    thread::scope(|scope| {
        let fitted = scope.spawn(fit);
        let asked = scope.spawn(|| run(folder, "query base.db --columns id"));
        // Words come after three seconds.
        thread::sleep(Duration::from_millis(4500));
        assert!(!fitted.is_finished() && !asked.is_finished());
        other.execute_batch("ROLLBACK").unwrap();
        for ran in [fitted.join().unwrap(), asked.join().unwrap()] {
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            let words =
                "base.db: locked by another program for 3 seconds: waiting until it has done";
            assert!(ran.stderr.contains(words), "{}", ran.stderr);
        }
    });
}

/// The real image that is shipped: what a Moffat's wings say, or do not.
#[test]
fn a_star_without_wings_is_no_fault() {
    let folder = folder();
    let folder = folder.path();
    let image = shipped("panoptes.fits.fz");
    let fit = |options: &str| {
        let line = format!("fit --backend cpu -q '{image}' --model moffat -o stars.csv {options}");
        let ran = run(folder, &line);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        read_csv(&folder.join("stars.csv"))
    };
    let has = |flags: f64, flag: Flags| flags as u16 & flag.0 != 0;
    let rows = fit("");
    let fitted: Vec<_> = rows.iter().filter(|row| row["flux_err"] > 0.0).collect();
    let wingless: Vec<_> = fitted.iter().filter(|row| row["beta"] == 50.0).collect();
    let clean = fitted.iter().filter(|row| row["flags"] == 0.0).count();
    println!(
        "{} of {} stars have no wings; {clean} of all have no flag",
        wingless.len(),
        fitted.len()
    );
    assert!(8 * wingless.len() > fitted.len());
    assert!(wingless.iter().all(|row| row["beta_err"].is_nan()));
    // Those that have the flag have it for another parameter, whose error is not known either.
    let flagged = wingless
        .iter()
        .filter(|row| has(row["flags"], Flags::NEAR_BOUND));
    for row in flagged {
        assert!(
            ["x_err", "y_err", "fwhm_err"]
                .iter()
                .any(|name| row[*name].is_nan())
        );
    }
    // Were they flagged, it would be 248 of 1,826: this is a colour frame, whose mosaic is no star's
    // profile.
    assert!(10 * clean > 3 * fitted.len(), "{clean} of {}", fitted.len());
    // A bound of the user's own is one, as is the other end, where the flux is infinite.
    for bound in ["beta=2:6", "beta=:49"] {
        let rows = fit(&format!("--bayer none --bound {bound}"));
        let high: f64 = bound.split(':').nth(1).unwrap().parse().unwrap();
        let ended = rows.iter().filter(|row| row["beta"] == high);
        let mut ended = ended.peekable();
        assert!(ended.peek().is_some());
        assert!(
            ended.all(|row| has(row["flags"], Flags::NEAR_BOUND)),
            "{bound}"
        );
    }
    let rows = fit("--bayer none");
    let low = rows.iter().filter(|row| row["beta"] < 1.0527);
    assert!(low.clone().count() > 0 && low.clone().all(|row| has(row["flags"], Flags::NEAR_BOUND)));
}

/// An image whose header has a unit that FITS does not know gives a table that astropy reads.
#[test]
fn electrons_are_written_as_counts_where_fits_knows_no_electrons() {
    let folder = folder();
    let folder = folder.path();
    let mut field = Field::new((160, 160), 12, (3e3, 1e5), 30.0, 3.0, 9);
    let cards = [Card::new("BUNIT", Value::Text("electron/s".into()), "")];
    let pixels = field.expose(200.0, 1.5, 5.0);
    write_image(folder.join("a.fits"), &pixels, PixelType::F32, &cards).unwrap();
    let ran = run(
        folder,
        "fit --backend cpu -q a.fits -o stars.fits -o stars.ecsv",
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let table = String::from_utf8_lossy(&fs::read(folder.join("stars.fits")).unwrap()).into_owned();
    assert!(table.contains("= 'ct/s    '") && table.contains("= 'ct/(s.pix)'"));
    let table = fs::read_to_string(folder.join("stars.ecsv")).unwrap();
    assert!(table.contains("electron/s") && table.contains("electron/(s.pix)"));
}
