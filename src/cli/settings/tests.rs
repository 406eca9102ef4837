//! Precedence, errors and the way there and back, on the options of the program itself.

use std::fs;

use starfit::Error;

use super::*;
use crate::cli::command;

/// The settings of a command line, of variables and of a file, if there is any.
fn read(line: &str, variables: &[(&str, &str)], file: &str) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let mut typed: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    if !file.is_empty() {
        fs::write(&path, file).unwrap();
        typed.extend(["--config".into(), path.clone().into_os_string()]);
    }
    let variables = variables.iter();
    let variables = variables.map(|(name, text)| ((*name).into(), (*text).into()));
    let folder = format!("{}/", folder.path().display());
    Settings::read(command(), typed, variables).map_err(|error| {
        let hint = error.downcast_ref().and_then(Error::hint);
        let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
        format!("{error}{hint}").replace(&folder, "")
    })
}

/// Final value of an option, all its values joined.
fn value(settings: &Settings, id: &str) -> String {
    let matches = settings.matches().unwrap();
    let (_, matches) = matches.subcommand().unwrap();
    let values = matches.get_raw(id).into_iter().flatten();
    let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    values.join(" ")
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let file = "[fit]\nmodel = 'elliptical-moffat'\n";
    let variables = [("STARFIT_MODEL", "moffat")];
    let model = |line: &str, variables: &[_], file: &str| {
        value(&read(line, variables, file).unwrap(), "model")
    };
    let (plain, flag) = ("starfit fit a", "starfit fit a --model gaussian-integrated");
    assert_eq!(model(plain, &[], ""), "gaussian");
    assert_eq!(model(plain, &[], file), "elliptical-moffat");
    assert_eq!(model(plain, &variables, file), "moffat");
    assert_eq!(model(flag, &variables, file), "gaussian-integrated");
    assert_eq!(model(flag, &[], file), "gaussian-integrated");
    assert_eq!(
        model(plain, &[("STARFIT_MODEL", "")], file),
        "elliptical-moffat"
    );
    // Tables of other commands are for them.
    assert_eq!(
        model(plain, &[], "[simulate]\nmodel = 'moffat'\n"),
        "gaussian"
    );
}

#[test]
fn every_kind_of_option_may_be_in_a_file() {
    let file = "quiet = true\n[fit]\ninputs = ['a b.fits', '-c.fits']\noutput = ['x.db', 'y.csv']\n\
                resume = false\ncutouts = true\nthreshold = 7\ngain = 1.5\nsaturation = inf\nsize = 0x15\n\
                fix = 'x'\nbound = ['fwhm=2:4', 'beta=1.5:']\nbias = -3.5\n";
    let settings = read("starfit fit", &[], file).unwrap();
    for (id, expected) in [
        ("inputs", "a b.fits -c.fits"),
        ("output", "x.db y.csv"),
        ("resume", "false"),
        ("cutouts", "true"),
        ("quiet", "true"),
        ("threshold", "7"),
        ("gain", "1.5"),
        ("saturation", "inf"),
        ("size", "21"),
        ("fix", "x"),
        ("bound", "fwhm=2:4 beta=1.5:"),
        ("bias", "-3.5"),
    ] {
        assert_eq!(value(&settings, id), expected, "{id}");
    }
    let none = read("starfit fit a", &[], "[fit]\noutput = []\n").unwrap();
    assert_eq!(value(&none, "output"), "starfit.db");
    // What is typed is not added to what is there, but takes its place.
    let typed = read("starfit fit --fix y b.fits", &[], file).unwrap();
    assert_eq!(
        (value(&typed, "fix"), value(&typed, "inputs")),
        ("y".into(), "b.fits".into())
    );

    let file = "[query]\ndatabase = 'a.db'\nbox = [-1, 0.5, 10, 1e2]\ncolumns = ['x', 'y']\n\
                order = ['snr desc']\nlimit = 3\n";
    let settings = read("starfit query", &[], file).unwrap();
    for (id, expected) in [
        ("database", "a.db"),
        ("corners", "-1 0.5 10 1e2"),
        ("columns", "x y"),
        ("order", "snr desc"),
        ("limit", "3"),
    ] {
        assert_eq!(value(&settings, id), expected, "{id}");
    }
}

#[test]
fn every_kind_of_option_may_be_a_variable() {
    let variables = [
        ("STARFIT_QUIET", "1"),
        ("STARFIT_RESUME", "no"),
        ("STARFIT_OUTPUT", "a b.db, c.csv"),
        ("STARFIT_READ_NOISE", "4"),
        ("STARFIT_BIAS", "-2"),
        ("STARFIT_INPUTS", "b.fits"),
        ("STARFIT_DATA", "/data"),
        ("STARFIT_TRESHOLD", "4"),
    ];
    let settings = read("starfit fit a.fits", &variables, "").unwrap();
    for (id, expected) in [
        ("quiet", "true"),
        ("resume", "false"),
        ("output", "a b.db c.csv"),
        ("read_noise", "4"),
        ("bias", "-2"),
        ("inputs", "a.fits"),
    ] {
        assert_eq!(value(&settings, id), expected, "{id}");
    }
    let expected = [
        "STARFIT_DATA: is no setting",
        "STARFIT_INPUTS: is no setting",
        "STARFIT_TRESHOLD: is no setting; STARFIT_THRESHOLD is",
    ];
    let said: Vec<&str> = settings.unknown.iter().map(String::as_str).collect();
    assert_eq!(said.len(), 3);
    assert!(
        said.iter()
            .zip(expected)
            .all(|(said, expected)| said.starts_with(expected)),
        "{said:?}"
    );
    let settings = read("starfit query a.db", &[("STARFIT_NEAR", "-1 2 3")], "").unwrap();
    assert_eq!(value(&settings, "near"), "-1 2 3");
}

#[test]
fn what_excludes_another_gives_way_or_is_an_error() {
    let file = "verbose = 2\n[simulate]\nstars = 7\n[query]\nnear = [1, 2, 3]\n";
    let settings = read("starfit simulate a.npy --stack 5 -q", &[], file).unwrap();
    assert_eq!(value(&settings, "stack"), "5");
    let of = |id| {
        settings
            .settings
            .iter()
            .any(|setting| setting.arg.get_id() == id)
    };
    assert!(of("quiet") && !of("verbose") && !of("stars"));
    // Of a group.
    let settings = read("starfit query a.db --box 1 2 3 4", &[], file).unwrap();
    assert_eq!(
        (value(&settings, "corners"), value(&settings, "near")),
        ("1 2 3 4".into(), String::new())
    );
    let settings = read("starfit query a.db", &[("STARFIT_BOX", "1 2 3 4")], file).unwrap();
    assert_eq!(
        (value(&settings, "corners"), value(&settings, "near")),
        ("1 2 3 4".into(), String::new())
    );

    let both = "[simulate]\nstars = 7\n\nstack = 5\n";
    let error = read("starfit simulate a.npy", &[], both)
        .unwrap()
        .matches()
        .unwrap_err();
    let error = error.to_string();
    assert_eq!(error.matches("is from ").count(), 2, "{error}");
    assert!(
        error.contains("cannot be used with") && error.contains("a.toml, line 4"),
        "{error}"
    );
    let needs = "[simulate]\nsize = 21\n";
    let error = read("starfit simulate a.npy", &[], needs)
        .unwrap()
        .matches()
        .unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("--stack <N>") && error.contains("a.toml, line 2"),
        "{error}"
    );
    let settings = read("starfit simulate a.npy", &[("STARFIT_STACK", "5")], needs).unwrap();
    assert_eq!(value(&settings, "size"), "21");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let in_file = |file: &str| read("starfit fit a.fits", &[], file).unwrap_err();
    for (file, expected) in [
        (
            "[fit]\ntreshold = 5\n",
            "a.toml: line 2: expected an option of `starfit fit`, found treshold; did you mean threshold?",
        ),
        (
            "\nmodel = 'moffat'\n",
            "a.toml: line 2: expected an option of every command, or the table of one, found model; \
             model is an option of [fit]",
        ),
        (
            "[fit]\nquiet = true\n",
            "a.toml: line 2: expected an option of `starfit fit`, found quiet; quiet is set before the \
             first table",
        ),
        (
            "[fitt]\n",
            "a.toml: line 1: expected an option of every command, or the table of one, found fitt; \
             did you mean fit?",
        ),
        (
            "fit = 3\n",
            "a.toml: line 1: fit: expected a table, [fit], found 3",
        ),
        (
            "[fit]\ngain = 1.5\nthreshold = '5'\n",
            "a.toml: line 3: [fit] threshold: expected a number, found \"5\"",
        ),
        (
            "[fit]\nthreshold = -1\n",
            "a.toml: line 2: [fit] threshold: expected a number above 0, found -1",
        ),
        (
            "[fit]\nthreshold = [5, 6]\n",
            "a.toml: line 2: [fit] threshold: expected a number, found [5, 6]",
        ),
        (
            "[fit]\nplane = 1.5\n",
            "a.toml: line 2: [fit] plane: expected a whole number, found 1.5",
        ),
        (
            "[fit]\nresume = 1\n",
            "a.toml: line 2: [fit] resume: expected true or false, found 1",
        ),
        (
            "[fit]\nstars = 3\n",
            "a.toml: line 2: [fit] stars: expected a text in quotes, found 3",
        ),
        (
            "[fit]\nsolver = 'newton'\n",
            "a.toml: line 2: [fit] solver: expected one of levenberg-marquardt, gradient-descent, \
             found \"newton\"",
        ),
        (
            "[fit]\nfix = ['x', true]\n",
            "a.toml: line 2: [fit] fix: expected a text in quotes, or a number, found true",
        ),
        (
            "[query]\nbox = [1, 2]\n",
            "a.toml: line 2: [query] box: expected 4 values, found [1, 2]",
        ),
        (
            "verbose = 300\n",
            "a.toml: line 1: verbose: expected a whole number up to 255, found 300",
        ),
        (
            "[fit]\ngain = 1\ngain = 2\n",
            "a.toml: line 3: expected TOML, found duplicate key",
        ),
        ("[fit\n", "a.toml: line 1: expected TOML, found "),
    ] {
        let error = in_file(file);
        assert!(error.starts_with(expected), "{file}{error}");
    }
    assert!(read("starfit fit a.fits", &[], "[fit]\nthreshold = 1\n").is_ok());
    let in_variable = |name, text| read("starfit fit a.fits", &[(name, text)], "").unwrap_err();
    for (name, text, expected) in [
        (
            "STARFIT_THRESHOLD",
            "-1",
            "STARFIT_THRESHOLD: expected a number above 0, found -1",
        ),
        (
            "STARFIT_MODEL",
            "gausian",
            "STARFIT_MODEL: expected one of gaussian, ",
        ),
        (
            "STARFIT_RESUME",
            "perhaps",
            "STARFIT_RESUME: expected true or false, found perhaps",
        ),
        (
            "STARFIT_STEPS",
            "x",
            "STARFIT_STEPS: expected a whole number, found x",
        ),
        (
            "STARFIT_JOBS",
            "0",
            "STARFIT_JOBS: expected a number in 1..=4096, found 0",
        ),
        (
            "STARFIT_CONFIG",
            "/no/such.toml",
            "/no/such.toml: No such file",
        ),
    ] {
        let error = in_variable(name, text);
        assert!(error.starts_with(expected), "{name}: {error}");
    }
}

#[test]
fn what_is_printed_is_read_back() {
    for line in [
        "starfit fit a.fits 'b --bias=-3 --saturation inf --fix x=3.5 --fix y --tolerance 1e-7 -vv",
        "starfit fit",
        "starfit query a.db --box -1 2 3 4 --columns x,y --order x --where 'a=\"1\"' --limit 3",
        "starfit query a.db --cone 1 -2 3' -q",
        "starfit match a.db --radius 2\" --exclude none",
        "starfit simulate a.npy --stack 5 --snr 9:10 --seed 18446744073709551615",
        "starfit simulate a.fits",
        "starfit bench --backend cpu --backend reference --json",
        "starfit devices",
    ] {
        let first = read(line, &[], "").unwrap();
        let mut printed = Vec::new();
        first.print(&mut printed).unwrap();
        let printed = String::from_utf8(printed).unwrap();
        let command = line
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ");
        let second = read(&command, &[], &printed).unwrap();
        for arg in first
            .subcommand()
            .get_arguments()
            .filter(|arg| is_setting(arg))
        {
            let id = arg.get_id().as_str();
            // 0.000001 is 1e-6.
            let number = |text: String| text.parse().map_or(text, |number: f64| number.to_string());
            let of = |settings: &Settings| {
                let matches = settings.matches();
                matches.map(|_| number(value(settings, id))).ok()
            };
            let (before, after) = (of(&first), of(&second));
            assert_eq!(before, after, "{line}: {id}\n{printed}");
        }
        // And once more the same file, but for where it came from.
        let mut again = Vec::new();
        second.print(&mut again).unwrap();
        let values = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines
                .map(|line| line.split("  # ").next().unwrap_or(line).to_owned())
                .collect()
        };
        assert_eq!(values(&printed), values(&String::from_utf8(again).unwrap()));
    }
}

#[test]
fn lists_that_are_typed_survive_other_settings() {
    let line = "starfit query a.db --columns id,x --order snr";
    for variables in [vec![], vec![("STARFIT_LIMIT", "2")]] {
        let settings = read(line, &variables, "").unwrap();
        assert_eq!(value(&settings, "columns"), "id x");
        assert_eq!(value(&settings, "database"), "a.db");
    }
}

#[test]
fn variables_of_other_commands_are_left_out() {
    let backend = [("STARFIT_BACKEND", "auto")];
    let fit = read("starfit fit a", &backend, "").unwrap();
    assert_eq!(value(&fit, "backend"), "auto");
    let bench = read("starfit bench", &backend, "").unwrap();
    assert!(bench.matches().is_ok());
    assert!(
        bench.unknown[0].starts_with("STARFIT_BACKEND: auto is nothing for bench"),
        "{:?}",
        bench.unknown
    );
    // What no command has a use for is an error everywhere.
    assert!(read("starfit bench", &[("STARFIT_BACKEND", "cuda")], "").is_err());
}

#[test]
fn commands_without_settings_read_no_file_unasked() {
    let none = [("STARFIT_CONFIG", "none.toml")];
    for line in ["starfit models", "starfit completions bash"] {
        assert!(read(line, &none, "").is_ok(), "{line}");
    }
    assert!(read("starfit fit a", &none, "").is_err());
}

#[test]
fn what_is_printed_is_free_of_contradictions() {
    let loud = [("STARFIT_QUIET", "1"), ("STARFIT_VERBOSE", "1")];
    assert!(
        read("starfit fit --print-config", &loud, "")
            .unwrap()
            .check()
            .is_err()
    );
    assert!(
        read("starfit fit --print-config", &loud[..1], "")
            .unwrap()
            .check()
            .is_ok()
    );
    let error = read("starfit query a.db", &[("STARFIT_BOX", "1 2 3 4 5")], "").unwrap_err();
    assert!(error.contains("4 values"), "{error}");
}

#[cfg(unix)]
#[test]
fn only_settings_have_to_be_text() {
    use std::os::unix::ffi::OsStringExt;
    let read = |name: &str| {
        let text = OsString::from_vec(vec![0xff]);
        Settings::read(
            command(),
            vec!["starfit".into(), "fit".into(), "a".into()],
            [(name.into(), text)],
        )
    };
    assert!(read("STARFIT_DATA").is_ok());
    assert!(read("STARFIT_MODEL").is_err());
}
