//! Effect of a star's neighbours on its fit: pixels where neighbours shine are left out, and the rest of
//! their light tells the error of the flux.
//!
//! The light of a neighbour is taken to have a Moffat profile as wide as the image's stars, whose wings are
//! as bright as those of a real star.

use rayon::prelude::*;

use super::peak::{Peak, Shapes};
use super::width_class::StarWidth;
use crate::background::Background;
use crate::cutout::Cutout;
use crate::image::Image;
use crate::model::FWHM_OF_SIGMA;
use crate::neighbours::Neighbours;
use crate::star::{Star, WORTH_A_CORE};

/// Exponent of the profile: seeing gives stars an exponent of 2.5 to 4.5.
const BETA: i32 = 3;
/// Distance within which a neighbour may matter, in widths of a star: there a neighbour of 10,000 times the
/// noise has fallen to the noise.
const REACH: f64 = 4.0;
/// Most light of neighbours in a pixel, as a part of the star's own light there.
const TOO_MUCH: f64 = 0.1;
/// Distance from its middle, in widths, within which a star keeps its pixels whatever its neighbours do: the
/// fit has no other pixels.
const CORE: f64 = 0.6;

/// A source of light that shines into the cutouts of others.
#[derive(Debug, Clone, Copy)]
struct Light {
    x: f64,
    y: f64,
    /// Height above the sky, units of the image.
    height: f64,
    /// Whether the source is a single pixel.
    is_sharp: bool,
}

/// The stars of an image, as they shine on each other.
#[derive(Debug)]
pub(super) struct Crowd<'a> {
    lights: Vec<Light>,
    neighbours: Neighbours<'a>,
    /// Full width at half maximum of a star, pixels.
    fwhm: f64,
    /// Factor of a squared distance in the profile.
    scale: f64,
}

/// Effect of neighbours on a cutout.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Contamination {
    /// Light of neighbours that a fit takes for the star's, units of flux.
    pub(super) flux: f64,
}

impl<'a> Crowd<'a> {
    /// The stars at these positions, each with its light.
    pub(super) fn new(
        positions: &'a [(f64, f64)],
        peaks: &[Height],
        fwhm: f64,
        size: usize,
    ) -> Self {
        let lights = positions.iter().zip(peaks);
        let lights = lights.map(|(&(x, y), &Height { height, is_sharp })| Light {
            x,
            y,
            height,
            is_sharp,
        });
        // Distance from the middle of a cutout to its corner.
        let corner = size as f64 / 2f64.sqrt();
        Self {
            lights: lights.collect(),
            neighbours: Neighbours::new(positions, corner + REACH * fwhm),
            fwhm,
            scale: 4.0 * (2f64.powf(f64::from(BETA).recip()) - 1.0) / (fwhm * fwhm),
        }
    }

    /// Sets the weight to 0 in the pixels of the star of this number where neighbours shine.
    pub(super) fn leave_out(&self, star: usize, cutout: &mut Cutout, noise: f64) -> Contamination {
        let here = self.lights[star];
        let near: Vec<Light> = self
            .neighbours
            .near(star)
            .map(|other| self.lights[other])
            .filter(|other| other.height > 0.0)
            .filter(|other| {
                // Only neighbours whose light reaches the cutout count.
                let (dx, dy) = (other.x - here.x, other.y - here.y);
                let half = cutout.width.max(cutout.height) as f64 / 2.0;
                let distance = (dx.abs() - half).max(dy.abs() - half).max(0.0);
                other.height * self.profile(distance * distance) > 0.1 * noise
            })
            .collect();
        if near.is_empty() {
            return Contamination::default();
        }
        let height = here.height.max(noise);
        // The fit takes the light of neighbours at the star's own place for background.
        let level = |other: &Light| {
            let distance = (other.x - here.x).powi(2) + (other.y - here.y).powi(2);
            other.height * self.profile(distance)
        };
        let levels: Vec<f64> = near.iter().map(level).collect();
        let core = (CORE * self.fwhm).powi(2);
        let left = cutout.corner.0 as f64 - here.x;
        let across: Vec<f64> = (0..cutout.width)
            .map(|column| self.gaussian(left + column as f64))
            .collect();
        let mut sums = Sums::default();
        for row in 0..cutout.height {
            let y = (cutout.corner.1 + row as i64) as f64;
            let down = self.gaussian(y - here.y);
            for (column, across) in across.iter().enumerate() {
                let at = row * cutout.width + column;
                if cutout.weight[at] <= 0.0 {
                    continue;
                }
                let x = (cutout.corner.0 + column as i64) as f64;
                let distance = (x - here.x).powi(2) + (y - here.y).powi(2);
                let (mut light, mut excess) = (0.0, 0.0);
                let mut is_hot = false;
                for (other, level) in near.iter().zip(&levels) {
                    let (dx, dy) = (x - other.x, y - other.y);
                    if other.is_sharp {
                        is_hot |= dx.abs() < 1.0 && dy.abs() < 1.0;
                        continue;
                    }
                    let shine = other.height * self.profile(dx * dx + dy * dy);
                    light += shine;
                    excess += shine - level;
                }
                let is_theirs = distance > core
                    && excess > noise
                    && excess > TOO_MUCH * height * self.profile(distance);
                if is_theirs || is_hot && distance > 1.0 {
                    (cutout.data[at], cutout.weight[at]) = (0.0, 0.0);
                } else {
                    sums.add(cutout.weight[at], across * down, light);
                }
            }
        }
        Contamination {
            flux: sums.slope().unwrap_or(0.0) * self.area(),
        }
    }

    /// Light at this distance, squared pixels, from the middle of a star of height 1.
    #[inline(always)]
    fn profile(&self, square: f64) -> f64 {
        (1.0 + self.scale * square).powi(-BETA)
    }

    /// Profile of a Gaussian along an axis.
    fn gaussian(&self, distance: f64) -> f64 {
        let sigma = self.fwhm / FWHM_OF_SIGMA;
        (-0.5 * (distance / sigma).powi(2)).exp()
    }

    /// Integral of a Gaussian of height 1.
    fn area(&self) -> f64 {
        2.0 * std::f64::consts::PI * (self.fwhm / FWHM_OF_SIGMA).powi(2)
    }
}

/// Sums for a straight line through light as a function of a star's profile: a fit of the profile on a free
/// background takes the slope for the star's light.
#[derive(Debug, Default)]
struct Sums {
    w: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Sums {
    fn add(&mut self, weight: f64, profile: f64, light: f64) {
        self.w += weight;
        self.x += weight * profile;
        self.y += weight * light;
        self.xx += weight * profile * profile;
        self.xy += weight * profile * light;
    }

    fn slope(&self) -> Option<f64> {
        let spread = self.xx - self.x * self.x / self.w;
        (spread > 1e-9 * self.xx).then(|| (self.xy - self.x * self.y / self.w) / spread)
    }
}

/// The light at a star.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Height {
    /// Height above the sky, units of the image.
    pub(super) height: f64,
    /// Whether it is narrower than a star.
    pub(super) is_sharp: bool,
}

/// The light at each star.
pub(super) fn peaks(
    stars: &[Star],
    image: &Image,
    background: &Background,
    gain: Option<f64>,
    width: StarWidth,
) -> Vec<Height> {
    let shapes = Shapes::of(width);
    stars
        .par_iter()
        .with_min_len(WORTH_A_CORE)
        .map(|star| {
            let peak = Peak::at(image.pixels.view(), background, gain, (star.x, star.y));
            peak.map_or_else(Height::default, |peak| Height {
                height: peak.height(),
                is_sharp: peak.is_sharp(&shapes),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::cutout::{CutoutOptions, Noise};

    const FWHM: f64 = 3.0;
    const SIDE: usize = 15;

    /// The pixels that are left of a star's cutout, and the flux that others leave there, where stars of
    /// these heights are at these places, and the first one is looked at.
    fn left(stars: &[(f64, f64, f64)], sharp: usize) -> (Cutout, f64) {
        let places: Vec<(f64, f64)> = stars.iter().map(|star| (star.0, star.1)).collect();
        let peaks: Vec<Height> = (0..stars.len())
            .map(|at| Height {
                height: stars[at].2,
                is_sharp: at == sharp,
            })
            .collect();
        let crowd = Crowd::new(&places, &peaks, FWHM, SIDE);
        let options = CutoutOptions {
            noise: Noise::Unit,
            saturation: f64::INFINITY,
        };
        let pixels = Array2::from_elem((SIDE, SIDE), 1.0);
        let mut cutout = Cutout::from_pixels(pixels.view(), None, &options);
        let contamination = crowd.leave_out(0, &mut cutout, 1.0);
        (cutout, contamination.flux)
    }

    fn weight(cutout: &Cutout, x: usize, y: usize) -> f64 {
        cutout.weight[y * SIDE + x]
    }

    #[test]
    fn a_lone_star_keeps_its_pixels() {
        let all = SIDE * SIDE;
        for others in [vec![], vec![(60.0, 7.0, 1e6)], vec![(10.0, 7.0, -50.0)]] {
            let mut stars = vec![(7.0, 7.0, 100.0)];
            stars.extend(others);
            let (cutout, flux) = left(&stars, usize::MAX);
            assert_eq!((cutout.n_pixels(), flux), (all, 0.0));
        }
    }

    #[test]
    fn pixels_of_a_neighbour_are_left_out_and_those_of_the_star_are_kept() {
        let (cutout, flux) = left(&[(7.0, 7.0, 100.0), (13.0, 7.0, 100.0)], usize::MAX);
        assert_eq!(weight(&cutout, 13, 7), 0.0);
        assert_eq!(weight(&cutout, 7, 7), 1.0);
        assert_eq!(weight(&cutout, 1, 7), 1.0);
        // Wings of the neighbour are taken for the star's: far less than its own flux, 1020.
        assert!(flux.abs() < 30.0, "{flux}");
        // So near and bright that nothing but the core is left, which is moved.
        let (cutout, flux) = left(&[(7.0, 7.0, 100.0), (10.0, 7.0, 1000.0)], usize::MAX);
        assert_eq!(weight(&cutout, 7, 7), 1.0);
        assert_eq!(weight(&cutout, 9, 7), 0.0);
        assert!(flux.abs() > 100.0, "{flux}");
    }

    #[test]
    fn of_a_hot_pixel_one_is_left_out() {
        let (cutout, flux) = left(&[(7.0, 7.0, 100.0), (11.0, 9.0, 5000.0)], 1);
        assert_eq!(weight(&cutout, 11, 9), 0.0);
        assert_eq!((cutout.n_pixels(), flux), (SIDE * SIDE - 1, 0.0));
    }
}
