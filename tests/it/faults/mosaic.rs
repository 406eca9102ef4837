//! Frames of one-shot colour cameras, whose pixels have the filters of a Bayer mosaic.

use std::fs;
use std::path::Path;

use ndarray::{Array2, Array3};
use rand::RngExt;
use rand_distr::{Distribution, Normal, Poisson};
use starfit::backend::CpuBackend;
use starfit::catalog::Row;
use starfit::estimator::Estimator;
use starfit::fit::{FitStatus, Flags};
use starfit::fitter::Fitter;
use starfit::image::{Image, StatedGain};
use starfit::io::fits::Value;
use starfit::io::npy::write_stack;
use starfit::measure::{MeasureOptions, measure_image};
use starfit::model::MODELS;
use starfit::mosaic::{Bayer, BayerPattern, Channel, Color};
use starfit::solver::LevenbergMarquardt;

use super::field::{Field, Truth, add_star, add_trail, fitter, write};
use crate::cli::{folder, starfit};
use crate::common::read_csv;

/// Electrons of the skies of red, green and blue.
const SKIES: [f64; 3] = [300.0, 600.0, 250.0];

const SHAPE: (usize, usize) = (480, 640);

/// Stars of different colours, and the frame that a camera takes of them at one electron to a unit.
struct Frame {
    stars: Vec<Truth>,
    /// Of red, green and blue.
    fluxes: Vec<[f64; 3]>,
    pixels: Array2<f64>,
}

impl Frame {
    /// Stars as bright in green as that, with red and blue parts of it.
    fn new(
        pattern: BayerPattern,
        fwhm: f64,
        fluxes: (f64, f64),
        parts: impl Fn(usize, f64) -> [f64; 2],
        seed: u64,
    ) -> Self {
        let field = Field::new(SHAPE, 120, fluxes, 22.0, fwhm, seed);
        Self::of(field, pattern, SKIES, parts, |light, star| {
            add_star(light, star, fwhm);
        })
    }

    /// The stars of a field, each with the light that `add` makes of it.
    fn of(
        mut field: Field,
        pattern: BayerPattern,
        skies: [f64; 3],
        parts: impl Fn(usize, f64) -> [f64; 2],
        add: impl Fn(&mut Array2<f64>, &Truth),
    ) -> Self {
        let mut lights = [(); 3].map(|()| Array2::zeros(SHAPE));
        let mut all = Vec::new();
        for (at, star) in field.stars.iter().enumerate() {
            let [red, blue] = parts(at, field.rng.random_range(0.0..1.0));
            let fluxes = [red * star.flux, star.flux, blue * star.flux];
            for (light, flux) in lights.iter_mut().zip(fluxes) {
                add(light, &Truth { flux, ..*star });
            }
            all.push(fluxes);
        }
        let read = Normal::new(0.0, 3.0).unwrap();
        let pixels = Array2::from_shape_fn(SHAPE, |(y, x)| {
            let color = pattern.at(x, y) as usize;
            let mean: f64 = lights[color][[y, x]] + skies[color];
            Poisson::new(mean).unwrap().sample(&mut field.rng) + read.sample(&mut field.rng)
        });
        Self {
            stars: field.stars,
            fluxes: all,
            pixels,
        }
    }

    /// As in the sky: red from 0.4 to 1.2, blue from 0.3 to 0.9.
    fn usual(pattern: BayerPattern, fwhm: f64, seed: u64) -> Self {
        Self::new(pattern, fwhm, (3e3, 3e5), usual_parts, seed)
    }

    fn image(&self) -> Image {
        let mut image = Image::from_pixels("frame", self.pixels.clone());
        image.header.gains = vec![StatedGain {
            keyword: "EGAIN".into(),
            value: 1.0,
        }];
        image
    }

    fn rows(&self, bayer: Bayer) -> Vec<Row> {
        self.measure(bayer, Channel::All, true, &fitter())
    }

    fn measure(&self, bayer: Bayer, channel: Channel, weighted: bool, fitter: &Fitter) -> Vec<Row> {
        let options = MeasureOptions {
            bayer,
            channel,
            weighted,
            ..MeasureOptions::default()
        };
        let measured = measure_image(&self.image(), None, &options, fitter);
        measured.unwrap().rows
    }

    /// The row of each star, if one is within 2 pixels.
    fn pairs<'a>(&self, rows: &'a [Row]) -> Vec<(usize, &'a Row)> {
        let near = |star: &Truth, row: &&Row| {
            let at = |column| row.get(column).unwrap_or(f64::INFINITY);
            (at("x") - star.x).hypot(at("y") - star.y) < 2.0
        };
        let stars = self.stars.iter().enumerate();
        stars
            .filter_map(|(at, star)| Some((at, rows.iter().find(|row| near(star, row))?)))
            .collect()
    }

    /// The root mean square of (fit - truth) / error.
    fn pull(&self, rows: &[Row], column: &str) -> f64 {
        let truth = |at: usize| match column {
            "x" => self.stars[at].x,
            "y" => self.stars[at].y,
            "flux_r" => self.fluxes[at][0],
            "flux_g" => self.fluxes[at][1],
            "flux_b" => self.fluxes[at][2],
            _ => self.fluxes[at].iter().sum(),
        };
        let pulls: Vec<f64> = self
            .pairs(rows)
            .iter()
            .filter_map(|(at, row)| {
                let error = row.get(&format!("{column}_err"))?;
                Some((row.get(column)? - truth(*at)) / error)
            })
            .collect();
        assert!(pulls.len() > 100, "{column} of {} stars", pulls.len());
        (pulls.iter().map(|pull| pull * pull).sum::<f64>() / pulls.len() as f64).sqrt()
    }
}

/// Parts of red and blue that the stars of a frame have.
fn usual_parts(at: usize, random: f64) -> [f64; 2] {
    [0.4 + 0.8 * random, 0.3 + 0.6 * (at % 7) as f64 / 6.0]
}

const COLUMNS: [&str; 6] = ["x", "y", "flux", "flux_r", "flux_g", "flux_b"];

/// Pulls that 120 stars can have where errors are right: three sigma of their root mean square.
fn is_right(pull: f64) -> bool {
    (0.8..1.2).contains(&pull)
}

#[test]
fn every_star_is_found_with_its_three_fluxes() {
    for (fwhm, seed) in [(2.0, 1), (3.0, 2), (5.0, 3)] {
        let frame = Frame::usual(BayerPattern::RGGB, fwhm, seed);
        let rows = frame.rows(Bayer::Pattern(BayerPattern::RGGB));
        assert_eq!(frame.pairs(&rows).len(), 120, "FWHM {fwhm}");
        assert!(rows.len() < 126, "FWHM {fwhm}: {} rows", rows.len());
        for column in COLUMNS {
            let pull = frame.pull(&rows, column);
            assert!(is_right(pull), "FWHM {fwhm}: {column}: {pull}");
        }
        let fluxes = |row: &Row| Color::ALL.map(|color| row.get(color.columns()[0]).unwrap());
        for row in rows.iter().filter(|row| row.status == FitStatus::Converged) {
            let sum: f64 = fluxes(row).iter().sum();
            assert!((sum / row.get("flux").unwrap() - 1.0).abs() < 1e-9);
        }
    }
}

#[test]
fn a_wrong_pattern_or_none_shows() {
    let frame = Frame::usual(BayerPattern::RGGB, 2.0, 4);
    let wrong = frame.rows(Bayer::Pattern(BayerPattern::GRBG));
    assert!(frame.pull(&wrong, "flux_g") > 3.0);
    let exchanged = frame.rows(Bayer::Pattern(BayerPattern::BGGR));
    assert!(is_right(frame.pull(&exchanged, "flux_g")));
    assert!(frame.pull(&exchanged, "flux_r") > 3.0);
    let none = frame.rows(Bayer::None);
    assert!(none.iter().all(|row| row.get("flux_g").is_none()));
    assert!(frame.pull(&none, "x") > 3.0);
}

#[test]
fn noise_that_is_not_known_comes_from_the_residuals() {
    let frame = Frame::new(
        BayerPattern::GBRG,
        3.0,
        (3e3, 1e4),
        |_, r| [0.4 + 0.8 * r, 0.6],
        5,
    );
    let bayer = Bayer::Pattern(BayerPattern::GBRG);
    let rows = frame.measure(bayer, Channel::All, false, &fitter());
    for column in COLUMNS {
        let pull = frame.pull(&rows, column);
        assert!((0.75..1.25).contains(&pull), "{column}: {pull}");
    }
}

#[test]
fn one_channel_is_what_its_pixels_say() {
    let frame = Frame::usual(BayerPattern::BGGR, 3.0, 6);
    let bayer = Bayer::Pattern(BayerPattern::BGGR);
    for (color, others) in [
        (Color::Green, ["flux_r", "flux_b"]),
        (Color::Red, ["flux_g", "flux_b"]),
    ] {
        let rows = frame.measure(bayer, Channel::One(color), true, &fitter());
        let column = color.columns()[0];
        let pull = frame.pull(&rows, column);
        assert!(is_right(pull), "{column}: {pull}");
        for row in &rows {
            assert_eq!(row.get("flux"), row.get(column).or(row.get("flux")));
            assert!(others.iter().all(|other| row.get(other).is_none()));
        }
        let quarter = if color == Color::Green { 113.0 } else { 64.0 };
        let most = rows
            .iter()
            .filter_map(|row| row.get("n_pixels"))
            .fold(0.0, f64::max);
        assert!(most <= quarter, "{most} pixels");
    }
    let mut poisson = fitter();
    poisson.estimator = Estimator::Poisson;
    let mut image = frame.image();
    image.header.read_noise = Some(3.0);
    let options = MeasureOptions {
        bayer,
        channel: Channel::One(Color::Green),
        ..MeasureOptions::default()
    };
    let rows = measure_image(&image, None, &options, &poisson)
        .unwrap()
        .rows;
    let pull = frame.pull(&rows, "flux_g");
    assert!(is_right(pull), "poisson: {pull}");
    let options = MeasureOptions {
        channel: Channel::All,
        ..options
    };
    let error = measure_image(&image, None, &options, &poisson).unwrap_err();
    assert!(error.hint().unwrap().contains("--channel green"), "{error}");
}

#[test]
fn stars_of_one_colour_are_found() {
    // As an oxygen line has it, and the others by their usual light.
    let parts = |at: usize, _| {
        if at.is_multiple_of(4) {
            [0.0, 0.0]
        } else {
            [0.8, 0.6]
        }
    };
    let frame = Frame::new(BayerPattern::RGGB, 3.0, (1.1e3, 4e3), parts, 7);
    let rows = frame.rows(Bayer::Pattern(BayerPattern::RGGB));
    let found = frame.pairs(&rows);
    let green = |all: usize| {
        found
            .iter()
            .filter(|(at, _)| (at % 4 == 0) == (all == 30))
            .count()
    };
    assert_eq!((green(30), green(90)), (30, 90), "of {}", rows.len());
    assert!(rows.len() < 126, "{} rows", rows.len());
    let pull = frame.pull(&rows, "flux_r");
    assert!(is_right(pull), "{pull}");
}

#[test]
fn every_model_and_constraint_goes_with_colours() {
    let frame = Frame::usual(BayerPattern::RGGB, 3.0, 8);
    let bayer = Bayer::Pattern(BayerPattern::RGGB);
    for &model in MODELS {
        let fitter = Fitter::new(
            model,
            Box::new(LevenbergMarquardt::default()),
            Box::new(CpuBackend::default()),
        );
        let rows = frame.measure(bayer, Channel::All, true, &fitter);
        let converged = |row: &&Row| row.status == FitStatus::Converged;
        assert!(
            rows.iter().filter(converged).count() > 115,
            "{}",
            model.name()
        );
        for column in ["flux_r", "flux_g", "flux_b"] {
            let (mut off, mut n) = (0.0, 0.0);
            for (at, row) in frame.pairs(&rows) {
                let place = COLUMNS.iter().position(|name| *name == column).unwrap() - 3;
                if let Some(flux) = row.get(column) {
                    off += (flux / frame.fluxes[at][place] - 1.0).abs();
                    n += 1.0;
                    // A Moffat's wings alone may have no error.
                    assert!(row.get(&format!("{column}_err")).is_some() || row.flags.0 & 8 != 0);
                }
            }
            assert!(
                n > 110.0 && off / n < 0.06,
                "{}: {column}: {}",
                model.name(),
                off / n
            );
        }
    }
    let options = MeasureOptions {
        bayer,
        fixed: vec![("fwhm".into(), Some(3.0))],
        ..MeasureOptions::default()
    };
    let measured =
        |options: &MeasureOptions| measure_image(&frame.image(), None, options, &fitter());
    let rows = measured(&options).unwrap().rows;
    assert!(
        rows.iter()
            .all(|row| row.get("fwhm").is_none_or(|fwhm| fwhm == 3.0))
    );
    for column in COLUMNS {
        let pull = frame.pull(&rows, column);
        assert!(is_right(pull), "{column}: {pull}");
    }
    for column in ["flux", "background"] {
        let held = MeasureOptions {
            fixed: vec![(column.into(), Some(3.0))],
            ..options.clone()
        };
        let error = measured(&held).unwrap_err().to_string();
        assert!(error.contains(column), "{error}");
    }
}

/// Writes a frame with these cards.
fn write_frame(path: &Path, frame: &Frame, cards: &[(&str, Value)]) {
    let all = [&[("EGAIN", Value::Float(1.0))], cards].concat();
    write(path, &frame.pixels, &all);
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

#[test]
fn headers_say_which_pixels_are_red() {
    let folder = folder();
    let folder = folder.path();
    // 480 rows: from the bottom up the stored pattern begins with the second row of the card's.
    let frame = Frame::usual(BayerPattern::RGGB, 3.0, 9);
    let plain = [("BAYERPAT", text("RGGB"))];
    let moved = [
        ("BAYERPAT", text("GRBG")),
        ("XBAYROFF", Value::Integer(1)),
        ("YBAYROFF", Value::Integer(1)),
        ("ROWORDER", text("BOTTOM-UP")),
    ];
    let other = [("COLORTYP", text("GBRG")), ("YBAYROFF", Value::Integer(1))];
    for cards in [&plain[..], &moved, &other] {
        write_frame(&folder.join("a.fits"), &frame, cards);
        let ran = starfit(
            folder,
            &[
                "fit",
                "a.fits",
                "--backend",
                "cpu",
                "-o",
                "a.csv",
                "-o",
                "a.db",
                "-o",
                "a.ecsv",
            ],
        );
        assert!(
            ran.code == 0 && !ran.stderr.contains("warning"),
            "{}",
            ran.stderr
        );
        let rows = read_csv(&folder.join("a.csv"));
        assert!((118..126).contains(&rows.len()), "{} rows", rows.len());
        let mut far = 0;
        for (star, fluxes) in frame.stars.iter().zip(&frame.fluxes) {
            let near = |row: &&std::collections::HashMap<String, f64>| {
                (row["x"] - star.x).hypot(row["y"] - star.y) < 2.0
            };
            let row = rows.iter().find(near).unwrap();
            for (color, flux) in Color::ALL.into_iter().zip(fluxes) {
                let [column, error] = color.columns();
                far += usize::from((row[column] - flux).abs() > 3.5 * row[error]);
            }
        }
        assert!(far <= 2, "{cards:?}: {far} of 360 fluxes are off");
        let ecsv = fs::read_to_string(folder.join("a.ecsv")).unwrap();
        assert!(ecsv.contains("name: flux_b_err"));
        let asked = starfit(
            folder,
            &[
                "query",
                "a.db",
                "--where",
                "flux_r_err > 0 AND flux_g > 0",
                "--columns",
                "flux_r,flux_b",
                "--limit",
                "1",
            ],
        );
        assert_eq!(
            (asked.code, asked.stdout.lines().count()),
            (0, 2),
            "{}",
            asked.stderr
        );
        fs::remove_file(folder.join("a.db")).unwrap();
    }
    // X-Trans is none of these.
    write_frame(
        &folder.join("x.fits"),
        &frame,
        &[("BAYERPAT", text("GGRGGB"))],
    );
    let ran = starfit(
        folder,
        &["fit", "x.fits", "--backend", "cpu", "-o", "x.csv"],
    );
    assert!(
        ran.stderr.contains("GGRGGB: no pattern of Bayer's"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_mosaic_that_no_card_states_is_seen() {
    let folder = folder();
    let folder = folder.path();
    let frame = Frame::usual(BayerPattern::GBRG, 2.0, 10);
    write_frame(&folder.join("a.fits"), &frame, &[]);
    let fit = |name: &str, more: &[&str]| {
        let args = [&["fit", name, "--backend", "cpu", "-o", "a.csv"], more].concat();
        let ran = starfit(folder, &args);
        (ran.code, ran.stderr)
    };
    let (code, stderr) = fit("a.fits", &[]);
    assert!(
        code == 0 && stderr.contains("--bayer GRBG or GBRG"),
        "{stderr}"
    );
    let rows = frame.rows(Bayer::Auto);
    assert!(is_right(frame.pull(&rows, "flux_g")) && is_right(frame.pull(&rows, "x")));
    assert!(
        rows.iter()
            .all(|row| row.get("flux_r").is_none() && row.get("flux_b").is_none())
    );
    let (code, stderr) = fit("a.fits", &["--channel", "red"]);
    assert!(
        code != 0 && stderr.contains("--bayer GRBG or GBRG"),
        "{stderr}"
    );
    let (code, stderr) = fit("a.fits", &["--bayer", "none"]);
    assert!(code == 0 && !stderr.contains("warning"), "{stderr}");

    // A card that the pixels contradict: the pattern of a frame before it lost a row.
    write_frame(
        &folder.join("b.fits"),
        &frame,
        &[("BAYERPAT", text("RGGB"))],
    );
    let (code, stderr) = fit("b.fits", &[]);
    assert!(code == 0 && stderr.contains("by their sky"), "{stderr}");
    let green = read_csv(&folder.join("a.csv"));
    assert!(
        green
            .iter()
            .all(|row| row.get("flux_r").is_none_or(|flux| flux.is_nan()))
    );

    // Without a mosaic nothing is said, and a channel is refused.
    let mut mono = Field::new((300, 300), 40, (3e3, 1e5), 22.0, 3.0, 11);
    let pixels = mono.expose(300.0, 1.0, 3.0);
    write(
        &folder.join("m.fits"),
        &pixels,
        &[("EGAIN", Value::Float(1.0))],
    );
    let (code, stderr) = fit("m.fits", &[]);
    assert!(code == 0 && !stderr.contains("warning"), "{stderr}");
    let auto = fs::read(folder.join("a.csv")).unwrap();
    assert_eq!(fit("m.fits", &["--bayer", "none"]).0, 0);
    assert_eq!(fs::read(folder.join("a.csv")).unwrap(), auto);
    let cutouts = Array3::from_elem((2, 9, 9), 1.0);
    write_stack(folder.join("s.npy"), &cutouts).unwrap();
    for asked in [["--bayer", "RGGB"], ["--channel", "red"]] {
        let (code, stderr) = fit("s.npy", &asked);
        assert!(code != 0 && stderr.contains("ready cutouts"), "{stderr}");
    }
    let (code, stderr) = fit("m.fits", &["--channel", "green"]);
    assert!(code != 0 && stderr.contains("without a mosaic"), "{stderr}");
}

/// Pairs at 8 to 11 pixels, of FWHM 3.5, as in images without a mosaic.
#[test]
fn what_a_neighbour_moves_is_not_clean() {
    let (mut wrong, mut clean, mut crowded) = (0, 0, 0);
    for seed in 0..3 {
        let mut field = Field::new(SHAPE, 50, (5e3, 3e5), 40.0, 3.5, 70 + seed);
        let stars = field.stars.clone();
        field.stars.extend(stars.iter().map(|star| {
            let angle: f64 = field.rng.random_range(0.0..std::f64::consts::TAU);
            let distance = field.rng.random_range(8.0..11.0);
            Truth {
                x: star.x + distance * angle.cos(),
                y: star.y + distance * angle.sin(),
                flux: star.flux * 10f64.powf(field.rng.random_range(-1.0..1.0)),
            }
        }));
        let frame = Frame::of(
            field,
            BayerPattern::RGGB,
            SKIES,
            usual_parts,
            |light, star| {
                add_star(light, star, 3.5);
            },
        );
        let rows = frame.rows(Bayer::Pattern(BayerPattern::RGGB));
        for (at, row) in frame.pairs(&rows) {
            crowded += usize::from(row.flags.contains(Flags::CROWDED));
            if row.flags.0 == 0 {
                clean += 1;
                let off = row.get("flux").unwrap() - frame.fluxes[at].iter().sum::<f64>();
                wrong += usize::from(off.abs() > 5.0 * row.get("flux_err").unwrap());
            }
        }
    }
    println!("{wrong} of {clean} clean stars are more than 5 errors off, {crowded} are crowded");
    assert!(clean > 150, "{clean}");
    assert!(crowded > 10, "{crowded}");
    assert!(wrong as f64 <= 0.02 * clean as f64, "{wrong} of {clean}");
}

#[test]
fn round_models_say_how_long_stars_are() {
    for (ratio, seed) in [(1.0, 81), (2.0, 82)] {
        let field = Field::new(SHAPE, 60, (1e4, 3e5), 40.0, 3.0, seed);
        let frame = Frame::of(
            field,
            BayerPattern::RGGB,
            SKIES,
            usual_parts,
            |light, star| {
                add_trail(light, star, 3.0, ratio);
            },
        );
        let rows = frame.rows(Bayer::Pattern(BayerPattern::RGGB));
        let mut found: Vec<f64> = rows
            .iter()
            .filter_map(|row| row.get("ellipticity"))
            .collect();
        assert!(found.len() > 50, "{ratio}: {}", found.len());
        found.sort_by(f64::total_cmp);
        let (middle, truth) = (found[found.len() / 2], 1.0 - 1.0 / ratio);
        assert!(
            (middle - truth).abs() < 0.06,
            "{ratio}: {middle}, not {truth}"
        );
    }
}

/// Skies alike in all colours tell no gain, and no card does: the green pixels of bright stars do.
#[test]
fn bright_stars_tell_the_gain() {
    let field = Field::new(SHAPE, 120, (3e3, 3e5), 22.0, 3.0, 83);
    let skies = [400.0; 3];
    let add = |light: &mut Array2<f64>, star: &Truth| add_star(light, star, 3.0);
    let frame = Frame::of(field, BayerPattern::RGGB, skies, usual_parts, add);
    let image = Image::from_pixels("frame", frame.pixels.clone());
    let options = MeasureOptions {
        bayer: Bayer::Pattern(BayerPattern::RGGB),
        ..MeasureOptions::default()
    };
    let measured = measure_image(&image, None, &options, &fitter()).unwrap();
    let (gain, error) = (
        measured.assumed.gain.unwrap(),
        measured.assumed.gain_err.unwrap(),
    );
    println!("gain {gain:.3} +- {error:.3}");
    assert!(
        error < 0.2 && (gain - 1.0).abs() < 3.0 * error,
        "{gain} +- {error}"
    );
    for column in COLUMNS {
        let pull = frame.pull(&measured.rows, column);
        assert!(is_right(pull), "{column}: {pull}");
    }
    // Without the photons errors would be far too small.
    let blind = MeasureOptions {
        gain: Some(1e9),
        ..options
    };
    let rows = measure_image(&image, None, &blind, &fitter()).unwrap().rows;
    assert!(frame.pull(&rows, "flux") > 2.0);
}
