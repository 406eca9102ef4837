//! Settings from files and variables, what a run says of itself, and the pages made of the options.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use starfit::io::fits::write_stack;
use starfit::simulate::Stack;

use crate::cli::{copies, count, folder, shipped, starfit};

/// The program with a variable set.
fn with_variable(folder: &Path, name: &str, text: &str, args: &[&str]) -> (i32, String) {
    let output = Command::new(assert_cmd::cargo::cargo_bin("starfit"))
        .args(args)
        .env(name, text)
        .current_dir(folder)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), stderr)
}

/// What the newest run of a database was set to.
fn setting(database: &Path, name: &str) -> String {
    let sql = "SELECT CAST(settings ->> ?1 AS TEXT) FROM runs ORDER BY run_id DESC LIMIT 1";
    let connection = Connection::open(database).unwrap();
    connection.query_row(sql, [name], |row| row.get(0)).unwrap()
}

#[test]
fn a_run_takes_its_settings_from_flags_variables_and_a_file_in_this_order() {
    let folder = folder();
    let (folder, database) = (folder.path(), folder.path().join("out.db"));
    let file = format!(
        "quiet = true\n[fit]\ninputs = [{:?}]\noutput = 'out.db'\nbackend = 'cpu'\nthreshold = 6\n\
         model = 'moffat'\n[query]\nlimit = 2\ncolumns = ['id', 'x']\n",
        shipped("base.fits")
    );
    fs::write(folder.join("my.toml"), file).unwrap();
    let fit = ["fit", "--config", "my.toml"];
    let ran = starfit(folder, &fit);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let both = || (setting(&database, "threshold"), setting(&database, "model"));
    assert_eq!(both(), ("6.0".into(), "moffat".into()));
    let (code, stderr) = with_variable(folder, "STARFIT_THRESHOLD", "7", &fit);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(both(), ("7.0".into(), "moffat".into()));
    let flag = [&fit[..], &["--threshold", "8"]].concat();
    let (code, _) = with_variable(folder, "STARFIT_THRESHOLD", "7", &flag);
    assert_eq!((code, both()), (0, ("8.0".into(), "moffat".into())));
    // A variable may name the file; of the file the table of another command counts.
    let query = ["query", "out.db"];
    let output = Command::new(assert_cmd::cargo::cargo_bin("starfit"))
        .args(query)
        .env("STARFIT_CONFIG", "my.toml")
        .current_dir(folder)
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.starts_with("id,x\n") && stdout.lines().count() == 3,
        "{stdout}"
    );

    for (name, text, args, expected) in [
        (
            "STARFIT_MODEL",
            "round",
            &fit[..],
            "error: STARFIT_MODEL: expected one of gaussian",
        ),
        (
            "STARFIT_CONFIG",
            "none.toml",
            &query[..],
            "error: none.toml: ",
        ),
    ] {
        let (code, stderr) = with_variable(folder, name, text, args);
        assert!(code == 2 && stderr.starts_with(expected), "{stderr}");
    }
    fs::write(folder.join("bad.toml"), "[fit]\n\ntreshold = 6\n").unwrap();
    let ran = starfit(folder, &["fit", "--config", "bad.toml", "a.fits"]);
    let expected = "error: bad.toml: line 3: expected an option of `starfit fit`, found treshold\n\
                    hint: did you mean threshold?\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (2, expected));
    let (_, stderr) = with_variable(folder, "STARFIT_TRESHOLD", "7", &["fit", "-v", "none.fits"]);
    assert!(
        stderr.contains("STARFIT_TRESHOLD: is no setting; STARFIT_THRESHOLD is\n"),
        "{stderr}"
    );
    let (_, stderr) = with_variable(folder, "STARFIT_TRESHOLD", "7", &["fit", "none.fits"]);
    assert!(!stderr.contains("STARFIT"), "{stderr}");
}

#[test]
fn printed_settings_give_the_same_run() {
    let folder = folder();
    let folder = folder.path();
    let base = shipped("base.fits");
    let args = [
        "fit",
        "--backend",
        "cpu",
        "--fix",
        "fwhm=4.2",
        "--gain",
        "1.5",
        "-o",
        "-",
        "-q",
        &base,
    ];
    let first = starfit(folder, &args);
    let printed = starfit(folder, &[&args[..], &["--print-config"]].concat());
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    for line in [
        "fix = [\"fwhm=4.2\"]  # command line",
        "threshold = 5  # default",
        "# mask = FILE  # not set",
        "quiet = true  # command line",
    ] {
        assert!(
            printed.stdout.lines().any(|found| found == line),
            "{}",
            printed.stdout
        );
    }
    fs::write(folder.join("a.toml"), &printed.stdout).unwrap();
    let again = starfit(folder, &["fit", "--config", "a.toml"]);
    assert!(
        again.code == 0 && again.stdout == first.stdout,
        "{}",
        again.stderr
    );
    let other = starfit(folder, &["fit", "--config", "a.toml", "--fix", "fwhm=4.1"]);
    assert!(
        other.code == 0 && other.stdout != first.stdout,
        "{}",
        other.stderr
    );
}

/// The numbers in a text, in their order.
fn numbers(text: &str) -> Vec<f64> {
    let words = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn the_summary_is_what_the_database_has() {
    let folder = folder();
    let folder = folder.path();
    let images = [shipped("panoptes.fits.fz"), shipped("base.fits")];
    let ran = starfit(folder, &["fit", "--backend", "cpu", &images[0], &images[1]]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let database = folder.join("starfit.db");
    let number = |sql: &str| count(&database, sql) as f64;
    let stars = number("SELECT count(*) FROM catalog");
    let fitted = number("SELECT count(*) FROM catalog WHERE flux IS NOT NULL");
    let converged = number("SELECT count(*) FROM catalog WHERE status = 'converged'");
    let connection = Connection::open(&database).unwrap();
    let mut widths = connection
        .prepare(
            // Without what is narrower than a star, or wider, or at the bound of the width.
            "SELECT fwhm FROM catalog WHERE status = 'converged' AND flags & (128 | 1024) = 0 \
             AND fwhm_err IS NOT NULL ORDER BY fwhm",
        )
        .unwrap();
    let widths: Vec<f64> = widths
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let median = (widths[widths.len() / 2] + widths[(widths.len() - 1) / 2]) / 2.0;
    let line = |start: &str| {
        let found = ran.stderr.lines().find(|line| line.contains(start));
        found.unwrap_or_else(|| panic!("{start}: {}", ran.stderr))
    };
    let written = line(" fitted) of 2 images written to starfit.db in ");
    assert_eq!(numbers(written)[..2], [stars, fitted], "{written}");
    assert!(written.ends_with("; as asked for)"), "{written}");
    let all = line("all images: ");
    assert_eq!(numbers(all)[0], converged, "{all}");
    let said = all.split("median FWHM ").nth(1).unwrap();
    let [pixels, arcseconds] = numbers(said)[..] else {
        panic!("{all}")
    };
    assert!((pixels - median).abs() <= 0.005 + 1e-9, "{median}: {all}");
    // PANOPTES has 10.3 arcseconds to the pixel; the other image is not on the sky.
    assert!((arcseconds / pixels - 10.3).abs() < 0.1, "{all}");
    let stages = line("stages, summed over images side by side: read ");
    let times = numbers(stages);
    assert!(
        times.len() == 4 && times[1] > 0.0 && times[2] > 0.0,
        "{stages}"
    );
    assert!(fitted <= stars && converged <= fitted);
}

/// The program on a terminal of its own; `None` where there is no `script`.
#[cfg(target_os = "linux")]
fn on_a_terminal(folder: &Path, args: &[&str]) -> Option<(i32, String)> {
    let program = assert_cmd::cargo::cargo_bin("starfit")
        .display()
        .to_string();
    let words = std::iter::once(program.as_str()).chain(args.iter().copied());
    let words: Vec<String> = words.map(|word| format!("'{word}'")).collect();
    let output = Command::new("script")
        .args([
            "-qec",
            &format!("stty cols 100; {}", words.join(" ")),
            "/dev/null",
        ])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else {
        eprintln!("not tested: there is no `script` to make a terminal");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some((output.status.code().unwrap(), text))
}

#[cfg(target_os = "linux")]
#[test]
fn bars_are_on_a_terminal_only_and_leave_the_lines_alone() {
    let folder = folder();
    let folder = folder.path();
    let bases = copies(folder, "base.fits", 40);
    let bases: Vec<&str> = bases.iter().map(String::as_str).collect();
    let args = [&["fit", "--backend", "cpu"][..], &bases].concat();
    let Some((code, text)) = on_a_terminal(folder, &args) else {
        return;
    };
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains(" of 40 files, about ") && text.contains(" stars/s"),
        "{text}"
    );
    // Each line of an image is whole: it begins where a bar was taken away, and ends a line.
    let is_whole = |line: &str| {
        let start = line.find("base.fits[0]: ").map_or("", |at| &line[at..]);
        start.starts_with("base.fits[0]: 6 stars, 6 converged, FWHM 4.24 pix, ")
            && start.ends_with(" adu")
    };
    let lines = text.split("\r\n").filter(|line| is_whole(line)).count();
    assert_eq!(lines, 40, "{text}");
    assert!(!is_whole("base.fits[0]: 6 stars, 1 of 40 files"));
    // No bar is left below the last words.
    let last = text.split("look at the best: ").nth(1).unwrap();
    assert!(!last.contains(" of 40 files"), "{text}");

    let quiet = [&args[..], &["-q"]].concat();
    let (code, text) = on_a_terminal(folder, &quiet).unwrap();
    assert_eq!((code, text.as_str()), (0, ""));
    let ran = starfit(folder, &args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!ran.stderr.contains(['\u{1b}', '\r']), "{}", ran.stderr);
}

/// A run that is interrupted that many times once it has written 100 kB to a file whose name has
/// `sign` in it: what it says and its exit code.
#[cfg(unix)]
fn interrupted(folder: &Path, args: &[&str], sign: &str, times: usize) -> (String, Option<i32>) {
    let child = Command::new(assert_cmd::cargo::cargo_bin("starfit"))
        .args(args)
        .current_dir(folder)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let written = || {
        let files = fs::read_dir(folder).unwrap().flatten();
        let files = files.filter(|file| file.file_name().to_string_lossy().contains(sign));
        let sizes = files.filter_map(|file| Some(file.metadata().ok()?.len()));
        sizes.max().unwrap_or(0)
    };
    let begun = Instant::now();
    while written() < 100_000 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        sleep(Duration::from_millis(5));
    }
    for _ in 0..times {
        let kill = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    (
        String::from_utf8(output.stderr).unwrap(),
        output.status.code(),
    )
}

/// The last words of a run that can be resumed.
const RESUME: &str = "hint: the same command with --resume does the rest\n";

#[cfg(unix)]
#[test]
fn ctrl_c_finishes_the_image_in_hand_and_a_second_one_does_not() {
    let folder = folder();
    let folder = folder.path();
    let images = copies(folder, "panoptes.fits.fz", 200);
    let run = |times: usize, output: &str| {
        let mut args = vec!["fit", "--backend", "cpu", "-o", output];
        args.extend(images.iter().map(String::as_str));
        let (stderr, code) = interrupted(folder, &args, &format!("{output}-wal"), times);
        assert_eq!(code, Some(130));
        stderr
    };
    let answer = "Ctrl-C: the image in hand is finished first; once more stops at once\n";
    let stderr = run(1, "once.db");
    // Where the image in hand is as good as finished, the last words are the answer.
    let is_answered = stderr.contains(answer)
        || (0..5).any(|again| run(1, &format!("again{again}.db")).contains(answer));
    assert!(is_answered, "{stderr}");
    assert!(
        stderr.contains("interrupted: ") && stderr.ends_with(RESUME),
        "{stderr}"
    );
    let args = [
        "fit",
        "-q",
        "--backend",
        "cpu",
        "-o",
        "whole.db",
        &images[0],
    ];
    assert_eq!(starfit(folder, &args).code, 0);
    let n_stars = count(&folder.join("whole.db"), "SELECT n_stars FROM images");
    assert!(n_stars > 1000);
    let whole = format!("SELECT count(*) FROM images WHERE n_stars = {n_stars}");
    let images = count(&folder.join("once.db"), "SELECT count(*) FROM images");
    assert!(images >= 1);
    assert_eq!(count(&folder.join("once.db"), &whole), images);

    // Where the image in hand is finished before the second one comes, there is nothing to stop.
    let stopped = (0..6)
        .map(|again| format!("twice{again}.db"))
        .find(|output| !run(2, output).contains("interrupted: "));
    let Some(twice) = stopped else {
        panic!("the image in hand is always finished first")
    };
    let twice = folder.join(twice);
    // It may come while an image is being committed: all of it is there then, or nothing.
    let images = count(&twice, &whole);
    let stars = count(&twice, "SELECT count(*) FROM stars");
    assert!(images < 200, "{images}");
    assert_eq!(stars, images * n_stars);
}

/// The last input is finished, and then nothing has been cut short: no file is thrown away.
#[cfg(unix)]
#[test]
fn ctrl_c_in_the_last_stack_loses_nothing() {
    const STARS: usize = 60_000;
    let folder = folder();
    let folder = folder.path();
    let stack = folder.join("stack.npy");
    Stack::w2(STARS, 1).write(&stack).unwrap();
    let args = ["fit", "--backend", "cpu", "-o", "out.csv", "stack.npy"];
    // The temporary file beside the one to come.
    let (stderr, code) = interrupted(folder, &args, ".tmp", 1);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!stderr.contains("interrupted: "), "{stderr}");
    let written = fs::read_to_string(folder.join("out.csv")).unwrap();
    assert_eq!(written.lines().count(), 1 + STARS);
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_between_the_planes_of_a_cube() {
    const PLANES: i64 = 2000;
    let folder = folder();
    let folder = folder.path();
    let planes = ndarray::Array3::from_shape_fn((PLANES as usize, 64, 64), |(plane, y, x)| {
        ((plane * 31 + y * 17 + x * 7) % 11) as f32
    });
    write_stack(folder.join("cube.fits"), &planes, &[]).unwrap();
    let args = ["fit", "--backend", "cpu", "-o", "out.db", "cube.fits"];
    let (stderr, code) = interrupted(folder, &args, "out.db-wal", 1);
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stderr.ends_with(RESUME), "{stderr}");
    let images = count(&folder.join("out.db"), "SELECT count(*) FROM images");
    assert!((1..PLANES).contains(&images), "{images}");
}

#[test]
fn completions_work_in_a_shell() {
    let folder = folder();
    let ran = starfit(folder.path(), &["completions", "bash"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    fs::write(folder.path().join("starfit.bash"), &ran.stdout).unwrap();
    let offered = |words: &str, last: &str| {
        let script = format!(
            "source starfit.bash; COMP_WORDS=({words} {last}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _starfit starfit '{last}' \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(folder.path())
            .output();
        output
            .ok()
            .map(|output| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    let Some(found) = offered("starfit fit", "--thre") else {
        eprintln!("not tested: there is no bash");
        return;
    };
    assert_eq!(found, "--threshold");
    assert_eq!(offered("starfit", "que").unwrap(), "query");
    assert_eq!(offered("starfit fit --weights", "u").unwrap(), "unit");
    assert_eq!(offered("starfit match", "--thre").unwrap(), "");
}

#[test]
fn man_pages_are_set_without_a_warning() {
    let folder = folder();
    let ran = starfit(folder.path(), &["man", "pages"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "", "")
    );
    let set = |page: &Path| {
        let groff = Command::new("groff")
            .args(["-man", "-ww", "-Tascii", "-P-c"])
            .arg(page)
            .output();
        let output = groff.ok()?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        // Letters printed twice are bold.
        let bare = text(&output.stdout).replace('\u{8}', "");
        Some((bare, text(&output.stderr)))
    };
    let pages = fs::read_dir(folder.path().join("pages")).unwrap();
    let pages: Vec<_> = pages.map(|page| page.unwrap().path()).collect();
    assert!(pages.len() > 8, "{pages:?}");
    for page in &pages {
        let Some((text, warnings)) = set(page) else {
            eprintln!("not tested: there is no groff");
            return;
        };
        assert_eq!(warnings, "", "{}", page.display());
        assert!(text.contains("EXXAAMMPPLLEESS"), "{text}");
    }
    let (text, _) = set(&folder.path().join("pages/starfit-query.1")).unwrap();
    let example = "starfit query starfit.db --near 350 350 5 --columns x,y,flux,distance\n";
    assert!(text.contains(example), "{text}");
    let broken = folder.path().join("broken.1");
    fs::write(&broken, ".TH a\n.NONE such\n").unwrap();
    assert_ne!(set(&broken).unwrap().1, "");

    fs::write(folder.path().join("file"), "").unwrap();
    let ran = starfit(folder.path(), &["man", "file/pages"]);
    assert!(
        ran.code == 2 && ran.stderr.starts_with("error: file/pages: "),
        "{}",
        ran.stderr
    );
}
