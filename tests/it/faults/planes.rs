//! Errors, variances and quality bits beside the image: each is taken for what it is.

use std::path::Path;

use ndarray::{Array2, Array3};
use rand::RngExt;
use rand_distr::{Distribution, Normal, StandardNormal};
use starfit::catalog::Row;
use starfit::fit::Flags;
use starfit::io::npy;

use super::field::{Field, Truth, pull};
use crate::cli::{Ran, count, folder, starfit};
use crate::common::read_csv;

/// The kinds of numbers in a FITS extension.
enum Numbers<'a> {
    Float(&'a Array2<f64>),
    Bits(&'a Array2<u32>),
}

/// A FITS file of extensions behind an empty primary header, with cards of text as they stand.
fn write_extensions(path: &Path, extensions: &[(&str, Numbers<'_>, &[&str])]) {
    let block = |bytes: &mut Vec<u8>, fill: u8| {
        bytes.resize(bytes.len().next_multiple_of(2880), fill);
    };
    let header = |bytes: &mut Vec<u8>, cards: &[String]| {
        for card in cards {
            bytes.extend(format!("{card:80}").into_bytes());
        }
        bytes.extend(format!("{:80}", "END").into_bytes());
        block(bytes, b' ');
    };
    let number = |keyword: &str, value: i64| format!("{keyword:8}= {value:20}");
    let mut bytes = Vec::new();
    header(
        &mut bytes,
        &[
            format!("{:8}= {:>20}", "SIMPLE", "T"),
            number("BITPIX", 8),
            number("NAXIS", 0),
        ],
    );
    for (name, numbers, more) in extensions {
        let (bitpix, (height, width)) = match numbers {
            Numbers::Float(pixels) => (-32, pixels.dim()),
            Numbers::Bits(pixels) => (32, pixels.dim()),
        };
        let mut cards = vec![
            "XTENSION= 'IMAGE   '".to_owned(),
            number("BITPIX", bitpix),
            number("NAXIS", 2),
            number("NAXIS1", width as i64),
            number("NAXIS2", height as i64),
            number("PCOUNT", 0),
            number("GCOUNT", 1),
            format!("EXTNAME = '{name}'"),
        ];
        cards.extend(more.iter().map(|card| (*card).to_owned()));
        header(&mut bytes, &cards);
        match numbers {
            Numbers::Float(pixels) => {
                bytes.extend(
                    pixels
                        .iter()
                        .flat_map(|&value| (value as f32).to_be_bytes()),
                );
            }
            Numbers::Bits(pixels) => {
                bytes.extend(
                    pixels
                        .iter()
                        .flat_map(|&value| (value as i32).to_be_bytes()),
                );
            }
        }
        block(&mut bytes, 0);
    }
    std::fs::write(path, bytes).unwrap();
}

/// An image with its standard deviations and its quality: bit 0 is bad, bit 2 harmless, in a
/// quarter of all pixels.
struct Observation {
    field: Field,
    science: Array2<f64>,
    error: Array2<f64>,
    quality: Array2<u32>,
}

impl Observation {
    fn new(unit: f64) -> Self {
        let mut field = Field::new((300, 400), 60, (1500.0, 5e4), 24.0, 3.5, 150);
        let error = field.light.mapv(|light| (light / 2.0 + 900.0).sqrt());
        let rng = &mut field.rng;
        let mut quality =
            Array2::from_shape_fn(error.dim(), |(y, x)| if y < 150 && x < 200 { 4 } else { 0 });
        let mut science = Array2::from_shape_fn(error.dim(), |at| {
            let noise: f64 = StandardNormal.sample(rng);
            field.light[at] + 5.0 + error[at] * noise
        });
        for (pixel, quality) in science.iter_mut().zip(&mut quality) {
            if rng.random_range(0.0..1.0) < 0.01 {
                *pixel = rng.random_range(2e3..6e4);
                *quality |= 1;
            }
        }
        Self {
            field,
            science: science * unit,
            error: error * unit,
            quality,
        }
    }

    fn write(&self, path: &Path) {
        write_extensions(
            path,
            &[
                ("SCI", Numbers::Float(&self.science), &[]),
                ("ERR", Numbers::Float(&self.error), &[]),
                ("DQ", Numbers::Bits(&self.quality), &[]),
            ],
        );
    }
}

fn fit(folder: &Path, options: &[&str]) -> Ran {
    let mut args = vec!["fit", "--backend", "cpu", "-o", "out.csv"];
    args.extend(options);
    starfit(folder, &args)
}

/// The rows of the last run, as far as they are numbers.
fn rows(folder: &Path) -> Vec<Row> {
    read_csv(&folder.join("out.csv"))
        .into_iter()
        .map(|columns| {
            let flags = Flags(columns["flags"] as u16);
            let status = starfit::fit::FitStatus::Converged;
            let mut row = Row::new(columns["id"] as usize, status, flags);
            for name in [
                "x",
                "y",
                "flux",
                "x_err",
                "y_err",
                "flux_err",
                "reduced_chi2",
                "snr",
            ] {
                if columns[name].is_finite() {
                    row.set(name, columns[name]);
                }
            }
            row
        })
        .collect()
}

fn typical_chi2(rows: &[Row]) -> f64 {
    let mut chi2: Vec<f64> = rows
        .iter()
        .filter_map(|row| row.get("reduced_chi2"))
        .collect();
    starfit::numbers::median(&mut chi2).unwrap()
}

#[test]
fn errors_and_quality_beside_the_image_give_the_truth() {
    let folder = folder();
    let observation = Observation::new(1.0);
    observation.write(&folder.path().join("sci.fits"));
    let ran = fit(
        folder.path(),
        &[
            "sci.fits",
            "--error",
            "[ERR]",
            "--mask",
            "sci.fits[DQ]",
            "--mask-bits",
            "1",
        ],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        !ran.stderr.contains("warning") && !ran.stderr.contains("hint: sci"),
        "{}",
        ran.stderr
    );
    let found = rows(folder.path());
    let pairs = observation.field.pairs(&found);
    assert!(pairs.len() == 60, "{} stars", pairs.len());
    let chi2 = typical_chi2(&found);
    assert!((chi2 - 1.0).abs() < 0.05, "{chi2}");
    type Column = (&'static str, fn(&Truth) -> f64);
    let truths: [Column; 3] = [
        ("flux", |star| star.flux),
        ("x", |star| star.x),
        ("y", |star| star.y),
    ];
    for (column, truth) in truths {
        let pull = pull(&pairs, column, truth);
        // 60 stars know it to 9 %.
        assert!((pull - 1.0).abs() < 0.25, "{column}: {pull}");
    }
    // A cutout has a bad pixel nine times out of ten; bit 2 alone masks none.
    let masked = |rows: &[Row]| {
        let all = rows.iter().filter(|row| row.flags.contains(Flags::MASKED));
        all.count()
    };
    assert!(masked(&found) < found.len());

    // Without the bits every pixel that is not 0 is bad, as ever: the corner is empty.
    let ran = fit(
        folder.path(),
        &["sci.fits", "--error", "[ERR]", "--mask", "[DQ]"],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let corner = |rows: &[Row]| {
        let is_there = |row: &&Row| row.get("x") < Some(190.0) && row.get("y") < Some(140.0);
        rows.iter().filter(is_there).count()
    };
    assert!(corner(&found) > 5 && corner(&rows(folder.path())) == 0);
    // Names say the same as numbers, and so does a mask that is the other way round.
    for bits in ["0x1", "do_not_use"] {
        let args = [
            "sci.fits",
            "--error",
            "[ERR]",
            "--mask",
            "[DQ]",
            "--mask-bits",
            bits,
        ];
        assert_eq!(fit(folder.path(), &args).code, 0);
        assert_eq!(rows(folder.path()).len(), found.len(), "{bits}");
    }
    let good = observation.quality.mapv(|bits| bits & 1 == 0);
    ndarray_npy::write_npy(folder.path().join("good.npy"), &good).unwrap();
    let args = [
        "sci.fits",
        "--error",
        "[2]",
        "--mask",
        "good.npy",
        "--mask-good",
    ];
    assert_eq!(fit(folder.path(), &args).code, 0);
    assert_eq!(rows(folder.path()).len(), found.len());
}

#[test]
fn a_plane_of_another_kind_is_refused_by_name() {
    let folder = folder();
    // In small units, as those of JWST; the extension's name is of no help in the second half.
    let observation = Observation::new(2e-4);
    let variance = &observation.error * &observation.error;
    let inverse = variance.mapv(f64::recip);
    let planes = [
        ("--error", &observation.error),
        ("--variance", &variance),
        ("--inverse-variance", &inverse),
    ];
    let bad = observation.quality.mapv(|bits| bits & 1);
    for name in ["X", "ERR"] {
        for (right, plane) in planes {
            write_extensions(
                &folder.path().join("a.fits"),
                &[
                    ("SCI", Numbers::Float(&observation.science), &[]),
                    (
                        if right == "--error" { name } else { "X" },
                        Numbers::Float(plane),
                        &[],
                    ),
                    ("DQ", Numbers::Bits(&bad), &[]),
                ],
            );
            for (option, _) in planes {
                let args = ["a.fits", option, "[2]", "--mask", "[DQ]"];
                let ran = fit(folder.path(), &args);
                if option == right {
                    assert_eq!(ran.code, 0, "{}", ran.stderr);
                    let chi2 = typical_chi2(&rows(folder.path()));
                    assert!((chi2 - 1.0).abs() < 0.06, "{option}: {chi2}");
                } else {
                    assert_eq!(ran.code, 2, "{option} for {right}: {}", ran.stderr);
                    assert!(
                        ran.stderr.contains(&format!("give them with {right}\n")),
                        "{option} for {right}: {}",
                        ran.stderr
                    );
                }
            }
        }
    }
    // One that is off by 3 is of no kind: a warning says by how much.
    let threefold = &observation.error * 3.0;
    write_extensions(
        &folder.path().join("a.fits"),
        &[
            ("SCI", Numbers::Float(&observation.science), &[]),
            ("ERR", Numbers::Float(&threefold), &[]),
            ("DQ", Numbers::Bits(&bad), &[]),
        ],
    );
    let ran = fit(
        folder.path(),
        &["a.fits", "--error", "[ERR]", "--mask", "[DQ]"],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("off by a factor of about 3."),
        "{}",
        ran.stderr
    );
}

#[test]
fn planes_of_stacks_are_held_against_their_cutouts() {
    let folder = folder();
    let (n, side) = (300, 15);
    let mut rng = crate::common::rng(7);
    // Wide stars that fill their cutouts are no noise.
    let light = |at: usize, y: usize, x: usize| {
        let sigma = 2.0 + 0.01 * at as f64;
        let r2 = (y as f64 - 7.1).powi(2) + (x as f64 - 6.8).powi(2);
        2000.0 * (-r2 / (2.0 * sigma * sigma)).exp() + 100.0
    };
    let variance = Array3::from_shape_fn((n, side, side), |(at, y, x)| light(at, y, x) + 25.0);
    let stack = Array3::from_shape_fn((n, side, side), |(at, y, x)| {
        let noise = Normal::new(0.0, variance[[at, y, x]].sqrt()).unwrap();
        (light(at, y, x) + noise.sample(&mut rng)) as f32
    });
    npy::write_stack(folder.path().join("stack.npy"), &stack).unwrap();
    let write = |name: &str, value: fn(f64) -> f64| {
        let plane = variance.mapv(|variance| value(variance) as f32);
        npy::write_stack(folder.path().join(name), &plane).unwrap();
    };
    write("variance.npy", |variance| variance);
    write("error.npy", f64::sqrt);
    write("inverse-variance.npy", f64::recip);
    for right in ["variance", "error", "inverse-variance"] {
        for given in ["variance", "error", "inverse-variance"] {
            let (option, file) = (format!("--{given}"), format!("{right}.npy"));
            let ran = fit(folder.path(), &["stack.npy", &option, &file]);
            if given == right {
                assert_eq!(ran.code, 0, "{}", ran.stderr);
                assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
                let chi2 = typical_chi2(&rows(folder.path()));
                assert!((chi2 - 1.0).abs() < 0.05, "{given}: {chi2}");
            } else {
                assert_eq!(ran.code, 2, "{given} for {right}: {}", ran.stderr);
                let hint = format!("give them with --{right}\n");
                assert!(
                    ran.stderr.contains(&hint),
                    "{given} for {right}: {}",
                    ran.stderr
                );
            }
        }
    }
    let ran = fit(folder.path(), &["stack.npy", "--mask", "[DQ]"]);
    assert!(
        ran.code == 2 && ran.stderr.contains("expected a FITS file"),
        "{}",
        ran.stderr
    );
}

#[test]
fn chi_square_that_is_not_near_1_is_said() {
    let folder = folder();
    let observation = Observation::new(1.0);
    let bad = observation.quality.mapv(|bits| bits & 1);
    // Within the leeway of the sky's noise, but chi2 is 0.33.
    let plane = &observation.error * 1.75;
    write_extensions(
        &folder.path().join("a.fits"),
        &[
            ("SCI", Numbers::Float(&observation.science), &[]),
            ("ERR", Numbers::Float(&plane), &[]),
            ("DQ", Numbers::Bits(&bad), &[]),
        ],
    );
    let ran = fit(
        folder.path(),
        &["a.fits", "--error", "[ERR]", "--mask", "[DQ]"],
    );
    assert!(
        ran.stderr.contains("chi2/dof of clean stars is 0.3"),
        "{}",
        ran.stderr
    );
    observation.write(&folder.path().join("a.fits"));
    let args = [
        "a.fits",
        "--error",
        "[ERR]",
        "--mask",
        "[DQ]",
        "--mask-bits",
        "1",
    ];
    let ran = fit(folder.path(), &args);
    assert!(!ran.stderr.contains("chi2/dof"), "{}", ran.stderr);
}

#[test]
fn what_stands_beside_the_image_is_named_with_its_options() {
    let folder = folder();
    let observation = Observation::new(1.0);
    observation.write(&folder.path().join("jwst.fits"));
    let hints = |args: &[&str]| {
        let ran = fit(folder.path(), args);
        let lines = ran.stderr.lines().filter(|line| line.starts_with("hint: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let hint = "hint: jwst.fits has ERR and DQ beside SCI: \
                --error '[ERR]' --mask '[DQ]' --mask-bits DO_NOT_USE";
    assert_eq!(hints(&["jwst.fits"]), [hint]);
    assert_eq!(
        hints(&["jwst.fits", "--error", "[ERR]"]),
        ["hint: jwst.fits has DQ beside SCI: --mask '[DQ]' --mask-bits DO_NOT_USE"]
    );
    assert_eq!(
        hints(&["jwst.fits", "--mask", "[DQ]", "--weights", "unit"]),
        [""; 0]
    );
    assert_eq!(hints(&["jwst.fits[ERR]"]), [""; 0]);

    // Rubin's names are in the header of the mask.
    let variance = &observation.error * &observation.error;
    let bits = observation
        .quality
        .mapv(|bits| (bits & 1) << 3 | (bits & 4) << 3);
    let names: &[&str] = &[
        "MP_BAD  = 0",
        "MP_CR   = 3",
        "MP_DETECTED = 5",
        "HIERARCH MP_NO_DATA = 8",
    ];
    write_extensions(
        &folder.path().join("rubin.fits"),
        &[
            ("IMAGE", Numbers::Float(&observation.science), &[]),
            ("MASK", Numbers::Bits(&bits), names),
            ("VARIANCE", Numbers::Float(&variance), &[]),
        ],
    );
    assert_eq!(
        hints(&["rubin.fits"]),
        [
            "hint: rubin.fits has VARIANCE and MASK beside IMAGE: --variance '[VARIANCE]' --mask '[MASK]' --mask-bits BAD,CR,NO_DATA"
        ]
    );
    let options = [
        "rubin.fits",
        "--variance",
        "[VARIANCE]",
        "--mask",
        "[MASK]",
        "--mask-bits",
    ];
    let with = |bits| fit(folder.path(), &[&options[..], &[bits]].concat());
    assert_eq!(with("BAD,CR,NO_DATA").code, 0);
    let found = rows(folder.path());
    let chi2 = typical_chi2(&found);
    assert!((chi2 - 1.0).abs() < 0.05, "{chi2}");
    let ran = with("SATURATED");
    assert_eq!(ran.code, 2);
    insta::assert_snapshot!(ran.stderr.trim(), @r"
    error: rubin.fits[MASK]: --mask-bits: expected a name that the mask's header has, found SATURATED
    hint: one of BAD, CR, DETECTED, NO_DATA; or the sum of the bits as a number
    ");
}

#[test]
fn options_of_planes_that_contradict_each_other_are_refused() {
    let folder = folder();
    let said = |options: &str| {
        let args: Vec<&str> = options.split_whitespace().chain(["a.fits"]).collect();
        let ran = fit(folder.path(), &args);
        assert_eq!(ran.code, 2, "{options}");
        ran.stderr
    };
    insta::assert_snapshot!(said("--error e.fits --variance v.fits"), @r"
    error: --variance, --error, --inverse-variance: expected one of them, found more
    hint: each says the noise of every pixel: as its square, as it is, as one over its square
    ");
    insta::assert_snapshot!(said("--mask-bits 1"), @r"
    error: --mask-bits: expected --mask, whose values it explains, found none
    hint: --mask FILE, or --mask '[DQ]' for that extension of each input
    ");
    insta::assert_snapshot!(said("--mask m.fits --mask-bits 1 --mask-good"), @r"
    error: --mask-good: expected a mask without --mask-bits, found --mask-bits, which says which bits are bad
    hint: leave out one of both
    ");
    assert!(said("--mask m.fits --mask-bits 1,4").contains("the sum of the bits: 5"));
    assert!(said("--error e.fits --weights unit").contains("--error: expected --weights noise"));
}

#[test]
fn runs_with_planes_of_their_own_are_known_again_and_shown() {
    let folder = folder();
    for name in ["a.fits", "b.fits"] {
        Observation::new(1.0).write(&folder.path().join(name));
    }
    let fit = |options: &[&str]| {
        let args = [
            "fit",
            "-q",
            "--backend",
            "cpu",
            "-o",
            "out.db",
            "a.fits",
            "b.fits",
        ];
        let ran = starfit(folder.path(), &[&args[..], options].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        count(&folder.path().join("out.db"), "SELECT count(*) FROM images")
    };
    let own = ["--error", "[ERR]", "--mask", "[DQ]", "--mask-bits", "1"];
    assert_eq!(fit(&own), 2);
    assert_eq!(fit(&[&own[..], &["--resume"]].concat()), 2);
    assert_eq!(
        fit(&[
            "--error",
            "[ERR]",
            "--mask",
            "[DQ]",
            "--mask-bits",
            "DO_NOT_USE"
        ]),
        4
    );
    // The one that is shown has the weights of the fit: chi-square is that of the catalogue.
    let args = ["show", "out.db", "--image", "a.fits", "--id", "3"];
    let ran = starfit(folder.path(), &args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!ran.stdout.contains("shown without"), "{}", ran.stdout);
    std::fs::remove_file(folder.path().join("a.fits")).unwrap();
    let ran = starfit(folder.path(), &args);
    assert!(ran.stdout.contains("is gone"), "{}", ran.stdout);
}
