//! Images of star fields.

use std::ops::Range;
use std::path::Path;

use ndarray::{Array2, s};
use rand::RngExt;
use rayon::prelude::*;

use super::bound::Scene;
use super::truth::{self, Truth, truth_path};
use super::{MAX_STARS, Purpose, SimulationOptions, generator, in_range, set, wrong};
use crate::error::Result;
use crate::fit::Flags;
use crate::image::{Header, Image, StatedGain};
use crate::io::fits::{self, Card, PixelType, Value};
use crate::model::{Model, Role};
use crate::numbers::matrix::Parameters;
use crate::wcs::Wcs;

/// Most pixels of an image: 2 GiB.
const MAX_PIXELS: usize = 1 << 28;

/// Rows that share a generator of noise.
const BAND: usize = 32;

/// Highest value of a 16-bit camera, adu.
const SATURATION: f64 = 65535.0;

/// Light left out round a star, in each pixel, relative to the noise.
const CUT_OFF: f64 = 1e-4;

/// An image of stars, and the truth about them.
///
/// The stars are anywhere in the field, at its rim and on each other too.
#[derive(Debug, Clone)]
pub struct StarField {
    /// The image with its header facts. Pixels are not rounded; a file of 16-bit integers ends at
    /// 65535 adu.
    pub image: Image,
    /// The stars.
    pub truth: Vec<Truth>,
    /// Options that were asked for.
    pub options: SimulationOptions,
}

impl StarField {
    /// `stars` stars on `width` x `height` pixels. Their signal-to-noise ratios are those in whole
    /// cutouts of the default size, 15 pixels or 4 FWHM, without neighbours.
    ///
    /// # Errors
    ///
    /// [`Error::Option`](crate::Error::Option) for options that make no sense, alone or together.
    pub fn new(
        stars: usize,
        width: usize,
        height: usize,
        options: &SimulationOptions,
    ) -> Result<Self> {
        options.check()?;
        in_range("stars", stars, 0, MAX_STARS)?;
        in_range("width", width, 1, 65535)?;
        in_range("height", height, 1, 65535)?;
        if width * height > MAX_PIXELS {
            let most = MAX_PIXELS / width;
            let expected = format!("at most {most} with a width of {width}");
            return Err(wrong("height", expected, height));
        }
        let side = ((4.0 * options.fwhm).ceil() as usize).max(15) | 1;
        let mut truth = draw_stars(stars, width, height, side, options)?;

        let mut pixels = render(&truth, width, height, options);
        pixels
            .par_chunks_mut(BAND * width)
            .enumerate()
            .for_each(|(band, pixels)| {
                let mut rng = generator(options.seed, Purpose::Noise, band);
                for pixel in pixels {
                    *pixel = options.camera.expose(*pixel, &mut rng);
                }
            });
        let pixels = Array2::from_shape_vec((height, width), pixels)
            .map_err(|e| wrong("width", "an image", e))?;

        let saturation = is_16_bit(&pixels, options).then_some(SATURATION);
        truth
            .par_iter_mut()
            .for_each(|star| flag(star, &pixels, side, saturation));
        let mut image = Image::from_pixels("simulation", pixels);
        image.wcs = wcs(width, height);
        image.header = Header {
            gains: vec![StatedGain {
                keyword: "GAIN".into(),
                value: options.camera.gain,
            }],
            read_noise: Some(options.camera.read_noise),
            saturation,
            exposure: Some(60.0),
            date: Some("2026-01-01T00:00:00".into()),
            // Half a minute later.
            mjd: Some(61_041.0 + 30.0 / 86_400.0),
            filter: Some("V".into()),
            unit: Some("adu".into()),
            ..Header::default()
        };
        Ok(Self {
            image,
            truth,
            options: *options,
        })
    }

    /// Writes the image as FITS with a WCS, and the truth beside it, see [`truth_path`]; both
    /// through temporary files.
    ///
    /// Pixels are 16-bit unsigned integers, as cameras write them, ending at 65535. Where that
    /// would spoil the noise, because values are negative or their noise is below 1 adu, or where
    /// the sky alone is too bright for 16 bits, they are 32-bit floats.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io).
    pub fn write_fits(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let model = self.options.model;
        let wcs = self.image.wcs.as_ref();
        truth::write(&truth_path(path), model, &self.truth, wcs)?;

        let header = &self.image.header;
        let text = |keyword, value: &str, comment: &str| {
            Card::new(keyword, Value::Text(value.into()), comment)
        };
        let float = |keyword, value, comment| Card::new(keyword, Value::Float(value), comment);
        let mut cards = vec![
            text("OBJECT", "simulated stars", ""),
            text("DATE-OBS", header.date.as_deref().unwrap_or(""), ""),
            text("FILTER", header.filter.as_deref().unwrap_or(""), ""),
            text("BUNIT", header.unit.as_deref().unwrap_or(""), ""),
        ];
        let numbers = [
            ("EXPTIME", header.exposure, "seconds"),
            ("GAIN", header.gain(), "electrons for each adu"),
            ("RDNOISE", header.read_noise, "electrons"),
            ("SATURATE", header.saturation, "adu"),
        ];
        let numbers = numbers
            .into_iter()
            .filter_map(|(k, v, comment)| Some((k, v?, comment)));
        cards.extend(numbers.map(|(keyword, value, comment)| float(keyword, value, comment)));
        cards.extend(wcs_cards(self.image.width(), self.image.height()));
        cards.push(text("SIMMODEL", model.name(), "model of the stars"));
        cards.push(text(
            "SIMSEED",
            &self.options.seed.to_string(),
            "seed of the simulation",
        ));
        let pixel_type = match header.saturation {
            Some(_) => PixelType::U16,
            None => PixelType::F32,
        };
        fits::write_image(path, &self.image.pixels, pixel_type, &cards)
    }
}

/// Whether 16-bit unsigned integers hold the sky and its noise unspoilt.
fn is_16_bit(pixels: &Array2<f64>, options: &SimulationOptions) -> bool {
    options.background < SATURATION
        && options.camera.variance(options.background) >= 1.0
        && pixels.iter().all(|&value| value >= 0.0)
}

fn draw_stars(
    count: usize,
    width: usize,
    height: usize,
    side: usize,
    options: &SimulationOptions,
) -> Result<Vec<Truth>> {
    let model = options.model;
    let unit_star = options.unit_star(side)?;
    let scene = Scene {
        model,
        camera: options.camera,
        side,
    };
    let draw = |index| {
        let mut rng = generator(options.seed, Purpose::Star, index);
        let mut place = |side: usize| rng.random_range(-0.5..side as f64 - 0.5);
        let (x, y): (f64, f64) = (place(width), place(height));
        let corner = |place: f64| (place + 0.5).floor() - (side / 2) as f64;
        let corner = (corner(x), corner(y));
        let mut star = unit_star;
        set(model, &mut star, Role::X, x - corner.0);
        set(model, &mut star, Role::Y, y - corner.1);
        let star = scene.star_of_snr(&star, options.draw_snr(&mut rng))?;
        Some(star.moved(model, corner))
    };
    let stars: Option<Vec<_>> = (0..count).into_par_iter().map(draw).collect();
    stars.ok_or_else(|| options.out_of_reach(side))
}

/// The expected value of every pixel, row after row.
pub(super) fn render(
    truth: &[Truth],
    width: usize,
    height: usize,
    options: &SimulationOptions,
) -> Vec<f64> {
    let model = options.model;
    let limit = CUT_OFF * options.camera.variance(options.background).sqrt();
    let furthest = width.max(height) as f64;
    let lit: Vec<Lit> = truth
        .par_iter()
        .map(|star| {
            let mut parameters = star.parameters;
            set(model, &mut parameters, Role::Background, 0.0);
            let reach = reach(model, &parameters, star, options.fwhm, limit, furthest);
            let span = |place: f64, side: usize| {
                let end = (place + reach).floor() + 1.0;
                let start = (place - reach).ceil().clamp(0.0, side as f64) as usize;
                start..(end.clamp(0.0, side as f64) as usize).max(start)
            };
            Lit {
                parameters,
                rows: span(star.y, height),
                columns: span(star.x, width),
            }
        })
        .collect();

    let mut pixels = vec![options.background; width * height];
    let bands = pixels.par_chunks_mut(BAND * width).enumerate();
    bands.for_each(|(band, pixels)| {
        let first = band * BAND;
        let last = first + pixels.len() / width;
        for star in &lit {
            for y in star.rows.start.max(first)..star.rows.end.min(last) {
                let row = (y - first) * width;
                for x in star.columns.clone() {
                    let (value, _) = model.evaluate(&star.parameters, x as f64, y as f64);
                    pixels[row + x] += value;
                }
            }
        }
    });
    pixels
}

/// A star without background, and the pixels on which it shines.
#[derive(Debug)]
struct Lit {
    parameters: Parameters,
    rows: Range<usize>,
    columns: Range<usize>,
}

/// Distance at which a star is below `limit` in every direction, no more than `furthest`.
fn reach(
    model: &dyn Model,
    parameters: &Parameters,
    star: &Truth,
    fwhm: f64,
    limit: f64,
    furthest: f64,
) -> f64 {
    let mut reach = fwhm;
    let shines = |reach: f64| {
        (0..8).any(|k| {
            let (sin, cos) = (f64::from(k) * std::f64::consts::FRAC_PI_4).sin_cos();
            let (value, _) = model.evaluate(parameters, star.x + reach * cos, star.y + reach * sin);
            value.abs() > limit
        })
    };
    while reach < furthest && shines(reach) {
        reach *= 1.1;
    }
    reach
}

/// Flags a star by the pixels of its cutout.
fn flag(star: &mut Truth, pixels: &Array2<f64>, side: usize, saturation: Option<f64>) {
    let (height, width) = pixels.dim();
    let span = |place: f64, limit: usize| {
        let start = (place + 0.5).floor() - (side / 2) as f64;
        let end = (start + side as f64).clamp(0.0, limit as f64);
        start.clamp(0.0, end) as usize..end as usize
    };
    let (rows, columns) = (span(star.y, height), span(star.x, width));
    let whole = rows.len() == side && columns.len() == side;
    star.flags.set(Flags::TRUNCATED, !whole);
    if let Some(saturation) = saturation {
        let cutout = pixels.slice(s![rows, columns]);
        let saturated = cutout.iter().any(|value| value.round() >= saturation);
        star.flags.set(Flags::SATURATED, saturated);
    }
}

/// A tangential projection of the sky, 1 arcsecond a pixel, north 10 degrees from up.
fn wcs_cards(width: usize, height: usize) -> Vec<Card> {
    let (sin, cos) = 10f64.to_radians().sin_cos();
    let scale = 1.0 / 3600.0;
    let text = |keyword: &str, value: &str| Card::new(keyword, Value::Text(value.into()), "");
    let float = |keyword: &str, value| Card::new(keyword, Value::Float(value), "");
    vec![
        text("CTYPE1", "RA---TAN"),
        text("CTYPE2", "DEC--TAN"),
        text("CUNIT1", "deg"),
        text("CUNIT2", "deg"),
        float("CRVAL1", 250.4235),
        float("CRVAL2", 36.4613),
        float("CRPIX1", (width as f64 + 1.0) / 2.0),
        float("CRPIX2", (height as f64 + 1.0) / 2.0),
        float("CD1_1", -scale * cos),
        float("CD1_2", scale * sin),
        float("CD2_1", scale * sin),
        float("CD2_2", scale * cos),
        text("RADESYS", "ICRS"),
    ]
}

/// The WCS of the [`wcs_cards`].
fn wcs(width: usize, height: usize) -> Option<Wcs> {
    let cards = wcs_cards(width, height);
    let value = |keyword: &str| {
        let card = cards.iter().find(|card| card.keyword == keyword);
        Ok(card.map(|card| card.value.clone()))
    };
    Wcs::from_header(value).ok().flatten()
}
