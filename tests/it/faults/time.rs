//! When an image was exposed, from whichever cards say it, in the catalogue.

use std::path::Path;

use starfit::io::fits::Value;

use super::field::{Field, write};
use crate::cli::{folder, starfit};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Date and middle of the exposure in the table of images, and what the run said.
fn fitted(folder: &Path, cards: &[(&str, Value)]) -> (Option<String>, Option<f64>, String) {
    let mut field = Field::new((120, 160), 6, (3e3, 3e4), 24.0, 3.0, 3);
    write(
        &folder.join("a.fits"),
        &field.expose(200.0, 1.0, 5.0),
        cards,
    );
    let args = ["fit", "--backend", "cpu", "a.fits", "-o", "a.db"];
    let ran = starfit(folder, &args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let database = rusqlite::Connection::open(folder.join("a.db")).unwrap();
    let sql = "SELECT date, mjd FROM newest_images";
    let (date, mjd) = database
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    (date, mjd, ran.stderr)
}

#[test]
fn a_time_beside_the_date_is_read() {
    let folder = folder();
    let start = "2023-01-01T12:34:56.789";
    // Time(start).mjd of astropy, and with TimeDelta(60, format="sec").
    let (begin, middle) = (59945.5242683912, 59945.52496283565);
    for keyword in ["TIME-OBS", "UT"] {
        let cards = [
            ("DATE-OBS", text("2023-01-01")),
            (keyword, text("12:34:56.789")),
            ("EXPTIME", Value::Float(120.0)),
        ];
        let (date, mjd, said) = fitted(folder.path(), &cards);
        assert_eq!(date.as_deref(), Some(start), "{keyword}");
        assert!(
            (mjd.unwrap() - middle).abs() < 1e-9 && !said.contains("DATE-OBS"),
            "{said}"
        );
        // The negative control: without that card the day is all there is.
        let (date, mjd, said) = fitted(folder.path(), &[cards[0].clone(), cards[2].clone()]);
        assert_eq!((date.as_deref(), mjd), (Some("2023-01-01"), None));
        assert!(
            said.contains("warning: a.fits: DATE-OBS is a day"),
            "{said}"
        );
    }
    let (date, mjd, _) = fitted(folder.path(), &[("MJD-OBS", Value::Float(begin))]);
    assert_eq!(date.as_deref(), Some(start));
    assert!((mjd.unwrap() - begin).abs() < 1e-8);
    let (date, mjd, said) = fitted(folder.path(), &[("MJD-OBS", Value::Float(0.0))]);
    assert_eq!((date, mjd), (None, None));
    assert!(
        said.contains("a.fits: MJD-OBS 0: not understood as a time"),
        "{said}"
    );
}

#[test]
fn light_curves_and_queries_have_the_middle_of_the_exposure() {
    let folder = folder();
    let mut field = Field::new((200, 200), 12, (2e4, 2e5), 24.0, 3.0, 8);
    // The second one began first but was exposed for longer.
    for (name, time, exposure) in [("a.fits", "01:00:00", 10.0), ("b.fits", "00:50:00", 3600.0)] {
        let cards = [
            ("DATE-OBS", text("2023-01-02")),
            ("UT", text(time)),
            ("EXPTIME", Value::Float(exposure)),
        ];
        write(
            &folder.path().join(name),
            &field.expose(200.0, 1.0, 5.0),
            &cards,
        );
    }
    let run = |args: &[&str]| {
        let ran = starfit(folder.path(), args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stdout
    };
    run(&[
        "fit",
        "--backend",
        "cpu",
        "-q",
        "a.fits",
        "b.fits",
        "-o",
        "n.db",
    ]);
    run(&["match", "n.db"]);
    let columns = ["--columns", "image,date,mjd", "--order", "mjd", "-o", "-"];
    let out = run(&[&["query", "n.db"][..], &columns].concat());
    let first = out.lines().nth(1).unwrap();
    // 2023-01-02 is MJD 59946.
    assert!(
        first.starts_with("a.fits[0],2023-01-02T01:00:00,59946.0417"),
        "{first}"
    );
    let last = out.lines().last().unwrap();
    assert!(
        last.starts_with("b.fits[0],2023-01-02T00:50:00,59946.0555555"),
        "{last}"
    );
    let database = rusqlite::Connection::open(folder.path().join("n.db")).unwrap();
    let sql = "SELECT group_concat(image) FROM (SELECT * FROM lightcurves WHERE object_id = 1 ORDER BY mjd)";
    let curve: String = database.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(curve, "a.fits[0],b.fits[0]");
    // Formats with provenance have both.
    run(&["fit", "--backend", "cpu", "-q", "a.fits", "-o", "a.ecsv"]);
    let ecsv = std::fs::read_to_string(folder.path().join("a.ecsv")).unwrap();
    assert!(ecsv.contains("2023-01-02T01:00:00") && ecsv.contains("59946.0417"));
}
