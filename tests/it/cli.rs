//! The program from outside: outputs, exit codes, messages, bad files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::common::{data, read_csv};

/// What a run of the program gave.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs starfit in `folder`.
pub(crate) fn starfit(folder: &Path, args: &[&str]) -> Ran {
    let mut command = Command::cargo_bin("starfit").unwrap();
    // A panic must not hide as an exit code, nor a hang as patience.
    let output = command
        .current_dir(folder)
        .args(args)
        .env_remove("XDG_RUNTIME_DIR")
        .timeout(std::time::Duration::from_secs(120))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    let code = output
        .status
        .code()
        .unwrap_or_else(|| panic!("{args:?}: killed: {stderr}"));
    Ran {
        code,
        stdout,
        stderr,
    }
}

pub(crate) fn shipped(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
        .display()
        .to_string()
}

/// A shipped file under so many names, in the folder `in` of a folder: an input is taken once only.
pub(crate) fn copies(folder: &Path, name: &str, n: usize) -> Vec<String> {
    let file = shipped(name);
    std::fs::create_dir(folder.join("in")).unwrap();
    let copies: Vec<String> = (0..n).map(|at| format!("in/{at:03}{name}")).collect();
    for copy in &copies {
        std::fs::copy(&file, folder.join(copy)).unwrap();
    }
    copies
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn count(database: &Path, sql: &str) -> i64 {
    Connection::open(database)
        .unwrap()
        .query_row(sql, [], |row| row.get(0))
        .unwrap()
}

#[test]
fn an_image_becomes_a_database_that_any_client_reads() {
    let folder = folder();
    let ran = starfit(folder.path(), &["fit", &shipped("panoptes.fits.fz")]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "", "data on stdout only where asked for");
    assert!(
        ran.stderr.contains("panoptes.fits.fz[1]: ") && ran.stderr.contains(" converged"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("written to starfit.db"),
        "{}",
        ran.stderr
    );

    let database = folder.path().join("starfit.db");
    let stars = count(&database, "SELECT count(*) FROM catalog");
    assert!(stars > 500, "{stars}");
    assert_eq!(stars, count(&database, "SELECT n_stars FROM images"));
    assert_eq!(stars, count(&database, "SELECT count(*) FROM stars_1"));
    // The view of an image is in the order of position.
    let disorder =
        "SELECT count(*) FROM (SELECT y, lag(y) OVER () AS before FROM stars_1) WHERE y < before";
    assert_eq!(count(&database, disorder), 0);
    assert_eq!(
        count(
            &database,
            "SELECT count(*) FROM catalog WHERE status = 'converged' AND flux IS NULL"
        ),
        0
    );
    assert_eq!(
        count(
            &database,
            "SELECT count(*) FROM catalog WHERE status = 'singular' AND flux IS NOT NULL"
        ),
        0
    );
    assert!(count(&database, "SELECT count(*) FROM columns WHERE unit = 'pix'") > 3);

    // The same again replaces; other settings add a run, and the catalogue shows the newest.
    assert_eq!(
        starfit(folder.path(), &["fit", "-q", &shipped("panoptes.fits.fz")]).code,
        0
    );
    assert_eq!(count(&database, "SELECT count(*) FROM stars"), stars);
    let ran = starfit(
        folder.path(),
        &[
            "fit",
            "-q",
            "--threshold",
            "20",
            &shipped("panoptes.fits.fz"),
        ],
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let fewer = count(&database, "SELECT count(*) FROM catalog");
    assert!(fewer < stars && count(&database, "SELECT count(*) FROM stars") == stars + fewer);
}

#[test]
fn a_database_is_asked() {
    let folder = folder();
    let ask = |args: &[&str]| {
        let mut all = vec!["query", "stars.db"];
        all.extend(args);
        starfit(folder.path(), &all)
    };
    let outputs = [
        "stars.db",
        "stars.csv",
        "stars.ecsv",
        "stars.fits",
        "stars.parquet",
        "stars.vot",
    ];
    let base = shipped("base.fits");
    let mut args = vec!["fit", "-q", &base];
    args.extend(outputs.iter().flat_map(|output| ["-o", output]));
    assert_eq!(starfit(folder.path(), &args).code, 0);
    assert!(
        outputs
            .iter()
            .all(|output| folder.path().join(output).exists())
    );

    // CSV, as nobody looks; the rows of the catalogue.
    let ran = ask(&[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let csv = std::fs::read_to_string(folder.path().join("stars.csv")).unwrap();
    assert_eq!(lines(&ran.stdout), lines(&csv));

    let nearest = ask(&[
        "--near",
        "-5",
        "-5.5",
        "2",
        "--columns",
        "id,distance",
        "--format",
        "table",
    ]);
    assert_eq!(nearest.code, 0, "{}", nearest.stderr);
    assert_eq!(nearest.stdout.lines().count(), 4, "{}", nearest.stdout);
    assert_eq!(nearest.stderr, "2 stars\n");
    let boxed = ask(&[
        "--box", "0", "0", "95", "79", "--where", "id < 3", "-o", "few.fits",
    ]);
    assert_eq!(
        (boxed.code, boxed.stdout.as_str()),
        (0, ""),
        "{}",
        boxed.stderr
    );
    assert_eq!(boxed.stderr, "3 stars written to few.fits\n");

    for (args, says) in [
        (
            &["--cone", "1", "-2", "3'"][..],
            "expected positions on the sky",
        ),
        (&["--cone", "1", "2", "3m"], "an angle like"),
        (&["--image", "bas.fits"], "base.fits[0]"),
        (&["--columns", "x,flx"], "flux"),
        (&["--where", "flux >"], "syntax error"),
        (&["--order", "snr down"], "asc or desc"),
        (&["--format", "xls"], "votable"),
        (&["-o", "new.db"], ".parquet"),
        (&["-o", "stars.db", "--format", "csv"], "the database"),
        (&["--box", "1", "2", "3"], "4 values"),
        (&["--near", "1", "2", "0"], "one star or more"),
        (
            &["--near", "1", "2", "3", "--box", "1", "2", "3", "4"],
            "cannot be used with",
        ),
    ] {
        let ran = ask(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}");
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
    }
    let ran = starfit(folder.path(), &["query", &base]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("expected an SQLite database"),
        "{}",
        ran.stderr
    );
}

#[test]
fn stars_of_two_images_are_matched() {
    let folder = folder();
    let copy = folder.path().join("copy.fits.fz");
    std::fs::copy(shipped("panoptes.fits.fz"), &copy).unwrap();
    let inputs = [shipped("panoptes.fits.fz"), copy.display().to_string()];
    let ran = starfit(folder.path(), &["fit", "-q", &inputs[0], &inputs[1]]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let database = folder.path().join("starfit.db");
    for option in ["--by-pattern", "--sigma=5"] {
        let ran = starfit(folder.path(), &["match", "starfit.db", option]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains(" objects of "), "{}", ran.stderr);
        let is_registered = ran.stderr.contains("registered to ");
        assert!(is_registered || option != "--by-pattern", "{}", ran.stderr);
        let pairs = count(&database, "SELECT count(*) FROM objects WHERE n_visits = 2");
        let objects = count(&database, "SELECT count(*) FROM objects");
        assert!(pairs > 1000 && pairs == objects, "{pairs} of {objects}");
        let other = "SELECT count(*) FROM lightcurves AS a JOIN lightcurves AS b USING (object_id) \
                     WHERE a.flux <> b.flux";
        assert_eq!(count(&database, other), 0);
    }
    let one = [
        "query",
        "starfit.db",
        "--where",
        "object_id = 7",
        "--columns",
        "object_id,flux",
    ];
    let ran = starfit(folder.path(), &one);
    assert_eq!(ran.stdout.lines().count(), 3, "{}", ran.stdout);
    for (args, message) in [
        (["match", "none.db", "--sigma=5"], "none.db"),
        (["match", "starfit.db", "--radius=-1"], "--radius"),
        (["match", "starfit.db", "--exclude=bright"], "--exclude"),
        (["match", "starfit.db", "--run=9"], "--run"),
    ] {
        let ran = starfit(folder.path(), &args);
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
}

#[test]
fn six_stars_are_found_where_they_are_in_every_format_and_on_every_backend() {
    let truth = read_csv(Path::new(&shipped("base_truth.csv")));
    let gpu = crate::common::gpu().is_some();
    for backend in ["auto", "cpu", "reference", "gpu"] {
        if backend == "gpu" && !gpu {
            continue;
        }
        let folder = folder();
        let args = [
            "fit",
            "-q",
            "--backend",
            backend,
            "-o",
            "out.csv",
            "-o",
            "out.sqlite",
            &shipped("base.fits"),
        ];
        let ran = starfit(folder.path(), &args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let rows = read_csv(&folder.path().join("out.csv"));
        assert_eq!(rows.len(), 6);
        for star in &truth {
            let close = |by: f64| {
                rows.iter().any(|row| {
                    (row["x"] - star["x"]).abs() < 4.5 * row["x_err"] + by
                        && (row["y"] - star["y"]).abs() < 4.5 * row["y_err"] + by
                        && (row["fwhm"] / 2.3548 - star["sigma"]).abs() < 4.5 * row["fwhm_err"]
                })
            };
            assert!(close(0.0), "{backend}: ({}, {})", star["x"], star["y"]);
        }
        assert_eq!(
            count(
                &folder.path().join("out.sqlite"),
                "SELECT count(*) FROM catalog"
            ),
            6
        );
    }
}

#[test]
fn csv_on_stdout_is_csv_alone() {
    let folder = folder();
    let ran = starfit(folder.path(), &["fit", "-o", "-", &shipped("base.fits")]);
    assert_eq!(ran.code, 0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 7, "{}", ran.stdout);
    assert!(
        lines[0].starts_with("image,id,x,x_err,y,y_err,ra,")
            && lines[0].ends_with(",flux_b,flux_b_err,name")
    );
    assert!(lines[1].starts_with("base.fits[0],0,"));
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing else is written"
    );
}

#[test]
fn given_stars_are_rows_in_the_given_order() {
    let folder = folder();
    std::fs::write(
        folder.path().join("list.csv"),
        "name,X_IMAGE,Y_IMAGE\nb,71.6,19.2\nnowhere,-500,20\na,21.3,16.7\nunknown,,\nc,1e300,3\n",
    )
    .unwrap();
    let args = [
        "fit",
        "-q",
        "--stars",
        "list.csv",
        "-o",
        "out.csv",
        "--zero-point",
        "25",
        &shipped("base.fits"),
    ];
    let ran = starfit(folder.path(), &args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows = read_csv(&folder.path().join("out.csv"));
    assert_eq!(rows.len(), 5);
    // X_IMAGE counts from 1, the catalogue from 0.
    assert!((rows[0]["x"] - 70.6).abs() < 0.1 && (rows[2]["x"] - 20.3).abs() < 0.1);
    assert!((rows[0]["mag"] - (25.0 - 2.5 * rows[0]["flux"].log10())).abs() < 1e-9);
    let text = std::fs::read_to_string(folder.path().join("out.csv")).unwrap();
    assert_eq!(text.matches(",too_few_pixels,").count(), 3, "{text}");
    assert!(rows[1]["x"] == -500.0 - 1.0 && rows[1]["flux"].is_nan() && rows[3]["x"].is_nan());

    let one_based = starfit(
        folder.path(),
        &[
            "fit",
            "-q",
            "--fits-pixels",
            "-o",
            "-",
            &shipped("base.fits"),
        ],
    );
    let zero_based = starfit(
        folder.path(),
        &["fit", "-q", "-o", "-", &shipped("base.fits")],
    );
    let x = |ran: &Ran| -> f64 {
        ran.stdout
            .lines()
            .nth(1)
            .unwrap()
            .split(',')
            .nth(2)
            .unwrap()
            .parse()
            .unwrap()
    };
    assert!((x(&one_based) - x(&zero_based) - 1.0).abs() < 1e-9);
}

#[test]
fn one_bad_input_among_good_ones_is_named_and_the_others_are_done() {
    let folder = folder();
    let args = ["fit", "nowhere.fits", &shipped("base.fits"), "."];
    let ran = starfit(folder.path(), &args);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("error: nowhere.fits: ")
            && ran
                .stderr
                .contains("error: INPUT .: expected a folder with files"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        count(
            &folder.path().join("starfit.db"),
            "SELECT count(*) FROM catalog"
        ),
        6
    );

    let ran = starfit(folder.path(), &["fit", "nowhere.fits", "-o", "new.db"]);
    assert_eq!(ran.code, 2);
    assert!(
        !folder.path().join("new.db").exists(),
        "a database of nothing is removed"
    );
    assert!(folder.path().join("starfit.db").exists());
}

#[test]
fn a_pattern_is_an_input_like_any_other() {
    let folder = folder();
    for name in ["a.fits", "b.fits"] {
        std::fs::copy(shipped("base.fits"), folder.path().join(name)).unwrap();
    }
    for (pattern, rows) in [("*.fits", 12), ("?.fits[0]", 12), ("a*", 6)] {
        let ran = starfit(folder.path(), &["fit", "-q", "-o", "-", pattern]);
        assert_eq!(
            (ran.code, ran.stdout.lines().count()),
            (0, rows + 1),
            "{pattern}: {}",
            ran.stderr
        );
    }
    let ran = starfit(
        folder.path(),
        &["fit", "-q", "-o", "-", "nothing*.fits", "a.fits", "***"],
    );
    assert_eq!((ran.code, ran.stdout.lines().count()), (1, 7));
    assert!(
        ran.stderr.contains("nothing*.fits: expected a file, a folder or a pattern of files, found no file that matches") && ran.stderr.contains("***: "),
        "{}",
        ran.stderr
    );
}

#[test]
fn every_file_of_the_data_sets_is_done_in_bounded_memory() {
    let Some(images) = data("data") else { return };
    let (mut done, mut refused) = (0, 0);
    for entry in std::fs::read_dir(images).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.contains(".fit") {
            continue;
        }
        let folder = folder();
        let program = assert_cmd::cargo::cargo_bin("starfit");
        // Forty times the largest of these files, threads and program included.
        let limited = format!(
            "ulimit -v 1000000; exec '{}' fit -q --backend cpu -o out.db '{}'",
            program.display(),
            path.display()
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &limited])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{name}: {stderr}");
        match output.status.code() {
            Some(0) => done += 1,
            Some(2) if stderr.contains("not supported") => refused += 1,
            code => panic!("{name}: {code:?}: {stderr}"),
        }
    }
    println!("{done} files done, {refused} of a kind that is not supported");
    assert!(done > 20 && refused <= 1);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_whole_images_and_leaves_no_other_file() {
    let folder = folder();
    std::fs::write(folder.path().join("out.csv"), "what was there before").unwrap();
    let images = copies(folder.path(), "panoptes.fits.fz", 300);
    let mut args = vec!["fit", "-q", "-o", "out.db", "-o", "out.csv"];
    args.extend(images.iter().map(String::as_str));
    let child = std::process::Command::new(assert_cmd::cargo::cargo_bin("starfit"))
        .args(args)
        .current_dir(folder.path())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let kill = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let hint = "done, kept in out.db\nhint: the same command with --resume and databases alone as \
                outputs does the rest\n";
    assert!(
        stderr.starts_with("interrupted: ") && stderr.ends_with(hint),
        "{stderr}"
    );
    assert_eq!(
        std::fs::read_to_string(folder.path().join("out.csv")).unwrap(),
        "what was there before"
    );
    let names: BTreeSet<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with("out.db"))
        .collect();
    assert_eq!(
        names,
        BTreeSet::from(["in".to_owned(), "out.csv".to_owned()]),
        "a temporary file is left"
    );
    let database = folder.path().join("out.db");
    assert!(count(&database, "SELECT count(*) FROM images") >= 1);
    assert_eq!(
        count(&database, "SELECT count(*) FROM stars"),
        count(&database, "SELECT sum(n_stars) FROM images")
    );
}

#[test]
fn simulated_stars_are_found_and_fitted_by_the_program() {
    let folder = folder();
    let ran = starfit(
        folder.path(),
        &[
            "simulate",
            "field.fits",
            "--stars",
            "40",
            "--width",
            "400",
            "--height",
            "300",
            "--snr",
            "80:300",
        ],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let truth = read_csv(&folder.path().join("field.fits.truth.csv"));
    let ran = starfit(folder.path(), &["fit", "-q", "-o", "out.csv", "field.fits"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows = read_csv(&folder.path().join("out.csv"));
    let near = |star: &std::collections::HashMap<String, f64>, d: f64| {
        rows.iter()
            .any(|row| (row["x"] - star["x"]).hypot(row["y"] - star["y"]) < d)
    };
    let whole: Vec<_> = truth.iter().filter(|star| star["flags"] == 0.0).collect();
    let found = whole.iter().filter(|star| near(star, 0.2)).count();
    assert!(
        truth.len() == 40 && found as f64 > 0.9 * whole.len() as f64,
        "{found} of {}",
        whole.len()
    );
    assert!((rows.len() as f64) < 1.1 * truth.len() as f64);

    let ran = starfit(
        folder.path(),
        &["simulate", "stack.npy", "--stack", "64", "--size", "11"],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let ran = starfit(
        folder.path(),
        &["fit", "-q", "-o", "-", "--gain", "1.5", "stack.npy"],
    );
    assert_eq!(
        (ran.code, ran.stdout.lines().count()),
        (0, 65),
        "{}",
        ran.stderr
    );
    // The list of another file has another number of rows.
    let ran = starfit(
        folder.path(),
        &["fit", "--stars", "field.fits.truth.csv", "stack.npy"],
    );
    assert!(
        ran.code == 2 && ran.stderr.contains("stack.npy: ") && ran.stderr.contains("as many as"),
        "{}",
        ran.stderr
    );
    let ran = starfit(
        folder.path(),
        &[
            "fit",
            "-q",
            "-o",
            "-",
            "--stars",
            "stack.npy.truth.csv",
            "stack.npy",
        ],
    );
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 65));
}

#[test]
fn bench_tells_the_speed_of_right_answers_only() {
    let folder = folder();
    let ran = starfit(folder.path(), &["bench", "--count", "600", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let objects: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&str> = objects
        .iter()
        .map(|object| object["backend"].as_str().unwrap())
        .collect();
    assert!(names.starts_with(&["reference", "cpu"]), "{names:?}");
    assert_eq!(names.contains(&"gpu"), crate::common::gpu().is_some());
    for object in &objects {
        assert!(object["fits_per_s"].as_f64().unwrap() > 0.0 && object["count"] == 600);
        assert!(object["max_error_sigma"].as_f64().unwrap() < 0.005);
        let transfers =
            ["upload", "readback"].map(|stage| object["seconds"][stage].as_f64().unwrap());
        let is_on_device = object["backend"] == "gpu";
        assert!(
            transfers
                .iter()
                .all(|&seconds| (seconds > 0.0) == is_on_device)
        );
        assert!(object["seconds"]["kernel"].as_f64().unwrap() > 0.0);
        // A processor cannot do more than it can.
        let part = object["part_of_peak"].as_f64().unwrap();
        assert!(part > 0.0 && part < 1.0, "{part}");
    }
    let poisson = ["--estimator", "poisson", "--backend", "cpu"];
    for work in ["w3", "m1"] {
        let args = [
            ["bench", "--count", "600", "--work"].as_slice(),
            &[work],
            &poisson,
        ];
        let ran = starfit(folder.path(), &args.concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(
            ran.stdout
                .starts_with(&format!("{work}: 600 stars of 21 x 21"))
        );
        let named: Vec<&str> = ran
            .stdout
            .lines()
            .filter(|l| l.starts_with("cpu "))
            .collect();
        assert_eq!(named.len(), 1, "{}", ran.stdout);
        assert!(!ran.stdout.contains("\nreference "), "{}", ran.stdout);
    }
    // One step from a wrong start is no answer.
    let ran = starfit(
        folder.path(),
        &["bench", "--count", "600", "--tolerance", "1e9"],
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("no speed is told"), "{}", ran.stderr);
}

#[test]
fn the_program_gives_the_reference_fits_of_an_image() {
    let (Some(image), Some(reference)) = (
        data("data/eso085_030.fit"),
        data("data/reference/eso085_030.gauss_circ.csv"),
    ) else {
        return;
    };
    let folder = folder();
    let truth = read_csv(&reference);
    let list: String = truth
        .iter()
        .map(|star| format!("{},{}\n", star["ix"], star["iy"]))
        .collect();
    std::fs::write(folder.path().join("list.csv"), format!("x,y\n{list}")).unwrap();
    let options = "fit -q --stars list.csv --size 15 --weights unit --saturation inf --tolerance 1e-10 --max-iterations 400 -o out.csv";
    let image = image.display().to_string();
    let args: Vec<&str> = options.split(' ').chain([image.as_str()]).collect();
    let ran = starfit(folder.path(), &args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows = read_csv(&folder.path().join("out.csv"));
    let good: Vec<_> = truth
        .iter()
        .zip(&rows)
        .filter(|(t, _)| t["agree"] == 1.0 && t["success"] == 1.0)
        .collect();
    let near = |shift: f64| {
        good.iter()
            .filter(|(t, row)| (row["x"] + shift - t["x"]).abs() <= 0.01 * t["x_err"])
            .count()
    };
    assert!(
        near(0.0) as f64 >= 0.99 * good.len() as f64,
        "{} of {}",
        near(0.0),
        good.len()
    );
    assert!(near(0.1) * 100 < good.len());
}

#[test]
fn wrong_usage_names_the_option_before_any_work() {
    let folder = folder();
    let base = shipped("base.fits");
    std::fs::copy(&base, folder.path().join("in.csv")).unwrap();
    std::fs::write(folder.path().join("not.db"), "this is no database").unwrap();
    std::fs::write(folder.path().join("list.csv"), "x,y\n1,1\n").unwrap();
    for (args, wanted) in [
        (vec!["fit"], "INPUT"),
        (vec!["fit", &base, "--size", "14"], "--size"),
        (vec!["fit", &base, "--model", "sersic"], "gaussian"),
        (vec!["fit", &base, "--threshold", "-1"], "--threshold"),
        (vec!["fit", &base, "--gain", "nan"], "--gain"),
        (vec!["fit", &base, "--chunk", "0"], "--chunk"),
        (vec!["fit", &base, "-o", "out.xyz"], "out.xyz"),
        (
            vec!["fit", &base, "-o", "no/such/folder/out.csv"],
            "no/such/folder",
        ),
        (vec!["fit", &base, "-o", "."], "error: "),
        (vec!["fit", &base, "-o", "not.db"], "not.db"),
        (vec!["fit", "in.csv", "-o", "in.csv"], "is an input"),
        (
            vec!["fit", &base, "--stars", "list.csv", "-o", "list.csv"],
            "is an input",
        ),
        (
            vec!["fit", &base, "-o", "a.csv", "-o", "a.csv"],
            "given twice",
        ),
        (
            vec!["fit", &base, "--backend", "cpu", "--device", "any"],
            "--device any",
        ),
        (vec!["fit", &base, "--stars", "nowhere.csv"], "nowhere.csv"),
        (
            vec![
                "fit",
                &base,
                "--backend",
                "gpu",
                "--device",
                "no such thing",
            ],
            "starfit devices",
        ),
        (vec!["fit", "no*match.fits"], "no file that matches"),
        (vec!["measure", &base], "measure"),
    ] {
        if wanted == "starfit devices" && crate::common::gpu().is_none() {
            continue;
        }
        let ran = starfit(folder.path(), &args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(wanted), "{args:?}: {}", ran.stderr);
    }
    assert_eq!(
        std::fs::read_to_string(folder.path().join("not.db")).unwrap(),
        "this is no database"
    );
    assert!(
        !folder.path().join("starfit.db").exists(),
        "nothing is written on wrong usage"
    );
}

#[test]
fn extensions_planes_and_stacks_are_chosen() {
    let folder = folder();
    for (args, image, rows) in [
        (
            vec!["data/bad/cube3.fits", "--plane", "0"],
            "cube3.fits[0][0]",
            6,
        ),
        (vec!["data/bad/cube3.fits", "--plane", "2"], "", 0),
        (
            vec!["data/bad/base_rice.fits.fz[1]"],
            "base_rice.fits.fz[1]",
            6,
        ),
        (
            vec!["reference/gauss_circ_15.npy"],
            "gauss_circ_15.npy",
            512,
        ),
        (vec!["data/bad/cube3.fits", "--cutouts"], "cube3.fits", 3),
    ] {
        let name = args[0].split('[').next().unwrap();
        let Some(path) = data(name) else { return };
        let full = args[0].replace(name, &path.display().to_string());
        let mut all = vec!["fit", "-q", "-o", "-", &full];
        all.extend(&args[1..]);
        let ran = starfit(folder.path(), &all);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stdout.lines().count(), rows + 1, "{args:?}");
        assert!(
            ran.stdout
                .lines()
                .skip(1)
                .all(|line| line.starts_with(&format!("{image},"))),
            "{args:?}"
        );
    }
    let Some(cube) = data("data/bad/cube3.fits") else {
        return;
    };
    let ran = starfit(
        folder.path(),
        &["fit", "-o", "-", &cube.display().to_string()],
    );
    assert!(
        ran.stderr.contains("warning: ") && ran.stderr.contains("3 planes"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout.lines().count(), 1 + 6 + 6);
    for (wrong, wanted) in [("[7]", "[7]"), ("[SCI]", "SCI")] {
        let path = format!("{}{wrong}", cube.display());
        let ran = starfit(folder.path(), &["fit", &path]);
        assert!(
            ran.code == 2 && ran.stderr.contains(wanted),
            "{}",
            ran.stderr
        );
    }
    let ran = starfit(
        folder.path(),
        &["fit", "--plane", "9", &cube.display().to_string()],
    );
    assert!(
        ran.code == 2 && ran.stderr.contains("plane"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_stack_of_the_reference_set_is_fitted_to_its_optima() {
    let (Some(stack), Some(optima)) = (
        data("reference/gauss_circ_15.npy"),
        data("reference/gauss_circ_15_opt_lsq.csv"),
    ) else {
        return;
    };
    let folder = folder();
    let ran = starfit(
        folder.path(),
        &[
            "fit",
            "-q",
            "-o",
            "out.csv",
            "--weights",
            "unit",
            &stack.display().to_string(),
        ],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (found, truth) = (read_csv(&folder.path().join("out.csv")), read_csv(&optima));
    let worst = |shift: f64| {
        let columns = [
            ("x", "x"),
            ("y", "y"),
            ("flux", "flux"),
            ("background", "bg"),
        ];
        let distance = |(ours, theirs): &(&str, &str), i: usize| {
            (found[i][*ours] + shift - truth[i][*theirs]).abs() / truth[i][&format!("err_{theirs}")]
        };
        columns
            .iter()
            .flat_map(|c| (0..512).map(move |i| distance(c, i)))
            .fold(0.0, f64::max)
    };
    println!(
        "gauss_circ_15: worst of 512 stars {:.4} of its error from the optimum",
        worst(0.0)
    );
    assert!(
        worst(0.0) < 0.01 && worst(0.001) > 0.01,
        "{} {}",
        worst(0.0),
        worst(0.001)
    );
}

/// `file,want` of the odd and broken files.
fn expectations() -> Option<Vec<(String, String)>> {
    let mut reader = csv::Reader::from_path(data("data/bad/expected.csv")?).unwrap();
    Some(
        reader
            .records()
            .map(|r| r.unwrap())
            .map(|r| (r[0].to_owned(), r[1].to_owned()))
            .collect(),
    )
}

#[test]
fn odd_and_broken_files_end_as_they_should() {
    let Some(expectations) = expectations() else {
        return;
    };
    assert!(expectations.len() > 60);
    for (file, want) in expectations {
        let folder = folder();
        let path = data(&format!("data/bad/{file}")).unwrap();
        let ran = starfit(
            folder.path(),
            &["fit", "-o", "out.db", &path.display().to_string()],
        );
        let refused = ran.code == 2 && !folder.path().join("out.db").exists();
        let errors = ran
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count();
        let warned = ran.stderr.contains("warning: ");
        let outcomes: BTreeSet<&str> = want.split('|').collect();
        let good = match (refused, ran.code) {
            (true, _) => outcomes.contains("refuse") && errors == 1 && ran.stderr.contains(&file),
            (_, 0) => outcomes.contains("read") || (outcomes.contains("read+warn") && warned),
            _ => false,
        };
        assert!(
            good,
            "{file}: wanted {want}, got exit code {}: {}",
            ran.code, ran.stderr
        );
    }
}

#[test]
fn the_six_stars_survive_every_way_of_storing_them() {
    let Some(truth) = data("data/bad/base_truth.csv") else {
        return;
    };
    let truth = read_csv(&truth);
    for file in [
        "base_rice.fits.fz",
        "gzip_no_suffix.fits",
        "uint16_bzero.fits",
        "int64.fits",
        "naxis3_len1.fits",
        "naxis4_degenerate.fits",
        "negative_sky.fits",
        "pedestal_1e6_f64.fits",
        "scale_1e-20_f32.fits",
        "scale_1e30_f32.fits",
        "free_format_scale.fits",
        "long_strings.fits",
        "no_padding.fits",
    ] {
        let folder = folder();
        let path = data(&format!("data/bad/{file}")).unwrap();
        let ran = starfit(
            folder.path(),
            &["fit", "-q", "-o", "out.csv", &path.display().to_string()],
        );
        assert_eq!(ran.code, 0, "{file}: {}", ran.stderr);
        let rows = read_csv(&folder.path().join("out.csv"));
        assert_eq!(rows.len(), 6, "{file}");
        for star in &truth {
            let near = |d: f64| {
                rows.iter()
                    .any(|r| (r["x"] - star["x"]).hypot(r["y"] - star["y"]) < d)
            };
            assert!(near(0.15), "{file}: ({}, {})", star["x"], star["y"]);
        }
    }
}

#[test]
fn missing_pixels_leave_no_nan_in_unflagged_rows() {
    for file in ["nan_inf_pixels.fits", "blank_int16.fits"] {
        let Some(path) = data(&format!("data/bad/{file}")) else {
            return;
        };
        let folder = folder();
        let ran = starfit(
            folder.path(),
            &["fit", "-q", "-o", "out.csv", &path.display().to_string()],
        );
        assert_eq!(ran.code, 0);
        let rows = read_csv(&folder.path().join("out.csv"));
        assert!(
            rows.len() >= 5 && rows.iter().any(|row| row["flags"] as u16 & 2 != 0),
            "{file}"
        );
        for row in rows.iter().filter(|row| row["flags"] == 0.0) {
            assert!(
                ["x", "x_err", "flux", "flux_err", "fwhm", "chi2"]
                    .iter()
                    .all(|c| row[*c].is_finite())
            );
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = folder();
    let args = ["simulate", "stack.npy", "--stack", "2000", "--size", "7"];
    assert_eq!(starfit(folder.path(), &args).code, 0);
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("starfit"))
        .args(["fit", "-q", "--backend", "cpu", "-o", "-", "stack.npy"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.as_ref()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_an_error() {
    if !PathBuf::from("/dev/full").exists() {
        return;
    }
    let folder = folder();
    let ran = starfit(
        folder.path(),
        &["fit", "-o", "/dev/full", &shipped("base.fits")],
    );
    assert!(
        ran.code == 2 && ran.stderr.contains("/dev/full"),
        "{} {}",
        ran.code,
        ran.stderr
    );
}

#[test]
fn names_with_blanks_and_letters_of_any_language_work() {
    let folder = folder();
    let name = "mein Stern Ω.fits";
    std::fs::copy(shipped("base.fits"), folder.path().join(name)).unwrap();
    let ran = starfit(folder.path(), &["fit", "-q", "-o", "größe.csv", name]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let text = std::fs::read_to_string(folder.path().join("größe.csv")).unwrap();
    assert!(text.contains("mein Stern Ω.fits[0],0,"));
}

#[test]
fn devices_and_models_list_what_there_is() {
    let folder = folder();
    let devices = starfit(folder.path(), &["devices"]);
    assert!(
        devices.code == 0
            && devices.stdout.contains("cpu ")
            && devices.stdout.contains("reference ")
    );
    let models = starfit(folder.path(), &["models"]);
    assert_eq!(models.code, 0);
    for model in starfit::model::MODELS {
        let block = models
            .stdout
            .split("\n\n")
            .find(|block| block.starts_with(&format!("{}: ", model.name())))
            .unwrap();
        assert!(block.contains(model.description()));
        let rows: Vec<&str> = block.lines().skip(2).collect();
        assert_eq!(rows.len(), model.columns().len());
        for (row, column) in rows.iter().zip(model.columns()) {
            assert!(row.trim_start().starts_with(column.name), "{row}");
            assert!(row.ends_with(column.description), "{row}");
        }
    }
    let gaussian = models.stdout.lines().skip(3).take(7).collect::<Vec<_>>();
    insta::assert_snapshot!(gaussian.join("\n"), @r#"
gaussian: circular Gaussian, evaluated at pixel centres
  parameter   unit     bounds          start              meaning
  flux        adu      any             windowed moments   integral of the star over the plane
  x           pix      -7.5 to 22.5    windowed moments   column of the centre
  y           pix      -7.5 to 22.5    windowed moments   row of the centre
  fwhm        pix      0.471 to 35.32  windowed moments   full width at half maximum
  background  adu/pix  any             median of the rim  level under the star
"#);
}
