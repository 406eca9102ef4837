use std::fs;
use std::path::PathBuf;

use insta::assert_snapshot;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use tempfile::TempDir;

use super::sql::separation;
use super::*;
use crate::catalog::sqlite::SqliteWriter;
use crate::catalog::tests::{image, row_at, run};
use crate::catalog::{CatalogWriter, ImageInfo, Row, create};

/// Adds a run over images.
fn add(path: &Path, settings: &str, images: &[(ImageInfo, Vec<Row>)]) {
    let mut catalog = Box::new(SqliteWriter::create(path, &run(settings)).unwrap());
    for (image, rows) in images {
        catalog.write(image, rows).unwrap();
    }
    catalog.finish().unwrap();
}

/// A database of two images, 400 stars each, all over the sky.
struct Sample {
    folder: TempDir,
    path: PathBuf,
    images: Vec<(ImageInfo, Vec<Row>)>,
}

fn sample() -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stars.db");
    let mut rng = Pcg64::seed_from_u64(5);
    let mut rows = |n| -> Vec<Row> {
        (0..n)
            .map(|id| {
                let mut at = || rng.random_range(0.0..100.0);
                let mut row = row_at(id, at(), at());
                row.set("flux", (id % 7) as f64);
                // Half of them near the poles and the zero of right ascension.
                let ra: f64 = if id % 2 == 0 {
                    rng.random_range(0.0..360.0)
                } else {
                    rng.random_range(-1.0_f64..1.0).rem_euclid(360.0)
                };
                let dec = match id % 8 {
                    0 | 1 => rng.random_range(89.0..90.0),
                    2 | 3 => rng.random_range(-90.0..-89.0),
                    4 | 5 => rng.random_range(-1.0..1.0),
                    _ => rng.random_range(-90.0..90.0),
                };
                row.set("ra", ra);
                row.set("dec", dec);
                row
            })
            .collect()
    };
    let mut images: Vec<_> = ["a.fits", "b.fits"]
        .map(|name| (image(name), rows(400)))
        .into();
    for (image, _) in &mut images {
        (image.width, image.height) = (100, 100);
    }
    // The very poles, and the very zero.
    for (id, (ra, dec)) in [(0.0, 90.0), (77.0, -90.0), (0.0, 0.0)]
        .into_iter()
        .enumerate()
    {
        let row = &mut images[0].1[id];
        row.set("ra", ra);
        row.set("dec", dec);
    }
    add(&path, "gaussian", &images);
    Sample {
        folder,
        path,
        images,
    }
}

impl Sample {
    /// Image and number of each star that a query finds, in its order.
    fn ask(&self, query: &Query) -> Result<Vec<(String, usize)>> {
        let query = Query {
            columns: vec!["image".to_owned(), "id".to_owned()],
            ..query.clone()
        };
        let lines = self.csv(&query)?;
        Ok(lines
            .lines()
            .skip(1)
            .map(|line| {
                let (image, id) = line.split_once(',').unwrap();
                (image.to_owned(), id.parse().unwrap())
            })
            .collect())
    }

    fn csv(&self, query: &Query) -> Result<String> {
        self.written(query, QueryFormat::Csv)
    }

    fn written(&self, query: &Query, format: QueryFormat) -> Result<String> {
        let out = self.folder.path().join("out");
        query.write(&self.path, format, &out)?;
        Ok(fs::read_to_string(out).unwrap())
    }

    /// The stars that a query should find, by looking at every star.
    fn brute(&self, is_in: impl Fn(&Row) -> bool) -> Vec<(String, usize)> {
        let all = self.images.iter().flat_map(|(image, rows)| {
            let found = rows.iter().filter(|row| is_in(row));
            found.map(|row| (image.name.clone(), row.id))
        });
        all.collect()
    }

    fn error(&self, query: Query) -> String {
        let error = self.csv(&query).unwrap_err();
        let folder = format!("{}/", self.folder.path().display());
        let hint = error.hint().unwrap_or("none");
        format!("{error}; hint: {hint}").replace(&folder, "")
    }
}

fn get(row: &Row, name: &str) -> f64 {
    row.get(name).unwrap()
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

fn cone(ra: f64, dec: f64, radius: f64) -> Query {
    Query {
        region: Some(Region::Cone { ra, dec, radius }),
        ..Query::default()
    }
}

fn wherever(condition: &str) -> Query {
    Query {
        condition: Some(condition.to_owned()),
        ..Query::default()
    }
}

#[test]
fn a_cone_is_what_is_within_its_radius() {
    let sample = sample();
    let mut found_in_all = 0;
    for (ra, dec) in [
        (0.0, 90.0),
        (200.0, 89.7),
        (10.0, -90.0),
        (123.0, -89.99),
        (0.0, 0.0),
        (359.9, 0.3),
        (0.2, 89.4),
        (-0.5, -0.2),
        (720.3, 0.1),
        (180.0, 45.0),
    ] {
        for radius in [0.0, 0.01, 0.3, 0.7, 5.0, 60.0, 120.0, 180.0] {
            let found = sample.ask(&cone(ra, dec, radius)).unwrap();
            let within = |row: &Row| separation(get(row, "ra"), get(row, "dec"), ra, dec) <= radius;
            let expected = sample.brute(within);
            found_in_all += expected.len();
            assert_eq!(sorted(found), sorted(expected), "{ra} {dec} {radius}");
        }
    }
    assert!(found_in_all > 8000, "{found_in_all}");
    let (all, none) = (cone(5.0, 5.0, 180.0), cone(5.0, 50.0, 1e-4));
    assert_eq!(sample.ask(&all).unwrap().len(), 800);
    assert!(sample.ask(&none).unwrap().is_empty());
    // A star on the spot, and the nearest first.
    let first = sample.ask(&cone(200.0, 90.0, 1.0)).unwrap();
    assert_eq!(first[0], ("a.fits[0]".to_owned(), 0));
}

#[test]
fn a_box_has_its_edges() {
    let sample = sample();
    let star = &sample.images[0].1[7];
    let (x, y) = (get(star, "x"), get(star, "y"));
    let region = |x, y| Query {
        region: Some(Region::Box { x, y }),
        ..Query::default()
    };
    let found = sample.ask(&region([x, x + 20.0], [y, y + 30.0])).unwrap();
    let expected = sample.brute(|row| {
        (x..=x + 20.0).contains(&get(row, "x")) && (y..=y + 30.0).contains(&get(row, "y"))
    });
    assert!(found.contains(&("a.fits[0]".to_owned(), 7)));
    assert_eq!(sorted(found.clone()), sorted(expected));
    // Corners in any order.
    assert_eq!(
        sample.ask(&region([x + 20.0, x], [y + 30.0, y])).unwrap(),
        found
    );
    let beside = sample.ask(&region([x.next_up(), x + 20.0], [y, y + 30.0]));
    assert_eq!(beside.unwrap().len(), found.len() - 1);
}

#[test]
fn the_nearest_of_each_image_are_the_nearest() {
    let sample = sample();
    for (x, y) in [(50.0, 50.0), (0.0, 0.0), (-5e3, 1e8), (99.0, 3.0)] {
        for count in [1, 5, 399, 1000] {
            let query = Query {
                region: Some(Region::Near { x, y, count }),
                ..wherever("flux <> 3")
            };
            let distance = |row: &Row| (get(row, "x") - x).hypot(get(row, "y") - y);
            let mut expected = Vec::new();
            for (image, rows) in &sample.images {
                let mut rows: Vec<&Row> =
                    rows.iter().filter(|row| get(row, "flux") != 3.0).collect();
                rows.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
                rows.truncate(count as usize);
                expected.extend(rows.iter().map(|row| (image.name.clone(), row.id)));
            }
            assert_eq!(sample.ask(&query).unwrap(), expected, "{x} {y} {count}");
        }
    }
    let query = Query {
        region: Some(Region::Near {
            x: 50.0,
            y: 50.0,
            count: 3,
        }),
        images: vec!["b.fits".to_owned()],
        columns: vec!["distance".to_owned()],
        ..Query::default()
    };
    let lines = sample.csv(&query).unwrap();
    let distances: Vec<f64> = lines.lines().skip(1).map(|d| d.parse().unwrap()).collect();
    assert_eq!(distances.len(), 3);
    assert!(distances.is_sorted() && distances[0] > 0.0, "{distances:?}");
}

#[test]
fn conditions_orders_and_limits() {
    let sample = sample();
    let all = sample.ask(&Query::default()).unwrap();
    assert_eq!(all.len(), 800);
    let names = |list: &[(String, usize)]| -> Vec<String> {
        list.iter().map(|(name, _)| name.clone()).collect()
    };
    assert!(names(&all).is_sorted());

    let found = sample.ask(&wherever("flux = 2 -- two")).unwrap();
    assert_eq!(
        sorted(found),
        sorted(sample.brute(|row| get(row, "flux") == 2.0))
    );
    let some = sample
        .ask(&wherever("image = 'b.fits[0]' AND id < 3 OR 0"))
        .unwrap();
    assert_eq!(some.len(), 3);

    let by = |column: &str, descending| Order {
        column: column.to_owned(),
        descending,
    };
    let query = Query {
        order: vec![by("flux", true), by("x", false)],
        limit: Some(20),
        ..Query::default()
    };
    let mut rows: Vec<(&str, &Row)> = sample
        .images
        .iter()
        .flat_map(|(image, rows)| rows.iter().map(|row| (image.name.as_str(), row)))
        .collect();
    rows.sort_by(|(_, a), (_, b)| {
        let by_flux = get(b, "flux").total_cmp(&get(a, "flux"));
        by_flux.then(get(a, "x").total_cmp(&get(b, "x")))
    });
    let first = rows.iter().take(20);
    let first: Vec<_> = first
        .map(|(name, row)| ((*name).to_owned(), row.id))
        .collect();
    assert_eq!(sample.ask(&query).unwrap(), first);
    // A limit is one of all images together.
    let query = Query {
        limit: Some(401),
        ..Query::default()
    };
    assert_eq!(sample.ask(&query).unwrap(), all[..401]);
}

#[test]
fn the_newest_run_of_each_image_counts() {
    let sample = sample();
    let newer = (sample.images[0].0.clone(), vec![row_at(0, 1.0, 2.0)]);
    add(&sample.path, "moffat", &[newer]);
    let count = |query: Query| sample.ask(&query).unwrap().len();
    assert_eq!(count(Query::default()), 401);
    let of_run = |run| Query {
        run: Some(run),
        ..Query::default()
    };
    assert_eq!((count(of_run(1)), count(of_run(2))), (800, 1));
    assert_eq!(count(wherever("run_id = 1")), 400);
    let of_image = |name: &str| Query {
        images: vec![name.to_owned()],
        ..Query::default()
    };
    assert_eq!(count(of_image("a.fits[0]")), 1);
    assert_eq!(count(of_image("b.fits")), 400);
    assert_snapshot!(sample.error(of_run(3)), @"--run: expected a run of stars.db, found 3; hint: the newest runs are 2, 1");
    assert_snapshot!(sample.error(of_image("b.fit")), @"--image: expected an image of stars.db, found b.fit; hint: did you mean b.fits[0]?");
    assert_snapshot!(sample.error(of_image("")), @"--image: expected an image of stars.db, found ; hint: the nearest names are b.fits[0], a.fits[0]");
}

#[test]
fn a_query_has_the_rows_of_a_catalogue() {
    let sample = sample();
    let path = sample.folder.path().join("all.csv");
    let mut catalog = create(&path, &run("gaussian")).unwrap();
    for (image, rows) in &sample.images {
        catalog.write(image, rows).unwrap();
    }
    catalog.finish().unwrap();
    let written = fs::read_to_string(path).unwrap();
    let found = sample.csv(&Query::default()).unwrap();
    let lines = |text: &str| sorted(text.lines().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(lines(&found), lines(&written));
    assert_ne!(found, written);
}

#[test]
fn rows_for_programs_and_for_people() {
    let sample = sample();
    let query = Query {
        columns: ["image", "id", "x", "ra", "exposure"]
            .map(str::to_owned)
            .into(),
        ..wherever("image_id = 1 AND id IN (1, 2)")
    };
    assert_snapshot!(sample.written(&query, QueryFormat::Json).unwrap(), @r#"
    [
    {"image":"a.fits[0]","id":1,"x":72.00162413806204,"ra":77.0,"exposure":null},
    {"image":"a.fits[0]","id":2,"x":58.36188864112699,"ra":0.0,"exposure":null}
    ]
    "#);
    assert_snapshot!(sample.written(&query, QueryFormat::Table).unwrap(), @r"
    image      id       x          ra
                      pix         deg
    a.fits[0]   1  72.002  77.0000000
    a.fits[0]   2  58.362   0.0000000
    ");
    let nobody = Query {
        columns: vec!["id".to_owned()],
        ..wherever("0")
    };
    assert_eq!(sample.written(&nobody, QueryFormat::Json).unwrap(), "[]\n");
    assert_eq!(sample.csv(&nobody).unwrap(), "id\n");
    // A row without a value is a row.
    let nothing = Query {
        columns: vec!["mag".to_owned()],
        limit: Some(1),
        ..Query::default()
    };
    assert_eq!(sample.csv(&nothing).unwrap(), "mag\n\"\"\n");
}

#[test]
fn a_database_is_only_read() {
    let sample = sample();
    let before = fs::read(&sample.path).unwrap();
    let other = sample.folder.path().join("other.db");
    fs::copy(&sample.path, &other).unwrap();
    for condition in [
        "1); DELETE FROM stars; --",
        "1); ATTACH 'other.db' AS other; SELECT (1",
        "(DELETE FROM stars)",
        "load_extension('evil')",
        "EXISTS (SELECT 1 FROM pragma_table_info('stars'))",
        "EXISTS (SELECT 1 FROM other.stars)",
        "readfile('/etc/passwd') IS NOT NULL",
    ] {
        let error = sample.csv(&wherever(condition)).unwrap_err();
        assert!(
            matches!(error, Error::Option { .. }),
            "{condition}: {error:?}"
        );
    }
    assert_eq!(fs::read(&sample.path).unwrap(), before);
    // What only reads is fine.
    let reads = wherever("id = (SELECT max(id) FROM stars) AND abs(-1) = 1");
    assert_eq!(sample.ask(&reads).unwrap().len(), 2);
    // Nor does the result replace it.
    let error = Query::default()
        .write(&sample.path, QueryFormat::Csv, &sample.path)
        .unwrap_err();
    assert!(error.to_string().contains("found the database"), "{error}");
    assert_eq!(fs::read(&sample.path).unwrap(), before);
}

#[test]
fn wrong_questions_are_explained() {
    let sample = sample();
    let condition = |text: &str| sample.error(wherever(text));
    assert_snapshot!(condition("flux > 5 AND flx < 3"), @r#"--where "flux > 5 AND flx < 3": expected an SQL condition on columns of the catalogue, found no such column: flx at character 14; hint: did you mean flux?"#);
    let found = |text: &str| {
        let error = condition(text);
        let (_, found) = error.split_once("found ").unwrap();
        found.split("; hint").next().unwrap().to_owned()
    };
    assert_snapshot!(found("flux >"), @r#"near ")": syntax error"#);
    assert_snapshot!(found("flux > 5) OR (1"), @r#"near ")": syntax error at character 9"#);
    assert_snapshot!(found(""), @r#"near ")": syntax error"#);
    assert_snapshot!(found("sum(flux) > 3"), @"misuse of aggregate function sum() at character 1");
    assert_snapshot!(found("abs(-9223372036854775807 - 1) > 0"), @"integer overflow");
    let columns = |name: &str| {
        sample.error(Query {
            columns: vec!["x".to_owned(), name.to_owned()],
            ..Query::default()
        })
    };
    assert_snapshot!(columns("flx").split("; ").last().unwrap(), @"hint: did you mean flux?");
    assert!(
        columns("x; DROP TABLE stars").contains("expected columns of the catalogue (image, id")
    );
    assert_snapshot!(columns("distance").split("; ").last().unwrap(), @"hint: --cone and --near have a distance");
    for (ra, dec, radius) in [
        (f64::NAN, 0.0, 1.0),
        (0.0, 90.1, 1.0),
        (0.0, 0.0, -1.0),
        (0.0, 0.0, 181.0),
        (0.0, 0.0, f64::NAN),
    ] {
        assert!(
            sample
                .error(cone(ra, dec, radius))
                .starts_with("--cone: expected")
        );
    }
}

#[test]
fn a_cone_needs_positions_on_the_sky() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stars.db");
    add(
        &path,
        "gaussian",
        &[(image("a.fits"), vec![row_at(0, 1.0, 2.0)])],
    );
    let out = folder.path().join("out.csv");
    let error = cone(0.0, 0.0, 1.0)
        .write(&path, QueryFormat::Csv, &out)
        .unwrap_err();
    let error = error
        .to_string()
        .replace(&format!("{}/", folder.path().display()), "");
    assert_snapshot!(error, @"stars.db: ra, dec: expected positions on the sky, found none");
    assert!(!out.exists());
}

#[test]
fn other_files_are_refused_and_older_databases_read() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.ecsv");
    let ask = |path: &Path| Query::default().write(path, QueryFormat::Ecsv, &out);
    let other = folder.path().join("other.db");
    fs::write(&other, "no database").unwrap();
    assert!(matches!(ask(&other), Err(Error::Malformed { .. })));
    assert!(matches!(
        ask(&folder.path().join("no.db")),
        Err(Error::Io { .. })
    ));
    assert!(!out.exists());
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/databases/version_1.db");
    assert_eq!(ask(&old).unwrap(), 6);
    let query = Query {
        columns: vec!["id".to_owned(), "mjd".to_owned()],
        ..wherever("mjd IS NULL")
    };
    query.write(&old, QueryFormat::Csv, &out).unwrap();
    assert_eq!(fs::read_to_string(&out).unwrap().lines().nth(1), Some("0,"));
    ask(&old).unwrap();
    let text = fs::read_to_string(&out).unwrap();
    assert!(
        text.contains("\"n_stars\": 6") && text.contains("model: \"gaussian\"")
            || text.contains("\"model\": \"gaussian\""),
        "{text}"
    );
}

#[test]
fn indexes_serve() {
    let sample = sample();
    let session = Session::open(&sample.path).unwrap();
    let plan = |query: &Query| {
        let selects = query.selects(&session).unwrap();
        let columns = query.result_columns(&session, QueryFormat::Csv).unwrap();
        let select = Select {
            columns: &columns,
            ..selects[0].clone()
        };
        session.plan(&select)
    };
    let pixels = "INDEX stars_position (image_id=?";
    let plan_of_box = plan(&Query {
        region: Some(Region::Box {
            x: [1.0, 2.0],
            y: [3.0, 4.0],
        }),
        ..wherever("snr > 5")
    });
    assert!(
        plan_of_box.contains(&format!("{pixels} AND y>? AND y<?)")),
        "{plan_of_box}"
    );
    assert!(!plan_of_box.contains("TEMP B-TREE"), "{plan_of_box}");
    let all = plan(&Query::default());
    assert!(
        all.contains(pixels) && !all.contains("TEMP B-TREE"),
        "{all}"
    );

    let sky = plan(&cone(1.0, 2.0, 0.5));
    let index = "SEARCH stars USING INDEX stars_sky (zone=? AND ra>? AND ra<?)";
    assert!(sky.contains(index), "{sky}");
    assert!(!sky.contains("SCAN stars"), "{sky}");

    // What near looks through, and the stars that it finds.
    let region = Region::Near {
        x: 5.0,
        y: 5.0,
        count: 2,
    };
    let near = session.plan(&Select {
        chosen: Chosen::Images(vec![1]),
        region: Some(&region),
        reach: Some(4.0),
        limit: Some(2),
        ..Select::default()
    });
    assert!(
        near.contains(&format!("{pixels} AND y>? AND y<?)")),
        "{near}"
    );
    let found = plan(&Query {
        region: Some(region),
        ..Query::default()
    });
    assert!(found.contains("USING INTEGER PRIMARY KEY"), "{found}");
    // A condition alone has no index: it is seen.
    assert!(!plan(&wherever("flux > 3")).contains("stars_sky"));
}
