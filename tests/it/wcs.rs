//! Sky positions against astropy, for headers of every kind.

use std::collections::HashMap;

use ndarray::{Array3, ArrayView2, Axis};
use starfit::io::fits::{FitsFile, FitsPath, Value};
use starfit::wcs::{Sky, Unsupported, Wcs};

use crate::cli::{folder, shipped, starfit};
use crate::common::{data, own_data, read_csv};

/// Degrees: 0.01 mas.
const SKY_LIMIT: f64 = 0.01e-3 / 3600.0;
const PIXEL_LIMIT: f64 = 1e-6;

struct Case {
    name: String,
    cards: String,
    /// ICRS of each pixel, NaN where it has no position.
    sky: Array3<f64>,
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(own_data("wcs/headers.txt")).unwrap();
    let sky: Array3<f64> = ndarray_npy::read_npy(own_data("wcs/sky.npy")).unwrap();
    let blocks = text
        .split("== ")
        .skip(1)
        .map(|block| block.split_once('\n').unwrap());
    let cases: Vec<Case> = blocks
        .zip(sky.axis_iter(Axis(0)))
        .map(|((name, cards), sky)| Case {
            name: name.into(),
            cards: cards.into(),
            sky: sky.to_owned().insert_axis(Axis(0)),
        })
        .collect();
    assert_eq!(
        cases.len(),
        sky.dim().0,
        "headers and positions go together"
    );
    cases
}

impl Case {
    fn number(&self, keyword: &str) -> f64 {
        let card = self.cards.lines().find(|card| card.starts_with(keyword));
        card.unwrap()
            .split_once('=')
            .unwrap()
            .1
            .trim()
            .parse()
            .unwrap()
    }

    /// The places that make_wcs.py took, by the same formula.
    fn pixels(&self) -> impl Iterator<Item = (f64, f64)> {
        let (width, height) = (self.number("NAXIS1"), self.number("NAXIS2"));
        (0..self.sky.dim().1).map(move |i| {
            let i = i as f64;
            let x = (i * 0.7548776662466927) % 1.0 * width - 0.5;
            let y = (i * 0.5698402909980532) % 1.0 * height - 0.5;
            (x, y)
        })
    }

    fn sky(&self) -> ArrayView2<'_, f64> {
        self.sky.index_axis(Axis(0), 0)
    }
}

/// Distance of two positions, degrees.
fn distance(a: Sky, b: Sky) -> f64 {
    let direction = |sky: Sky| {
        let ((sin_ra, cos_ra), (sin, cos)) = (
            sky.ra.to_radians().sin_cos(),
            sky.dec.to_radians().sin_cos(),
        );
        [cos * cos_ra, cos * sin_ra, sin]
    };
    let (a, b) = (direction(a), direction(b));
    let squared: f64 = (0..3).map(|k| (a[k] - b[k]).powi(2)).sum();
    (squared.sqrt() / 2.0).asin().to_degrees() * 2.0
}

/// The largest errors of a WCS: on the sky, degrees, and back from there, pixels. `moved` moves the
/// reference, as a control.
fn worst(case: &Case, wcs: &Wcs, moved: f64) -> (f64, f64) {
    let mut worst = (0.0f64, 0.0f64);
    for ((x, y), sky) in case.pixels().zip(case.sky().rows()) {
        let name = &case.name;
        let found = wcs.to_sky(x, y);
        if sky[0].is_nan() {
            assert_eq!(found, None, "{name}: {x} {y} is nowhere");
            continue;
        }
        let expected = Sky {
            ra: sky[0],
            dec: sky[1] + moved,
        };
        let found = found.unwrap_or_else(|| panic!("{name}: {x} {y} is at {expected:?}"));
        worst.0 = worst.0.max(distance(found, expected));
        let back = wcs.to_pixel(expected.ra, expected.dec);
        let back = back.unwrap_or_else(|| panic!("{name}: {expected:?} is at {x} {y}"));
        worst.1 = worst.1.max((back.0 - x).hypot(back.1 - y));
    }
    worst
}

#[test]
fn pixels_are_where_astropy_says() {
    let cases = cases();
    assert!(cases.len() > 80);
    for case in &cases {
        let wcs = Wcs::from_text(&case.cards).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        let (sky, pixels) = worst(case, &wcs, 0.0);
        println!(
            "{:30} {:8.5} mas {:8.1e} px",
            case.name,
            sky * 3.6e6,
            pixels
        );
        assert!(sky < SKY_LIMIT, "{}: {} mas", case.name, sky * 3.6e6);
        assert!(pixels < PIXEL_LIMIT, "{}: {pixels} pixels", case.name);
        let (control, _) = worst(case, &wcs, 2.0 * SKY_LIMIT);
        assert!(control > SKY_LIMIT, "{}: the test sees nothing", case.name);
    }
}

/// A header that starfit reads, with other cards in the place of its own.
fn header(cards: &[(&str, &str)]) -> Result<Option<Wcs>, Unsupported> {
    let plain = [
        ("CTYPE1", "RA---TAN"),
        ("CTYPE2", "DEC--TAN"),
        ("CRVAL1", "150.0"),
        ("CRVAL2", "30.0"),
        ("CRPIX1", "50.0"),
        ("CRPIX2", "40.0"),
        ("CDELT1", "-0.0002"),
        ("CDELT2", "0.0002"),
    ];
    let value = |text: &str| match (text.parse(), text.parse()) {
        (Ok(integer), _) => Value::Integer(integer),
        (_, Ok(float)) => Value::Float(float),
        _ if text == "T" => Value::Logical(true),
        _ => Value::Text(text.into()),
    };
    let all: HashMap<&str, Value> = plain
        .iter()
        .chain(cards)
        .map(|(keyword, text)| (*keyword, value(text)))
        .collect();
    // A minus takes a card out.
    let is_there = |value: &&Value| value.text() != Some("-");
    Wcs::from_header(|keyword| Ok(all.get(keyword).filter(is_there).cloned()))
}

#[test]
fn what_is_not_supported_is_said() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("CTYPE1", "RA---TNX"), ("CTYPE2", "DEC--TNX")],
            "the projection TNX",
        ),
        (
            &[("CTYPE1", "RA---ZPX"), ("CTYPE2", "DEC--ZPX")],
            "the projection ZPX",
        ),
        (
            &[("CTYPE1", "RA---TAB"), ("CTYPE2", "DEC--TAB")],
            "the projection TAB",
        ),
        (
            &[("CTYPE1", "RA---XYZ"), ("CTYPE2", "DEC--XYZ")],
            "the projection XYZ",
        ),
        (
            &[("CTYPE2", "DEC--SIN")],
            "the projection of CTYPE1 RA---TAN, CTYPE2 DEC--SIN",
        ),
        (
            &[("CTYPE1", "RA---TAN-TPD"), ("CTYPE2", "DEC--TAN-TPD")],
            "the projection of CTYPE1 RA---TAN-TPD, CTYPE2 DEC--TAN-TPD",
        ),
        (
            &[("CTYPE1", "RA"), ("CTYPE2", "DEC")],
            "no projection: CTYPE1 RA, CTYPE2 DEC",
        ),
        (
            &[("CTYPE1", "RA---TAN"), ("CTYPE2", "GLAT-TAN")],
            "the coordinates CTYPE1 RA---TAN, CTYPE2 GLAT-TAN",
        ),
        (
            &[("CTYPE1", "ELON-TAN"), ("CTYPE2", "ELAT-TAN")],
            "the coordinates CTYPE1 ELON-TAN, CTYPE2 ELAT-TAN",
        ),
        (
            &[("CTYPE1", "FREQ"), ("CTYPE3", "RA---TAN")],
            "celestial axes that are not the first two: CTYPE2 DEC--TAN, CTYPE3 RA---TAN",
        ),
        (
            &[("CRPIX1", "abc")],
            "CRPIX1: expected a number, found 'abc'",
        ),
        (&[("CRPIX1", "T")], "CRPIX1: expected a number, found T"),
        (
            &[("CRVAL2", "120.0")],
            "CRVAL2: expected a latitude from -90 to 90, found 120",
        ),
        (&[("CRVAL1", "-")], "CRVAL1 is missing"),
        (
            &[("CDELT1", "-"), ("CDELT2", "-")],
            "no scale of pixels: neither CD nor PC nor CDELT",
        ),
        (
            &[("CDELT1", "0"), ("CDELT2", "0")],
            "the matrix of pixel scales is singular",
        ),
        (
            &[("CDELT1", "1e9")],
            "scales of pixels outside 1e-12 to 1e3 degrees",
        ),
        (&[("CRPIX2", "-1e10")], "CRPIX beyond 1e9 pixels"),
        (
            &[("CD1_1", "0.0")],
            "the matrix of pixel scales is singular",
        ),
        (
            &[("PC1_1", "1.0"), ("PC1_3", "0.5")],
            "positions depend on a third axis (PC1_3)",
        ),
        (&[("CUNIT1", "parsec")], "the unit PARSEC in CUNIT"),
        (&[("CPDIS1", "Lookup")], "a distortion by CPDISi"),
        (&[("PC001001", "1.0")], "the old form PC001001 of PC1_1"),
        (&[("RADESYS", "GAPPT")], "the reference system GAPPT"),
        (
            &[("EQUINOX", "0.0")],
            "EQUINOX: expected a year from 1800 to 2200",
        ),
        (
            &[("PV1_1", "1.0")],
            "a fiducial point that PVi_1 of the longitude moves",
        ),
        (
            &[
                ("CTYPE1", "RA---TPV"),
                ("CTYPE2", "DEC--TPV"),
                ("PV1_1", "1.0"),
            ],
            "TPV with CDELT, or with declination first",
        ),
        (
            &[
                ("CTYPE1", "RA---TPV"),
                ("CTYPE2", "DEC--TPV"),
                ("PV1_1", "1.0"),
                ("CD1_1", "1.0"),
                ("CD2_2", "1.0"),
            ],
            "TPV without PV2_1",
        ),
        (
            &[("A_ORDER", "2")],
            "SIP has only one of A_ORDER and B_ORDER",
        ),
        (
            &[("A_ORDER", "1000000"), ("B_ORDER", "2")],
            "A_ORDER: expected a whole number from 0 to 9, found 1000000",
        ),
        (
            &[
                ("CTYPE1", "RA---CAR"),
                ("CTYPE2", "DEC--CAR"),
                ("LONPOLE", "90.0"),
                ("CRVAL2", "0.0"),
            ],
            "a pole that only LATPOLE says",
        ),
        (
            &[
                ("CTYPE1", "RA---CAR"),
                ("CTYPE2", "DEC--CAR"),
                ("LONPOLE", "80.0"),
                ("CRVAL2", "60.0"),
            ],
            "no pole agrees with LONPOLE and CRVAL",
        ),
    ];
    for (cards, reason) in cases {
        let found = header(cards).unwrap_err();
        assert_eq!(found.to_string(), *reason, "{cards:?}");
    }
    assert!(header(&[]).unwrap().is_some());
}

#[test]
fn what_is_no_sky_is_none() {
    for cards in [
        [("CTYPE1", ""), ("CTYPE2", "")],
        [("CTYPE1", "-"), ("CTYPE2", "-")],
        [("CTYPE1", "LINEAR"), ("CTYPE2", "PIXEL")],
        [("CTYPE1", "WAVE"), ("CTYPE2", "T")],
    ] {
        assert_eq!(header(&cards), Ok(None), "{cards:?}");
    }
}

#[test]
fn a_text_gives_the_same_transformation() {
    for case in cases() {
        let wcs = Wcs::from_text(&case.cards).unwrap();
        let again = Wcs::from_text(wcs.text()).unwrap();
        assert_eq!(wcs, again, "{}", case.name);
    }
    let wcs = header(&[("RADESYS", "FK5"), ("OBJECT", "it's")])
        .unwrap()
        .unwrap();
    assert_eq!(
        wcs.text(),
        "CTYPE1  =           'RA---TAN'\n\
         CTYPE2  =           'DEC--TAN'\n\
         CRPIX1  =                 50.0\n\
         CRPIX2  =                 40.0\n\
         CDELT1  =              -0.0002\n\
         CDELT2  =               0.0002\n\
         CRVAL1  =                150.0\n\
         CRVAL2  =                 30.0\n\
         RADESYS =                'FK5'"
    );
    assert!(Wcs::from_text("").is_err() && Wcs::from_text("nonsense").is_err());
}

#[test]
fn the_jacobian_is_the_slope_on_the_sky() {
    // At the reference pixel of TAN it is the matrix; right ascension goes round there.
    let wcs = header(&[("CRVAL1", "0.0"), ("CROTA2", "30.0"), ("CRVAL2", "80.0")]);
    let wcs = wcs.unwrap().unwrap();
    let [[a, b], [c, d]] = wcs.jacobian(49.0, 39.0).unwrap();
    let (sin, cos) = 30f64.to_radians().sin_cos();
    let expected = [-2e-4 * cos, -2e-4 * sin, -2e-4 * sin, 2e-4 * cos];
    for (found, expected) in [a, b, c, d].into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-8 * 2e-4, "{found} {expected}");
    }
    let scale = wcs.pixel_scale(49.0, 39.0).unwrap();
    assert!((scale - 2e-4).abs() < 1e-12);
    // A tenth of a degree off, cos dec counts.
    let off = wcs.jacobian(549.0, 39.0).unwrap();
    assert!((off[0][0] - a).abs() > 1e-8);
}

#[test]
fn what_is_far_outside_is_nowhere() {
    let wcs = header(&[]).unwrap().unwrap();
    assert_eq!(wcs.to_pixel(330.0, -30.0), None);
    for (ra, dec) in [
        (f64::NAN, 0.0),
        (0.0, f64::NAN),
        (0.0, 90.1),
        (f64::INFINITY, 0.0),
    ] {
        assert_eq!(wcs.to_pixel(ra, dec), None);
    }
    assert_eq!(wcs.to_sky(f64::NAN, 0.0), None);
    let (x, y) = wcs.to_pixel(150.0 - 360.0, 30.0).unwrap();
    assert!((x - 49.0).abs() < 1e-6 && (y - 39.0).abs() < 1e-6);
}

#[test]
fn files_give_what_their_headers_say() {
    let mut seen = 0;
    for case in cases() {
        let Some((file, _)) = case.name.split_once('[') else {
            continue;
        };
        let Some(path) = data(&format!("data/{file}")) else {
            return;
        };
        let path = format!("{}{}", path.display(), &case.name[file.len()..]);
        let file = FitsFile::open(&FitsPath::parse(&path).unwrap()).unwrap();
        let wcs = file.wcs().unwrap_or_else(|| panic!("{path}: no WCS"));
        let (sky, pixels) = worst(&case, wcs, 0.0);
        assert!(sky < SKY_LIMIT && pixels < PIXEL_LIMIT, "{path}");
        seen += 1;
    }
    assert!(seen >= 8);
    for (file, has) in [
        ("m13_rice.fits.fz", true),
        ("m67_dss.fits", false),
        ("emmi_na36.fits", false),
        ("bad/wcs_singular.fits", false),
        ("bad/wcs_bad_values.fits", false),
        ("bad/wcs_unknown_projection.fits", false),
    ] {
        let path = data(&format!("data/{file}")).unwrap();
        let file = FitsFile::open(&FitsPath::from(path)).unwrap();
        let image = file.image(0).unwrap();
        assert_eq!(image.wcs.is_some(), has, "{}", image.name);
    }
}

#[test]
fn what_is_odd_is_said_once_and_what_is_no_wcs_is_not() {
    for (file, said) in [
        (
            "bad/wcs_singular.fits",
            Some("WCS: the matrix of pixel scales is singular: ra and dec stay empty"),
        ),
        (
            "bad/wcs_bad_values.fits",
            Some("WCS: CRPIX1: expected a number, found 'abc': ra and dec stay empty"),
        ),
        (
            "bad/wcs_unknown_projection.fits",
            Some("WCS: the projection XYZ: ra and dec stay empty"),
        ),
        ("m67_dss.fits", None),
    ] {
        let Some(path) = data(&format!("data/{file}")) else {
            return;
        };
        let folder = folder();
        let path = path.display().to_string();
        let ran = starfit(folder.path(), &["fit", "-o", "out.csv", &path]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let found: Vec<&str> = ran.stderr.lines().filter(|l| l.contains("WCS")).collect();
        assert_eq!(found.len(), usize::from(said.is_some()), "{}", ran.stderr);
        assert!(
            said.is_none_or(|said| found[0].ends_with(said)),
            "{found:?}"
        );
        let rows = read_csv(&folder.path().join("out.csv"));
        let empty = |column: &str| rows.iter().all(|row| row[column].is_nan());
        assert!(empty("ra") && empty("ra_err") && empty("dec") && empty("dec_err"));
        assert!(!empty("x") && !empty("x_err"));
    }
}

/// A simulated field, and its truth.
fn field(folder: &std::path::Path) -> Vec<HashMap<String, f64>> {
    let ran = starfit(
        folder,
        &[
            "simulate",
            "--stars",
            "150",
            "--width",
            "600",
            "--height",
            "500",
            "--snr",
            "50:500",
            "field.fits",
        ],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    read_csv(&folder.join("field.fits.truth.csv"))
}

fn list(columns: &[&str], truth: &[HashMap<String, f64>]) -> String {
    let mut text = columns.join(",") + "\n";
    for row in 0..truth.len() {
        let fields: Vec<String> = columns.iter().map(|c| truth[row][*c].to_string()).collect();
        text += &(fields.join(",") + "\n");
    }
    text
}

#[test]
fn stars_are_found_by_where_they_are_on_the_sky() {
    let folder = folder();
    let truth = field(folder.path());
    // One more, on the other side of the sky, and one beside the image.
    let text = list(&["ra", "dec"], &truth) + "70.0,-36.0\n250.0,36.0\n";
    std::fs::write(folder.path().join("sky.csv"), text).unwrap();
    std::fs::write(folder.path().join("pixels.csv"), list(&["x", "y"], &truth)).unwrap();
    for name in ["sky", "pixels"] {
        let (stars, output) = (format!("{name}.csv"), format!("{name}_out.csv"));
        let ran = starfit(
            folder.path(),
            &[
                "fit",
                "--model",
                "gaussian",
                "--stars",
                &stars,
                "-o",
                &output,
                "field.fits",
            ],
        );
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let text = std::fs::read_to_string(folder.path().join("sky_out.csv")).unwrap();
    assert_eq!(text.lines().count(), truth.len() + 3);
    for row in text.lines().skip(truth.len() + 1) {
        assert!(row.contains(",too_few_pixels,"), "{row}");
    }
    let [sky, pixels] =
        ["sky_out.csv", "pixels_out.csv"].map(|name| read_csv(&folder.path().join(name)));
    for column in ["x", "y", "ra", "dec", "ra_err", "dec_err", "flux"] {
        for (row, (a, b)) in sky.iter().zip(&pixels).enumerate() {
            let (a, b) = (a[column], b[column]);
            let same = (a - b).abs() <= 1e-6 * b.abs() || (a.is_nan() && b.is_nan());
            assert!(same, "{column} of {row}: {a} {b}");
        }
    }
}

#[test]
fn errors_on_the_sky_are_those_of_the_positions() {
    let folder = folder();
    let truth = field(folder.path());
    std::fs::write(folder.path().join("list.csv"), list(&["x", "y"], &truth)).unwrap();
    let ran = starfit(
        folder.path(),
        &["fit", "--stars", "list.csv", "-o", "out.csv", "field.fits"],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let found = read_csv(&folder.path().join("out.csv"));
    // Width of the pulls by their median, which neighbours do not spoil; `moved` degrees off as a
    // control.
    let width = |column: &str, scale: f64, moved: f64| {
        let mut pulls: Vec<f64> = (0..truth.len())
            .filter(|&row| found[row]["flags"] == 0.0)
            .map(|row| {
                let off = (found[row][column] - truth[row][column]) * scale + moved;
                (off / found[row][&format!("{column}_err")]).abs()
            })
            .collect();
        assert!(pulls.len() > 80);
        pulls.sort_by(f64::total_cmp);
        pulls[pulls.len() / 2] / 0.6745
    };
    let cos_dec = 36.4613f64.to_radians().cos();
    for (column, scale) in [("ra", cos_dec), ("dec", 1.0)] {
        let plain = width(column, scale, 0.0);
        assert!((0.75..1.3).contains(&plain), "{column}: {plain}");
        assert!(width(column, scale, 0.05 / 3600.0) > 1.3);
    }
    // A round star's errors are the same in every direction: here 1 arcsecond a pixel.
    for row in (0..truth.len()).filter(|&row| found[row]["flags"] == 0.0) {
        let pixels = found[row]["x_err"].hypot(found[row]["y_err"]);
        let sky = found[row]["ra_err"].hypot(found[row]["dec_err"]) * 3600.0;
        assert!((sky / pixels - 1.0).abs() < 1e-5, "{sky} {pixels}");
    }
}

#[test]
fn lists_on_the_sky_that_cannot_be_used_say_why() {
    let folder = folder();
    let text = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    text("sky.csv", "ra,dec\n10,20\n");
    text("hours.csv", "ra,dec\n05:34:31.9,+22:00:52\n");
    text("wrong.csv", "ra,dec\n10,20\n10,200\n");
    text("other.csv", "a,b\n10,20\n");
    let base = shipped("base.fits");
    for (list, said) in [
        (
            "sky.csv",
            "base.fits[0]: WCS: expected a supported one, as sky.csv has ra and dec, found none",
        ),
        (
            "hours.csv",
            "hours.csv: line 2, column ra: expected a number, found \"05:34:31.9\"",
        ),
        (
            "hours.csv",
            "hint: positions on the sky are in degrees, as 83.6331",
        ),
        (
            "wrong.csv",
            "wrong.csv: line 3, column dec: expected a declination from -90 to 90 degrees, found 200",
        ),
        ("other.csv", "expected x and y or ra and dec"),
    ] {
        let ran = starfit(
            folder.path(),
            &["fit", "--stars", list, "-o", "out.csv", &base],
        );
        assert_eq!(ran.code, 2, "{list}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{list}: {}", ran.stderr);
    }
}

#[test]
fn regions_are_of_images() {
    let folder = folder();
    field(folder.path());
    let base = shipped("base.fits");
    let ran = starfit(folder.path(), &["fit", "-o", "a.reg", "field.fits"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let text = std::fs::read_to_string(folder.path().join("a.reg")).unwrap();
    assert!(
        text.contains("\nicrs\n# image field.fits[0]\ncircle("),
        "{text}"
    );
    assert!(text.lines().count() > 100);
    let ran = starfit(folder.path(), &["fit", "-o", "b.reg", "field.fits", &base]);
    assert!(
        ran.stderr.contains("an image without WCS, base.fits[0]"),
        "{}",
        ran.stderr
    );
    assert!(!folder.path().join("b.reg").exists());
    let stack = starfit(folder.path(), &["simulate", "stack.fits", "--stack", "9"]);
    assert_eq!(stack.code, 0, "{}", stack.stderr);
    let ran = starfit(
        folder.path(),
        &["fit", "--cutouts", "-o", "c.reg", "stack.fits"],
    );
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains(".reg files are for images"),
        "{}",
        ran.stderr
    );
}
