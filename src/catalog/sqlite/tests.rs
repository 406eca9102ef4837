use std::thread;

use insta::assert_snapshot;
use tempfile::TempDir;

use super::schema::{SCHEMA_VERSION, in_table};
use super::*;
use crate::catalog::tests::{full_row, image, row_at, run};
use crate::catalog::{Assumptions, COLUMNS, Kind, Unit};
use crate::image::{Source, StatedGain};

/// A folder with the name of a database to be.
fn place() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("catalogue.db");
    (folder, path)
}

fn files(folder: &TempDir) -> Vec<String> {
    let names = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// One run over some images.
fn add(path: &Path, settings: &str, images: &[(&ImageInfo, &[Row])]) -> i64 {
    let mut catalog = Box::new(SqliteWriter::create(path, &run(settings)).unwrap());
    for (image, rows) in images {
        catalog.write(image, rows).unwrap();
    }
    let run_id = catalog.run_id();
    catalog.finish().unwrap();
    run_id
}

/// The answer in lines, fields between bars.
fn ask(path: &Path, sql: &str) -> String {
    let connection = open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let n_columns = statement.column_count();
    let rows = statement
        .query_map([], |row| {
            let fields = (0..n_columns).map(|at| {
                Ok(match row.get_ref(at)? {
                    ValueRef::Null => "null".to_owned(),
                    ValueRef::Integer(value) => value.to_string(),
                    ValueRef::Real(value) => format!("{value:?}"),
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                    ValueRef::Blob(_) => "blob".to_owned(),
                })
            });
            Ok(fields.collect::<rusqlite::Result<Vec<_>>>()?.join("|"))
        })
        .unwrap();
    rows.collect::<rusqlite::Result<Vec<_>>>()
        .unwrap()
        .join("\n")
}

#[test]
fn every_value_comes_back() {
    let (folder, path) = place();
    let sparse = row_at(1, 9.0, 9.0);
    let rows = [full_row(0), sparse];
    add(&path, "gaussian", &[(&image("a.fits"), &rows)]);
    let connection = open(&path).unwrap();
    let mut statement = connection.prepare("SELECT * FROM catalog").unwrap();
    let names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
    assert!(statement.column_names().eq(names));
    let mut found = statement.query([]).unwrap();
    let mut nulls = 0;
    for row in &rows {
        let read = found.next().unwrap().unwrap();
        for (at, value) in row.values("a.fits[0]").enumerate() {
            let name = COLUMNS[at].name;
            match (value, read.get_ref(at).unwrap()) {
                (Value::Null, ValueRef::Null) => nulls += 1,
                (Value::Integer(value), ValueRef::Integer(read)) => assert_eq!(read, value),
                // SQLite keeps whole numbers as integers and so loses the sign of -0.
                (Value::Float(value), ValueRef::Real(read)) => assert!(
                    read.to_bits() == value.to_bits() || (read == 0.0 && value == 0.0),
                    "{name}: {read:?} is not {value:?}"
                ),
                (Value::Text(value), ValueRef::Text(read)) => assert_eq!(read, value.as_bytes()),
                (value, read) => panic!("{name}: {read:?} is not {value:?}"),
            }
        }
    }
    assert_eq!(nulls, COLUMNS.len() - 6);
    assert!(found.next().unwrap().is_none());
    assert_eq!(files(&folder), ["catalogue.db"]);
}

#[test]
fn what_is_not_finite_is_null() {
    let (_folder, path) = place();
    let mut row = full_row(0);
    row.set("flux", f64::NAN);
    row.set("snr", f64::INFINITY);
    row.set("dof", f64::NEG_INFINITY);
    let mut image = image("a.fits");
    image.header.saturation = Some(f64::INFINITY);
    image.header.gains = vec![StatedGain {
        keyword: "GAIN".into(),
        value: 1.5,
    }];
    add(&path, "gaussian", &[(&image, &[row])]);
    let sql = "SELECT flux, snr, dof, flux_err IS NULL FROM catalog";
    assert_eq!(ask(&path, sql), "null|null|null|0");
    let sql = "SELECT saturation, gain, read_noise FROM images";
    assert_eq!(ask(&path, sql), "null|1.5|null");
}

#[test]
fn a_run_and_an_image_are_described() {
    let (_folder, path) = place();
    let mut image = image("/data/night 1/ü.fits");
    image.source.hdu = 3;
    image.source.plane = Some(2);
    image.header.filter = Some("V".to_owned());
    image.header.date = Some("2026-01-02T03:04:05".to_owned());
    image.header.mjd = Some(61_042.5);
    image.wcs = Some("CTYPE1 = 'RA---TAN'".to_owned());
    let mut info = run("gaussian");
    info.adapter = Some("a GPU".to_owned());
    let mut catalog = Box::new(SqliteWriter::create(&path, &info).unwrap());
    catalog.write(&image, &[full_row(0), full_row(1)]).unwrap();
    assert_eq!(ask(&path, "SELECT finished FROM runs"), "null");
    catalog.finish().unwrap();
    assert_snapshot!(
        ask(&path, "SELECT run_id, version, command_line, settings, backend, adapter FROM runs"),
        @r#"1|1.2.3|starfit fit --model gaussian a.fits|{"model":"gaussian","size":15}|cpu|a GPU"#
    );
    let iso = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z";
    let times = format!("SELECT started GLOB '{iso}', finished GLOB '{iso}' FROM runs");
    assert_eq!(ask(&path, &times), "1|1");
    assert_snapshot!(
        ask(&path, "SELECT * FROM images"),
        @"1|1|/data/night 1/ü.fits[0]|/data/night 1/ü.fits|3|2|2880|1700000000|4|3|null|null|null|null|2026-01-02T03:04:05|V|adu|CTYPE1 = 'RA---TAN'|2|null|null|null|null|null|null|null|null|0|61042.5"
    );
}

#[test]
fn columns_are_described_with_units() {
    let (_folder, path) = place();
    add(&path, "gaussian", &[]);
    let described = ask(&path, "SELECT count(*) FROM columns");
    assert_eq!(described, COLUMNS.len().to_string());
    let fluxes = "SELECT DISTINCT unit FROM columns WHERE name IN ('flux', 'flux_err')";
    assert_eq!(ask(&path, fluxes), "adu");
    let mut other = image("b.fits");
    other.header.unit = Some("Jy".to_owned());
    add(&path, "gaussian", &[(&other, &[])]);
    assert_eq!(ask(&path, fluxes), "Jy");
    let sql = "SELECT unit FROM columns WHERE name IN ('peak', 'x', 'snr') ORDER BY name";
    assert_eq!(ask(&path, sql), "Jy/pix\nnull\npix");
    // Two units in one database: neither would be true.
    add(&path, "gaussian", &[(&image("a.fits"), &[])]);
    assert_eq!(ask(&path, fluxes), "null");
    assert_eq!(
        ask(&path, "SELECT unit FROM images ORDER BY path"),
        "adu\nJy"
    );
}

#[test]
fn the_same_image_and_settings_replace() {
    let (_folder, path) = place();
    let (a, b) = (image("a.fits"), image("b.fits"));
    add(
        &path,
        "gaussian",
        &[(&a, &[full_row(0), full_row(1)]), (&b, &[full_row(0)])],
    );
    add(&path, "gaussian", &[(&a, &[full_row(5)])]);
    let stars = "SELECT image_id, id FROM stars ORDER BY image_id, id";
    assert_eq!(ask(&path, stars), "2|0\n3|5");
    let views = "SELECT name FROM sqlite_schema WHERE name GLOB 'stars_[0-9]*' ORDER BY name";
    assert_eq!(ask(&path, views), "stars_2\nstars_3");
    assert_eq!(ask(&path, "SELECT count(*) FROM runs"), "2");

    // A plane, an HDU and a file are images of their own.
    for change in [
        |image: &mut ImageInfo| image.source.plane = Some(0),
        |image: &mut ImageInfo| image.source.hdu = 1,
        |image: &mut ImageInfo| image.source.path = "c.fits".into(),
    ] {
        let mut other = a.clone();
        change(&mut other);
        let before = ask(&path, "SELECT count(*) FROM images");
        add(&path, "gaussian", &[(&other, &[full_row(0)])]);
        assert_ne!(ask(&path, "SELECT count(*) FROM images"), before);
        add(&path, "gaussian", &[(&other, &[full_row(0)])]);
    }
    assert_eq!(
        ask(&path, "SELECT count(*), sum(n_stars) FROM images"),
        "5|5"
    );
}

#[test]
fn other_settings_are_another_run() {
    let (_folder, path) = place();
    let (a, b) = (image("a.fits"), image("b.fits"));
    let first = add(
        &path,
        "gaussian",
        &[(&a, &[full_row(0)]), (&b, &[full_row(1)])],
    );
    let second = add(&path, "moffat", &[(&a, &[full_row(2)])]);
    assert!(second > first);
    assert_eq!(ask(&path, "SELECT count(*) FROM stars"), "3");
    let catalog = "SELECT image, id FROM catalog ORDER BY image";
    assert_eq!(ask(&path, catalog), "a.fits[0]|2\nb.fits[0]|1");
    // Back to the first settings: what was old is now the newest.
    add(&path, "gaussian", &[(&a, &[full_row(3)])]);
    assert_eq!(ask(&path, catalog), "a.fits[0]|3\nb.fits[0]|1");
    assert_eq!(ask(&path, "SELECT count(*) FROM stars"), "3");
    let newest = "SELECT run_id FROM newest_images ORDER BY run_id";
    assert_eq!(ask(&path, newest), "1\n3");
}

#[test]
fn images_of_no_file_are_told_apart_by_name() {
    let (_folder, path) = place();
    let named = |name: &str| ImageInfo {
        name: name.to_owned(),
        ..ImageInfo::default()
    };
    let (a, b) = (named("a"), named("b"));
    add(
        &path,
        "gaussian",
        &[(&a, &[full_row(0)]), (&b, &[full_row(0)]), (&a, &[])],
    );
    assert_eq!(ask(&path, "SELECT name, n_stars FROM images"), "b|1\na|0");
}

#[test]
fn an_image_is_known_by_its_file_and_settings() {
    let (folder, path) = place();
    let file = folder.path().join("a.fits");
    fs::write(&file, "").unwrap();
    let mut info = image(file.to_str().unwrap());
    info.source.plane = Some(2);
    add(&path, "gaussian", &[(&info, &[full_row(0)])]);
    let contains = |settings, source: &Source| {
        let catalog = SqliteWriter::create(&path, &run(settings)).unwrap();
        catalog.done_images().unwrap().contains(source)
    };
    assert!(contains("gaussian", &info.source));
    assert!(!contains("moffat", &info.source));
    for change in [
        |source: &mut Source| source.modified += 1,
        |source: &mut Source| source.bytes += 1,
        |source: &mut Source| source.hdu += 1,
        |source: &mut Source| source.plane = None,
        |source: &mut Source| source.plane = Some(0),
        |source: &mut Source| source.path.push("a.fits"),
    ] {
        let mut other = info.source.clone();
        change(&mut other);
        assert!(!contains("gaussian", &other), "{other:?}");
    }
    // The same file by another way.
    let roundabout = Source {
        path: folder.path().join(".").join("a.fits"),
        ..info.source.clone()
    };
    assert!(contains("gaussian", &roundabout));
    // The views show another fit now, which would stay the newest if this were left out.
    add(&path, "moffat", &[(&info, &[full_row(0)])]);
    assert!(!contains("gaussian", &info.source));
    assert!(contains("moffat", &info.source));
}

#[test]
fn a_view_for_each_image_is_in_order_of_position() {
    let (_folder, path) = place();
    let rows = [
        row_at(0, 5.0, 2.0),
        row_at(1, 1.0, 2.0),
        row_at(2, 9.0, 1.0),
    ];
    add(
        &path,
        "gaussian",
        &[(&image("a.fits"), &rows), (&image("b.fits"), &rows[..1])],
    );
    assert_eq!(ask(&path, "SELECT id FROM stars_1"), "2\n1\n0");
    assert_eq!(ask(&path, "SELECT id FROM stars_2"), "0");
    let columns = "SELECT group_concat(name, ' ') FROM pragma_table_info('stars_1')";
    let names: Vec<_> = COLUMNS.iter().skip(1).map(in_table).collect();
    let later = names.iter().position(|name| *name == "flux_r").unwrap();
    let (first, later) = (names[..later].join(" "), names[later..].join(" "));
    let expected = format!("star_id image_id {first} object_id zone {later}");
    assert_eq!(ask(&path, columns), expected);
}

#[test]
fn positions_are_looked_up_by_index() {
    let (_folder, path) = place();
    add(&path, "gaussian", &[(&image("a.fits"), &[full_row(0)])]);
    let plan = |sql: &str| {
        let connection = open(&path).unwrap();
        let mut statement = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let steps = statement
            .query_map([], |row| row.get::<_, String>(3))
            .unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    };
    assert_snapshot!(
        plan("SELECT id FROM stars WHERE image_id = 1 AND y BETWEEN 3 AND 5 AND x BETWEEN 1 AND 2"),
        @"SEARCH stars USING INDEX stars_position (image_id=? AND y>? AND y<?)"
    );
    assert_snapshot!(
        plan("SELECT id FROM stars WHERE zone = 7 AND ra BETWEEN 1 AND 2"),
        @"SEARCH stars USING INDEX stars_sky (zone=? AND ra>? AND ra<?)"
    );
    assert_snapshot!(
        plan("SELECT * FROM stars_1"),
        @"SEARCH stars USING INDEX stars_position (image_id=?)"
    );
    let sky = plan(
        "SELECT flux FROM newest_images JOIN stars USING (image_id) \
         WHERE zone = 7 AND ra BETWEEN 1 AND 2",
    );
    assert!(sky.starts_with("SEARCH stars USING INDEX stars_sky (zone=? AND ra>? AND ra<?)"));
    let image = plan("SELECT flux FROM catalog WHERE image = 'a.fits[0]' AND y BETWEEN 3 AND 5");
    let pixels = "SEARCH stars USING INDEX stars_position (image_id=? AND y>? AND y<?)";
    assert!(image.ends_with(pixels), "{image}");
    // What has no index shows that the test can see the difference.
    assert_snapshot!(plan("SELECT id FROM stars WHERE flux = 1"), @"SCAN stars");
}

#[test]
fn zones_are_half_arcminutes() {
    let (_folder, path) = place();
    let rows: Vec<_> = [-90.0, -89.999, 0.0, 0.009, 90.0, f64::NAN]
        .iter()
        .enumerate()
        .map(|(id, dec)| {
            let mut row = row_at(id, 0.0, 0.0);
            row.set("dec", *dec);
            row
        })
        .collect();
    add(&path, "gaussian", &[(&image("a.fits"), &rows)]);
    let zones = ask(&path, "SELECT zone FROM stars ORDER BY id");
    assert_eq!(zones, "0\n0\n10800\n10801\n21600\nnull");
}

#[test]
fn an_image_is_there_whole_or_not_at_all() {
    let (_folder, path) = place();
    let a = image("a.fits");
    add(&path, "gaussian", &[(&a, &[full_row(0)])]);
    let mut catalog = Box::new(SqliteWriter::create(&path, &run("gaussian")).unwrap());
    let trap = "CREATE TEMP TRIGGER trap BEFORE INSERT ON main.stars WHEN new.id = 999
                BEGIN SELECT raise(ABORT, 'trapped'); END";
    catalog.connection.execute_batch(trap).unwrap();
    let rows: Vec<_> = (500..1500).map(full_row).collect();
    let error = catalog.write(&a, &rows).unwrap_err();
    assert!(error.to_string().ends_with("trapped"), "{error}");
    assert_eq!(ask(&path, "SELECT id FROM catalog"), "0");
    assert_eq!(ask(&path, "SELECT id FROM stars_1"), "0");
    // The writer goes on with the next image.
    catalog.write(&image("b.fits"), &rows[..2]).unwrap();
    drop(catalog);
    assert_eq!(ask(&path, "SELECT id FROM catalog"), "0\n500\n501");
    assert_eq!(ask(&path, "SELECT finished IS NULL FROM runs"), "0\n1");
}

#[test]
fn an_image_in_parts_is_one_transaction() {
    let (_folder, path) = place();
    let (a, b) = (image("a.fits"), image("b.fits"));
    let rows: Vec<_> = (0..5).map(full_row).collect();
    add(&path, "gaussian", &[(&a, &rows[..1])]);
    let mut catalog = Box::new(SqliteWriter::create(&path, &run("gaussian")).unwrap());
    let begin = |catalog: &mut SqliteWriter, image| {
        catalog.begin(image, 5).unwrap();
        catalog.add(&rows[..2]).unwrap();
        catalog.add(&rows[2..]).unwrap();
        // What it replaces is there until it is complete.
        assert_eq!(ask(&path, "SELECT image, id FROM catalog"), "a.fits[0]|0");
    };
    begin(&mut catalog, &a);
    catalog.undo().unwrap();
    catalog.undo().unwrap();
    begin(&mut catalog, &b);
    catalog.end().unwrap();
    let counts = "SELECT image, count(*) FROM catalog GROUP BY image";
    assert_eq!(ask(&path, counts), "a.fits[0]|1\nb.fits[0]|5");
    catalog.begin(&a, 5).unwrap();
    catalog.add(&rows).unwrap();
    // Dropped, as by an interrupt.
    drop(catalog);
    assert_eq!(ask(&path, counts), "a.fits[0]|1\nb.fits[0]|5");
}

#[test]
fn parts_are_the_same_rows_as_a_whole() {
    let (_folder, path) = place();
    let mut rows: Vec<_> = (0..5).map(full_row).collect();
    rows.push(row_at(5, 2.0, -0.0));
    let mut catalog = Box::new(SqliteWriter::create(&path, &run("gaussian")).unwrap());
    catalog.write(&image("a.fits"), &rows).unwrap();
    catalog.begin(&image("b.fits"), rows.len()).unwrap();
    catalog.add(&rows[..4]).unwrap();
    catalog.add(&rows[4..]).unwrap();
    catalog.end().unwrap();
    catalog.finish().unwrap();
    let names: Vec<_> = COLUMNS.iter().skip(1).map(in_table).collect();
    let of = |image| {
        let (names, types) = (names.join(", "), names.join("), typeof("));
        let sql = format!("SELECT {names}, typeof({types}) FROM stars_{image} ORDER BY id");
        ask(&path, &sql)
    };
    assert_eq!(of(1), of(2));
    assert_eq!(of(1).lines().count(), 6);
}

#[test]
fn an_image_in_parts_keeps_nobody_waiting() {
    let (_folder, path) = place();
    let rows: Vec<_> = (0..5).map(full_row).collect();
    let start = |settings| {
        Box::new(SqliteWriter::create_within(&path, &run(settings), Duration::ZERO).unwrap())
    };
    let mut slow = start("gaussian");
    slow.begin(&image("a.fits"), 5).unwrap();
    slow.add(&rows[..3]).unwrap();
    let mut quick = start("moffat");
    quick.write(&image("b.fits"), &rows[..2]).unwrap();
    slow.add(&rows[3..]).unwrap();
    quick.write(&image("c.fits"), &rows[..2]).unwrap();

    // An image that cannot be taken in leaves nothing behind.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = slow.end().unwrap_err();
    assert!(error.to_string().ends_with("database is locked"), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    slow.begin(&image("d.fits"), 1).unwrap();
    slow.add(&rows[4..]).unwrap();
    slow.end().unwrap();
    let counts = "SELECT image, count(*) FROM catalog GROUP BY image";
    assert_eq!(ask(&path, counts), "b.fits[0]|2\nc.fits[0]|2\nd.fits[0]|1");
}

#[test]
fn writing_waits_for_others() {
    let (_folder, path) = place();
    let mut catalog = Box::new(SqliteWriter::create(&path, &run("gaussian")).unwrap());
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        let write = scope.spawn(|| catalog.write(&image("a.fits"), &[full_row(0)]));
        thread::sleep(Duration::from_millis(100));
        assert!(!write.is_finished());
        other.execute_batch("COMMIT").unwrap();
        write.join().unwrap().unwrap();
    });
    assert_eq!(ask(&path, "SELECT count(*) FROM catalog"), "1");
}

/// What every kind of opening does while another program lets nobody else in.
#[test]
fn opening_waits_for_others() {
    let (_folder, path) = place();
    add(&path, "gaussian", &[(&image("a.fits"), &[full_row(0)])]);
    let open_all = |patience| -> [Result<()>; 3] {
        [
            open_within(&path, patience).map(drop),
            SqliteWriter::create_within(&path, &run("gaussian"), patience).map(drop),
            open_to_change_within(&path, patience).map(drop),
        ]
    };
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // Negative control: who does not wait is refused.
    for refused in open_all(Duration::from_millis(20)) {
        let error = refused.unwrap_err();
        assert!(error.to_string().ends_with("database is locked"), "{error}");
    }
    thread::scope(|scope| {
        let opened = scope.spawn(|| open_all(Duration::from_secs(60)));
        thread::sleep(Duration::from_millis(300));
        assert!(!opened.is_finished());
        other.execute_batch("ROLLBACK").unwrap();
        for opened in opened.join().unwrap() {
            opened.unwrap();
        }
    });
}

#[test]
fn abandoning_removes_what_the_run_created() {
    let (folder, path) = place();
    let start = || Box::new(SqliteWriter::create(&path, &run("gaussian")).unwrap());
    start().abandon().unwrap();
    assert!(files(&folder).is_empty());

    add(&path, "gaussian", &[(&image("a.fits"), &[full_row(0)])]);
    let mut catalog = start();
    catalog.write(&image("b.fits"), &[full_row(0)]).unwrap();
    catalog.abandon().unwrap();
    assert_eq!(files(&folder), ["catalogue.db"]);
    assert_eq!(ask(&path, "SELECT run_id FROM runs"), "1");
    assert_eq!(ask(&path, "SELECT image FROM catalog"), "a.fits[0]");
    let views = "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'stars_[0-9]*'";
    assert_eq!(ask(&path, views), "1");
}

#[test]
fn abandoning_spares_another_run_in_a_new_database() {
    let (folder, path) = place();
    let first = Box::new(SqliteWriter::create(&path, &run("gaussian")).unwrap());
    add(&path, "moffat", &[(&image("a.fits"), &[full_row(0)])]);
    first.abandon().unwrap();
    assert_eq!(files(&folder), ["catalogue.db"]);
    assert_eq!(ask(&path, "SELECT count(*) FROM catalog"), "1");
}

#[test]
fn two_runs_can_write_at_once() {
    let (folder, path) = place();
    let rows: Vec<_> = (0..200).map(full_row).collect();
    thread::scope(|scope| {
        for settings in ["gaussian", "moffat", "other"] {
            let (path, rows) = (&path, &rows);
            scope.spawn(move || {
                let images = ["a.fits", "b.fits", "c.fits"].map(image);
                let images = images.each_ref().map(|image| (image, rows.as_slice()));
                add(path, settings, &images);
            });
        }
    });
    let counts = "SELECT count(*), count(DISTINCT image_id) FROM stars";
    assert_eq!(ask(&path, counts), "1800|9");
    assert_eq!(ask(&path, "SELECT count(*) FROM catalog"), "600");
    assert_eq!(ask(&path, "PRAGMA integrity_check"), "ok");
    assert_eq!(files(&folder), ["catalogue.db"]);
}

#[test]
fn other_programs_databases_are_refused_and_left_alone() {
    let (folder, path) = place();
    let foreign = Connection::open(&path).unwrap();
    foreign
        .execute_batch(
            "PRAGMA journal_mode = wal; CREATE TABLE stars (a); INSERT INTO stars VALUES (1)",
        )
        .unwrap();
    // Kept open: what it wrote is still in its journal.
    let all = || {
        let read = |name: &String| fs::read(folder.path().join(name)).unwrap();
        files(&folder).iter().map(read).collect::<Vec<_>>()
    };
    let before = all();
    assert!(before.len() > 1);
    let error = SqliteWriter::create(&path, &run("gaussian")).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("expected 0x73746674 (a catalogue of starfit), found 0x00000000"),
        "{message}"
    );
    assert_eq!(error.hint(), Some("choose another name for the catalogue"));
    let error = open(&path).unwrap_err();
    let message = error.to_string();
    // What is in its journal only is not looked at.
    assert!(
        message.contains("found 0x00000000, another program's database with "),
        "{message}"
    );
    assert!(error.hint().unwrap().contains("starfit fit -o FILE.db"));
    assert_eq!(all(), before);
}

#[test]
fn who_reads_another_programs_database_is_told_its_tables() {
    let folder = TempDir::new().unwrap();
    let found = |name: &str, sql: &str| {
        let path = folder.path().join(name);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        open(&path).unwrap_err().to_string()
    };
    let message = found(
        "100% a?b#.db",
        "CREATE TABLE frames (a); CREATE TABLE targets (a)",
    );
    assert!(
        message.ends_with("database with the tables frames, targets"),
        "{message}"
    );
    let message = found("one.db", "CREATE TABLE frames (a)");
    assert!(
        message.ends_with("database with the table frames"),
        "{message}"
    );
    let many: String = (0..9).map(|n| format!("CREATE TABLE t{n} (a);")).collect();
    let message = found("many.db", &many);
    assert!(
        message.ends_with("the tables t0, t1, t2, t3, t4 and 4 more"),
        "{message}"
    );
    let message = found("none.db", "PRAGMA user_version = 3");
    assert!(message.ends_with("database with no tables"), "{message}");
}

#[test]
fn files_that_are_no_database_are_refused_and_left_alone() {
    let (folder, path) = place();
    for content in [
        b"SIMPLE  =                    T".to_vec(),
        vec![0; 4096],
        b"SQLite format 3\0".to_vec(),
    ] {
        fs::write(&path, &content).unwrap();
        let error = SqliteWriter::create(&path, &run("gaussian")).unwrap_err();
        assert!(
            error.to_string().contains("expected an SQLite database"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(files(&folder), ["catalogue.db"]);
    }
    fs::write(&path, "").unwrap();
    add(&path, "gaussian", &[(&image("a.fits"), &[full_row(0)])]);
    assert_eq!(ask(&path, "SELECT count(*) FROM catalog"), "1");
}

#[test]
fn a_damaged_database_is_an_error() {
    let (_folder, path) = place();
    let rows: Vec<_> = (0..500).map(full_row).collect();
    add(&path, "gaussian", &[(&image("a.fits"), &rows)]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let error = SqliteWriter::create(&path, &run("gaussian")).unwrap_err();
    assert!(error.to_string().contains("malformed"), "{error}");
    bytes.truncate(2000);
    fs::write(&path, &bytes).unwrap();
    assert!(SqliteWriter::create(&path, &run("gaussian")).is_err());
}

/// A copy of the database that starfit wrote at a version of the schema.
fn at_version(version: i32, path: &Path) {
    let databases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/databases");
    fs::copy(databases.join(format!("version_{version}.db")), path).unwrap();
}

/// The tables, indexes and views that do not depend on which images there are.
const TABLES: &str = "SELECT name, sql FROM sqlite_schema WHERE name NOT GLOB 'stars_[0-9]*' \
                      AND sql IS NOT NULL ORDER BY name";

#[test]
fn every_older_schema_is_read_and_brought_up_to_date() {
    let (_folder, new) = place();
    add(&new, "gaussian", &[]);
    let of_new = ask(&new, TABLES);
    assert_ne!(of_new, "");
    for version in 1..=SCHEMA_VERSION {
        let (_folder, path) = place();
        at_version(version, &path);
        let stars =
            "star_id, id, x, y, flux, flux_err, reduced_chi2, status, flags, zone FROM stars";
        let before = ask(&path, &format!("SELECT {stars} ORDER BY star_id"));
        assert_eq!(before.lines().count(), 6, "{version}");
        let stored = "SELECT user_version FROM pragma_user_version";
        assert_eq!(ask(&path, stored), version.to_string());
        if version < SCHEMA_VERSION {
            assert_ne!(ask(&path, TABLES), of_new, "{version}");
        }

        let mut image = image("a.fits");
        image.assumed = Assumptions {
            background: Some(100.5),
            noise: Some(3.0),
            gain: Some(1.5),
            gain_err: Some(0.1),
            by_residuals: false,
            saturation: None,
            fwhm: Some(2.5),
            size: (15, 17),
        };
        add(&path, "gaussian", &[(&image, &[full_row(0)])]);
        assert_eq!(ask(&path, stored), SCHEMA_VERSION.to_string());
        let kept = format!("SELECT {stars} WHERE image_id = 1 ORDER BY star_id");
        assert_eq!(ask(&path, &kept), before, "{version}");
        let later = "SELECT count(*), count(flux_r), count(flux_b_err), count(name) FROM catalog WHERE image = ";
        assert_eq!(ask(&path, &format!("{later}'base.fits[0]'")), "6|0|0|0");
        assert_eq!(ask(&path, &format!("{later}'a.fits[0]'")), "1|1|1|1");
        let assumed = "SELECT sky_level, sky_noise, gain_used, saturation_used, fwhm_used, \
                       cutout_width, cutout_height, gain_used_err, by_residuals \
                       FROM newest_images WHERE name = ";
        let old = ask(&path, &format!("{assumed}'base.fits[0]'"));
        assert_eq!(old.starts_with("null"), version < 3, "{version}: {old}");
        assert_eq!(
            ask(&path, &format!("{assumed}'a.fits[0]'")),
            "100.5|3.0|1.5|null|2.5|15|17|0.1|0"
        );
        // It is now what a new one is.
        assert_eq!(ask(&path, TABLES), of_new, "{version}");
    }
}

#[test]
fn a_column_more_is_added_once_to_new_databases_and_to_old_ones() {
    let more = [Column {
        name: "dummy",
        unit: Unit::Pixel,
        kind: Kind::Float,
        ucd: "",
        description: "a column that only this test has",
    }];
    let run = RunInfo {
        own_columns: more.to_vec(),
        ..run("gaussian")
    };
    let times = |path: &Path, tables: &str| {
        let tables =
            format!("SELECT count(*) FROM pragma_table_info('{tables}') WHERE name = 'dummy'");
        ask(path, &tables)
    };
    for version in 0..=SCHEMA_VERSION {
        let (_folder, path) = place();
        if version > 0 {
            at_version(version, &path);
            assert_eq!(times(&path, "stars"), "0");
        }
        // Twice: with the column in hand, and with it there.
        for _ in 0..2 {
            let mut writer = Box::new(SqliteWriter::create(&path, &run).unwrap());
            let mut row = full_row(0);
            row.state("dummy", 1.5, 0.5);
            writer.write(&image("a.fits"), &[row]).unwrap();
            writer.finish().unwrap();
            assert_eq!(times(&path, "stars"), "1", "{version}");
            assert_eq!(times(&path, "catalog"), "1", "{version}");
            let described = "SELECT count(*) FROM columns WHERE name = 'dummy'";
            assert_eq!(ask(&path, described), "1", "{version}");
            let values = "SELECT dummy FROM catalog WHERE image = 'a.fits[0]'";
            assert_eq!(ask(&path, values), "1.5", "{version}");
        }
        // A run without it leaves it there.
        add(&path, "moffat", &[(&image("b.fits"), &[full_row(0)])]);
        assert_eq!(times(&path, "catalog"), "1", "{version}");
        let values = "SELECT dummy FROM catalog WHERE image = 'b.fits[0]'";
        assert_eq!(ask(&path, values), "null", "{version}");
    }
}

#[test]
fn a_newer_schema_is_refused() {
    let (_folder, path) = place();
    add(&path, "gaussian", &[]);
    let set = |version| {
        let connection = Connection::open(&path).unwrap();
        connection
            .pragma_update(None, "user_version", version)
            .unwrap();
    };
    set(SCHEMA_VERSION + 1);
    let error = SqliteWriter::create(&path, &run("gaussian")).unwrap_err();
    assert!(
        error.to_string().ends_with(&format!(
            "schema version {} (expected 1 to {SCHEMA_VERSION}) is not supported",
            SCHEMA_VERSION + 1
        )),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("newer starfit"));
    assert!(open(&path).is_err());
    set(SCHEMA_VERSION);
    assert!(open(&path).is_ok());
}

#[test]
fn a_locked_database_is_an_error() {
    let (_folder, path) = place();
    add(&path, "gaussian", &[]);
    let patience = Duration::from_millis(50);
    let start = || SqliteWriter::create_within(&path, &run("gaussian"), patience);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = start().unwrap_err();
    assert!(error.to_string().ends_with("database is locked"), "{error}");
    assert!(error.hint().unwrap().contains("another program"));
    other.execute_batch("ROLLBACK").unwrap();
    let mut catalog = start().unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(catalog.write(&image("a.fits"), &[full_row(0)]).is_err());
    other.execute_batch("ROLLBACK").unwrap();
    catalog.write(&image("a.fits"), &[full_row(0)]).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_is_no_database() {
    let (_folder, path) = place();
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    for error in [
        SqliteWriter::create(&path, &run("gaussian")).map(drop),
        open(&path).map(drop),
    ] {
        let message = error.unwrap_err().to_string();
        assert!(message.ends_with("found a device or a pipe"), "{message}");
    }
}

#[test]
fn reading_needs_a_file() {
    let (folder, path) = place();
    assert!(matches!(open(&path), Err(Error::Io { .. })));
    assert!(files(&folder).is_empty());
}
