use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::catalog::sqlite::SqliteWriter;
use crate::catalog::tests::{image, run};
use crate::catalog::{CatalogWriter, ImageInfo, Row};
use crate::fit::FitStatus;
use crate::wcs::Wcs;

const N_STARS: usize = 1000;
const SIDE: f64 = 1024.0;
/// The star whose flux varies.
const VARIABLE: usize = 0;

/// A star as it is.
#[derive(Debug, Clone, Copy)]
struct Truth {
    place: Point,
    flux: f64,
    flux_err: f64,
    error: f64,
}

fn field(seed: u64) -> Vec<Truth> {
    let mut rng = Pcg64::seed_from_u64(seed);
    (0..N_STARS)
        .map(|_| {
            let snr = 5.0 * 100_f64.powf(rng.random::<f64>());
            Truth {
                place: (rng.random_range(0.0..SIDE), rng.random_range(0.0..SIDE)),
                flux: 100.0 * snr,
                flux_err: 100.0,
                error: 1.3 / snr,
            }
        })
        .collect()
}

/// How the field lies in an image of the night: turned about a point and shifted, and seen in a
/// mirror in every third.
fn pointing(index: usize) -> Affine {
    let turn = 17.0 * index as f64;
    let (sin, cos) = turn.to_radians().sin_cos();
    let sign = if index % 3 == 2 { -1.0 } else { 1.0 };
    let (x, y) = (SIDE / 2.0, SIDE / 2.0);
    let (xx, xy, yx, yy) = (cos, -sign * sin, sin, sign * cos);
    Affine {
        xx,
        xy,
        x0: x - xx * x - xy * y + 3.3 * index as f64,
        yx,
        yy,
        y0: y - yx * x - yy * y - 2.1 * index as f64,
    }
}

/// A WCS of 1 arcsecond a pixel in which the field lies as it does in the image.
fn wcs(map: &Affine, offset: f64) -> Wcs {
    let center = map.apply((SIDE / 2.0, SIDE / 2.0));
    let scale = 1.0 / 3600.0;
    // The field's matrix is diag(-scale, scale); the map is orthogonal, its inverse its transpose.
    let text = format!(
        "CTYPE1 = 'RA---TAN'\nCTYPE2 = 'DEC--TAN'\nCRVAL1 = {:?}\nCRVAL2 = 60.0\n\
         CRPIX1 = {:?}\nCRPIX2 = {:?}\nCD1_1 = {:?}\nCD1_2 = {:?}\nCD2_1 = {:?}\nCD2_2 = {:?}",
        0.01 + offset,
        center.0 + 1.0,
        center.1 + 1.0,
        -scale * map.xx,
        -scale * map.yx,
        scale * map.xy,
        scale * map.yy,
    );
    Wcs::from_text(&text).unwrap()
}

/// What an image shows of a field, with its noise: nine stars of ten. The number of the star in
/// the field is in the column `peak`.
fn exposure(field: &[Truth], index: usize, with_wcs: bool) -> (ImageInfo, Vec<Row>) {
    let mut rng = Pcg64::seed_from_u64(100 + index as u64);
    let mut info = image(&format!("{index}.fits"));
    info.header.date = Some(format!("2026-01-02T03:{index:02}:00"));
    info.header.filter = Some("V".into());
    (info.width, info.height) = (SIDE as usize, SIDE as usize);
    let map = pointing(index);
    let wcs = with_wcs.then(|| wcs(&map, 0.0));
    info.wcs = wcs.as_ref().map(|wcs| wcs.text().to_owned());
    let mut rows = Vec::new();
    for (number, star) in field.iter().enumerate() {
        let [dx, dy, df]: [f64; 3] = std::array::from_fn(|_| StandardNormal.sample(&mut rng));
        let is_seen = rng.random_bool(0.9);
        if !is_seen && number != VARIABLE {
            continue;
        }
        let (x, y) = map.apply(star.place);
        let (x, y) = (x + star.error * dx, y + star.error * dy);
        let mut row = Row::new(rows.len(), FitStatus::Converged, Flags::default());
        for (name, value) in [
            ("x", x),
            ("y", y),
            ("x_err", star.error),
            ("y_err", star.error),
        ] {
            row.set(name, value);
        }
        if let Some(wcs) = &wcs {
            let sky = wcs.to_sky(x, y).unwrap();
            let error = star.error / 3600.0;
            for (name, value) in [
                ("ra", sky.ra),
                ("dec", sky.dec),
                ("ra_err", error),
                ("dec_err", error),
            ] {
                row.set(name, value);
            }
        }
        let factor = if number == VARIABLE && index % 2 == 1 {
            1.5
        } else {
            1.0
        };
        row.set("flux", factor * star.flux + star.flux_err * df);
        row.set("flux_err", star.flux_err);
        row.set("peak", number as f64);
        rows.push(row);
    }
    (info, rows)
}

fn night(n_images: usize, with_wcs: bool) -> Vec<(ImageInfo, Vec<Row>)> {
    let field = field(1);
    (0..n_images)
        .map(|index| exposure(&field, index, with_wcs))
        .collect()
}

fn add(path: &Path, settings: &str, images: &[(ImageInfo, Vec<Row>)]) {
    let mut catalog = Box::new(SqliteWriter::create(path, &run(settings)).unwrap());
    for (image, rows) in images {
        catalog.write(image, rows).unwrap();
    }
    catalog.finish().unwrap();
}

fn database(images: &[(ImageInfo, Vec<Row>)]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("night.db");
    add(&path, "gaussian", images);
    (folder, path)
}

/// One number, 0 for null.
fn ask(path: &Path, sql: &str) -> f64 {
    let connection = Connection::open(path).unwrap();
    let sql = format!("SELECT coalesce(CAST(({sql}) AS REAL), 0.0)");
    connection.query_row(&sql, [], |row| row.get(0)).unwrap()
}

fn text(path: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// The part of the stars that are in the object of their truth, and the stars that are in an object
/// of another one.
fn right_and_false(path: &Path) -> (f64, usize) {
    let connection = Connection::open(path).unwrap();
    let sql = "SELECT object_id, CAST(peak AS INTEGER) FROM stars WHERE object_id IS NOT NULL";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u16>(1)?)));
    let mut objects = BTreeMap::<i64, Vec<usize>>::new();
    for row in rows.unwrap() {
        let (object, truth) = row.unwrap();
        objects.entry(object).or_default().push(usize::from(truth));
    }
    let mut largest = vec![0; N_STARS];
    let (mut wrong, mut n_stars) = (0, 0);
    for truths in objects.values() {
        let count = |truth: &usize| truths.iter().filter(|other| *other == truth).count();
        wrong += truths.len() - truths.iter().map(count).max().unwrap();
        n_stars += truths.len();
        for truth in truths {
            largest[*truth] = largest[*truth].max(count(truth));
        }
    }
    (largest.iter().sum::<usize>() as f64 / n_stars as f64, wrong)
}

/// A night of ten images is linked as it should be.
fn check_night(path: &Path, matched: &Matched) {
    assert_eq!(matched.images.len(), 10);
    let (right, wrong) = right_and_false(path);
    assert!(right > 0.995, "{right}");
    // A pair within 2 pixels is to be expected for 1000^2 / 2 * 4 pi / 1024^2 = 6 of them.
    assert!(wrong < 30, "{wrong} stars in wrong objects");
    assert_eq!(
        ask(path, "SELECT count(*) FROM stars WHERE object_id IS NULL"),
        0.0
    );
    assert_eq!(
        ask(path, "SELECT count(*) FROM objects"),
        matched.n_objects as f64
    );
    let twice = "SELECT count(*) FROM (SELECT 1 FROM stars GROUP BY object_id, image_id \
                 HAVING count(*) > 1)";
    assert_eq!(ask(path, twice), 0.0);

    // Constant stars have chi2 = dof, the variable one has not.
    let is_variable = format!(
        "object_id = (SELECT object_id FROM stars WHERE peak = {VARIABLE}.0 \
         GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)"
    );
    let of = |what: &str, condition: &str| {
        ask(
            path,
            &format!("SELECT {what} FROM object_fluxes WHERE {condition}"),
        )
    };
    let full = format!("n_visits >= 5 AND NOT {is_variable}");
    let dof = of("sum(flux_dof)", &full);
    let ratio = of("sum(flux_chi2)", &full) / dof;
    // Its standard error is sqrt(2 / dof).
    assert!((ratio - 1.0).abs() < 5.0 * (2.0 / dof).sqrt(), "{ratio}");
    let of_variable = of("flux_chi2 / flux_dof", &is_variable);
    assert!(of_variable > 20.0 * ratio, "{of_variable}");
    assert_eq!(of("n_visits", &is_variable), 10.0);
}

/// How far the objects are from the stars of the field, in units of their errors: mean square of
/// both coordinates.
fn pull(path: &Path, field: &[Truth], place: impl Fn(Point) -> Point) -> f64 {
    let connection = Connection::open(path).unwrap();
    let sql = "SELECT x, x_err, y, y_err, \
         (SELECT max(peak) FROM stars WHERE stars.object_id = objects.object_id), \
         (SELECT min(peak) FROM stars WHERE stars.object_id = objects.object_id) \
         FROM objects WHERE n_visits > 5";
    let mut statement = connection.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let (mut sum, mut n) = (0.0, 0.0);
    while let Some(row) = rows.next().unwrap() {
        let number = |at| row.get::<_, f64>(at).unwrap();
        if number(4) != number(5) {
            continue;
        }
        let (x, y) = place(field[number(4) as usize].place);
        sum += ((number(0) - x) / number(1)).powi(2) + ((number(2) - y) / number(3)).powi(2);
        n += 2.0;
    }
    assert!(n > 1000.0);
    sum / n
}

#[test]
fn a_night_is_linked_on_the_sky() {
    let (_folder, path) = database(&night(10, true));
    let matched = MatchOptions::default().write(&path).unwrap();
    assert!(
        matched
            .images
            .iter()
            .all(|image| image.placement == Placement::Sky)
    );
    check_night(&path, &matched);
    let field = field(1);
    let pixels = pull(&path, &field, |place| place);
    assert!((0.85..1.15).contains(&pixels), "{pixels}");
    let shifted = pull(&path, &field, |(x, y)| (x + 0.1, y));
    assert!(shifted > 2.0, "{shifted}");
    // On the sky with a cosine: only declination can be compared as it is.
    let dec = "SELECT max(abs(stars.dec - objects.dec)) FROM stars JOIN objects USING (object_id)";
    assert!(ask(&path, dec) < 6.0 / 3600.0);
    assert_eq!(
        ask(
            &path,
            "SELECT count(*) FROM objects WHERE ra IS NULL OR ra >= 360.0"
        ),
        0.0
    );
    assert_eq!(ask(&path, "SELECT count(*) FROM registrations"), 0.0);
}

#[test]
fn a_night_is_linked_by_patterns() {
    let (_folder, path) = database(&night(10, false));
    let matched = MatchOptions::default().write(&path).unwrap();
    let registered = matched
        .images
        .iter()
        .filter(|image| matches!(image.placement, Placement::Registered(found) if found.rms < 0.5));
    assert_eq!(registered.count(), 9);
    check_night(&path, &matched);
    // Somewhat more than 1: of the brightest stars the registration is not as certain.
    let pixels = pull(&path, &field(1), |place| place);
    assert!((0.85..1.6).contains(&pixels), "{pixels}");
    assert_eq!(
        ask(&path, "SELECT count(*) FROM objects WHERE ra IS NOT NULL"),
        0.0
    );
    assert_eq!(
        ask(
            &path,
            "SELECT count(*) FROM registrations WHERE n_stars > 400"
        ),
        9.0
    );
}

#[test]
fn patterns_serve_where_the_sky_is_wrong() {
    let mut images = night(4, true);
    // The third image says that it is a degree away.
    let (info, rows) = &mut images[2];
    info.wcs = Some(wcs(&pointing(2), 1.0).text().to_owned());
    for row in rows {
        let ra = row.get("ra").unwrap();
        row.set("ra", ra + 1.0);
    }
    let (_folder, path) = database(&images);
    let by_sky = MatchOptions::default().write(&path).unwrap();
    let by_pattern = MatchOptions {
        placing: Placing::Pattern,
        ..MatchOptions::default()
    };
    let by_pattern = by_pattern.write(&path).unwrap();
    assert!(by_sky.n_objects > 1800, "{}", by_sky.n_objects);
    assert!(by_pattern.n_objects < 1020, "{}", by_pattern.n_objects);
    // The first image knows where it is.
    assert_eq!(
        ask(&path, "SELECT count(*) FROM objects WHERE ra IS NULL"),
        0.0
    );
}

#[test]
fn the_order_in_the_database_does_not_matter() {
    let mut images = night(4, false);
    let (_folder, path) = database(&images);
    MatchOptions::default().write(&path).unwrap();
    images.reverse();
    let (_other_folder, other) = database(&images);
    MatchOptions::default().write(&other).unwrap();
    let objects =
        "SELECT format('%d %!.17g %!.17g', object_id, x, y) FROM objects ORDER BY object_id";
    assert_eq!(text(&path, objects), text(&other, objects));
}

#[test]
fn another_field_is_left_out_and_said() {
    let mut images = night(3, false);
    images.push(exposure(&field(77), 3, false));
    let (_folder, path) = database(&images);
    let matched = MatchOptions::default().write(&path).unwrap();
    let left_out: Vec<_> = matched
        .images
        .iter()
        .map(|image| image.placement == Placement::Unregistered)
        .collect();
    assert_eq!(left_out, [false, false, false, true]);
    let unlinked = "SELECT count(*) = (SELECT n_stars FROM images WHERE image_id = 4) \
                    FROM stars WHERE object_id IS NULL AND image_id = 4";
    assert_eq!(ask(&path, unlinked), 1.0);
    assert_eq!(right_and_false(&path).1, 0);
}

#[test]
fn objects_are_replaced_or_left_as_they_are() {
    let images = night(3, false);
    let (_folder, path) = database(&images);
    let first = MatchOptions::default().write(&path).unwrap();
    let all = "SELECT format('%d %s', star_id, object_id) FROM stars ORDER BY star_id";
    let before = text(&path, all);
    assert_eq!(MatchOptions::default().write(&path).unwrap(), first);
    assert_eq!(text(&path, all), before);

    // What fails changes nothing.
    let connection = Connection::open(&path).unwrap();
    let trap = "CREATE TRIGGER trap BEFORE INSERT ON objects WHEN new.object_id = 500
                BEGIN SELECT raise(ABORT, 'trapped'); END";
    connection.execute_batch(trap).unwrap();
    let wide = MatchOptions {
        radius: Radius::Pixels(20.0),
        ..MatchOptions::default()
    };
    let error = wide.write(&path).unwrap_err();
    assert!(error.to_string().contains("trapped"), "{error}");
    assert_eq!(text(&path, all), before);
    connection.execute_batch("DROP TRIGGER trap").unwrap();
    for options in [
        MatchOptions {
            run: Some(99),
            ..MatchOptions::default()
        },
        MatchOptions {
            radius: Radius::Pixels(0.0),
            ..MatchOptions::default()
        },
        MatchOptions {
            radius: Radius::Pixels(f64::NAN),
            ..MatchOptions::default()
        },
        MatchOptions {
            radius: Radius::Pixels(1e9),
            ..MatchOptions::default()
        },
        MatchOptions {
            radius: Radius::Degrees(1e-3),
            ..MatchOptions::default()
        },
        MatchOptions {
            sigma: -1.0,
            ..MatchOptions::default()
        },
        MatchOptions {
            sigma: f64::INFINITY,
            ..MatchOptions::default()
        },
    ] {
        let error = options.write(&path).unwrap_err();
        assert!(matches!(error, Error::Option { .. }), "{error}");
        assert_eq!(text(&path, all), before);
    }

    // An image that is fitted again has stars without objects, and no object is without stars.
    add(&path, "gaussian", &images[..1]);
    let new = "SELECT count(*) FROM stars WHERE image_id = 4 AND object_id IS NOT NULL";
    assert_eq!(ask(&path, new), 0.0);
    let empty = "SELECT count(*) FROM objects WHERE object_id NOT IN (SELECT object_id FROM stars WHERE object_id IS NOT NULL)";
    assert_eq!(ask(&path, empty), 0.0);
    let left = ask(&path, "SELECT count(*) FROM objects");
    assert!(left > 900.0 && left < first.n_objects as f64, "{left}");
    assert_eq!(ask(&path, "SELECT count(*) FROM object_fluxes"), left);
    connection
        .execute_batch("PRAGMA foreign_key_check; DELETE FROM objects")
        .unwrap();
    assert_eq!(
        ask(
            &path,
            "SELECT count(*) FROM stars WHERE object_id IS NOT NULL"
        ),
        0.0
    );
    assert_eq!(
        MatchOptions::default().write(&path).unwrap().n_objects,
        first.n_objects
    );
    assert_eq!(text(&path, "PRAGMA integrity_check"), ["ok"]);
}

#[test]
fn images_that_have_nothing_in_common_are_an_error() {
    let images = [exposure(&field(1), 0, false), exposure(&field(2), 1, false)];
    let (_folder, path) = database(&images);
    let error = MatchOptions::default().write(&path).unwrap_err();
    assert!(error.to_string().contains("patterns of stars"), "{error}");
    assert_eq!(text(&path, "PRAGMA journal_mode"), ["delete"]);
    let (_folder, path) = database(&[]);
    let error = MatchOptions::default().write(&path).unwrap_err();
    assert!(error.to_string().contains("stars with values"), "{error}");
    // One image alone is its own objects.
    let (_folder, path) = database(&images[..1]);
    let matched = MatchOptions::default().write(&path).unwrap();
    assert_eq!(
        (matched.n_objects, matched.n_repeated),
        (images[0].1.len(), 0)
    );
}

#[test]
fn only_stars_that_were_asked_for_are_linked() {
    let mut images = night(2, true);
    let rows = &mut images[0].1;
    rows[0].flags = Flags::DUPLICATE;
    rows[1].flags = Flags::SATURATED;
    rows[2].status = FitStatus::SingularCurvature;
    rows[3].status = FitStatus::MaxIterations;
    rows[4].set("ra", f64::NAN);
    let (_folder, path) = database(&images);
    let linked = |exclude| -> HashSet<usize> {
        let options = MatchOptions {
            exclude,
            ..MatchOptions::default()
        };
        options.write(&path).unwrap();
        let sql = "SELECT CAST(id AS TEXT) FROM stars WHERE image_id = 1 AND id < 6 AND object_id IS NOT NULL";
        text(&path, sql)
            .iter()
            .map(|id| id.parse().unwrap())
            .collect()
    };
    assert_eq!(linked(Flags::DUPLICATE), [1, 3, 5].into());
    assert_eq!(linked(Flags::SATURATED), [0, 3, 5].into());
    assert_eq!(linked(Flags::default()), [0, 1, 3, 5].into());
}

#[test]
fn a_run_can_be_chosen() {
    let images = night(2, true);
    let (_folder, path) = database(&images);
    add(&path, "moffat", &images[..1]);
    let matched = |run| {
        let options = MatchOptions {
            run,
            ..MatchOptions::default()
        };
        options.write(&path).unwrap().images.len()
    };
    assert_eq!(
        (matched(None), matched(Some(1)), matched(Some(2))),
        (2, 2, 1)
    );
    let others = "SELECT count(*) FROM stars JOIN images USING (image_id) WHERE run_id = 1 AND object_id IS NOT NULL";
    assert_eq!(ask(&path, others), 0.0);
}

#[test]
fn fluxes_of_filters_exposures_and_units_are_not_mixed() {
    let mut images = night(6, true);
    for (index, (info, rows)) in images.iter_mut().enumerate() {
        info.header.filter = Some(["V", "V", "R", "R", " R", "V"][index].into());
        info.header.exposure = Some([30.0, 30.001, 10.0, 20.0, 10.0, 30.0][index]);
        for row in rows {
            row.set("mag", 20.0 + index as f64);
            row.set("mag_err", 0.1);
        }
    }
    let (_folder, path) = database(&images);
    let matched = MatchOptions::default().write(&path).unwrap();
    assert_eq!(matched.without_flux, ["R"]);
    let of = |what: &str, filter: &str| {
        ask(
            &path,
            &format!("SELECT {what} FROM object_fluxes WHERE filter = '{filter}' AND n_visits = 3"),
        )
    };
    assert_eq!(of("count(flux)", "R"), 0.0);
    assert_eq!(of("count(*) - count(flux)", "V"), 0.0);
    assert!(of("count(*)", "R") > 600.0 && of("count(*)", "V") > 600.0);
    assert!((of("max(mag)", "R") - 23.0).abs() < 1e-9);
    assert_eq!(of("min(mag_dof)", "R"), 2.0);
    assert!((of("min(mag)", "V") - (20.0 + 21.0 + 25.0) / 3.0).abs() < 1e-9);
    let both = "SELECT max(n) FROM (SELECT count(*) AS n FROM object_fluxes GROUP BY object_id)";
    assert_eq!(ask(&path, both), 2.0);

    images[0].0.header.unit = Some("ct/s".into());
    let (_folder, path) = database(&images);
    let matched = MatchOptions::default().write(&path).unwrap();
    assert_eq!(matched.without_flux, ["V", "R"]);
}

#[test]
fn a_light_curve_is_one_select() {
    let (_folder, path) = database(&night(4, true));
    MatchOptions::default().write(&path).unwrap();
    let curve = format!(
        "FROM lightcurves WHERE object_id = (SELECT object_id FROM stars WHERE peak = {VARIABLE}.0 LIMIT 1)"
    );
    let dates = text(&path, &format!("SELECT date {curve} ORDER BY date"));
    let expected: Vec<_> = (0..4)
        .map(|index| format!("2026-01-02T03:0{index}:00"))
        .collect();
    assert_eq!(dates, expected);
    assert_eq!(
        text(&path, &format!("SELECT DISTINCT filter {curve}")),
        ["V"]
    );
    let plan = |sql: &str| {
        let connection = Connection::open(&path).unwrap();
        let mut statement = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let steps = statement
            .query_map([], |row| row.get::<_, String>(3))
            .unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    };
    let index = "SEARCH stars USING INDEX stars_object (object_id=?)";
    let by_object = plan("SELECT * FROM lightcurves WHERE object_id = 7");
    assert!(by_object.contains(index), "{by_object}");
    assert!(!plan("SELECT * FROM lightcurves WHERE flux = 7").contains(index));
}

#[test]
fn errors_that_are_unknown_are_not_invented() {
    let mut images = night(2, false);
    for row in images.iter_mut().flat_map(|(_, rows)| rows) {
        for name in ["x_err", "y_err", "flux_err"] {
            row.set(name, f64::NAN);
        }
    }
    let (_folder, path) = database(&images);
    let matched = MatchOptions::default().write(&path).unwrap();
    assert!(matched.n_repeated > 700, "{}", matched.n_repeated);
    assert_eq!(
        ask(&path, "SELECT count(x_err) + count(y_err) FROM objects"),
        0.0
    );
    let fluxes = "SELECT count(flux) > 900 AND count(flux_err) = 0 AND count(flux_chi2) = 0 \
                  AND count(flux_scatter) > 700 FROM object_fluxes";
    assert_eq!(ask(&path, fluxes), 1.0);
}

#[test]
fn an_older_database_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.db");
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/databases/version_1.db");
    std::fs::copy(old, &path).unwrap();
    let matched = MatchOptions::default().write(&path).unwrap();
    assert_eq!((matched.images.len(), matched.n_objects), (1, 6));
    assert!(matches!(
        MatchOptions::default().write(&folder.path().join("none.db")),
        Err(Error::Io { .. })
    ));
    assert!(!folder.path().join("none.db").exists());
}
