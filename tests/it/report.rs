//! The page of pictures: its numbers are those of the database, and it needs nothing else.

mod markup;

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use crate::cli::{Ran, count, folder, shipped, starfit};
use markup::{complaint, figures, is_numbers};

const CLEAN: &str = "status = 'converged' AND flags = 0";
const HOSTILE: &str =
    "</bdi></title><script>alert(1)</script><img src=\"http://evil\" onerror=\"x\">";

fn values(database: &Path, sql: &str) -> Vec<f64> {
    let connection = Connection::open(database).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    }
}

fn execute(database: &Path, sql: &str) {
    Connection::open(database)
        .unwrap()
        .execute_batch(sql)
        .unwrap();
}

/// Runs `report` and returns the page, in which it looks for what no page may have.
fn page(folder: &Path, args: &[&str]) -> (Ran, String) {
    let mut all = vec!["report"];
    all.extend(args);
    let ran = starfit(folder, &all);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.len() < 5_000_000, "{}", page.len());
    assert_eq!(complaint(&page), None);
    assert!(is_numbers(&page), "{args:?}");
    (ran, page)
}

#[test]
fn a_page_has_the_numbers_of_the_database() {
    let folder = folder();
    let database = folder.path().join("starfit.db");
    let image = shipped("panoptes.fits.fz");
    let fit = [
        "fit",
        "-q",
        &image,
        "--gain",
        "1.5",
        "--model",
        "elliptical-gaussian",
        "--backend",
        "cpu",
    ];
    assert_eq!(starfit(folder.path(), &fit).code, 0);
    let (ran, page) = page(folder.path(), &["starfit.db", "--figures", "figures"]);
    let says = "1 image, 1 with pictures, in report.html (";
    assert!(
        ran.stderr.starts_with(says) && ran.stderr.contains("10 figures in figures\n"),
        "{}",
        ran.stderr
    );

    // The tiles.
    let tile = |name: &str, text: &str| {
        let tile = format!("<dt>{name}</dt>\n<dd>{text}");
        page.contains(&format!("{tile}<")) || page.contains(&format!("{tile} pix<"))
    };
    let of = |column: &str| {
        median(values(
            &database,
            &format!("SELECT {column} FROM stars WHERE {CLEAN}"),
        ))
    };
    let fwhm = of("fwhm");
    assert!(tile("FWHM", &format!("{fwhm:.2}")), "{fwhm}");
    assert!(!tile("FWHM", &format!("{:.2}", fwhm + 0.01)));
    assert!(tile("ellipticity", &format!("{:.3}", of("ellipticity"))));
    // Three digits.
    let chi2 = of("reduced_chi2");
    let decimals = if chi2 < 1.0 { 3 } else { 2 };
    assert!(tile("χ²/dof", &format!("{chi2:.decimals$}")), "{chi2}");
    let all = count(&database, "SELECT count(*) FROM stars");
    let clean = count(
        &database,
        &format!("SELECT count(*) FROM stars WHERE {CLEAN}"),
    );
    assert!(tile("stars", &all.to_string()) && tile("clean", &clean.to_string()));
    assert!(!tile("clean", &(clean + 1).to_string()));

    // How fits ended, and flags.
    let row = |name: &str, count: i64| {
        page.contains(&format!("<td>{name}</td>\n<td class=\"n\">{count}</td>"))
    };
    for status in starfit::fit::FitStatus::ALL {
        let sql = format!("SELECT count(*) FROM stars WHERE status = '{status}'");
        let found = count(&database, &sql);
        assert!(
            row(status.name(), found) && !row(status.name(), found + 1),
            "{status}: {found}"
        );
    }
    for (flag, name, _) in starfit::fit::Flags::TABLE {
        let sql = format!("SELECT count(*) FROM stars WHERE flags & {} <> 0", flag.0);
        assert!(row(name, count(&database, &sql)), "{name}");
    }

    // The brightest 2,000 stars have a row, and one to each of its points.
    // So have the best, the median and the worst.
    let listed = page.matches("<tr id=\"s0-").count() as i64;
    assert!(
        (all.min(2000)..=all.min(2003)).contains(&listed),
        "{listed}"
    );
    let shown = count(
        &database,
        &format!(
            "SELECT count(*) FROM (SELECT * FROM stars ORDER BY flux DESC LIMIT 2000) WHERE {CLEAN}"
        ),
    );
    assert!(page.matches("href=\"#s0-").count() > 2 * shown as usize);
    for (place, order) in [("Best", ""), ("Worst", "DESC")] {
        let sql =
            format!("SELECT id FROM stars WHERE {CLEAN} ORDER BY reduced_chi2 {order} LIMIT 1");
        let star = count(&database, &sql);
        assert!(
            page.contains(&format!("{place} fit: star {star}, ")),
            "{place}: {star}"
        );
        assert!(!page.contains(&format!("{place} fit: star {}, ", star + 1)));
    }

    // In seconds of arc, too: 10.3 a pixel.
    let (before, after) = page.split_once(" pix<small>").unwrap();
    let pixels = before
        .rsplit(|c: char| !(c.is_ascii_digit() || c == '.'))
        .next();
    let seconds = after.split('″').next();
    let [pixels, seconds] = [pixels, seconds].map(|text| text.unwrap().parse::<f64>().unwrap());
    assert!((seconds / pixels - 10.3).abs() < 0.1, "{seconds}, {pixels}");

    let figures = figures(&folder.path().join("figures"));
    let names: Vec<&str> = figures.keys().map(String::as_str).collect();
    let expected = [
        "ellipticity",
        "flux-snr",
        "fwhm",
        "fwhm-map",
        "image",
        "reduced-chi2",
        "residuals",
        "triplet-best",
        "triplet-median",
        "triplet-worst",
    ];
    let mut expected = expected.map(|name| format!("panoptes.fits.fz-1-{name}.svg"));
    expected.sort();
    assert_eq!(names, expected);
    let ellipses = figures["panoptes.fits.fz-1-image.svg"]
        .matches("<ellipse ")
        .count();
    assert!(ellipses as i64 > shown, "{ellipses}");
    // Widths on the map are those of the database: the cell in the lower left corner.
    let side = 700.0 / 8.0;
    let sql = format!(
        "SELECT fwhm FROM stars WHERE {CLEAN} AND x < {0} AND y < {0}",
        side - 0.5
    );
    let cell = values(&database, &sql);
    let title = format!("pix, {} stars", cell.len());
    let text = format!("FWHM {:.3} ± ", median(cell));
    let map = &figures["panoptes.fits.fz-1-fwhm-map.svg"];
    assert!(
        map.contains(&text) && map.contains(&title),
        "{text}, {title}"
    );

    // Other databases and outputs.
    for (args, says) in [
        (&["none.db"][..], "none.db"),
        (
            &["starfit.db", "--image", "panoptes"],
            "panoptes.fits.fz[1]",
        ),
        (&["starfit.db", "--run", "7"], "--run"),
        (&["starfit.db", "-o", "none/report.html"], "does not exist"),
        (
            &["starfit.db", "-o", "starfit.db"],
            "expected the ending .html or .htm, found .db",
        ),
        (&["starfit.db", "-o", "m13.fits"], "found .fits"),
        (&["starfit.db", "--figures", "report.html"], "report.html"),
        (&["report.html"], "expected an SQLite database"),
    ] {
        let mut all = vec!["report"];
        all.extend(args);
        let ran = starfit(folder.path(), &all);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}");
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(
        fs::read_to_string(folder.path().join("report.html")).unwrap(),
        page
    );
}

/// Five frames of different widths and numbers of stars, in `night.db`.
fn night(folder: &Path) {
    let mut fit = vec!["fit", "-q", "--backend", "cpu", "-o", "night.db"];
    let frames = [
        ("a.fits", "3.4", "60"),
        ("b.fits", "2.4", "60"),
        ("c.fits", "2.6", "20"),
        ("d.fits", "2.8", "60"),
        ("e.fits", "3.0", "60"),
    ];
    for (name, fwhm, stars) in frames {
        let simulate = [
            "simulate", "-q", name, "--stars", stars, "--fwhm", fwhm, "--width", "200", "--height",
            "160", "--snr", "30:300",
        ];
        let ran = starfit(folder, &simulate);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        fit.push(name);
    }
    assert_eq!(starfit(folder, &fit).code, 0);
}

#[test]
fn a_night_is_ranked() {
    let folder = folder();
    night(folder.path());
    let database = folder.path().join("night.db");
    execute(
        &database,
        "UPDATE images SET filter = 'V', mjd = 61042 + image_id / 24.0, \
         date = '2026-01-02T0' || image_id || ':00:00'",
    );
    fs::remove_file(folder.path().join("b.fits")).unwrap();
    let mut changed = fs::read(folder.path().join("c.fits")).unwrap();
    changed.push(0);
    fs::write(folder.path().join("c.fits"), changed).unwrap();

    // FWHM times most stars over stars.
    let mut frames: Vec<(f64, usize, String)> = Vec::new();
    let stars = |id: i64| {
        let sql = format!("SELECT fwhm FROM stars WHERE {CLEAN} AND image_id = {id}");
        values(&database, &sql)
    };
    let most = (1..=5).map(|id| stars(id).len()).max().unwrap();
    for (id, name) in (1..).zip(["a", "b", "c", "d", "e"]) {
        let widths = stars(id);
        let n = widths.len();
        frames.push((
            median(widths) * most as f64 / n as f64,
            n,
            format!("{name}.fits[0]"),
        ));
    }
    frames.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Negative control: few stars and not the width alone make the last one.
    assert_eq!(frames[4].2, "c.fits[0]");

    let (ran, page) = page(folder.path(), &["night.db", "--figures", "figures"]);
    assert!(
        ran.stderr.contains("5 images, 1 with pictures"),
        "{}",
        ran.stderr
    );
    let ranking = page.split("<h3>Ranking</h3>").nth(1).unwrap();
    let ranking = ranking.split("</table>").next().unwrap();
    let mut before = 0;
    for (rank, (weighted, n, name)) in (1..).zip(&frames) {
        let at = ranking.find(&format!("<bdi>{name}</bdi>")).unwrap();
        assert!(at > before, "{name} is {rank}");
        before = at;
        let row = &ranking[at..at + ranking[at..].find("</tr>").unwrap()];
        assert!(row.contains(&format!(">{n}<")), "{row}");
        let written: f64 = row
            .split("<td class=\"n\">")
            .nth(1)
            .unwrap()
            .split('<')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(
            (written / weighted - 1.0).abs() < 0.006,
            "{row}: {weighted}"
        );
    }
    // Best, median and worst have figures, the others numbers.
    let shown = [0, 2, 4].map(|rank| frames[rank].2.as_str());
    assert_eq!(shown, ["b.fits[0]", "e.fits[0]", "c.fits[0]"]);
    assert_eq!(page.matches("What the map says").count(), 3);
    assert!(page.contains("3 images have figures, the best, the median and the worst"));
    assert!(page.contains("not there any more: 2.</p>"));
    let command = |name| format!("report <bdi>'night.db'</bdi> --image <bdi>'{name}.fits[0]'");
    assert!(page.contains(&command("a")) && !page.contains(&command("b")));
    assert!(page.contains("b.fits: is gone since it was fitted"));
    assert!(page.contains("c.fits: has changed since it was fitted"));
    assert!(!page.contains("e.fits: "));
    assert_eq!(page.matches(" --image ").count(), 3);
    let figures = figures(&folder.path().join("figures"));
    for (name, is_there) in [
        ("night-fwhm.svg", true),
        ("night-stars.svg", true),
        ("night-background.svg", true),
        ("e.fits-0-image.svg", true),
        ("e.fits-0-residuals.svg", true),
        ("b.fits-0-image.svg", false),
        ("b.fits-0-fwhm-map.svg", true),
        ("a.fits-0-fwhm.svg", false),
    ] {
        assert_eq!(figures.contains_key(name), is_there, "{name}");
    }
    assert!(figures["night-fwhm.svg"].contains(">02:00<"));

    // One image by its name, without a night.
    let (ran, one) = self::page(folder.path(), &["night.db", "--image", "a.fits"]);
    assert!(
        ran.stderr.contains("1 image, 1 with pictures"),
        "{}",
        ran.stderr
    );
    assert!(!one.contains("Ranking") && one.contains("Image and fits"));
}

#[test]
fn what_a_file_says_is_text() {
    let folder = folder();
    night(folder.path());
    let database = folder.path().join("night.db");
    let hostile = HOSTILE.replace('\'', "''");
    for (table, column) in [
        ("images", "date"),
        ("images", "filter"),
        ("images", "unit"),
        ("images", "wcs"),
        ("images", "name"),
        ("images", "path"),
        ("runs", "version"),
        ("runs", "command_line"),
        ("runs", "backend"),
        ("runs", "adapter"),
        ("runs", "started"),
    ] {
        execute(
            &database,
            &format!("UPDATE {table} SET {column} = '{hostile}'"),
        );
    }
    let settings = format!(
        "UPDATE runs SET settings = json_set(settings, '$.solver', '{hostile}', '$.model', '{hostile}')"
    );
    execute(&database, &settings);
    let (_, page) = page(folder.path(), &["night.db", "--figures", "figures"]);
    assert!(page.contains("&lt;script&gt;alert(1)"));
    // Negative control: as markup it would be seen.
    assert!(
        complaint(
            &page
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
        )
        .is_some()
    );
    let figures = figures(&folder.path().join("figures"));
    assert!(figures.len() > 10, "{:?}", figures.keys());
    for name in figures.keys() {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        assert!(name.chars().all(is_plain), "{name}");
    }
}

#[test]
fn odd_stars_make_a_page() {
    let folder = folder();
    night(folder.path());
    let database = folder.path().join("night.db");
    for (change, says) in [
        ("UPDATE stars SET flux = -flux, snr = -snr", "5 images"),
        (
            "UPDATE stars SET fwhm = 2.5, reduced_chi2 = 1, flux = 7, snr = 9",
            "5 images",
        ),
        (
            "UPDATE stars SET fwhm = 9e999, flux = 9e999, snr = -9e999, reduced_chi2 = 1e308",
            "5 images",
        ),
        ("UPDATE stars SET x = 1e300, y = -1e300", "5 images"),
        (
            "UPDATE stars SET flux = NULL, snr = NULL, fwhm = NULL, reduced_chi2 = NULL",
            "5 images",
        ),
        (
            "UPDATE stars SET status = 'singular', flags = 1023",
            "5 images",
        ),
        (
            "UPDATE images SET width = 0, height = 0, sky_level = NULL, sky_noise = 9e999",
            "5 images",
        ),
        ("DELETE FROM stars WHERE id > 0", "5 images"),
        ("DELETE FROM stars", "5 images"),
        ("DELETE FROM images WHERE image_id > 1", "1 image"),
        ("DELETE FROM images", "0 images"),
    ] {
        execute(&database, change);
        let (ran, page) = page(folder.path(), &["night.db", "--figures", "figures"]);
        assert!(ran.stderr.contains(says), "{change}: {}", ran.stderr);
        assert!(page.contains("<h1>"), "{change}");
    }
    figures(&folder.path().join("figures"));
}

#[test]
fn ready_cutouts_have_no_map() {
    let folder = folder();
    let simulate = [
        "simulate",
        "-q",
        "stack.npy",
        "--stack",
        "40",
        "--model",
        "moffat",
    ];
    assert_eq!(starfit(folder.path(), &simulate).code, 0);
    let fit = [
        "fit",
        "-q",
        "stack.npy",
        "--model",
        "moffat",
        "--gain",
        "1.5",
        "--backend",
        "cpu",
    ];
    assert_eq!(starfit(folder.path(), &fit).code, 0);
    let (_, page) = page(folder.path(), &["starfit.db"]);
    assert!(page.contains("40 cutouts of 15 × 15 pix"));
    assert!(!page.contains("FWHM over the field") && !page.contains("Image and fits"));
    assert!(page.contains("Best fit: star ") && page.contains("noise of the pixel"));
}

#[test]
fn a_page_is_never_too_large() {
    let folder = folder();
    let simulate = [
        "simulate",
        "-q",
        "wide.fits",
        "--stars",
        "50",
        "--width",
        "800",
        "--height",
        "800",
        "--snr",
        "20:200",
    ];
    assert_eq!(starfit(folder.path(), &simulate).code, 0);
    let mut fit = vec!["fit", "-q", "--backend", "cpu", "-o", "many.db"];
    let names: Vec<String> = (0..7).map(|at| format!("wide{at}.fits")).collect();
    for name in &names {
        fs::copy(folder.path().join("wide.fits"), folder.path().join(name)).unwrap();
        fit.push(name);
    }
    assert_eq!(starfit(folder.path(), &fit).code, 0);
    let mut args = vec!["many.db"];
    args.extend(names.iter().flat_map(|name| ["--image", name.as_str()]));
    let (ran, page) = page(folder.path(), &args);
    assert!(
        ran.stderr.contains("7 images, 7 with pictures"),
        "{}",
        ran.stderr
    );
    assert_eq!(page.matches("Image and fits").count(), 7);
    // One alone is shown in full: seven of these would be too large.
    let (_, one) = self::page(folder.path(), &["many.db", "--image", "wide0.fits"]);
    assert!(7 * one.len() > 5_000_000, "{}", one.len());
}
