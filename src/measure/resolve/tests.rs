use super::*;
use crate::model::by_name;
use crate::star::Column;

const FRAME: Frame<'_> = Frame {
    name: "",
    side: 15.0,
    bias: 0.0,
};

fn options(fixed: &[(&str, Option<f64>)], bounds: &[(&str, f64, f64)]) -> MeasureOptions {
    let name = |name: &str| name.to_owned();
    MeasureOptions {
        fixed: fixed.iter().map(|&(n, value)| (name(n), value)).collect(),
        bounds: bounds
            .iter()
            .map(|&(n, lo, hi)| (name(n), lo, hi))
            .collect(),
        ..MeasureOptions::default()
    }
}

/// Three stars on a diagonal, with these columns.
fn list(columns: &[(&str, [f64; 3])]) -> StarList {
    let star = |id| Star {
        id,
        x: 10.0 * id as f64,
        y: 5.0,
    };
    StarList {
        file: "list.csv".into(),
        columns: columns
            .iter()
            .map(|(name, values)| Column {
                name: (*name).into(),
                values: values.to_vec(),
                text: None,
            })
            .collect(),
        ..StarList::from_stars((0..3).map(star).collect())
    }
}

/// The constraints of the three stars.
fn resolve(
    model: &str,
    options: &MeasureOptions,
    list: &StarList,
) -> Result<Vec<Option<Constraints>>> {
    let model = by_name(model).unwrap();
    let resolver = Resolver::new(model, options, Some(list), FRAME)?;
    list.stars.iter().map(|star| resolver.of(star)).collect()
}

fn message(model: &str, options: &MeasureOptions, list: &StarList) -> String {
    let error = resolve(model, options, list).unwrap_err();
    let hint = error.hint().unwrap_or("none");
    format!("{error}\nhint: {hint}")
}

const NAN: f64 = f64::NAN;

#[test]
fn positions_alone_constrain_nothing() {
    let all = resolve("moffat", &options(&[], &[]), &list(&[])).unwrap();
    assert_eq!(all, [None, None, None]);
    let others = list(&[("mag", [1.0; 3]), ("beta", [NAN; 3])]);
    let all = resolve("moffat", &options(&[], &[]), &others).unwrap();
    assert_eq!(all, [None, None, None]);
}

#[test]
fn columns_are_start_values_and_bounds_of_their_star() {
    let list = list(&[
        ("FLUX", [100.0, NAN, 300.0]),
        ("fwhm", [3.0, 4.0, NAN]),
        ("flux_max", [NAN, 150.0, NAN]),
        ("beta_MIN", [2.0, NAN, NAN]),
    ]);
    let options = options(&[("beta", Some(2.5))], &[("flux", 10.0, 1000.0)]);
    let all = resolve("moffat", &options, &list).unwrap();
    let all: Vec<Constraints> = all.into_iter().flatten().collect();
    assert_eq!(all.len(), 3);
    assert_eq!((all[0].start[0], all[0].start[3]), (100.0, 3.0));
    assert!(all[1].start[0].is_nan() && all[2].start[3].is_nan());
    assert_eq!((all[0].high[0], all[1].high[0]), (1000.0, 150.0));
    assert_eq!(
        (all[0].low[0], all[0].low[4], all[1].low[4]),
        (10.0, 2.0, f64::NEG_INFINITY)
    );
    assert!(all.iter().all(|c| c.start[4] == 2.5 && c.fixed == 1 << 4));
    // Where to look is no start value.
    assert!(all.iter().all(|c| c.start[1].is_nan()));
}

#[test]
fn a_held_position_is_that_of_the_list() {
    let mut options = options(&[("x", None), ("y", Some(7.0))], &[]);
    options.one_based = true;
    let all = resolve("gaussian", &options, &list(&[])).unwrap();
    let of = |star: usize| {
        let constraints = all[star].unwrap();
        (constraints.start[1], constraints.start[2])
    };
    assert_eq!((of(0), of(2)), ((0.0, 6.0), (20.0, 6.0)));
}

#[test]
fn the_round_width_of_a_list_starts_both_axes() {
    let list = list(&[("fwhm", [3.0, 4.0, NAN]), ("fwhm_major", [NAN, 5.0, NAN])]);
    let all = resolve("elliptical-gaussian", &options(&[], &[]), &list).unwrap();
    let axes = |star: usize| all[star].map(|c| (c.start[3], c.start[4]));
    assert_eq!(axes(0), Some((3.0, 3.0)));
    assert_eq!(axes(1), Some((5.0, 4.0)));
    assert_eq!(axes(2), None);
}

#[test]
fn messages() {
    let none = list(&[]);
    let fix = |name, value| options(&[(name, Some(value))], &[]);
    let bound = |name, low, high| options(&[], &[(name, low, high)]);
    insta::assert_snapshot!(message("gaussian", &fix("beta", 3.0), &none), @r#"
--fix: expected a parameter of gaussian (flux, x, y, fwhm, background), found beta
hint: --model moffat or elliptical-moffat has it
"#);
    insta::assert_snapshot!(message("gaussian", &bound("sigma", 1.0, 2.0), &none), @r#"
--bound: expected a parameter of gaussian (flux, x, y, fwhm, background), found sigma
hint: fwhm = 2.3548 sigma
"#);
    insta::assert_snapshot!(message("elliptical-moffat", &fix("fwhm", 3.0), &none), @r#"
--fix: expected a parameter of elliptical-moffat (flux, x, y, fwhm_major, fwhm_minor, theta, beta, background), found fwhm
hint: an ellipse has fwhm_major and fwhm_minor
"#);
    insta::assert_snapshot!(message("gaussian", &bound("fwhm", 3.0, 2.0), &none), @r#"
--bound fwhm: expected a lowest value that is not above the highest, found 3 to 2 pix
hint: --bound NAME=LO:HI sets them, the columns NAME_min and NAME_max of --stars for one star
"#);
    insta::assert_snapshot!(message("gaussian", &bound("fwhm", 40.0, 50.0), &none), @r#"
--bound fwhm: expected bounds that meet 0.470964 to 35.3223 pix, found 40 to 50 pix
hint: starfit models lists what each model allows; widths go up with the cutouts' --size
"#);
    insta::assert_snapshot!(message("moffat", &fix("beta", 1.0), &none), @r#"
--fix beta: expected a value that the model allows, 1.05263 to 50, found 1
hint: starfit models lists what each model allows; widths go up with the cutouts' --size
"#);
    insta::assert_snapshot!(message("elliptical-gaussian", &bound("theta", 0.0, f64::INFINITY), &none), @r#"
--bound theta: expected two bounds, as an angle goes round, found 0 to inf deg
hint: 80:100 is 10 deg to either side of the y axis
"#);
    let both = options(&[("fwhm", Some(5.0))], &[("fwhm", 2.0, 4.0)]);
    insta::assert_snapshot!(message("gaussian", &both, &none), @r#"
--fix fwhm: expected a value within its bounds, 2 to 4 pix, found 5 pix
hint: move the value or the bounds
"#);
    let twice = options(&[("fwhm", Some(5.0)), ("fwhm", None)], &[]);
    insta::assert_snapshot!(message("gaussian", &twice, &none), @r#"
--fix fwhm: expected it once, found it twice
hint: columns of --stars can differ from star to star
"#);
    let flux = list(&[("flux", [1.0, 500.0, 1.0]), ("flux_max", [NAN, 100.0, NAN])]);
    insta::assert_snapshot!(message("gaussian", &options(&[], &[]), &flux), @r#"
list.csv: star 1: flux: expected a value within its bounds, -inf to 100 adu, found 500 adu
hint: move the value or the bounds
"#);
    insta::assert_snapshot!(message("gaussian", &bound("x", 0.0, 15.0), &none), @r#"
list.csv: star 2: x: expected a value within its bounds, 0 to 15 pix, found 20 pix
hint: move the value or the bounds
"#);
    let infinite = list(&[("flux", [1.0, f64::INFINITY, 1.0])]);
    insta::assert_snapshot!(message("gaussian", &options(&[], &[]), &infinite), @r#"
list.csv: star 1: flux: expected a finite number, found inf adu
hint: leave the field empty for a start from the pixels
"#);
}

#[test]
fn an_angle_is_the_same_half_a_turn_on() {
    let across = options(&[("theta", Some(-85.0))], &[("theta", 80.0, 100.0)]);
    assert!(resolve("elliptical-gaussian", &across, &list(&[])).is_ok());
    let beside = options(&[("theta", Some(-60.0))], &[("theta", 80.0, 100.0)]);
    assert!(resolve("elliptical-gaussian", &beside, &list(&[])).is_err());
}
