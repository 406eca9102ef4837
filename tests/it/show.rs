//! `starfit show`: pictures and letters, what is gone, what is hostile.

use std::fs;
use std::path::Path;

use crate::cli::{folder, shipped, starfit};

/// A picture: dots in a row; red, green and blue of each.
struct Decoded(usize, Vec<[u8; 3]>);

impl Decoded {
    fn open(path: &Path) -> Self {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(fs::read(path).unwrap()));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        let dots = bytes.chunks_exact(3).map(|dot| [dot[0], dot[1], dot[2]]);
        Self(info.width as usize, dots.collect())
    }

    /// The left rim and the side of each panel: dots between white ones in a row of dots through
    /// their upper pixels, where none is bright.
    fn panels(&self) -> Vec<(usize, usize)> {
        let row = &self.1[(TOP + 5) * self.0..][..self.0];
        let mut panels: Vec<(usize, usize)> = Vec::new();
        for (x, dot) in row.iter().enumerate() {
            match panels.last_mut() {
                _ if *dot == [255; 3] => {}
                Some((left, side)) if *left + *side == x => *side += 1,
                _ => panels.push((x, 1)),
            }
        }
        panels
    }

    /// A dot of a panel that shows so many pixels a side, in pixels from its lower left one.
    fn at(&self, (left, side): (usize, usize), pixels: usize, (x, y): (f64, f64)) -> [u8; 3] {
        let scale = side as f64 / pixels as f64;
        let top = TOP as f64 + side as f64 - (y + 0.5) * scale - 0.5;
        let column = (left as f64 + (x + 0.5) * scale - 0.5).round() as usize;
        self.1[top.round() as usize * self.0 + column]
    }
}

/// Rows of dots above the panels.
const TOP: usize = 96;

/// The simulated field of six stars, fitted with pixels from 1 as FITS counts them.
fn fitted(folder: &Path) {
    fs::copy(shipped("base.fits"), folder.join("base.fits")).unwrap();
    let ran = starfit(
        folder,
        &["fit", "-q", "base.fits", "--size", "15", "--fits-pixels"],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

/// The number of the star nearest to a place, and its x, y and fwhm.
fn nearest(folder: &Path, x: &str, y: &str) -> (String, [f64; 3]) {
    let columns = ["--columns", "id,x,y,fwhm"];
    let args = [&["query", "starfit.db", "--near", x, y, "1"], &columns[..]].concat();
    let ran = starfit(folder, &args);
    let line: Vec<&str> = ran.stdout.lines().nth(1).unwrap().split(',').collect();
    let number = |at: usize| line[at].parse().unwrap();
    (line[0].to_owned(), [number(1), number(2), number(3)])
}

#[test]
fn a_picture_shows_the_star_its_ellipses_and_what_is_left() {
    let folder = folder();
    fitted(folder.path());
    // Two stars, and each with what is known of the other: only its own fits.
    let stars = [("46.0", "41.5"), ("75.25", "61.75")].map(|(x, y)| nearest(folder.path(), x, y));
    let agreement = |id: &str, [x, y, fwhm]: [f64; 3]| {
        let args = [
            "show",
            "starfit.db",
            "--image",
            "base.fits",
            "--id",
            id,
            "-o",
            "star.png",
        ];
        let ran = starfit(folder.path(), &args);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
        assert!(
            ran.stderr
                .contains(&format!("star {id}, gaussian written to star.png"))
        );
        let picture = Decoded::open(&folder.path().join("star.png"));
        let panels = picture.panels();
        assert_eq!(panels.len(), 3, "{panels:?}");
        assert!(
            panels
                .iter()
                .all(|panel| panel.1 == panels[0].1 && panel.1 % 15 == 0)
        );
        // The cutout's middle pixel is the one that the star is on.
        let inside = |at: f64| at - (at + 0.5).floor() + 7.0;
        let (x, y) = (inside(x - 1.0), inside(y - 1.0));
        let around = |radius: f64| {
            let place = move |step: i32| {
                let (sin, cos) = (f64::from(step) * 0.26).sin_cos();
                (x + radius * cos, y + radius * sin)
            };
            (0..24).map(place)
        };
        let sigma = fwhm / 2.3548;
        let is_orange = |dot: [u8; 3]| dot[0] > dot[2].saturating_add(80);
        let on = |panel: usize, radius: f64| {
            let dots = around(radius * sigma).map(|at| picture.at(panels[panel], 15, at));
            dots.filter(|dot| is_orange(*dot)).count()
        };
        for panel in [0, 1] {
            for sigmas in [1.0, 2.0, 3.0] {
                if on(panel, sigmas) < 24 {
                    return false;
                }
            }
            assert!([0.5, 1.5, 2.5].iter().all(|sigmas| on(panel, *sigmas) == 0));
        }
        // Brightest in the middle, dark at the rim.
        assert!(picture.at(panels[0], 15, (x, y))[0] > 200);
        assert!(picture.at(panels[0], 15, (0.0, 14.0))[0] < 90);
        // Simulated and of this model: nothing is left but noise, within 5 sigma, and mostly 2.
        let pixels = (0..15).flat_map(|y| (0..15).map(move |x| (f64::from(x), f64::from(y))));
        let pale = pixels.filter(|at| {
            let [red, _, blue] = picture.at(panels[2], 15, *at);
            red > 120 && blue > 120
        });
        let pale = pale.count();
        assert!(pale > 215, "{pale}");
        true
    };
    assert!(agreement(&stars[0].0, stars[0].1));
    assert!(agreement(&stars[1].0, stars[1].1));
    assert!(
        !agreement(&stars[1].0, stars[0].1),
        "another star's ellipses"
    );
}

#[test]
fn letters_show_the_same() {
    let folder = folder();
    fitted(folder.path());
    let (id, _) = nearest(folder.path(), "75.25", "61.75");
    let ran = starfit(folder.path(), &["show", "starfit.db", "--id", &id]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(!ran.stdout.contains('\u{1b}'), "no colours in a pipe");
    let head = ran.stdout.lines().next().unwrap();
    assert!(
        head.starts_with(&format!("base.fits[0], star {id}, gaussian: FWHM 4.2")),
        "{head}"
    );
    for word in [
        "data",
        "model",
        "residual",
        "█",
        "x            75.2",
        "status       converged",
    ] {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80));

    // The same star fitted there and then, from a place near it.
    let at = [
        "show",
        "base.fits",
        "--at",
        "75.6",
        "61.5",
        "--fits-pixels",
        "--size",
        "15",
    ];
    let again = starfit(folder.path(), &at);
    assert_eq!((again.code, again.stderr.as_str()), (0, ""));
    let number = |text: &str, name: &str| -> f64 {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    };
    for name in ["x", "y", "flux", "FWHM", "background"] {
        let (stored, again) = (number(&ran.stdout, name), number(&again.stdout, name));
        assert!(
            (stored / again - 1.0).abs() < 1e-3,
            "{name}: {stored} {again}"
        );
    }
    let other = starfit(folder.path(), &["show", "base.fits", "--at", "45", "40.5"]);
    assert!((number(&ran.stdout, "x") / number(&other.stdout, "x") - 1.0).abs() > 0.1);
}

#[test]
fn what_has_no_picture_has_its_numbers() {
    let folder = folder();
    fitted(folder.path());
    let image = folder.path().join("base.fits");
    let whole = fs::read(&image).unwrap();
    let show = |why: &str| {
        let ran = starfit(folder.path(), &["show", "starfit.db", "--id", "0"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains("flux") && !ran.stdout.contains("residual"));
        let note = ran.stdout.lines().find(|line| line.starts_with("note "));
        assert!(
            note.is_some_and(|note| note.contains(why)),
            "{why}: {}",
            ran.stdout
        );
        let picture = ["show", "starfit.db", "--id", "0", "-o", "a.png"];
        let ran = starfit(folder.path(), &picture);
        assert_eq!(ran.code, 0);
        assert!(ran.stderr.contains("warning: no picture: ") && ran.stderr.contains(why));
        let decoded = Decoded::open(&folder.path().join("a.png"));
        assert!(decoded.0 > 500 && decoded.1.iter().any(|dot| dot[0] < 60));
    };
    fs::write(&image, &whole[..2880]).unwrap();
    show("has changed since it was fitted");
    fs::remove_file(&image).unwrap();
    show("is gone since it was fitted");
    // Something else under the same name, size and time.
    let connection = rusqlite::Connection::open(folder.path().join("starfit.db")).unwrap();
    fs::write(&image, vec![b' '; whole.len()]).unwrap();
    let time = image.metadata().unwrap().modified().unwrap();
    let time = time
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    connection
        .execute("UPDATE images SET modified = ?", [time])
        .unwrap();
    drop(connection);
    show("base.fits");
}

#[test]
fn what_there_is_not_is_named() {
    let folder = folder();
    fitted(folder.path());
    let refused = |args: &[&str], words: &[&str]| {
        let all = [&["show"], args].concat();
        let ran = starfit(folder.path(), &all);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}");
        for word in words {
            assert!(
                ran.stderr.contains(word),
                "{args:?}: {word}: {}",
                ran.stderr
            );
        }
    };
    refused(
        &["starfit.db", "--image", "bass.fits", "--id", "0"],
        &["--image", "bass.fits", "base.fits[0]"],
    );
    refused(&["starfit.db", "--id", "6"], &["--id", "0 to 5", "found 6"]);
    refused(&["starfit.db", "--id", "-1"], &["-1"]);
    refused(&["starfit.db", "--id", "0", "--run", "7"], &["--run", "7"]);
    refused(
        &["starfit.db", "--id", "0", "-o", "a.jpg"],
        &[".png", ".jpg"],
    );
    refused(&["starfit.db", "--id", "0", "-o", "none/a.png"], &["none"]);
    refused(&["none.db", "--id", "0"], &["none.db"]);
    refused(&["base.fits", "--id", "0"], &["SQLite"]);
    refused(&["starfit.db", "--at", "1", "1"], &["starfit.db"]);
    refused(
        &["base.fits", "--at", "96", "3"],
        &["--at", "0 to 95 and 0 to 79", "96 3"],
    );
    refused(&["base.fits", "--at", "nan", "3"], &["--at"]);
    refused(&["starfit.db"], &["--id", "--at"]);
    refused(&["starfit.db", "--id", "0", "--at", "1", "1"], &["--at"]);
    refused(&["starfit.db", "--id", "0", "--size", "15"], &["--size"]);
    assert!(!folder.path().join("a.jpg").exists());

    fs::copy(
        folder.path().join("base.fits"),
        folder.path().join("other.fits"),
    )
    .unwrap();
    assert_eq!(starfit(folder.path(), &["fit", "-q", "other.fits"]).code, 0);
    refused(
        &["starfit.db", "--id", "0"],
        &["2 images", "base.fits[0], other.fits[0]"],
    );
}

#[test]
fn hostile_words_in_a_database_do_nothing() {
    let folder = folder();
    fitted(folder.path());
    let connection = rusqlite::Connection::open(folder.path().join("starfit.db")).unwrap();
    let name = "\u{1b}]0;evil\u{7}<script>星\n\u{202e}x";
    let change = "UPDATE images SET name = ?1, unit = ?1, filter = ?1";
    connection.execute(change, [name]).unwrap();
    connection
        .execute("UPDATE runs SET settings = '[]'", [])
        .unwrap();
    drop(connection);
    let ran = starfit(folder.path(), &["show", "starfit.db", "--id", "0"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!ran.stdout.contains(['\u{1b}', '\u{7}', '\u{202e}']));
    assert!(ran.stdout.contains("\\u{1b}]0;evil"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("model"), "no settings, no model");
    let ran = starfit(
        folder.path(),
        &["show", "starfit.db", "--id", "0", "-o", "a.png"],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    Decoded::open(&folder.path().join("a.png"));
}
