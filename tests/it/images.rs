//! Whole images from file to rows: simulated fields against their truth, compressed twins against
//! each other.

use std::collections::HashMap;

use starfit::backend::CpuBackend;
use starfit::background::Background;
use starfit::catalog::Row;
use starfit::fit::Flags;
use starfit::fitter::Fitter;
use starfit::image::{Header, StatedGain};
use starfit::io::fits::{FitsFile, FitsPath, HduName};
use starfit::measure::{Cutouts, MeasureOptions, Measured, measure_image, measure_stack};
use starfit::model;
use starfit::numbers::median;
use starfit::simulate::Stack;
use starfit::solver::LevenbergMarquardt;

use crate::common::{data, read_csv};

fn fitter() -> Fitter {
    let model = model::by_name("gaussian").unwrap();
    Fitter::new(
        model,
        Box::new(LevenbergMarquardt::default()),
        Box::new(CpuBackend::default()),
    )
}

fn measure(path: &str, hdu: Option<usize>, options: &MeasureOptions) -> Option<Measured> {
    let path = FitsPath {
        path: data(path)?,
        hdu: hdu.map(HduName::Number),
    };
    let image = FitsFile::open(&path).unwrap().image(0).unwrap();
    Some(measure_image(&image, None, options, &fitter()).unwrap())
}

type Truth = HashMap<String, f64>;

fn distance(row: &Row, star: &Truth) -> f64 {
    let at = |column| row.get(column).unwrap_or(f64::INFINITY);
    (at("x") - star["x"]).hypot(at("y") - star["y"])
}

/// What the rows of a simulated field say about its truth.
#[derive(Debug)]
struct Score {
    /// Part of the clear truth stars with a row within 1 pixel.
    found: f64,
    /// Part of the rows, `sharp` ones aside, without a truth star within 2 pixels.
    false_rows: f64,
    /// Medians of x - truth and y - truth, pixels.
    bias: (f64, f64),
    /// Medians of |x - truth| / x_err and the same for y, of clear stars with snr above 30.
    pulls: (f64, f64),
}

impl Score {
    fn new(rows: &[Row], truth: &[Truth]) -> Self {
        let clear = |t: &&Truth| t["nn_dist"] > 12.0 && t["saturated"] == 0.0 && t["edge"] == 0.0;
        let nearest = |star: &Truth| {
            rows.iter()
                .min_by(|a, b| distance(a, star).total_cmp(&distance(b, star)))
                .filter(|row| distance(row, star) < 1.0)
        };
        let wanted: Vec<&Truth> = truth
            .iter()
            .filter(clear)
            .filter(|t| t["snr"] > 15.0)
            .collect();
        let pairs: Vec<(&Truth, &Row)> = wanted
            .iter()
            .filter_map(|t| Some((*t, nearest(t)?)))
            .collect();
        let stars: Vec<&Row> = rows
            .iter()
            .filter(|row| !row.flags.contains(Flags::SHARP))
            .collect();
        let unknown = stars
            .iter()
            .filter(|row| truth.iter().all(|t| distance(row, t) >= 2.0))
            .count();
        let median_of = |value: &dyn Fn(&Truth, &Row) -> f64, least: f64| {
            let mut values: Vec<f64> = pairs
                .iter()
                .filter(|(t, row)| t["snr"] > least && row.get("x_err").is_some())
                .map(|(t, row)| value(t, row))
                .collect();
            assert!(values.len() > 500, "{} stars to judge by", values.len());
            median(&mut values).unwrap()
        };
        let off =
            |column: &'static str| move |t: &Truth, row: &Row| row.get(column).unwrap() - t[column];
        let pull = |column: &'static str, error: &'static str| {
            move |t: &Truth, row: &Row| {
                (row.get(column).unwrap() - t[column]).abs() / row.get(error).unwrap()
            }
        };
        Self {
            found: pairs.len() as f64 / wanted.len() as f64,
            false_rows: unknown as f64 / stars.len() as f64,
            bias: (median_of(&off("x"), 15.0), median_of(&off("y"), 15.0)),
            pulls: (
                median_of(&pull("x", "x_err"), 30.0),
                median_of(&pull("y", "y_err"), 30.0),
            ),
        }
    }

    fn is_good(&self) -> bool {
        let close = |value: f64| value.abs() <= 0.005;
        let honest = |value: f64| (0.6..=0.8).contains(&value);
        self.found >= 0.99
            && self.false_rows <= 0.01
            && close(self.bias.0)
            && close(self.bias.1)
            && honest(self.pulls.0)
            && honest(self.pulls.1)
    }
}

#[test]
fn simulated_fields_are_found_where_they_are_with_honest_errors() {
    for name in ["sim_dev_const", "sim_dev_vary"] {
        let options = MeasureOptions::default();
        let Some(measured) = measure(&format!("data/sim/{name}.fits.fz"), None, &options) else {
            return;
        };
        let Some(path) = data(&format!("data/sim/{name}.truth.csv")) else {
            return;
        };
        let truth = read_csv(&path);
        let score = Score::new(&measured.rows, &truth);
        println!("{name}: {} rows, {score:?}", measured.rows.len());
        assert!(score.is_good(), "{name}: {score:?}");

        // Negative controls: a shift of a hundredth of a pixel, and errors twice as large.
        let moved: Vec<Truth> = truth
            .iter()
            .cloned()
            .map(|mut t| {
                *t.get_mut("x").unwrap() += 0.01;
                t
            })
            .collect();
        assert!(!Score::new(&measured.rows, &moved).is_good());
        let mut doubled = measured.rows;
        for row in &mut doubled {
            if let Some(error) = row.get("x_err") {
                row.set("x_err", 2.0 * error);
            }
        }
        assert!(!Score::new(&doubled, &truth).is_good());
    }
}

/// Every value of every row but the status in one comparable form.
fn values(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .map(|row| format!("{:?}", row.values("").collect::<Vec<_>>()))
        .collect()
}

#[test]
fn compressed_twins_give_the_same_rows() {
    let options = MeasureOptions::default();
    let rows = |file: &str| {
        Some(values(
            &measure(&format!("data/{file}"), None, &options)?.rows,
        ))
    };
    let (Some(m13), Some(real)) = (rows("m13.fits"), rows("m13_real.fits")) else {
        return;
    };
    assert!(m13.len() > 100 && m13 != real);
    for twin in ["rice", "gzip", "plio", "hcomp", "rice_tiles64x50"] {
        assert!(
            rows(&format!("m13_{twin}.fits.fz")) == Some(m13.clone()),
            "{twin}"
        );
    }
    for twin in ["gzip1", "gzip2"] {
        assert!(
            rows(&format!("m13_real_{twin}.fits.fz")) == Some(real.clone()),
            "{twin}"
        );
    }
}

/// The real images that detection is judged on: name, file, HDU.
const JUDGED: [(&str, &str, usize); 5] = [
    ("m67_dss", "m67_dss.fits", 0),
    ("emmi_na36", "emmi_na36.fits", 0),
    ("panoptes_solved", "panoptes_solved.fits.fz", 1),
    ("eso085_030", "eso085_030.fit", 0),
    ("m13", "m13.fits", 0),
];

/// Part of `wanted` that has a row within 2 pixels.
fn part_found(rows: &[Row], wanted: &[&Truth]) -> f64 {
    let found = wanted
        .iter()
        .filter(|star| rows.iter().any(|row| distance(row, star) < 2.0))
        .count();
    found as f64 / wanted.len() as f64
}

#[test]
fn detection_finds_what_sep_finds_and_little_in_the_negative() {
    let (mut all_rows, mut all_noise) = (0, 0);
    for (name, file, hdu) in JUDGED {
        let (Some(path), Some(sep), Some(fitted)) = (
            data(&format!("data/{file}")),
            data(&format!("data/reference/{name}.sep.csv")),
            data(&format!("data/reference/{name}.gauss_circ.csv")),
        ) else {
            return;
        };
        let (sep, fitted) = (read_csv(&sep), read_csv(&fitted));
        let wanted: Vec<&Truth> = sep
            .iter()
            .filter(|s| fitted.iter().any(|f| f["id"] == s["id"]))
            .collect();
        let path = FitsPath {
            path,
            hdu: Some(HduName::Number(hdu)),
        };
        let image = FitsFile::open(&path).unwrap().image(0).unwrap();
        let options = MeasureOptions::default();
        let measured = measure_image(&image, None, &options, &fitter()).unwrap();
        let detected = part_found(&measured.rows, &wanted);

        let mut negative = image.clone();
        let cell = Background::cell_for(image.width(), image.height());
        let background = Background::estimate(image.pixels.view(), cell);
        negative.pixels = 2.0 * background.level_map() - &image.pixels;
        let false_rows = measure_image(&negative, None, &options, &fitter())
            .unwrap()
            .rows
            .len();
        println!(
            "{name}: {} rows, sep {}; {:.1} % of {} isolated ones found; {false_rows} rows in the negative ({:.1} %)",
            measured.rows.len(),
            sep.len(),
            100.0 * detected,
            wanted.len(),
            100.0 * false_rows as f64 / measured.rows.len() as f64
        );
        assert!(detected >= 0.95, "{name}: {detected}");
        assert!(
            false_rows as f64 <= 0.02 * measured.rows.len() as f64,
            "{name}: {false_rows}"
        );
        // Negative controls: other places; and, over all images, a threshold that lets noise in.
        let elsewhere: Vec<Truth> = wanted
            .iter()
            .map(|star| {
                let mut star = (*star).clone();
                *star.get_mut("x").unwrap() += 10.0;
                star
            })
            .collect();
        assert!(part_found(&measured.rows, &elsewhere.iter().collect::<Vec<_>>()) < 0.5);
        let low = MeasureOptions {
            threshold: 2.0,
            ..options
        };
        let noise = measure_image(&negative, None, &low, &fitter()).unwrap();
        all_rows += measured.rows.len();
        all_noise += noise.rows.len();
    }
    assert!(
        all_noise as f64 > 0.02 * all_rows as f64,
        "{all_noise} rows of noise at 2 sigma"
    );
}

#[test]
fn a_header_that_lies_about_a_stack_is_not_believed() {
    let stack = Stack::w2(50, 3);
    let pixels = stack.pixels.mapv(f64::from);
    let measured = |header: &Header| {
        measure_stack(
            &Cutouts {
                name: "stack",
                pixels: &pixels,
                variance: None,
                header,
            },
            None,
            &MeasureOptions::default(),
            &fitter(),
        )
        .unwrap()
    };
    let silent = measured(&Header::default());
    let lies = Header {
        saturation: Some(1.0),
        gains: vec![StatedGain {
            keyword: "GAIN".into(),
            value: 2.0,
        }],
        unit: Some("MJy/sr".into()),
        ..Header::default()
    };
    assert_eq!(values(&measured(&lies).rows), values(&silent.rows));
    // What can be true is believed: a gain of counts, and a saturation above the sky.
    let honest = Header {
        gains: vec![StatedGain {
            keyword: "GAIN".into(),
            value: 1.0,
        }],
        saturation: Some(600.0),
        ..Header::default()
    };
    let measured = measured(&honest);
    let assumed = measured.assumed;
    assert_eq!((assumed.gain, assumed.saturation), (Some(1.0), Some(600.0)));
    assert!(
        measured
            .rows
            .iter()
            .any(|row| row.flags.contains(Flags::SATURATED))
    );
}
