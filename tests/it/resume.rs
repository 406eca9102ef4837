//! Runs that are killed, run side by side or out of space, and the same database afterwards.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rusqlite::Connection;
use rusqlite::types::Value;
use starfit::catalog::COLUMNS;

use crate::cli::{count, folder, starfit};

/// A night: small images, a cube of four planes and a stack of cutouts.
fn night(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut simulate = |name: String, options: &[&str]| {
        let seed = names.len().to_string();
        let mut args = vec!["simulate", &name, "--seed", &seed];
        args.extend(options);
        let ran = starfit(folder, &args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        names.push(name);
    };
    let image = ["--stars", "12", "--width", "200", "--height", "200"];
    for number in 0..20 {
        simulate(format!("n{number:02}.fits"), &image);
    }
    simulate("cube.fits".into(), &["--stack", "4", "--size", "65"]);
    simulate("stack.npy".into(), &["--stack", "300", "--size", "9"]);
    names
}

fn arguments<'a>(database: &'a str, options: &[&'a str], inputs: &'a [String]) -> Vec<&'a str> {
    let mut all = vec![
        "fit",
        "-q",
        "--backend",
        "cpu",
        "--gain",
        "1.5",
        "-o",
        database,
    ];
    all.extend(options);
    all.extend(inputs.iter().map(String::as_str));
    all
}

fn fit(folder: &Path, database: &str, options: &[&str], inputs: &[String]) {
    let ran = starfit(folder, &arguments(database, options, inputs));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

fn start(folder: &Path, database: &str, options: &[&str], inputs: &[String]) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin("starfit"))
        .args(arguments(database, options, inputs))
        .current_dir(folder)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Everything but surrogate keys and times, by image, plane and star: floats to the last bit.
fn dump(database: &Path) -> Vec<String> {
    let connection = Connection::open(database).unwrap();
    let lines = |sql: &str| {
        let mut statement = connection.prepare(sql).unwrap();
        let n = statement.column_count();
        let rows = statement.query_map([], |row| {
            let values = (0..n).map(|at| row.get::<_, Value>(at));
            Ok(format!("{:?}", values.collect::<Result<Vec<_>, _>>()?))
        });
        rows.unwrap().collect::<Result<Vec<_>, _>>().unwrap()
    };
    let names: Vec<_> = COLUMNS.iter().skip(1).map(|column| column.name).collect();
    let mut all = lines(
        "SELECT path, hdu, plane, name, bytes, modified, images.width, height, n_stars, sky_level, \
         sky_noise, gain_used, fwhm_used, cutout_width, settings \
         FROM images JOIN runs USING (run_id) ORDER BY path, plane",
    );
    all.extend(lines(&format!(
        "SELECT path, hdu, plane, {} FROM images JOIN stars USING (image_id) \
         ORDER BY path, plane, id",
        names.join(", ")
    )));
    all.extend(lines("SELECT * FROM columns ORDER BY name"));
    all
}

/// What is wrong with a database, if anything.
fn fault(database: &Path) -> Option<String> {
    let connection = Connection::open(database).unwrap();
    let texts = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let texts = statement.query_map([], |row| row.get(0)).unwrap();
        texts.collect::<Result<_, _>>().unwrap()
    };
    let mut faults = texts("PRAGMA integrity_check");
    faults.retain(|found| found != "ok");
    faults.extend(texts("PRAGMA foreign_key_check"));
    if texts("SELECT name FROM sqlite_schema WHERE name = 'images'").is_empty() {
        // Stopped before there were tables.
        return faults.pop();
    }
    faults.extend(texts(
        "SELECT name || ' is not whole' FROM images WHERE n_stars <> \
         (SELECT count(*) FROM stars WHERE stars.image_id = images.image_id)",
    ));
    faults.extend(texts(
        "SELECT name || ' has no view' FROM images \
         WHERE 'stars_' || image_id NOT IN (SELECT name FROM sqlite_schema WHERE type = 'view')",
    ));
    faults.extend(texts(
        "SELECT name || ' is a view of no image' FROM sqlite_schema WHERE name GLOB 'stars_[0-9]*' \
         AND type = 'view' AND substr(name, 7) + 0 NOT IN (SELECT image_id FROM images)",
    ));
    faults.pop()
}

/// A copy with its journal: looking at it must not mend the original.
fn copy(folder: &Path, database: &str) -> PathBuf {
    let to = folder.join("copy.db");
    for suffix in ["", "-wal", "-journal", "-shm"] {
        let target = folder.join(format!("copy.db{suffix}"));
        let _ = fs::remove_file(&target);
        let from = folder.join(format!("{database}{suffix}"));
        if suffix != "-shm" && from.exists() {
            fs::copy(from, target).unwrap();
        }
    }
    to
}

/// The number of whole images in a database whose writer was killed; others there must not be.
fn images_left(folder: &Path, database: &str) -> i64 {
    if !folder.join(database).exists() {
        return 0;
    }
    let copy = copy(folder, database);
    assert_eq!(fault(&copy), None, "{database}");
    let has_tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'images'";
    match count(&copy, has_tables) {
        0 => 0,
        _ => count(&copy, "SELECT count(*) FROM images"),
    }
}

#[test]
fn a_killed_run_leaves_whole_images_and_is_resumed_to_the_same_rows() {
    let folder = folder();
    let folder = folder.path();
    let inputs = night(folder);
    let kills = std::env::var("STARFIT_KILLS").map_or(8, |kills| kills.parse().unwrap());
    let begun = Instant::now();
    fit(folder, "whole.db", &[], &inputs);
    let mut seconds = begun.elapsed().as_secs_f64();
    let whole = dump(&folder.join("whole.db"));
    assert_eq!(fault(&folder.join("whole.db")), None);
    assert_eq!(
        count(&folder.join("whole.db"), "SELECT count(*) FROM images"),
        25
    );

    let mut rng = Pcg64::seed_from_u64(50);
    let (mut found, mut round) = (Vec::new(), 0);
    while found.len() < kills {
        round += 1;
        let name = format!("{round}.db");
        let database = folder.join(&name);
        // Every third is killed again when it is resumed.
        for _ in 0..1 + u32::from(round % 3 == 0) {
            let mut child = start(folder, &name, &["--resume"], &inputs);
            sleep(Duration::from_secs_f64(
                seconds * rng.random_range(0.0..1.0),
            ));
            if child.try_wait().unwrap().is_some() {
                // It came to its end: the machine is less busy than it was.
                seconds *= 0.8;
                continue;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            found.push(images_left(folder, &name));
        }
        fit(folder, &name, &["--resume"], &inputs);
        assert_eq!(fault(&database), None, "round {round}");
        assert!(dump(&database) == whole, "round {round}: other rows");
    }
    eprintln!("images at each kill: {found:?}");
    assert!(
        found.iter().any(|images| (1..25).contains(images)),
        "no kill came between: {found:?}"
    );
}

#[test]
fn faults_would_be_seen() {
    let folder = folder();
    let folder = folder.path();
    let inputs = night(folder);
    fit(folder, "a.db", &[], &inputs[..2]);
    let whole = dump(&folder.join("a.db"));
    for (change, expected) in [
        (
            "UPDATE stars SET x = x * (1 + 3e-16) WHERE star_id = 2",
            None,
        ),
        (
            "DELETE FROM stars WHERE star_id = 2",
            Some("n00.fits[0] is not whole"),
        ),
        ("DROP VIEW stars_2", Some("n01.fits[0] has no view")),
        (
            "DELETE FROM images WHERE image_id = 1",
            Some("stars_1 is a view of no image"),
        ),
        (
            "UPDATE stars SET image_id = 9 WHERE star_id = 2",
            Some("n00.fits[0] is not whole"),
        ),
    ] {
        let copy = copy(folder, "a.db");
        let connection = Connection::open(&copy).unwrap();
        connection
            .pragma_update(None, "foreign_keys", false)
            .unwrap();
        connection.execute_batch(change).unwrap();
        drop(connection);
        assert_eq!(fault(&copy).as_deref(), expected, "{change}");
        let is_seen = expected.is_some_and(|fault| fault.contains("view"));
        assert!(is_seen || dump(&copy) != whole, "{change}");
    }
}

#[test]
fn planes_stacks_and_images_are_skipped_one_by_one() {
    let folder = folder();
    let folder = folder.path();
    let inputs = night(folder);
    let all = [&inputs[..2], &inputs[20..]].concat();
    fit(folder, "whole.db", &[], &all);
    let resume = |options: &[&str], inputs: &[&str]| {
        let mut args = vec!["fit", "--backend", "cpu", "--gain", "1.5", "-o", "part.db"];
        args.extend(options);
        args.extend(inputs);
        let ran = starfit(folder, &args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stderr
    };
    let done = |stderr: &str| {
        let line = stderr.lines().find(|line| line.ends_with("done already"));
        line.map(str::to_owned)
    };
    assert_eq!(
        done(&resume(&["--resume", "--plane", "2"], &["cube.fits"])),
        None
    );
    assert_eq!(done(&resume(&["--resume"], &["n01.fits"])), None);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let stderr = resume(&["--resume", "-v"], &all);
    assert_eq!(done(&stderr).unwrap(), "2 images were done already");
    assert!(
        stderr.contains("cube.fits[0][2]: is in the catalogue already"),
        "{stderr}"
    );
    assert!(
        stderr.contains("of 5 images written to part.db"),
        "{stderr}"
    );
    assert!(dump(&folder.join("part.db")) == dump(&folder.join("whole.db")));

    // Nothing is left: no trace, no failure.
    let runs = |sql: &str| count(&folder.join("part.db"), sql);
    let before = runs("SELECT count(*) FROM runs");
    let stderr = resume(&["--resume"], &all);
    assert_eq!(
        done(&stderr).unwrap(),
        "nothing written: 7 images were done already"
    );
    assert_eq!(runs("SELECT count(*) FROM runs"), before);
    let stderr = resume(&["--resume"], &["stack.npy"]);
    assert_eq!(
        done(&stderr).unwrap(),
        "nothing written: 1 image was done already"
    );

    // Without --resume, and with other settings, all are fitted again.
    assert_eq!(done(&resume(&[], &["n01.fits"])), None);
    assert_eq!(
        done(&resume(&["--resume", "--threshold", "6"], &["n01.fits"])),
        None
    );
    // A file that has changed is another.
    let file = File::options()
        .write(true)
        .open(folder.join("n00.fits"))
        .unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000))
        .unwrap();
    assert_eq!(done(&resume(&["--resume"], &["n00.fits"])), None);

    // A bad input beside what is done is a failure in part.
    let inputs = ["no.fits", "n00.fits"].map(String::from);
    let ran = starfit(folder, &arguments("part.db", &["--resume"], &inputs));
    assert_eq!(ran.code, 1, "{}", ran.stderr);
}

#[test]
fn files_beside_the_inputs_are_settings_by_what_they_are() {
    let folder = folder();
    let folder = folder.path();
    night(folder);
    for (option, file) in [
        ("--stars", "list.csv"),
        ("--mask", "mask.fits"),
        ("--variance", "variance.fits"),
    ] {
        let database = format!("{file}.db");
        let path = folder.join(file);
        match option {
            "--stars" => fs::write(&path, "x,y\n100,100\n").unwrap(),
            _ => drop(fs::copy(folder.join("n01.fits"), &path).unwrap()),
        }
        let set = |seconds| {
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
                .unwrap();
        };
        let runs = |name: &str| {
            let ran = starfit(
                folder,
                &[
                    "fit",
                    "-q",
                    "--backend",
                    "cpu",
                    "--resume",
                    "-o",
                    &database,
                    option,
                    name,
                    "n00.fits",
                ],
            );
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            count(
                &folder.join(&database),
                "SELECT count(*) FROM runs JOIN images USING (run_id)",
            )
        };
        set(1_600_000_000);
        assert_eq!(runs(file), 1);
        assert_eq!(runs(file), 1, "{option}: unchanged");
        assert_eq!(
            runs(&format!("./{file}")),
            1,
            "{option}: the same by another way"
        );
        set(1_600_000_001);
        assert_eq!(runs(file), 2, "{option}: changed");
        let mut content = fs::read(&path).unwrap();
        content.extend(if option == "--stars" {
            vec![b'\n']
        } else {
            vec![0; 2880]
        });
        fs::write(&path, content).unwrap();
        set(1_600_000_001);
        assert_eq!(runs(file), 3, "{option}: another size");
    }
}

#[test]
fn resuming_needs_a_database() {
    let folder = folder();
    for output in ["out.csv", "-", "out.fits"] {
        let args = ["fit", "--resume", "-o", "a.db", "-o", output, "n00.fits"];
        let ran = starfit(folder.path(), &args);
        assert_eq!(ran.code, 2);
        let expected = format!(
            "error: --resume: expected databases alone as outputs, .db or .sqlite, found {output}, \
             which is written anew\nhint: `starfit query DB -o FILE` makes such a file of a database\n"
        );
        assert_eq!(ran.stderr, expected);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn two_runs_at_once_lose_nothing() {
    let folder = folder();
    let folder = folder.path();
    let inputs = night(folder);
    fit(folder, "one.db", &[], &inputs);
    let (images, others) = inputs.split_at(20);
    let children = [
        start(folder, "two.db", &[], others),
        start(folder, "two.db", &[], &images[..10]),
        start(folder, "two.db", &[], &images[10..]),
    ];
    for child in children {
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    }
    assert_eq!(fault(&folder.join("two.db")), None);
    assert!(dump(&folder.join("two.db")) == dump(&folder.join("one.db")));
    let unfinished = "SELECT count(*) FROM runs WHERE finished IS NULL";
    assert_eq!(count(&folder.join("two.db"), unfinished), 0);
}

/// The program where it can write no more than so many kilobytes, by a small disk of its own or by
/// a limit on the size of files; `None` where that is not allowed here.
#[cfg(target_os = "linux")]
fn in_little_space(
    folder: &Path,
    kilobytes: u32,
    disk: bool,
    args: &[&str],
) -> Option<(i32, String)> {
    let script = if disk {
        format!(
            "mount -t tmpfs -o size={kilobytes}k tmpfs small || exit 99; cp out.db small; cd small; \
             \"$@\"; code=$?; cp -f out.db* ..; exit $code"
        )
    } else {
        // POSIX counts in half kilobytes, bash in whole ones.
        format!("trap '' XFSZ; ulimit -f {kilobytes}; exec \"$@\"")
    };
    fs::create_dir_all(folder.join("small")).unwrap();
    let mut command = Command::new(if disk { "unshare" } else { "sh" });
    if disk {
        command.args(["--mount", "sh"]);
    }
    let output = command
        .args(["-c", &script, "sh"])
        .arg(assert_cmd::cargo::cargo_bin("starfit"))
        .args(args)
        .current_dir(folder)
        .output()
        .ok()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_missing = disk && (output.status.code() == Some(99) || stderr.starts_with("unshare:"));
    if is_missing {
        eprintln!("not tested: a disk of its own: {stderr}");
        return None;
    }
    Some((output.status.code().unwrap(), stderr))
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_what_was_there() {
    let folder = folder();
    let folder = folder.path();
    let inputs = night(folder);
    let ran = starfit(
        folder,
        &["simulate", "large.npy", "--stack", "4000", "--size", "7"],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    fit(folder, "old.db", &[], &inputs[..3]);
    let old = dump(&folder.join("old.db"));
    let large = folder.join("large.npy");
    let first = folder.join("n03.fits");
    let (large, first) = (large.display().to_string(), first.display().to_string());
    for disk in [false, true] {
        fs::copy(folder.join("old.db"), folder.join("out.db")).unwrap();
        let args = [
            "fit",
            "-q",
            "--backend",
            "cpu",
            "--gain",
            "1.5",
            "-o",
            "out.db",
        ];
        let Some((code, stderr)) =
            in_little_space(folder, 700, disk, &[&args[..], &[&large]].concat())
        else {
            continue;
        };
        assert_eq!(code, 2, "{stderr}");
        let expected = if disk {
            "error: out.db: database or disk is full\nhint: free some space"
        } else {
            "error: out.db: disk I/O error\nhint: "
        };
        assert!(stderr.starts_with(expected), "{stderr}");
        assert_eq!(fault(&folder.join("out.db")), None);
        assert!(dump(&folder.join("out.db")) == old, "{disk}");

        // What came before the stack that has no room is kept.
        let both = [&args[..], &[&first, &large]].concat();
        let (code, stderr) = in_little_space(folder, 700, disk, &both).unwrap();
        assert_eq!(code, 1, "{stderr}");
        assert_eq!(fault(&folder.join("out.db")), None);
        fit(folder, "four.db", &[], &inputs[..4]);
        assert!(dump(&folder.join("out.db")) == dump(&folder.join("four.db")));
        // With room it goes on.
        fit(
            folder,
            "out.db",
            &["--resume"],
            &[first.clone(), large.clone()],
        );
        let stars = "SELECT n_stars FROM images WHERE name = 'large.npy'";
        assert_eq!(count(&folder.join("out.db"), stars), 4000);
    }
}

#[test]
fn what_cannot_be_added_to_is_named_and_left_alone() {
    let folder = folder();
    let folder = folder.path();
    let inputs = night(folder);
    fit(folder, "out.db", &[], &inputs[..1]);
    let database = folder.join("out.db");
    let content = fs::read(&database).unwrap();
    let refused = |expected: &str| {
        let before = fs::read(&database).unwrap();
        let ran = starfit(folder, &arguments("out.db", &["--resume"], &inputs[..2]));
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.starts_with(expected), "{}", ran.stderr);
        assert_eq!(fs::read(&database).unwrap(), before, "{expected}");
        assert!(!folder.join("out.db-wal").exists());
    };
    let read_only = |yes| {
        let mut permissions = fs::metadata(&database).unwrap().permissions();
        permissions.set_readonly(yes);
        fs::set_permissions(&database, permissions).unwrap();
    };
    read_only(true);
    refused("error: out.db: the file is read-only");
    fs::remove_file(&database).unwrap();

    fs::write(&database, &content).unwrap();
    let connection = Connection::open(&database).unwrap();
    connection
        .pragma_update(None, "user_version", 1000)
        .unwrap();
    drop(connection);
    refused("error: out.db: schema version 1000 (expected 1 to ");

    fs::write(&database, "x,y\n1,2\n").unwrap();
    refused("error: out.db: header: expected an SQLite database, found another kind of file");

    // As it was, it is added to.
    fs::write(&database, &content).unwrap();
    fit(folder, "out.db", &["--resume"], &inputs[..2]);
    assert_eq!(count(&database, "SELECT count(*) FROM images"), 2);
}
