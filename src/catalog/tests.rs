use std::fs;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use tempfile::TempDir;

use super::*;
use crate::fit::{FitStatus, Flags};

pub(super) fn run(settings: &str) -> RunInfo {
    RunInfo {
        version: "1.2.3".to_owned(),
        command_line: format!("starfit fit --model {settings} a.fits"),
        own_columns: Vec::new(),
        settings: serde_json::json!({ "model": settings, "size": 15 }),
        backend: "cpu".to_owned(),
        adapter: None,
    }
}

pub(super) fn image(path: &str) -> ImageInfo {
    let mut image = Image::from_pixels(format!("{path}[0]"), ndarray::Array2::zeros((3, 4)));
    image.source.path = PathBuf::from(path);
    image.source.bytes = 2880;
    image.source.modified = 1_700_000_000;
    ImageInfo::new(&image)
}

/// A row with a different number in every column, some of them awkward.
pub(super) fn full_row(id: usize) -> Row {
    let mut row = Row::new(id, FitStatus::MaxIterations, Flags(4 + 64));
    let awkward = [1e-300, -1.0 / 3.0, f64::MAX, 5e-324, 0.1 + 0.2, -0.0, 2e9];
    for (at, column) in COLUMNS.iter().enumerate() {
        let number = match column.name {
            "id" | "flags" => continue,
            _ if column.kind == Kind::Text => continue,
            _ if column.kind == Kind::Integer => at as f64,
            _ => at
                .checked_sub(10)
                .and_then(|at| awkward.get(at))
                .copied()
                .unwrap_or(at as f64 + 0.1),
        };
        row.set(column.name, number);
    }
    row.name = Some("HD_1".into());
    row
}

/// A row with a position only.
pub(super) fn row_at(id: usize, x: f64, y: f64) -> Row {
    let mut row = Row::new(id, FitStatus::Converged, Flags::default());
    row.set("x", x);
    row.set("y", y);
    row
}

fn error_of(path: &Path) -> String {
    let error = create(path, &run("gaussian")).unwrap_err();
    format!("{error}; hint: {}", error.hint().unwrap_or("none"))
}

#[test]
fn the_ending_decides() {
    let format = |name: &str| CatalogFormat::from_path(Path::new(name));
    for (name, expected) in [
        ("a.db", CatalogFormat::Sqlite),
        ("b/A.SQLite", CatalogFormat::Sqlite),
        ("a.fits.csv", CatalogFormat::Csv),
        ("a.reg", CatalogFormat::Region),
        ("a.csv.fits", CatalogFormat::Fits),
        ("a.ecsv", CatalogFormat::Ecsv),
        ("a.parquet", CatalogFormat::Parquet),
        ("a.vot", CatalogFormat::VoTable),
        ("a.XML", CatalogFormat::VoTable),
        ("-", CatalogFormat::Csv),
    ] {
        assert_eq!(format(name).unwrap(), expected, "{name}");
    }
    assert_snapshot!(format("a.txt").unwrap_err(), @"output a.txt: expected one of the endings .db, .sqlite, .csv, .ecsv, .fits, .parquet, .vot, .xml, .reg, or - for CSV on standard output, found .txt");
    assert_snapshot!(format("no/ending").unwrap_err(), @"output no/ending: expected one of the endings .db, .sqlite, .csv, .ecsv, .fits, .parquet, .vot, .xml, .reg, or - for CSV on standard output, found none");
}

fn written(images: &[(&str, &[Row])]) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.csv");
    let mut catalog = create(&path, &run("gaussian")).unwrap();
    for (name, rows) in images {
        catalog.write(&image(name), rows).unwrap();
    }
    assert!(!path.exists());
    catalog.finish().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    fs::read_to_string(path).unwrap()
}

#[test]
fn csv_is_plain() {
    let mut extreme = row_at(1, 1e-16, -1.25e300);
    extreme.set("ra", 359.999_999_999_999_94);
    extreme.set("dec", f64::NAN);
    extreme.set("flux", f64::INFINITY);
    extreme.set("background", 2e9);
    extreme.set("snr", 3.0);
    extreme.set("dof", 220.0);
    let diverged = Row::new(0, FitStatus::Diverged, Flags(3));
    let text = written(&[
        ("a.fits", &[row_at(0, 1.5, 2.0), extreme]),
        ("odd, \"name\".fits", &[diverged]),
        ("empty.fits", &[]),
    ]);
    assert_snapshot!(text, @r#"
    image,id,x,x_err,y,y_err,ra,ra_err,dec,dec_err,flux,flux_err,mag,mag_err,background,background_err,peak,fwhm,fwhm_err,fwhm_major,fwhm_major_err,fwhm_minor,fwhm_minor_err,theta,theta_err,ellipticity,beta,beta_err,snr,chi2,dof,reduced_chi2,qfit,cfit,n_pixels,n_iterations,status,flags,flux_r,flux_r_err,flux_g,flux_g_err,flux_b,flux_b_err,name
    a.fits[0],0,1.5,,2.0,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,converged,0,,,,,,,
    a.fits[0],1,1e-16,,-1.25e300,,359.99999999999994,,,,,,,,2000000000.0,,,,,,,,,,,,,,3.0,,220,,,,,,converged,0,,,,,,,
    "odd, ""name"".fits[0]",0,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,diverged,3,,,,,,,
    "#);
}

#[test]
fn csv_without_stars_has_its_header() {
    let names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
    assert_eq!(written(&[]), names.join(",") + "\n");
}

#[test]
fn csv_gives_every_number_back() {
    let row = full_row(3);
    let text = written(&[("a.fits", std::slice::from_ref(&row))]);
    let fields = text.lines().nth(1).unwrap().split(',');
    let mut numbers = 0;
    for ((column, value), field) in COLUMNS.iter().zip(row.values("a.fits[0]")).zip(fields) {
        match value {
            Value::Float(value) => {
                let read: f64 = field.parse().unwrap();
                assert_eq!(read.to_bits(), value.to_bits(), "{}", column.name);
                assert_ne!(read.to_bits(), value.next_up().to_bits());
                numbers += 1;
            }
            Value::Integer(value) => assert_eq!(field.parse(), Ok(value), "{}", column.name),
            Value::Text(text) => assert_eq!(field, text),
            Value::Null => panic!("{} is null", column.name),
        }
    }
    assert_eq!(numbers, COLUMNS.len() - 8);
}

/// Endings of the formats that are a file of their own.
fn file_endings() -> impl Iterator<Item = &'static str> {
    let all = ["csv", "ecsv", "fits", "vot", "parquet"];
    let n = all.len() - usize::from(cfg!(not(feature = "parquet")));
    all.into_iter().take(n)
}

#[test]
fn a_file_is_replaced_only_when_complete() {
    for ending in file_endings() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(format!("out.{ending}"));
        fs::write(&path, "old").unwrap();
        let start = || {
            let mut catalog = create(&path, &run("gaussian")).unwrap();
            catalog.write(&image("a.fits"), &[full_row(0)]).unwrap();
            catalog
        };
        drop(start());
        start().abandon().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        start().finish().unwrap();
        let first = fs::read(&path).unwrap();
        assert!(first.len() > 300, "{ending}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // One of our own is replaced too.
        start().finish().unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), first.len());
    }
}

#[test]
fn an_image_is_no_catalogue_to_replace() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.fits");
    let image = ndarray::Array2::zeros((3, 4));
    crate::io::fits::write_image(&path, &image, crate::io::fits::PixelType::F32, &[]).unwrap();
    let before = fs::read(&path).unwrap();
    let error = error_of(&path).replace(&folder.path().display().to_string(), "");
    assert_snapshot!(error, @"/out.fits: CREATOR: expected a catalogue of starfit to replace, found another FITS file; hint: choose another name, or remove the file first");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn an_image_that_is_taken_back_leaves_no_trace() {
    let folder = TempDir::new().unwrap();
    for ending in file_endings() {
        let written = |name: &str, undone: bool| {
            let path = folder.path().join(format!("{name}.{ending}"));
            let mut catalog = create(&path, &run("gaussian")).unwrap();
            let rows: Vec<Row> = (0..1000).map(full_row).collect();
            for file in ["a.fits", "b, \"b\".fits"] {
                if undone {
                    catalog.begin(&image("much_longer.fits"), 1000).unwrap();
                    catalog.add(&rows[..700]).unwrap();
                    catalog.undo().unwrap();
                }
                catalog.begin(&image(file), 1000).unwrap();
                catalog.add(&rows[..10]).unwrap();
                catalog.add(&rows[10..]).unwrap();
                catalog.end().unwrap();
            }
            catalog.finish().unwrap();
            fs::read(path).unwrap()
        };
        assert!(written("a", false).len() > 10_000, "{ending}");
        // A second may have passed between the two, but not each time.
        let is_same = || written("a", false) == written("b", true);
        assert!((0..5).any(|_| is_same()), "{ending}");
    }
}

#[cfg(unix)]
#[test]
fn csv_has_the_permissions_of_other_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("out.csv");
    let ordinary = folder.path().join("ordinary");
    fs::write(&ordinary, "").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    let write = || create(&path, &run("gaussian")).unwrap().finish().unwrap();
    write();
    assert_eq!(mode(&path), mode(&ordinary));
    // One that the user has made private stays so.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    write();
    assert_eq!(mode(&path) & 0o777, 0o600);
}

#[cfg(unix)]
#[test]
fn csv_follows_a_symbolic_link() {
    let folder = TempDir::new().unwrap();
    let (file, link) = (folder.path().join("file.csv"), folder.path().join("l.csv"));
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    create(&link, &run("gaussian")).unwrap().finish().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&file).unwrap().starts_with("image,"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_an_error() {
    let mut catalog = create(Path::new("/dev/full"), &run("gaussian")).unwrap();
    let error = catalog.write(&image("a.fits"), &[full_row(0)]).unwrap_err();
    assert_snapshot!(error, @"/dev/full: No space left on device (os error 28)");
    catalog.abandon().unwrap();
    let empty = create(Path::new("/dev/full"), &run("gaussian")).unwrap();
    assert!(empty.finish().is_err());
    let mut null = create(Path::new("/dev/null"), &run("gaussian")).unwrap();
    null.write(&image("a.fits"), &[full_row(0)]).unwrap();
    null.finish().unwrap();
}

#[test]
fn outputs_that_cannot_be_are_refused_at_once() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    for ending in ["csv", "db"] {
        if ending == "db" && cfg!(not(feature = "sqlite")) {
            assert!(error_of(&at("out.db")).ends_with("build starfit with its feature sqlite"));
            continue;
        }
        let missing = error_of(&at(&format!("missing/out.{ending}")));
        assert!(missing.contains("missing does not exist"), "{missing}");
        assert!(!at("missing").exists());

        let directory = at(&format!("folder.{ending}"));
        fs::create_dir(&directory).unwrap();
        let directory = error_of(&directory);
        assert!(directory.contains("found a folder"), "{directory}");

        let locked = at(&format!("locked.{ending}"));
        create(&locked, &run("gaussian")).unwrap().finish().unwrap();
        let before = fs::read(&locked).unwrap();
        let mut permissions = fs::metadata(&locked).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&locked, permissions).unwrap();
        let refused = error_of(&locked);
        assert!(refused.contains("the file is read-only"), "{refused}");
        assert_eq!(fs::read(&locked).unwrap(), before);
    }
    // Nobody can create a file there, not even root.
    #[cfg(target_os = "linux")]
    for name in ["/proc/out.csv", "/proc/out.db"] {
        assert!(error_of(Path::new(name)).starts_with(name));
    }
}
