//! Fits of real images against fits of the same pixels by scipy in double precision.

use std::collections::HashMap;

use starfit::backend::Backend;
use starfit::catalog::Row;
use starfit::fitter::Fitter;
use starfit::io::fits::{FitsFile, FitsPath, HduName};
use starfit::measure::{MeasureOptions, measure_image};
use starfit::model;
use starfit::solver::LevenbergMarquardt;
use starfit::star::{Star, StarList};

use crate::common::{backends, data, read_csv};

/// Side of the cutouts that the reference was made of, pixels.
const SIDE: usize = 15;

/// The real images with a reference: file, HDU, plane.
fn images() -> Option<Vec<(String, usize, usize)>> {
    let text = std::fs::read_to_string(data("data/reference/images.json")?).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let number = |facts: &serde_json::Value, key: &str| facts[key].as_u64().unwrap_or(0) as usize;
    let images = all.as_object().unwrap().iter();
    Some(
        images
            .filter(|(file, _)| !file.starts_with("sim/"))
            .map(|(file, facts)| (file.clone(), number(facts, "hdu"), number(facts, "plane")))
            .collect(),
    )
}

/// One star of the reference and the row that was found for it.
struct Pair {
    image: String,
    truth: HashMap<String, f64>,
    row: Row,
}

impl Pair {
    /// The largest difference of a parameter in units of the reference's error.
    fn distance(&self) -> f64 {
        let sigma = 1.0 / (2.0 * (2.0 * 2f64.ln()).sqrt());
        let columns = [
            ("x", "x", 1.0),
            ("y", "y", 1.0),
            ("amp", "peak", 1.0),
            ("sigma", "fwhm", sigma),
            ("bkg", "background", 1.0),
        ];
        columns
            .iter()
            .map(|(theirs, ours, factor)| {
                let found = self
                    .row
                    .get(ours)
                    .map_or(f64::INFINITY, |value| value * factor);
                (found - self.truth[*theirs]).abs() / self.truth[&format!("{theirs}_err")]
            })
            .fold(0.0, f64::max)
    }

    /// Whether the reference is a place: an error of more than the cutout says that along some valley
    /// one place is as good as another, and where a fit stops there is chance.
    fn is_determined(&self) -> bool {
        ["x_err", "y_err"]
            .iter()
            .all(|error| self.truth[*error] < SIDE as f64)
    }

    /// Chi-square, which with unit weights is the sum of squared residuals, over the reference's.
    fn excess(&self) -> f64 {
        self.row
            .get("chi2")
            .map_or(f64::INFINITY, |chi2| chi2 / self.truth["ssr"] - 1.0)
    }

    fn describe(&self) -> String {
        format!(
            "{} id {} at ({}, {}): {}, {:.3} errors away, sum of squares {:+.2e}, fwhm {:.2} against {:.2}",
            self.image,
            self.truth["id"],
            self.truth["ix"],
            self.truth["iy"],
            self.row.status,
            self.distance(),
            self.excess(),
            self.row.get("fwhm").unwrap_or(f64::NAN),
            self.truth["fwhm"],
        )
    }
}

/// The reference was made from astropy's pixels, and astropy scales 16-bit integers in `f32`.
fn round_like_astropy(file: &FitsFile, pixels: &mut ndarray::Array2<f64>) {
    let number = |key: &str| {
        file.cards()
            .find(|(name, _)| *name == key)
            .and_then(|(_, value)| value.number())
    };
    let (scale, zero) = (
        number("BSCALE").unwrap_or(1.0),
        number("BZERO").unwrap_or(0.0),
    );
    if number("BITPIX") == Some(16.0) && scale != 1.0 {
        pixels.mapv_inplace(|value| {
            let stored = ((value - zero) / scale).round() as f32;
            f64::from(stored * scale as f32 + zero as f32)
        });
    }
}

/// Every star with a reference that two starts agree on, fitted on the same pixels.
fn fit_all(backend: Box<dyn Backend>) -> Option<(String, Vec<Pair>)> {
    let mut fitter = Fitter::new(
        model::by_name("gaussian")?,
        Box::new(LevenbergMarquardt::default()),
        backend,
    );
    fitter.tolerance = 1e-10;
    fitter.max_iterations = 400;
    let options = MeasureOptions {
        size: Some(SIDE),
        weighted: false,
        saturation: Some(f64::INFINITY),
        ..MeasureOptions::default()
    };
    let mut pairs = Vec::new();
    for (file, hdu, plane) in images()? {
        let name = file.split('.').next().unwrap();
        let truth = read_csv(&data(&format!("data/reference/{name}.gauss_circ.csv"))?);
        let stars: Vec<Star> = truth
            .iter()
            .enumerate()
            .map(|(id, t)| Star {
                id,
                x: t["ix"],
                y: t["iy"],
            })
            .collect();
        let path = FitsPath {
            path: data(&format!("data/{file}"))?,
            hdu: Some(HduName::Number(hdu)),
        };
        let file = FitsFile::open(&path).unwrap();
        let mut image = file.image(plane).unwrap();
        round_like_astropy(&file, &mut image.pixels);
        let measured = measure_image(
            &image,
            Some(&StarList::from_stars(stars)),
            &options,
            &fitter,
        )
        .unwrap();
        assert_eq!(measured.rows.len(), truth.len());
        let good = |t: &HashMap<String, f64>| t["agree"] == 1.0 && t["success"] == 1.0;
        pairs.extend(
            truth
                .into_iter()
                .zip(measured.rows)
                .filter(|(t, _)| good(t))
                .map(|(truth, row)| Pair {
                    image: name.into(),
                    truth,
                    row,
                }),
        );
    }
    Some((fitter.backend.name().into(), pairs))
}

#[test]
fn real_stars_end_where_scipy_ends() {
    for backend in backends() {
        let Some((name, pairs)) = fit_all(backend) else {
            return;
        };
        let (pairs, valleys): (Vec<Pair>, Vec<Pair>) =
            pairs.into_iter().partition(Pair::is_determined);
        assert!(pairs.len() > 2000, "{} stars are too few", pairs.len());
        for pair in valleys {
            println!("{name}: no minimum: {}", pair.describe());
        }
        // Another minimum, and a deeper one, is no fault.
        let (near, far): (Vec<&Pair>, Vec<&Pair>) = pairs
            .iter()
            .partition(|pair| pair.distance() <= 0.01 || pair.excess() < -1e-8);
        println!(
            "{name}: {} of {} stars within 0.01 of an error or deeper; the others:",
            near.len(),
            pairs.len()
        );
        for pair in &far {
            println!("  {}", pair.describe());
        }
        assert!(
            near.len() as f64 >= 0.99 * pairs.len() as f64,
            "{name}: {} of {}",
            near.len(),
            pairs.len()
        );

        let above: Vec<&Pair> = pairs.iter().filter(|pair| pair.excess() > 1e-8).collect();
        println!(
            "{name}: {} stars with a sum of squares more than 1e-8 above the reference's",
            above.len()
        );
        if name == "reference" {
            // In the same minimum none may be above; another minimum is listed with the far ones.
            for pair in above {
                assert!(
                    pair.distance() > 1.0,
                    "in the same minimum, but higher: {}",
                    pair.describe()
                );
            }
        }
        // Negative control: a tenth of a pixel is seen.
        let mut moved = pairs;
        for pair in &mut moved {
            *pair.truth.get_mut("x").unwrap() += 0.1;
        }
        let near = moved.iter().filter(|pair| pair.distance() <= 0.01).count();
        assert!(
            (near as f64) < 0.01 * moved.len() as f64,
            "{near} still agree"
        );
    }
}
