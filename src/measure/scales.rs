//! Stars that are much wider than any filter that finds sharp ones: out of focus, they are discs or
//! rings. They are looked for in the image at coarser scales.

use std::fmt;

use ndarray::{Array2, s};
use rayon::prelude::*;

use super::size_for;
use crate::background::Background;
use crate::batch::{Batch, Start};
use crate::cutout::{Cutout, CutoutOptions, Noise};
use crate::detect::{DetectOptions, Detection, detect};
use crate::error::Result;
use crate::fitter::start::moments::{Expected, moments_of_block};
use crate::image::Image;
use crate::model::FWHM_OF_SIGMA;
use crate::neighbours::Neighbours;
use crate::numbers::lanes::LANES;
use crate::numbers::median;

/// Pixels along a side that are taken together, the coarsest first: a ring is one spot at a coarse scale, and
/// many arcs at finer ones.
const FACTORS: [usize; 4] = [16, 8, 4, 2];

/// Least side of a coarse image.
const SMALLEST: usize = 24;

/// Fewest stars that say how wide they are, by how much the width of half of them may differ at most, as a
/// part of it, and how clear they must be.
const FEWEST: usize = 5;
const MOST_SCATTER: f64 = 0.2;
const SIGNIFICANCE: f64 = 7.0;

/// Least width in pixels of a coarse image: what is narrower belongs to a finer scale.
const NARROWEST: f64 = 1.6;

/// Light in the middle of a ring over that of its brightest circle, at most.
const DIP: f64 = 0.7;

/// Stars that are wide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wide {
    /// Median full width at half maximum of the stars, as of Gaussians with their second moments, pixels.
    pub(super) fwhm: f64,
    /// Whether most of the stars are darker in the middle.
    pub(super) are_rings: bool,
}

impl fmt::Display for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = match self.are_rings {
            true => "rings, as out of focus",
            false => "very wide",
        };
        let Self { fwhm, .. } = self;
        write!(
            f,
            "the stars are {shape}, about {fwhm:.0} pixels: no model has that shape, so that fluxes and errors are rough"
        )
    }
}

/// The wide stars of an image, of which there must be a few that are alike: a nebula's lumps and the
/// unevenness of a flat field are not. `narrow` is the width of the stars that finer filters find, if any:
/// these must be parts of the wide stars.
pub(super) fn wide_stars(
    image: &Image,
    background: &Background,
    narrow: Option<f64>,
) -> Result<Option<Wide>> {
    for factor in FACTORS {
        if image.width().min(image.height()) / factor < SMALLEST {
            continue;
        }
        let coarse = Image::from_pixels(image.name.clone(), binned(image, background, factor));
        let Some((width, places)) = Coarse::new(&coarse).width()? else {
            continue;
        };
        let scale = factor as f64;
        // A square of pixels adds its own variance, 1/12 along each axis.
        let sigma = ((width / FWHM_OF_SIGMA).powi(2) - 1.0 / 12.0).sqrt() * scale;
        let fwhm = FWHM_OF_SIGMA * sigma;
        let middle = 0.5 * (scale - 1.0);
        let places = places.iter();
        let places: Vec<(f64, f64)> = places
            .map(|(x, y)| (x * scale + middle, y * scale + middle))
            .collect();
        if narrow.is_some_and(|narrow| !are_parts(image, background, narrow, &places, fwhm)) {
            return Ok(None);
        }
        let rings = places.iter();
        let rings = rings.filter(|&&place| is_ring(image, background, place, sigma));
        return Ok(Some(Wide {
            fwhm,
            are_rings: 2 * rings.count() > places.len(),
        }));
    }
    Ok(None)
}

/// Whether most detections of a filter of the width `narrow` are inside the stars at `places`, which are
/// `fwhm` wide, but not in the middle, where the core of a star with a halo is.
fn are_parts(
    image: &Image,
    background: &Background,
    narrow: f64,
    places: &[(f64, f64)],
    fwhm: f64,
) -> bool {
    /// Distances from the middle, in widths.
    const INSIDE: std::ops::Range<f64> = 0.2..1.0;
    const MOST: f64 = 0.7;
    let options = DetectOptions {
        fwhm: narrow,
        ..Default::default()
    };
    let found = detect(image, background, &options);
    let clear = found.iter().filter(|d| d.significance > SIGNIFICANCE);
    let clear: Vec<(f64, f64)> = clear.map(|d| (d.x, d.y)).collect();
    let is_part = |(x, y): &&(f64, f64)| {
        let distance = |place: &(f64, f64)| (place.0 - x).hypot(place.1 - y);
        let nearest = places.iter().map(distance).fold(f64::INFINITY, f64::min);
        INSIDE.contains(&(nearest / fwhm))
    };
    clear.iter().filter(is_part).count() as f64 >= MOST * clear.len() as f64
}

/// Means of the deviations from the background in squares of `factor` by `factor` pixels; NaN where less than
/// half of a square can be used.
fn binned(image: &Image, background: &Background, factor: usize) -> Array2<f64> {
    let (height, width) = (image.height() / factor, image.width() / factor);
    let mut coarse = Array2::from_elem((height, width), f64::NAN);
    let rows = coarse.as_slice_mut().unwrap_or_default();
    rows.par_chunks_mut(width.max(1))
        .enumerate()
        .for_each(|(row, out)| {
            let mut level = vec![0.0; image.width()];
            let (mut sums, mut counts) = (vec![0.0; width], vec![0_u32; width]);
            for y in row * factor..(row + 1) * factor {
                background.level_row(y, &mut level);
                let line = image.pixels.slice(s![y, ..]);
                for (x, (value, level)) in line.iter().zip(&level).enumerate().take(width * factor)
                {
                    let deviation = value - level;
                    if deviation.is_finite() {
                        sums[x / factor] += deviation;
                        counts[x / factor] += 1;
                    }
                }
            }
            for ((out, sum), count) in out.iter_mut().zip(sums).zip(counts) {
                if 2 * count as usize >= factor * factor {
                    *out = sum / f64::from(count);
                }
            }
        });
    coarse
}

/// The width that stars have in common, and where they are.
type Common = (f64, Vec<(f64, f64)>);

/// A coarse image and its own background.
struct Coarse<'a> {
    image: &'a Image,
    background: Background,
}

impl<'a> Coarse<'a> {
    fn new(image: &'a Image) -> Self {
        let cell = Background::cell_for(image.width(), image.height());
        Self {
            image,
            background: Background::estimate(image.pixels.view(), cell),
        }
    }

    /// The width that the clear stars have in common, and where they are.
    fn width(&self) -> Result<Option<Common>> {
        const PASSES: usize = 3;
        let mut fwhm = 3.0;
        let mut found = None;
        for _ in 0..PASSES {
            let places = self.clear(fwhm);
            let mut widths = self.widths(&places, fwhm)?;
            let count = widths.len();
            let Some(width) = median(&mut widths).filter(|_| count >= FEWEST) else {
                return Ok(None);
            };
            let mut off: Vec<f64> = widths.iter().map(|other| (other - width).abs()).collect();
            let scatter = median(&mut off).unwrap_or(0.0);
            let is_common = width >= NARROWEST && scatter <= MOST_SCATTER * width;
            found = is_common.then_some((width, places));
            let change = width / fwhm;
            fwhm = width;
            if (0.8..1.25).contains(&change) {
                break;
            }
        }
        Ok(found)
    }

    /// Places of stars that are alone and stand out.
    fn clear(&self, fwhm: f64) -> Vec<(f64, f64)> {
        let options = DetectOptions {
            fwhm,
            ..Default::default()
        };
        let found = detect(self.image, &self.background, &options);
        let places: Vec<(f64, f64)> = found.iter().map(|d| (d.x, d.y)).collect();
        let neighbours = Neighbours::new(&places, 2.0 * fwhm);
        let is_clear = |(at, d): &(usize, &Detection)| {
            d.significance > SIGNIFICANCE && !d.edge && !neighbours.has_neighbour(*at)
        };
        let clear = found.iter().enumerate().filter(is_clear);
        clear.map(|(_, d)| (d.x, d.y)).collect()
    }

    /// Widths of the stars at these places, by their moments.
    fn widths(&self, places: &[(f64, f64)], fwhm: f64) -> Result<Vec<f64>> {
        let size = size_for(fwhm);
        let cut = CutoutOptions {
            noise: Noise::Unit,
            saturation: f64::INFINITY,
        };
        let mut batch = Batch::new(size, size);
        for &place in places {
            let cutout = Cutout::from_image(self.image, &self.background, &cut, place, size);
            let start = Start::Moments {
                position: Some(place),
                fwhm: Some(fwhm),
            };
            batch.push(&cutout, start)?;
        }
        let chunk = batch.chunk(0, batch.len());
        let blocks = chunk.pack();
        let mut widths = Vec::with_capacity(places.len());
        for (block, stars) in blocks.iter().zip(batch.stars.chunks(LANES)) {
            let mut expected = Expected::anywhere(fwhm);
            for (lane, (star, place)) in stars.iter().zip(&places[widths.len()..]).enumerate() {
                expected.x[lane] = place.0 - star.scale.corner.0;
                expected.y[lane] = place.1 - star.scale.corner.1;
            }
            let moments = moments_of_block(fearless_simd::Level::new(), block, &expected);
            widths.extend(
                moments[..stars.len()]
                    .iter()
                    .map(|m| FWHM_OF_SIGMA * m.sigma()),
            );
        }
        Ok(widths)
    }
}

/// Whether a star is darker in the middle than on the brightest circle round it. `sigma` is that of a
/// Gaussian with its moments; of a thin ring it is the radius over the root of 2.
fn is_ring(image: &Image, background: &Background, (x, y): (f64, f64), sigma: f64) -> bool {
    /// Circles, as wide as a third of sigma.
    const CIRCLES: usize = 7;
    const WIDTH: f64 = 1.0 / 3.0;
    let reach = (CIRCLES as f64 * WIDTH * sigma).ceil();
    let span = |center: f64, length: usize| {
        let clamp = |at: f64| at.clamp(0.0, length as f64) as usize;
        clamp(center - reach)..clamp(center + reach + 1.0)
    };
    let (mut sums, mut counts) = ([0.0; CIRCLES], [0_u32; CIRCLES]);
    for row in span(y, image.height()) {
        for column in span(x, image.width()) {
            let distance = (column as f64 - x).hypot(row as f64 - y);
            let circle = (distance / (WIDTH * sigma)) as usize;
            let value = image.pixels[[row, column]];
            if circle < CIRCLES && value.is_finite() {
                sums[circle] += value;
                counts[circle] += 1;
            }
        }
    }
    let level = background.level(x, y);
    let mean = |circle: usize| sums[circle] / f64::from(counts[circle].max(1)) - level;
    let middle = mean(0);
    let brightest = (1..CIRCLES).map(mean).fold(f64::NEG_INFINITY, f64::max);
    let noise = background.median_noise() / f64::from(counts[0].max(1)).sqrt();
    middle < DIP * brightest && brightest - middle > 5.0 * noise
}
