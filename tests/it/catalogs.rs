//! Catalogues of every format, read by the programs that astronomers read them with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::Array2;
use serde_json::{Value as Json, json};
use starfit::catalog::query::{Order, Query, QueryFormat};
use starfit::catalog::{self, COLUMNS, ImageInfo, Kind, Row, RunInfo, Value};
use starfit::fit::{FitStatus, Flags};
use starfit::image::Image;

use crate::common::insists;

/// Every format that starfit writes, by its ending.
const ENDINGS: [&str; 6] = ["csv", "ecsv", "fits", "vot", "parquet", "db"];

/// A Python with the packages of `tests/python/requirements.txt`, which `tests/run.sh` installs.
/// `None`, after saying so, where there is none and CI does not insist.
fn python() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = std::env::var_os("STARFIT_PYTHON")
        .map_or_else(|| target.join("python/bin/python"), PathBuf::from);
    let has_packages = Command::new(&python)
        .args(["-c", "import astropy, pandas, pyarrow"])
        .output()
        .is_ok_and(|output| output.status.success());
    if has_packages {
        return Some(python);
    }
    let missing = format!(
        "{}: no Python with astropy, pandas and pyarrow; tests/run.sh makes it",
        python.display()
    );
    assert!(!insists(), "{missing}");
    eprintln!("not tested: {missing}");
    None
}

/// Has the catalogues of a folder read; what the readers say where they find something wrong.
fn read(python: &Path, folder: &Path) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/read_catalogs.py");
    let output = Command::new(python)
        .arg("-I")
        .args([&script, folder])
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

fn run() -> RunInfo {
    RunInfo {
        version: "0.1.0".into(),
        // Longer than a FITS card, with what each format has to escape.
        command_line: format!(
            "starfit fit 'it''s <a> & \"b\" #' {} -o catalog.fits",
            "a_long_name.fits ".repeat(20).trim_end()
        ),
        settings: json!({
            "model": "moffat", "estimator": "poisson", "solver": "levenberg-marquardt",
            "tolerance": 1e-6, "threshold": 4.5, "stars": null, "fixed": [["beta", 3.0]],
        }),
        own_columns: Vec::new(),
        backend: "cpu".into(),
        adapter: Some("2 CPU threads".into()),
    }
}

fn image(name: &str, unit: Option<&str>, gain: f64) -> ImageInfo {
    let mut image = ImageInfo::new(&Image::from_pixels(name, Array2::zeros((3, 4))));
    image.source.path = PathBuf::from(name);
    image.header.unit = unit.map(str::to_owned);
    image.header.exposure = Some(30.0);
    image.assumed.gain = Some(gain);
    image.assumed.fwhm = Some(2.345_678_901_234_567);
    image.assumed.noise = Some(1e-7);
    image.assumed.size = (15, 15);
    image
}

/// Rows with awkward numbers in all columns, with some, and with none.
fn rows(count: usize) -> Vec<Row> {
    let awkward = [
        5e-324,
        -1.0 / 3.0,
        f64::MAX,
        0.1 + 0.2,
        -0.0,
        2e9,
        1e22,
        123_456_789.123_456_78,
        -1e-300,
    ];
    let row = |id: usize| {
        let status = FitStatus::ALL[id % FitStatus::ALL.len()];
        let mut row = Row::new(id, status, Flags(id as u16 % 1024));
        for (at, column) in COLUMNS.iter().enumerate() {
            if column.kind == Kind::Text || matches!(column.name, "id" | "flags") || id % 5 == 4 {
                continue;
            }
            if !(id + at).is_multiple_of(3) {
                let number = match column.kind {
                    Kind::Integer => (id * at) as f64,
                    _ => awkward[(id + at) % awkward.len()] * (1.0 + id as f64 / 7.0),
                };
                row.set(column.name, number);
            }
        }
        row.name = (!id.is_multiple_of(3)).then(|| format!("HD {id}").into());
        row
    };
    (0..count).map(row).collect()
}

/// Writes catalogues in every format, and what they are expected to hold.
fn write(folder: &Path, images: &[(ImageInfo, Vec<Row>)], flux_unit: Option<&str>, facts: Json) {
    write_units(folder, images, flux_unit, flux_unit, facts);
}

/// The same where FITS and VOTable spell the unit of fluxes in a way of their own.
fn write_units(
    folder: &Path,
    images: &[(ImageInfo, Vec<Row>)],
    flux_unit: Option<&str>,
    standard_unit: Option<&str>,
    facts: Json,
) {
    for ending in ENDINGS {
        let path = folder.join(format!("catalog.{ending}"));
        let mut catalog = catalog::create(&path, &run()).unwrap();
        for (image, rows) in images {
            catalog.write(image, rows).unwrap();
        }
        catalog.finish().unwrap();
    }
    let columns = COLUMNS.iter().map(|column| {
        let unit = |flux_unit| match (column.unit.is_of_image(), flux_unit) {
            (true, None) => None,
            _ => column.unit.resolve(flux_unit),
        };
        json!({
            "name": column.name,
            "kind": match column.kind {
                Kind::Text => "text",
                Kind::Integer => "integer",
                Kind::Float => "float",
            },
            "unit": unit(flux_unit),
            "standard_unit": unit(standard_unit),
            "ucd": column.ucd,
            "description": column.description,
        })
    });
    let rows = images.iter().flat_map(|(image, rows)| {
        rows.iter()
            .map(|row| row.values(&image.name).map(expected).collect())
    });
    let names = images.iter().map(|(image, _)| image.name.as_str());
    let expected = json!({
        "columns": columns.collect::<Json>(),
        "rows": rows.collect::<Vec<Json>>(),
        "images": names.collect::<Json>(),
        "facts": facts,
    });
    fs::write(folder.join("expected.json"), expected.to_string()).unwrap();
}

/// A float by its bits.
fn expected(value: Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(value) => value.into(),
        Value::Float(value) => format!("{:016x}", value.to_bits()).into(),
        Value::Text(text) => text.into(),
    }
}

#[test]
fn every_format_gives_every_value_back() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    // One of the images has no star, and the names are awkward.
    let images = [
        (image("a.fits[0]", Some("ct"), 1.5), rows(40)),
        (image("empty.fits[0]", Some("ct"), 1.5), Vec::new()),
        (
            image("odd, \"name\" <&>'.fits[1]", Some("ct"), 1.5),
            rows(7),
        ),
        (
            image("\u{fc}\u{1f52d}.fits[2][3]", Some("ct"), 1.5),
            rows(3),
        ),
    ];
    let run = run();
    let facts = json!({
        "model": "moffat", "estimator": "poisson", "solver": "levenberg-marquardt",
        "backend": "cpu", "adapter": "2 CPU threads", "threshold": 4.5, "gain": 1.5,
        "fwhm_expected": 2.345_678_901_234_567, "flux_unit": "ct",
        "run_version": run.version, "command_line": run.command_line,
    });
    write(folder.path(), &images, Some("ct"), facts);
    let read = read(&python, folder.path()).unwrap_or_else(|error| panic!("{error}"));
    for ending in ENDINGS {
        assert!(
            read.contains(&format!("catalog.{ending}: 50 rows\n")),
            "{read}"
        );
    }
}

#[test]
fn query_writes_what_the_catalogues_are() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let images = [
        (image("a.fits[0]", None, 1.5), rows(20)),
        (
            image("odd, \"name\" <&>'.fits[1]", Some("ADU"), 1.5),
            rows(7),
        ),
    ];
    let facts = json!({"model": "moffat", "gain": 1.5, "flux_unit": "adu"});
    write(folder.path(), &images, Some("adu"), facts);
    let order = |column: &str| Order {
        column: column.into(),
        descending: false,
    };
    let query = Query {
        order: vec![order("image"), order("id")],
        ..Query::default()
    };
    let database = folder.path().join("catalog.db");
    for ending in ENDINGS.into_iter().filter(|ending| *ending != "db") {
        let path = folder.path().join(format!("catalog.{ending}"));
        let format = QueryFormat::from_path(&path).unwrap();
        assert_eq!(query.write(&database, format, &path).unwrap(), 27);
    }
    // SQLite keeps whole numbers as integers and so loses the sign of -0.
    let path = folder.path().join("expected.json");
    let expected = fs::read_to_string(&path).unwrap();
    assert!(expected.contains("\"8000000000000000\""));
    fs::write(
        &path,
        expected.replace("\"8000000000000000\"", "\"0000000000000000\""),
    )
    .unwrap();
    read(&python, folder.path()).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn fluxes_of_different_units_have_none() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let images = [
        (image("a.fits[0]", None, 1.5), rows(2)),
        (image("b.fits[0]", Some("MJy/sr"), 2.0), rows(2)),
    ];
    write(
        folder.path(),
        &images,
        None,
        json!({"flux_unit": null, "gain": null}),
    );
    read(&python, folder.path()).unwrap_or_else(|error| panic!("{error}"));
    // The readers see a wrong unit.
    write(folder.path(), &images[..1], None, json!({}));
    let error = read(&python, folder.path()).unwrap_err();
    assert!(error.contains("unit of flux"), "{error}");
}

/// What cameras call the units of their images: astropy knows all that is written of them.
#[test]
fn units_of_images_are_known_to_astropy() {
    let Some(python) = python() else { return };
    let read_units = |bunit: &str, unit: &str, standard: &str| {
        let folder = tempfile::tempdir().unwrap();
        let images = [(image("a.fits[0]", Some(bunit), 1.5), rows(2))];
        let facts = json!({"flux_unit": unit});
        write_units(folder.path(), &images, Some(unit), Some(standard), facts);
        read(&python, folder.path())
    };
    for (bunit, unit, standard) in [
        ("electron", "electron", "ct"),
        ("e-/s", "electron/s", "ct/s"),
        ("DN/s", "adu/s", "adu/s"),
        ("COUNTS", "ct", "ct"),
        ("MJy/sr", "MJy/sr", "MJy/sr"),
        ("Jy/beam", "Jy/beam", "Jy/beam"),
    ] {
        read_units(bunit, unit, standard).unwrap_or_else(|error| panic!("{bunit}: {error}"));
    }
    // A unit that astropy does not know is seen, and one that is not what was meant.
    let error = read_units("furlong", "furlong", "furlong").unwrap_err();
    assert!(error.contains("furlong"), "{error}");
    let error = read_units("electron", "electron", "adu").unwrap_err();
    assert!(error.contains("unit of flux"), "{error}");
}

#[test]
fn a_catalogue_without_stars_is_a_table_without_rows() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[], Some("adu"), json!({"model": "moffat"}));
    let read = read(&python, folder.path()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.matches(": 0 rows").count(), ENDINGS.len());
}
