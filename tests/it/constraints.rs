//! What the user says of parameters and pixels, through the program: fixed values, bounds, start
//! values, masks, variances, counts. Every star is simulated and its truth known.

use std::collections::HashMap;
use std::path::Path;

use ndarray::{Array2, Array3};
use starfit::io::fits::{Card, FitsFile, FitsPath, PixelType, Value, write_image};
use starfit::io::{fits, npy};
use starfit::model::{MODELS, by_name};
use tempfile::TempDir;

use crate::cli::{Ran, folder, shipped, starfit};
use crate::common::read_csv;

type Row = HashMap<String, f64>;

const CONVERGED: &str = "converged";
const MASKED: u16 = 2;
const NEAR_BOUND: u16 = 8;

/// Cutouts of `model`, `stack.npy`, with their truth.
fn simulate_stack(folder: &TempDir, model: &str, more: &[&str]) -> Vec<Row> {
    let mut args = vec!["simulate", "stack.npy", "--stack", "150", "--size", "19"];
    args.extend(["--model", model]);
    args.extend(more);
    if !more.contains(&"--snr") {
        args.extend(["--snr", "30:300"]);
    }
    let ran = starfit(folder.path(), &args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    read_csv(&folder.path().join("stack.npy.truth.csv"))
}

/// What the camera of the simulations is told to the fit of a stack, which has no header.
const CAMERA: &str = "--gain 1.5 --read-noise 5 stack.npy";

/// Runs `fit` with these options; the rows, which must all have been fitted.
fn fit(folder: &TempDir, options: &str) -> Vec<Row> {
    let ran = try_fit(folder, options);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{options}");
    let text = std::fs::read_to_string(folder.path().join("out.csv")).unwrap();
    let statuses = text
        .lines()
        .skip(1)
        .filter(|line| !line.contains(CONVERGED));
    assert_eq!(statuses.count(), 0, "{options}: {text}");
    read_csv(&folder.path().join("out.csv"))
}

fn try_fit(folder: &TempDir, options: &str) -> Ran {
    let args: Vec<&str> = "fit -q --backend cpu -o out.csv"
        .split(' ')
        .chain(options.split(' '))
        .collect();
    starfit(folder.path(), &args)
}

/// The error, which must come with exit code 2 and before any output.
fn refused(folder: &TempDir, options: &str) -> String {
    let _ = std::fs::remove_file(folder.path().join("out.csv"));
    let ran = try_fit(folder, options);
    assert_eq!(ran.code, 2, "{options}: {}", ran.stderr);
    assert!(!folder.path().join("out.csv").exists(), "{options}");
    ran.stderr
}

fn has_flag(row: &Row, flag: u16) -> bool {
    row["flags"] as u16 & flag != 0
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// Whether every value of `column` is `value` to the last digit and has no error.
fn is_held(rows: &[Row], column: &str, value: f64) -> bool {
    let error = format!("{column}_err");
    rows.iter()
        .all(|row| row[column] == value && row[&error].is_nan())
}

/// The part of the rows whose `column` is within 4 of its error of the truth.
fn part_near(rows: &[Row], truth: &[Row], column: &str) -> f64 {
    let error = format!("{column}_err");
    let near =
        |(row, truth): &(&Row, &Row)| (row[column] - truth[column]).abs() < 4.0 * row[&error];
    rows.iter().zip(truth).filter(near).count() as f64 / rows.len() as f64
}

#[test]
fn forced_photometry_keeps_the_positions_and_finds_the_fluxes() {
    for model in MODELS {
        let folder = folder();
        let model = model.name();
        let truth = simulate_stack(&folder, model, &[]);
        let free = fit(
            &folder,
            &format!("--model {model} --stars stack.npy.truth.csv {CAMERA}"),
        );
        let forced = "--stars stack.npy.truth.csv --fix x --fix y";
        for estimator in ["least-squares", "poisson"] {
            let rows = fit(
                &folder,
                &format!("--model {model} --estimator {estimator} {forced} {CAMERA}"),
            );
            assert_eq!(rows.len(), truth.len());
            for ((row, free), truth) in rows.iter().zip(&free).zip(&truth) {
                assert_eq!((row["x"], row["y"]), (truth["x"], truth["y"]), "{model}");
                assert!(row["x_err"].is_nan() && row["y_err"].is_nan(), "{model}");
                assert!(
                    (row["flux"] - free["flux"]).abs() < 0.3 * free["flux_err"],
                    "{model}"
                );
                // The same but for the place at which the curvature is taken.
                assert!(row["flux_err"] < 1.01 * free["flux_err"] || estimator == "poisson");
                assert_eq!(row["dof"], free["dof"] + 2.0);
                assert!(
                    row["chi2"] > free["chi2"] || estimator == "poisson",
                    "{model}"
                );
            }
            assert!(part_near(&rows, &truth, "flux") > 0.99, "{model}");
        }
    }
}

#[test]
fn a_wrong_position_that_is_held_shows_in_the_fit() {
    let folder = folder();
    let truth = simulate_stack(&folder, "gaussian", &[]);
    let shifted: String = truth
        .iter()
        .map(|star| format!("{},{}\n", star["x"] + 1.0, star["y"]))
        .collect();
    std::fs::write(folder.path().join("list.csv"), format!("x,y\n{shifted}")).unwrap();
    let held = fit(
        &folder,
        &format!("--stars list.csv --fix x --fix y {CAMERA}"),
    );
    assert!(mean(held.iter().map(|row| row["reduced_chi2"])) > 2.0);
    // Where it is only where to look, it costs nothing.
    let free = fit(&folder, &format!("--stars list.csv {CAMERA}"));
    assert!((mean(free.iter().map(|row| row["reduced_chi2"])) - 1.0).abs() < 0.02);
    assert!(part_near(&free, &truth, "x") > 0.99 && part_near(&held, &truth, "flux") < 0.9);
}

#[test]
fn forced_photometry_of_an_image_keeps_every_digit_of_the_list() {
    let folder = folder();
    let list = "x,y\n20.3,15.7\n70.600000000000001,18.2\n0.1,0.30000000000000004\n95.9,79.3\n";
    std::fs::write(folder.path().join("list.csv"), list).unwrap();
    let listed = read_csv(&folder.path().join("list.csv"));
    let options = format!(
        "--stars list.csv --fix x --fix y --fix fwhm=4.2 {}",
        shipped("base.fits")
    );
    for (row, star) in fit(&folder, &options).iter().zip(&listed) {
        assert_eq!((row["x"], row["y"]), (star["x"], star["y"]));
    }
    // To count from 1 costs a digit below 1.
    let rows = fit(&folder, &format!("--fits-pixels {options}"));
    for (row, star) in rows.iter().zip(&listed) {
        assert!((row["x"] - star["x"]).abs() < 1e-15 && (row["y"] - star["y"]).abs() < 1e-15);
    }
}

#[test]
fn what_is_fixed_stays_and_the_rest_is_fitted() {
    for (model, fix, column, value, others) in [
        ("gaussian", "fwhm=3", "fwhm", 3.0, ["flux", "x"]),
        ("moffat", "fwhm=3", "fwhm", 3.0, ["flux", "beta"]),
        ("moffat", "beta=3", "beta", 3.0, ["flux", "fwhm"]),
        (
            "elliptical-gaussian",
            "theta=30",
            "theta",
            30.0,
            ["flux", "fwhm_major"],
        ),
        (
            "elliptical-moffat",
            "beta=3",
            "beta",
            3.0,
            ["flux", "theta"],
        ),
        (
            "gaussian-integrated",
            "background=1000",
            "background",
            1000.0,
            ["flux", "fwhm"],
        ),
    ] {
        let folder = folder();
        let truth = simulate_stack(&folder, model, &[]);
        let free = fit(&folder, &format!("--model {model} {CAMERA}"));
        let rows = fit(&folder, &format!("--model {model} --fix {fix} {CAMERA}"));
        assert!(is_held(&rows, column, value), "{model} {fix}");
        assert!(!is_held(&free, column, value), "{model} {fix}");
        assert_eq!(rows[0]["dof"], free[0]["dof"] + 1.0);
        assert!(rows.iter().all(|row| !has_flag(row, NEAR_BOUND)));
        for other in others {
            assert!(
                part_near(&rows, &truth, other) > 0.99,
                "{model} {fix}: {other}"
            );
            let error = |rows: &[Row]| mean(rows.iter().map(|row| row[&format!("{other}_err")]));
            assert!(
                error(&rows) < 1.001 * error(&free),
                "{model} {fix}: {other}"
            );
        }
    }
    // A value that is wrong by 10 % is no fit.
    let folder = folder();
    simulate_stack(&folder, "gaussian", &[]);
    let rows = fit(&folder, &format!("--fix fwhm=3.3 {CAMERA}"));
    assert!(mean(rows.iter().map(|row| row["reduced_chi2"])) > 1.1);
}

#[test]
fn all_may_be_fixed() {
    let folder = folder();
    simulate_stack(&folder, "gaussian", &[]);
    let all = "--fix x --fix y --fix flux --fix background --fix fwhm";
    let rows = fit(
        &folder,
        &format!("--stars stack.npy.truth.csv {all} {CAMERA}"),
    );
    assert!(
        rows.iter()
            .all(|row| row["dof"] == 361.0 && row["snr"].is_nan())
    );
    // The truth itself has a chi-square of 1 for each pixel.
    assert!((mean(rows.iter().map(|row| row["reduced_chi2"])) - 1.0).abs() < 0.02);
}

#[test]
fn a_parameter_at_its_bound_is_flagged_and_has_no_error() {
    for (model, bound, column, value, others) in [
        ("moffat", "beta=3.6:", "beta", 3.6, ["flux", "fwhm"]),
        ("gaussian", "fwhm=:2.7", "fwhm", 2.7, ["flux", "x"]),
        (
            "elliptical-gaussian",
            "fwhm_major=3.6:5",
            "fwhm_major",
            3.6,
            ["flux", "theta"],
        ),
        (
            "elliptical-moffat",
            "theta=45:60",
            "theta",
            45.0,
            ["flux", "beta"],
        ),
    ] {
        let folder = folder();
        simulate_stack(&folder, model, &["--snr", "100:300"]);
        let rows = fit(
            &folder,
            &format!("--model {model} --bound {bound} {CAMERA}"),
        );
        let error = format!("{column}_err");
        let mut ended_there = 0;
        for row in &rows {
            let at_bound = row[column] == value;
            assert_eq!(has_flag(row, NEAR_BOUND), at_bound, "{model} {bound}");
            assert_eq!(row[&error].is_nan(), at_bound, "{model} {bound}");
            assert!(
                others
                    .iter()
                    .all(|other| row[&format!("{other}_err")] > 0.0)
            );
            ended_there += usize::from(at_bound);
        }
        assert!(ended_there > 140, "{model} {bound}: {ended_there}");
        // The same on the other side of the truth binds nothing.
        let wide = format!(
            "{column}=0.5:{}",
            if column == "theta" { 90.0 } else { 15.0 }
        );
        let rows = fit(&folder, &format!("--model {model} --bound {wide} {CAMERA}"));
        assert!(
            rows.iter()
                .all(|row| !has_flag(row, NEAR_BOUND) && row[&error] > 0.0)
        );
    }
}

#[test]
fn an_angle_is_bounded_across_the_end_of_its_range() {
    for (theta, is_inside) in [("93", true), ("-88", true), ("85", true), ("60", false)] {
        let folder = folder();
        let more = ["--theta", theta, "--ellipticity", "0.4", "--snr", "100:300"];
        simulate_stack(&folder, "elliptical-gaussian", &more);
        let rows = fit(
            &folder,
            &format!("--model elliptical-gaussian --bound theta=80:100 {CAMERA}"),
        );
        let theta: f64 = theta.parse().unwrap();
        for row in &rows {
            let off = (row["theta"] - theta + 90.0).rem_euclid(180.0) - 90.0;
            let turned = row["theta"].rem_euclid(180.0);
            assert!((80.0..=100.0).contains(&turned), "{turned}");
            assert_eq!(
                off.abs() < 5.0 * row["theta_err"],
                is_inside,
                "{theta}: {off}"
            );
            assert_eq!(has_flag(row, NEAR_BOUND), !is_inside);
        }
    }
}

#[test]
fn each_star_has_its_own_start_values_and_bounds() {
    let folder = folder();
    let truth = simulate_stack(&folder, "moffat", &["--snr", "100:300"]);
    // Star 3 may not be as bright as it is, star 5 not as narrow, star 7 has another beta held.
    let mut list = "image,x,y,FLUX_max,fwhm_min,beta\n".to_owned();
    for (id, star) in truth.iter().enumerate() {
        let max = if id == 3 {
            format!("{}", 0.8 * star["flux"])
        } else {
            String::new()
        };
        let min = if id == 5 { "3.3" } else { "" };
        let beta = if id == 7 { 2.5 } else { 3.0 };
        list += &format!("m13.fits,{},{},{max},{min},{beta}\n", star["x"], star["y"]);
    }
    std::fs::write(folder.path().join("list.csv"), list).unwrap();
    let rows = fit(
        &folder,
        &format!("--model moffat --stars list.csv --fix beta {CAMERA}"),
    );
    for (id, (row, truth)) in rows.iter().zip(&truth).enumerate() {
        assert_eq!(row["beta"], if id == 7 { 2.5 } else { 3.0 });
        assert_eq!(has_flag(row, NEAR_BOUND), id == 3 || id == 5, "{id}");
        assert_eq!(row["flux_err"].is_nan(), id == 3, "{id}");
        assert_eq!(row["fwhm_err"].is_nan(), id == 5, "{id}");
        if id == 3 {
            assert!((row["flux"] / truth["flux"] - 0.8).abs() < 1e-12);
        }
        if id == 5 {
            assert_eq!(row["fwhm"], 3.3);
        }
    }
    // Far start values lead to the same minimum, and are seen: no step is allowed.
    std::fs::write(folder.path().join("list.csv"), {
        let rows = truth
            .iter()
            .map(|star| format!("{},{},5\n", star["x"], star["y"]));
        format!("x,y,fwhm\n{}", rows.collect::<String>())
    })
    .unwrap();
    let far = fit(
        &folder,
        &format!("--model moffat --stars list.csv {CAMERA}"),
    );
    assert!(part_near(&far, &truth, "fwhm") > 0.99);
    let ran = try_fit(
        &folder,
        &format!("--model moffat --stars list.csv --max-iterations 0 {CAMERA}"),
    );
    assert_eq!(ran.code, 0);
    let unmoved = read_csv(&folder.path().join("out.csv"));
    assert!(
        unmoved.iter().all(|row| (row["fwhm"] - 5.0).abs() < 1e-9),
        "{}",
        unmoved[0]["fwhm"]
    );
}

#[test]
fn a_catalogue_of_starfit_is_a_list_of_stars() {
    let folder = folder();
    let base = shipped("base.fits");
    for model in ["gaussian", "elliptical-moffat"] {
        for more in ["", "--fits-pixels "] {
            let found = fit(&folder, &format!("{more}{base}"));
            std::fs::rename(
                folder.path().join("out.csv"),
                folder.path().join("list.csv"),
            )
            .unwrap();
            let again = fit(
                &folder,
                &format!("{more}--model {model} --stars list.csv {base}"),
            );
            assert_eq!((found.len(), again.len()), (6, 6));
            for (a, b) in found.iter().zip(&again) {
                assert!((a["x"] - b["x"]).abs() < 0.5 * a["x_err"]);
            }
            if model == "gaussian" {
                assert!(again.iter().all(|row| row["n_iterations"] <= 2.0));
            }
        }
    }
}

#[test]
fn lists_of_other_programs_are_lists_of_stars() {
    let folder = folder();
    let base = shipped("base.fits");
    for list in [
        "# %ECSV 1.0\n# ---\nid x_init y_init flux_init x_fit y_fit flux_fit qfit flags\n1 20 16 900 20.3 15.7 1e9 0.1 0\n",
        "#   1 NUMBER\n#   2 X_IMAGE  x [pixel]\n#   3 Y_IMAGE\n#   4 FLUX_AUTO\n#   5 FLUX_MAX  Peak flux\n#   6 BACKGROUND\n 1 21.3 16.7 15000 3.0 1000\n",
    ] {
        std::fs::write(folder.path().join("list.txt"), list).unwrap();
        let rows = fit(&folder, &format!("--stars list.txt {base}"));
        let truth = read_csv(Path::new(&shipped("base_truth.csv")));
        let near = truth
            .iter()
            .any(|star| (star["x"] - rows[0]["x"]).abs() < 4.5 * rows[0]["x_err"]);
        assert!(
            rows.len() == 1 && near && !has_flag(&rows[0], NEAR_BOUND),
            "{list}"
        );
    }
}

#[test]
fn contradictions_are_refused_before_any_work() {
    let folder = folder();
    std::fs::write(
        folder.path().join("list.csv"),
        "x,y,flux,fwhm,beta\n3,4,,2.5,x\n5,6,100,9,y\n",
    )
    .unwrap();
    // An input that is read would be missed.
    let said = |options: &str| refused(&folder, &format!("{options} nowhere.fits nowhere2.fits"));
    insta::assert_snapshot!(said("--fix beta=3"), @r#"
error: --fix: expected a parameter of gaussian (flux, x, y, fwhm, background), found beta
hint: --model moffat or elliptical-moffat has it
"#);
    insta::assert_snapshot!(said("--bound fwhm=2:4 --model elliptical-gaussian"), @r#"
error: --bound: expected a parameter of elliptical-gaussian (flux, x, y, fwhm_major, fwhm_minor, theta, background), found fwhm
hint: an ellipse has fwhm_major and fwhm_minor
"#);
    insta::assert_snapshot!(said("--fix fwhm=5 --bound fwhm=2:4"), @r#"
error: --fix fwhm: expected a value within its bounds, 2 to 4 pix, found 5 pix
hint: move the value or the bounds
"#);
    insta::assert_snapshot!(said("--fix beta=0.9 --model moffat"), @r#"
error: --fix beta: expected a value that the model allows, 1.05263 to 50, found 0.9
hint: starfit models lists what each model allows; widths go up with the cutouts' --size
"#);
    insta::assert_snapshot!(said("--stars list.csv --bound fwhm=2:4"), @r#"
error: list.csv: star 1: fwhm: expected a value within its bounds, 2 to 4 pix, found 9 pix
hint: move the value or the bounds
"#);
    insta::assert_snapshot!(said("--stars list.csv --bound x=4:9"), @r#"
error: list.csv: star 0: x: expected a value within its bounds, 4 to 9 pix, found 3 pix
hint: move the value or the bounds
"#);
    insta::assert_snapshot!(said("--stars list.csv --model moffat"), @r#"
error: list.csv: line 2, column beta: expected a number, found "x"
hint: leave a field empty, or rename the column, where it is not meant
"#);
    insta::assert_snapshot!(said("--bound fwhm=4:2"), @r#"
error: invalid value 'fwhm=4:2' for '--bound <NAME=LO:HI>': expected LO:HI with LO not above HI, as in fwhm=2:4

For more information, try '--help'.
"#);
    insta::assert_snapshot!(said("--bound fwhm=4"), @r#"
error: invalid value 'fwhm=4' for '--bound <NAME=LO:HI>': expected two numbers LO:HI, either of which may be left out, as in fwhm=2:4

For more information, try '--help'.
"#);
    insta::assert_snapshot!(said("--fix fwhm=wide"), @r#"
error: invalid value 'fwhm=wide' for '--fix <NAME[=VALUE]>': expected a finite number after the =, as in fwhm=2.5, or fwhm alone

For more information, try '--help'.
"#);
    insta::assert_snapshot!(said("--fix =3"), @r#"
error: invalid value '=3' for '--fix <NAME[=VALUE]>': expected the name of a parameter first, as in fwhm=2.5

For more information, try '--help'.
"#);
    insta::assert_snapshot!(said("--estimator poisson --weights unit"), @r#"
error: --weights unit: expected --estimator least-squares, found poisson, whose variances are the counts themselves
hint: leave out one of both
"#);
    insta::assert_snapshot!(said("--estimator poisson --variance v.fits"), @r#"
error: --variance: expected --estimator least-squares, found poisson, whose variances are the counts themselves
hint: leave out one of both; --mask takes bad pixels out of either
"#);
    insta::assert_snapshot!(said("--weights unit --variance v.fits"), @r#"
error: --variance: expected --weights noise, found unit, with which every pixel counts the same
hint: leave out one of both; --mask takes bad pixels out of either
"#);
    // The width that a model allows depends on the cutout; it is the image that is refused.
    let base = shipped("base.fits");
    let error = refused(&folder, &format!("--bound fwhm=50:60 --size 15 {base}"));
    assert!(
        error.contains("base.fits[0]: --bound fwhm: expected bounds that meet"),
        "{error}"
    );
}

#[test]
fn settings_tell_constraints_apart() {
    let folder = folder();
    let base = shipped("base.fits");
    let fit = |options: &str| {
        let all = format!("fit -q -o out.db {options} {base}");
        let ran = starfit(folder.path(), &all.split_whitespace().collect::<Vec<_>>());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        crate::cli::count(&folder.path().join("out.db"), "SELECT count(*) FROM images")
    };
    std::fs::write(folder.path().join("zero.fits"), "").unwrap();
    let mask = Array2::zeros((80, 96));
    write_image(folder.path().join("zero.fits"), &mask, PixelType::F32, &[]).unwrap();
    assert_eq!(fit(""), 1);
    assert_eq!(fit("--bound fwhm=1: --fix y=3 --fix x=4"), 2);
    assert_eq!(fit("--fix x=4 --fix Y=3 --bound fwhm=1:inf"), 2, "the same");
    assert_eq!(fit("--fix x=4 --fix y=3 --bound fwhm=1:9"), 3);
    assert_eq!(fit("--mask zero.fits"), 4);
}

/// `base.fits` with its pixels, and a place to put its companions.
fn base() -> (TempDir, Array2<f64>) {
    let file = FitsFile::open(&FitsPath::parse(shipped("base.fits")).unwrap()).unwrap();
    (folder(), file.image(0).unwrap().pixels)
}

fn write(folder: &TempDir, name: &str, pixels: &Array2<f64>) {
    write_image(folder.path().join(name), pixels, PixelType::F32, &[]).unwrap();
}

#[test]
fn masked_pixels_are_left_out_of_everything() {
    let (folder, pixels) = base();
    let path = shipped("base.fits");
    let plain = fit(&folder, &path);
    let star = plain
        .iter()
        .max_by(|a, b| a["flux"].total_cmp(&b["flux"]))
        .unwrap();
    let (x, y) = (star["x"].round() as usize, star["y"].round() as usize);

    // Hot pixels beside the star spoil it, and one is a star of its own elsewhere.
    let mut hot = pixels.clone();
    let mut mask = Array2::zeros(hot.dim());
    for place in [
        [y + 2, x + 1],
        [y + 2, x + 2],
        [y + 3, x + 1],
        [y + 3, x + 2],
    ] {
        hot[place] += 20_000.0;
        mask[place] = 1.0;
    }
    hot[[10, 46]] += 20_000.0;
    write(&folder, "hot.fits", &hot);
    mask[[10, 46]] = f64::NAN;
    write(&folder, "mask.fits", &mask);
    ndarray_npy::write_npy(folder.path().join("mask.npy"), &mask.mapv(|v| v != 0.0)).unwrap();
    let near = |rows: &[Row], x: f64, y: f64| {
        rows.iter()
            .find(|row| (row["x"] - x).hypot(row["y"] - y) < 0.5)
            .cloned()
    };
    // Where no noise is known, no pixel is seen to be hot.
    let spoiled = try_fit(&folder, "--fwhm 4.2 --weights unit hot.fits");
    assert_eq!(spoiled.code, 0);
    let spoiled = read_csv(&folder.path().join("out.csv"));
    assert!(
        near(&spoiled, 46.0, 10.0).is_some(),
        "the hot pixel is detected"
    );
    let off = |rows: &[Row]| match near(rows, star["x"], star["y"]) {
        Some(row) => (row["flux"] - star["flux"]).abs() / star["flux_err"],
        None => f64::INFINITY,
    };
    assert!(off(&spoiled) > 5.0);
    for mask in ["mask.fits", "mask.npy", "mask.fits[0]"] {
        let rows = fit(&folder, &format!("--fwhm 4.2 --mask {mask} hot.fits"));
        assert_eq!(rows.len(), plain.len(), "{mask}");
        assert!(off(&rows) < 0.5, "{mask}: {}", off(&rows));
        for row in &rows {
            let covers = |px: f64, py: f64| {
                let half = (row["n_pixels"].sqrt().ceil() as i64 / 2) as f64;
                (row["x"].round() - px).abs() <= half && (row["y"].round() - py).abs() <= half
            };
            let masked = covers((x + 1) as f64, (y + 2) as f64) || covers(46.0, 10.0);
            assert_eq!(has_flag(row, MASKED), masked, "{mask}");
        }
    }
    // A masked star is not detected, nor are others lost.
    let mut mask = Array2::zeros(pixels.dim());
    for ((row, column), value) in mask.indexed_iter_mut() {
        if row.abs_diff(y) < 10 && column.abs_diff(x) < 10 {
            *value = 7.0;
        }
    }
    write(&folder, "mask.fits", &mask);
    let rows = fit(&folder, &format!("--fwhm 4.2 --mask mask.fits {path}"));
    assert!(rows.len() == plain.len() - 1 && near(&rows, star["x"], star["y"]).is_none());
}

#[test]
fn a_companion_of_another_shape_names_both_files() {
    let (folder, pixels) = base();
    let path = shipped("base.fits");
    std::fs::copy(&path, folder.path().join("base.fits")).unwrap();
    simulate_stack(&folder, "gaussian", &[]);
    write(&folder, "turned.fits", &pixels.t().to_owned());
    write(&folder, "small.fits", &Array2::ones((3, 4)));
    npy::write_stack(folder.path().join("two.npy"), &Array3::ones((2, 80, 96))).unwrap();
    npy::write_stack(folder.path().join("seven.npy"), &Array3::ones((7, 19, 19))).unwrap();
    let said = |options: &str| refused(&folder, options);
    insta::assert_snapshot!(said("--mask turned.fits base.fits"), @r#"
error: turned.fits: --mask: expected 96 x 80 pixels of base.fits[0], found 80 x 96 pixels
hint: x and y are swapped: transpose it
"#);
    insta::assert_snapshot!(said("--variance small.fits base.fits"), @r#"
error: small.fits: --variance: expected 96 x 80 pixels of base.fits[0], found 4 x 3 pixels
hint: make it for these pixels; file.fits[EXT] chooses an extension of a file
"#);
    insta::assert_snapshot!(said("--mask two.npy base.fits"), @r#"
error: two.npy: --mask: expected 96 x 80 pixels of base.fits[0], found 2 planes of 96 x 80 pixels
hint: give a plane for each of the input, in their order, or one for all
"#);
    insta::assert_snapshot!(said("--mask seven.npy stack.npy"), @r#"
error: seven.npy: --mask: expected 150 planes of 19 x 19 pixels of stack.npy, or one plane for all, found 7 planes of 19 x 19 pixels
hint: give a plane for each of the input, in their order, or one for all
"#);
    insta::assert_snapshot!(said("--variance base.fits stack.npy"), @r#"
error: base.fits: --variance: expected 150 planes of 19 x 19 pixels of stack.npy, or one plane for all, found 96 x 80 pixels
hint: make it for these pixels; file.fits[EXT] chooses an extension of a file
"#);
    insta::assert_snapshot!(said("--mask nowhere.fits base.fits"), @"error: nowhere.fits: No such file or directory (os error 2)");
    let ran = try_fit(&folder, "--mask turned.fits[3] base.fits");
    assert!(
        ran.code == 2 && ran.stderr.contains("turned.fits"),
        "{}",
        ran.stderr
    );
    // Where one input fits and another does not, the one is done.
    write(&folder, "mask.fits", &Array2::zeros(pixels.dim()));
    write(&folder, "other.fits", &Array2::ones((96, 80)));
    assert_eq!(
        try_fit(&folder, "--mask mask.fits base.fits other.fits").code,
        1
    );
    // A companion is read, so it cannot be written.
    let args = ["fit", "base.fits", "--mask", "mask.fits", "-o", "mask.fits"];
    let ran = starfit(folder.path(), &args);
    assert!(ran.code == 2, "{}", ran.stderr);
}

#[test]
fn a_cube_has_a_companion_for_each_plane_or_one_for_all() {
    let (folder, pixels) = base();
    let cube = |planes: [&Array2<f64>; 2]| {
        Array3::from_shape_fn((2, 80, 96), |(n, y, x)| planes[n][[y, x]] as f32)
    };
    let write_cube = |name: &str, planes| {
        let card = Card::new("OBJECT", Value::Text("test".into()), "");
        fits::write_stack(folder.path().join(name), &cube(planes), &[card]).unwrap();
    };
    write_cube("cube.fits", [&pixels, &pixels]);
    let none = Array2::zeros(pixels.dim());
    let mut right = none.clone();
    right.slice_mut(ndarray::s![.., 54..]).fill(1.0);
    write_cube("masks.fits", [&none, &right]);
    write(&folder, "mask.fits", &right);
    npy::write_stack(folder.path().join("masks.npy"), &cube([&none, &right])).unwrap();
    let counts = |options: &str| {
        let rows = fit(&folder, &format!("--fwhm 4.2 {options}"));
        let left = rows.iter().filter(|row| row["x"] < 54.0).count();
        (left, rows.len() - left)
    };
    // The same with and without the right half of one or both planes.
    let (left, right) = counts("cube.fits --plane 0");
    assert!(left > 0 && right > 0 && left + right == 6);
    assert_eq!(counts("cube.fits"), (2 * left, 2 * right));
    for masks in ["masks.fits", "masks.npy"] {
        assert_eq!(
            counts(&format!("cube.fits --mask {masks}")),
            (2 * left, right)
        );
        assert_eq!(
            counts(&format!("cube.fits --plane 0 --mask {masks}")),
            (left, right)
        );
        assert_eq!(
            counts(&format!("cube.fits --plane 1 --mask {masks}")),
            (left, 0)
        );
    }
    assert_eq!(counts("cube.fits --mask mask.fits"), (2 * left, 0));

    let tenfold = none.mapv(|_| 1440.0);
    write_cube("variances.fits", [&none.mapv(|_| 144.0), &tenfold]);
    let rows = fit(&folder, "--fwhm 4.2 cube.fits --variance variances.fits");
    let (first, second) = rows.split_at(6);
    for (a, b) in first.iter().zip(second) {
        assert!(
            (a["chi2"] / b["chi2"] - 10.0).abs() < 1e-6,
            "{}",
            a["chi2"] / b["chi2"]
        );
    }
}

/// The variance of each pixel of simulated Gaussians, from their truth.
fn variances(truth: &[Row], size: usize) -> Array3<f32> {
    let model = by_name("gaussian").unwrap();
    Array3::from_shape_fn((truth.len(), size, size), |(n, y, x)| {
        let mut columns = [0.0; 8];
        for (value, column) in columns.iter_mut().zip(model.columns()) {
            *value = truth[n][column.name];
        }
        let parameters = model.parameters_at(&columns).map(|dual| dual.value);
        let (value, _) = model.evaluate(&parameters, x as f64, y as f64);
        ((value * 1.5 + 25.0) / 2.25) as f32
    })
}

#[test]
fn the_right_variances_give_the_right_chi_square() {
    let folder = folder();
    let truth = simulate_stack(&folder, "gaussian", &[]);
    let right = variances(&truth, 19);
    let write = |name: &str, stack: &Array3<f32>| {
        npy::write_stack(folder.path().join(name), stack).unwrap();
    };
    write("right.npy", &right);
    write("double.npy", &(&right * 2.0));
    let once = fit(&folder, "--variance right.npy stack.npy");
    let twice = fit(&folder, "--variance double.npy stack.npy");
    let reduced = mean(once.iter().map(|row| row["reduced_chi2"]));
    // 150 cutouts of 356 degrees of freedom: 1 to 0.6 %.
    assert!((reduced - 1.0).abs() < 0.02, "{reduced}");
    assert!(part_near(&once, &truth, "flux") > 0.98 && part_near(&once, &truth, "x") > 0.98);
    for (a, b) in once.iter().zip(&twice) {
        assert_eq!((a["x"], a["flux"]), (b["x"], b["flux"]));
        assert!((a["chi2"] / b["chi2"] - 2.0).abs() < 1e-12);
        for error in ["x_err", "flux_err", "fwhm_err", "background_err"] {
            assert!((b[error] / a[error] - 2f64.sqrt()).abs() < 1e-12, "{error}");
        }
    }
    // One plane for all, as .npy of two axes and as FITS.
    let plane = Array2::from_elem((19, 19), 700.0);
    ndarray_npy::write_npy(folder.path().join("plane.npy"), &plane).unwrap();
    write_image(
        folder.path().join("plane.fits"),
        &plane,
        PixelType::F32,
        &[],
    )
    .unwrap();
    write("planes.npy", &Array3::from_elem((150, 19, 19), 700.0));
    let [a, b, c] = ["plane.npy", "plane.fits", "planes.npy"]
        .map(|file| fit(&folder, &format!("--variance {file} stack.npy")));
    for ((a, b), c) in a.iter().zip(&b).zip(&c) {
        assert_eq!((a["chi2"], a["flux"]), (b["chi2"], b["flux"]));
        assert_eq!((a["chi2"], a["flux"]), (c["chi2"], c["flux"]));
    }
    // A cube of cutouts has a cube of variances.
    let stack = npy::read_stack(folder.path().join("stack.npy")).unwrap();
    let cube = |name: &str, stack: &Array3<f32>| {
        fits::write_stack(folder.path().join(name), stack, &[]).unwrap();
    };
    cube("cube.fits", &stack.mapv(|value| value as f32));
    cube("variance.fits", &right);
    let cubes = fit(&folder, "--cutouts --variance variance.fits cube.fits");
    for (a, b) in once.iter().zip(&cubes) {
        assert!((a["flux"] - b["flux"]).abs() < 1e-3 * a["flux_err"]);
    }
}

#[test]
fn pixels_without_a_variance_are_left_out() {
    let folder = folder();
    let truth = simulate_stack(&folder, "gaussian", &[]);
    let mut stack = npy::read_stack(folder.path().join("stack.npy"))
        .unwrap()
        .mapv(|v| v as f32);
    let mut variance = variances(&truth, 19);
    let write = |name: &str, stack: &Array3<f32>| {
        npy::write_stack(folder.path().join(name), stack).unwrap();
    };
    write("right.npy", &variance);
    let plain = fit(&folder, "--variance right.npy stack.npy");
    for (cutout, unusable) in [(2, 0.0), (3, f32::NAN), (5, f32::INFINITY)] {
        stack[[cutout, 8, 10]] += 1e5;
        variance[[cutout, 8, 10]] = unusable;
    }
    write("stack.npy", &stack);
    write("variance.npy", &variance);
    let rows = fit(&folder, "--variance variance.npy stack.npy");
    for (id, (row, plain)) in rows.iter().zip(&plain).enumerate() {
        let left_out = [2, 3, 5].contains(&id);
        assert_eq!(has_flag(row, MASKED), left_out, "{id}");
        assert_eq!(row["n_pixels"], if left_out { 360.0 } else { 361.0 });
        assert!(
            (row["flux"] - plain["flux"]).abs() < plain["flux_err"],
            "{id}"
        );
    }
    let ran = try_fit(&folder, "--variance right.npy --saturation inf stack.npy");
    assert_eq!(ran.code, 0);
    let spoiled = read_csv(&folder.path().join("out.csv"));
    assert!((spoiled[3]["flux"] - plain[3]["flux"]).abs() > 10.0 * plain[3]["flux_err"]);

    // Below 0 it is a mistake, unless the pixel is masked.
    variance[[4, 1, 2]] = -2.5;
    variance[[9, 3, 3]] = -0.5;
    write("variance.npy", &variance);
    insta::assert_snapshot!(refused(&folder, "--variance variance.npy stack.npy"), @r#"
error: variance.npy: --variance of stack.npy: expected variances of 0 or more, found 2 pixels below 0, the lowest -2.5
hint: leave these pixels out with --mask, or set them to 0 or NaN, which means the same
"#);
    let mut mask = variance.mapv(|v| f32::from(u8::from(v < 0.0)));
    write("mask.npy", &mask);
    let rows = fit(&folder, "--variance variance.npy --mask mask.npy stack.npy");
    assert!(
        has_flag(&rows[4], MASKED) && rows[4]["n_pixels"] == 360.0 && !has_flag(&rows[6], MASKED)
    );
    mask.fill(0.0);
    write("variance.npy", &mask);
    insta::assert_snapshot!(refused(&folder, "--variance variance.npy stack.npy"), @r#"
error: variance.npy: --variance: expected variances above 0, found none
hint: --variance is the square of the noise of each pixel, not its inverse or a mask
"#);
    // One plane that masks a column of every cutout.
    simulate_stack(&folder, "gaussian", &[]);
    let plane = Array2::from_shape_fn((19, 19), |(_, x)| x == 0);
    ndarray_npy::write_npy(folder.path().join("plane.npy"), &plane).unwrap();
    let rows = fit(&folder, &format!("--mask plane.npy {CAMERA}"));
    assert!(
        rows.iter()
            .all(|row| has_flag(row, MASKED) && row["n_pixels"] == 342.0)
    );
}

#[test]
fn variances_of_an_image_weigh_its_pixels() {
    let (folder, pixels) = base();
    let path = shipped("base.fits");
    write(&folder, "v144.fits", &pixels.mapv(|_| 144.0));
    write(&folder, "v288.fits", &pixels.mapv(|_| 288.0));
    let once = fit(&folder, &format!("--variance v144.fits {path}"));
    let twice = fit(&folder, &format!("--variance v288.fits[0] {path}"));
    // The noise of this image is 12 everywhere.
    let dof: f64 = once.iter().map(|row| row["dof"]).sum();
    let reduced = once.iter().map(|row| row["chi2"]).sum::<f64>() / dof;
    assert!(
        (reduced - 1.0).abs() < 4.0 * (2.0 / dof).sqrt(),
        "{reduced}"
    );
    for (a, b) in once.iter().zip(&twice) {
        assert!((a["chi2"] / b["chi2"] - 2.0).abs() < 1e-12);
        assert!((b["flux_err"] / a["flux_err"] - 2f64.sqrt()).abs() < 1e-12);
    }
    // A pixel that nothing is known of is left out of detection, too.
    let (mut hot, mut variance) = (pixels.clone(), pixels.mapv(|_| 144.0));
    hot[[10, 46]] += 20_000.0;
    variance[[10, 46]] = f64::NAN;
    write(&folder, "hot.fits", &hot);
    write(&folder, "variance.fits", &variance);
    assert_eq!(
        fit(&folder, "--fwhm 4.2 --variance variance.fits hot.fits").len(),
        6
    );
    variance.fill(-1.0);
    write(&folder, "variance.fits", &variance);
    let error = refused(&folder, &format!("--variance variance.fits {path}"));
    assert!(
        error.contains("7680 pixels below 0, the lowest -1") && error.contains("hint: "),
        "{error}"
    );
}

#[test]
fn counts_are_fitted_by_their_likelihood() {
    let folder = folder();
    let args = "simulate field.fits --stars 25 --width 400 --height 400 --snr 20:200 --background 40 --read-noise 3";
    assert_eq!(
        starfit(folder.path(), &args.split(' ').collect::<Vec<_>>()).code,
        0
    );
    let truth = read_csv(&folder.path().join("field.fits.truth.csv"));
    let reduced = |rows: &[Row]| {
        let dof: f64 = rows.iter().map(|row| row["dof"]).sum();
        rows.iter().map(|row| row["chi2"]).sum::<f64>() / dof
    };
    let forced = "--stars field.fits.truth.csv --estimator poisson";
    let alone: Vec<usize> = (0..truth.len())
        .filter(|&i| {
            let near = |j: usize| {
                j != i
                    && (truth[i]["x"] - truth[j]["x"]).hypot(truth[i]["y"] - truth[j]["y"]) < 25.0
            };
            !(0..truth.len()).any(near)
        })
        .collect();
    let of_alone = |rows: &[Row]| -> Vec<Row> { alone.iter().map(|&i| rows[i].clone()).collect() };
    assert!(alone.len() > 10);
    let raw = of_alone(&fit(&folder, &format!("{forced} field.fits")));
    assert!((reduced(&raw) - 1.0).abs() < 0.07, "{}", reduced(&raw));
    assert!(part_near(&raw, &of_alone(&truth), "flux") == 1.0);

    // Without its sky it is no image of counts, until it is said where they start.
    let file = FitsFile::open(&FitsPath::parse(folder.path().join("field.fits")).unwrap()).unwrap();
    let image = file.image(0).unwrap();
    let subtracted = image.pixels.mapv(|value| value - 40.0);
    let cards = [
        Card::new("GAIN", Value::Float(1.5), ""),
        Card::new("RDNOISE", Value::Float(3.0), ""),
    ];
    write_image(
        folder.path().join("sub.fits"),
        &subtracted,
        PixelType::F32,
        &cards,
    )
    .unwrap();
    let error = refused(&folder, &format!("{forced} sub.fits"));
    assert!(
        error.contains("a sky seems to have been subtracted"),
        "{error}"
    );
    let (_, rest) = error.split_once("here about ").unwrap();
    let bias = rest.split(';').next().unwrap();
    assert!((bias.parse::<f64>().unwrap() + 40.0).abs() < 5.0, "{error}");
    let mended = of_alone(&fit(&folder, &format!("{forced} --bias {bias} sub.fits")));
    assert!((reduced(&mended) - 1.0).abs() < 0.1, "{}", reduced(&mended));
    for (a, b) in raw.iter().zip(&mended) {
        assert!((a["flux"] - b["flux"]).abs() < 0.3 * a["flux_err"]);
    }
    // The same of cutouts, with a bias to begin with.
    let truth = simulate_stack(&folder, "gaussian", &["--background", "40"]);
    let stack = npy::read_stack(folder.path().join("stack.npy")).unwrap();
    npy::write_stack(
        folder.path().join("stack.npy"),
        &stack.mapv(|v| (v + 500.0) as f32),
    )
    .unwrap();
    let error = refused(&folder, &format!("--estimator poisson --bias 200 {CAMERA}"));
    let (_, rest) = error.split_once("here about ").unwrap();
    let bias: f64 = rest.split(';').next().unwrap().parse().unwrap();
    assert!((bias - 500.0).abs() < 10.0, "{error}");
    let rows = fit(&folder, &format!("--estimator poisson --bias 500 {CAMERA}"));
    assert!((reduced(&rows) - 1.0).abs() < 0.02, "{}", reduced(&rows));
    assert!(part_near(&rows, &truth, "flux") > 0.98);
    // The background is the level in the cutout, bias included.
    assert!((mean(rows.iter().map(|row| row["background"])) - 540.0).abs() < 0.2);
}

#[test]
fn a_list_for_cutouts_has_a_row_for_each() {
    let folder = folder();
    simulate_stack(&folder, "gaussian", &[]);
    std::fs::write(folder.path().join("list.csv"), "x,y\n9,9\n").unwrap();
    insta::assert_snapshot!(refused(&folder, &format!("--stars list.csv {CAMERA}")), @r#"
error: stack.npy: cutouts: expected 1, as many as list.csv has rows, found 150
hint: a list for ready cutouts has a row for each, in their order
"#);
    // A position that is not known is looked for.
    let rows = "9,9\n".repeat(149);
    std::fs::write(folder.path().join("list.csv"), format!("x,y\n,9\n{rows}")).unwrap();
    assert_eq!(
        fit(&folder, &format!("--stars list.csv {CAMERA}")).len(),
        150
    );
}

/// The major axis stays the longer one and the angle its own, whatever is asked of them.
#[test]
fn the_axes_of_an_ellipse_do_not_change_places() {
    let folder = folder();
    let shape = ["--theta", "30", "--ellipticity", "0.2", "--snr", "100:300"];
    simulate_stack(&folder, "elliptical-gaussian", &shape);
    let run = |constraint: &str| {
        let options = format!("--model elliptical-gaussian {constraint} {CAMERA}");
        let rows = fit(&folder, &options);
        assert!(
            rows.iter()
                .all(|row| row["fwhm_major"] >= row["fwhm_minor"])
        );
        rows
    };
    let mean_of = |rows: &[Row], column: &str| mean(rows.iter().map(|row| row[column]));
    let free = run("--weights noise");
    let (major, minor) = (mean_of(&free, "fwhm_major"), mean_of(&free, "fwhm_minor"));
    assert!(major > 3.2 && minor < 2.8, "{major} {minor}");

    // Neither axis may go where the other one would have to.
    for row in run("--bound fwhm_major=:2.5") {
        assert!(row["fwhm_major"] <= 2.5 && has_flag(&row, NEAR_BOUND));
        assert!(row["fwhm_major_err"].is_nan());
    }
    for row in run("--bound fwhm_minor=3.6:") {
        assert!(row["fwhm_minor"] >= 3.6 && has_flag(&row, NEAR_BOUND));
        assert!(row["fwhm_minor_err"].is_nan());
    }
    // Across the true angle the best ellipse is a circle.
    for row in run("--fix theta=-60") {
        assert!((row["theta"] + 60.0).abs() < 1e-9);
        assert!(has_flag(&row, NEAR_BOUND) && row["ellipticity"] < 0.001);
    }
    // Along it nothing is at a bound.
    let along = run("--fix theta=30");
    assert!(along.iter().all(|row| !has_flag(row, NEAR_BOUND)));
    assert!((mean_of(&along, "fwhm_major") - major).abs() < 0.02);
    // A circle has no angle to fit.
    let round = run("--fix fwhm_major=3 --fix fwhm_minor=3");
    assert!(is_held(&round, "fwhm_major", 3.0) && is_held(&round, "fwhm_minor", 3.0));
    assert!(round.iter().all(|row| row["theta_err"].is_nan()));
    for row in run("--fix fwhm_minor=3") {
        assert!(
            row["fwhm_minor"] == 3.0 && row["fwhm_major_err"] > 0.0 || has_flag(&row, NEAR_BOUND)
        );
    }
}
