//! Whether a peak of an image is a star, or narrower than a star can be: a hot pixel or a cosmic ray.
//!
//! A fitted width does not tell: light in a single pixel fits any width below half a pixel, so that the error
//! of the width is enormous. The test is how well a star of the image's own width explains the pixels,
//! against how well something narrower does.

use std::iter;

use fearless_simd::{Level, dispatch};
use ndarray::ArrayView2;

use super::width_class::StarWidth;
use crate::background::Background;
use crate::model::FWHM_OF_SIGMA;

/// Pixels to each side of the brightest one that are looked at.
const REACH: usize = 2;
const SIDE: usize = 2 * REACH + 1;

/// Least gain by which something narrower must explain the pixels better than any star: chi-square, 3 sigma.
const CLEAR: f64 = 9.0;
/// Least gain where stars are hardly wider than a pixel, 1.4 sigma: a hot pixel of 10 sigma is at 16 for
/// stars 1.5 pixels wide and at 4 for stars 1.2 pixels wide, and something narrower has fewer ways to be
/// better by chance.
const CLEAR_OF_NARROW: f64 = 2.0;
/// Width below which stars are hardly wider than a pixel, pixels.
const NARROW: f64 = 1.8;

/// Significance at which the pixels round a peak have light of their own, sigma.
const HAS_LIGHT: f64 = 3.0;

/// Part of a bright pixel that the electronics of a detector may spill into each neighbour.
const SPILL: f64 = 0.03;

/// Places of a star within its brightest pixel that are tried along an axis, and how far from its middle the
/// outermost are, pixels.
const PLACES: usize = 8;
const FARTHEST: f64 = 0.6;

/// The pixels round a peak, above the sky.
#[derive(Debug, Clone)]
pub(super) struct Peak {
    /// Values above the sky; 0 where there is none.
    data: [[f64; SIDE]; SIDE],
    /// Inverse variances; 0 where there is no pixel or no value.
    weight: [[f64; SIDE]; SIDE],
    /// Noise of the sky.
    noise: f64,
}

impl Peak {
    /// The pixels round the brightest one within a pixel of (x, y); `None` where there is none or no
    /// noise is known.
    pub(super) fn at(
        pixels: ArrayView2<'_, f64>,
        background: &Background,
        gain: Option<f64>,
        (x, y): (f64, f64),
    ) -> Option<Self> {
        let (height, width) = pixels.dim();
        let inside = |at: f64, side: usize| at > -1.0 && at < side as f64;
        if !inside(x, width) || !inside(y, height) {
            return None;
        }
        let middle = |at: f64, side: usize| ((at + 0.5).floor().max(0.0) as usize).min(side - 1);
        let (x, y) = (middle(x, width), middle(y, height));
        let near = |at: usize, side: usize| at.saturating_sub(1)..(at + 2).min(side);
        let place = near(y, height)
            .flat_map(|row| near(x, width).map(move |column| (column, row)))
            .filter(|&(column, row)| pixels[[row, column]].is_finite())
            .max_by(|a, b| pixels[[a.1, a.0]].total_cmp(&pixels[[b.1, b.0]]))?;
        let level = background.level(place.0 as f64, place.1 as f64);
        let noise = background.noise(place.0 as f64, place.1 as f64);
        if !(noise > 0.0 && noise.is_finite()) {
            return None;
        }
        let photons = gain.map_or(0.0, f64::recip);
        let (mut data, mut weight) = ([[0.0; SIDE]; SIDE], [[0.0; SIDE]; SIDE]);
        for (row, (data, weight)) in data.iter_mut().zip(&mut weight).enumerate() {
            for (column, (data, weight)) in data.iter_mut().zip(weight).enumerate() {
                let pixel = (
                    (place.1 + row).wrapping_sub(REACH),
                    (place.0 + column).wrapping_sub(REACH),
                );
                let value = pixels.get(pixel).map_or(f64::NAN, |value| value - level);
                if value.is_finite() {
                    *data = value;
                    *weight = (noise * noise + photons * value.max(0.0)).recip();
                }
            }
        }
        Some(Self {
            data,
            weight,
            noise,
        })
    }

    /// Height of the brightest pixel above the sky.
    pub(super) fn height(&self) -> f64 {
        self.data[REACH][REACH]
    }

    /// Means of the two neighbours on either side, along the rows and along the columns, of those that
    /// have values.
    fn sides(&self) -> [Option<f64>; 2] {
        let mean = |a: (usize, usize), b: (usize, usize)| {
            let known = self.weight[a.0][a.1] > 0.0 && self.weight[b.0][b.1] > 0.0;
            known.then(|| 0.5 * (self.data[a.0][a.1] + self.data[b.0][b.1]))
        };
        [
            mean((REACH, REACH - 1), (REACH, REACH + 1)),
            mean((REACH - 1, REACH), (REACH + 1, REACH)),
        ]
    }

    /// Whether all light of the peak may be in one pixel: the neighbours of the pixel have none of their own.
    pub(super) fn is_single_pixel(&self) -> bool {
        let [Some(across), Some(down)] = self.sides() else {
            return false;
        };
        // The mean of four pixels has half the noise of one.
        let mean = 0.5 * (across + down);
        mean < HAS_LIGHT * 0.5 * self.noise || mean < SPILL * self.height()
    }

    /// Whether the peak is narrower than a star.
    pub(super) fn is_sharp(&self, shapes: &Shapes) -> bool {
        // Beside the brightest pixel of a star, wherever in that pixel its middle is, stands at least
        // this part of its light, on the mean of two sides. Many stars pass here.
        let least = shapes.beside * self.height();
        let passes = |side: Option<f64>| side.is_none_or(|side| side >= least);
        if self.height() <= 0.0 || self.sides().into_iter().all(passes) {
            return false;
        }
        let sums = self.sums();
        dispatch!(Level::new(), _simd => {
            let narrower = shapes
                .narrower
                .iter()
                .map(|shape| self.explained_by_star(sums, shape))
                .fold(self.explained_by_pixel(sums), f64::max);
            let mut stars = shapes.stars.iter();
            stars.all(|shape| narrower - self.explained_by_star(sums, shape) > shapes.clear)
        })
    }

    /// Sums without any shape.
    fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for (weight, data) in iter::zip(self.weight.as_flattened(), self.data.as_flattened()) {
            sums.weight += weight;
            sums.data += weight * data;
        }
        sums
    }

    /// Part of chi-square that the best round Gaussian of a width explains, on a level of its own.
    #[inline(always)]
    fn explained_by_star(&self, sums: Sums, shape: &Shape) -> f64 {
        // Sums over each row of its products with the profile, for all places along it at once.
        let mut rows = [[[0.0; PLACES]; 3]; SIDE];
        for (row, (weights, data)) in rows.iter_mut().zip(iter::zip(&self.weight, &self.data)) {
            for ((weight, data), across) in weights.iter().zip(data).zip(shape) {
                for place in 0..PLACES {
                    let weighted = weight * across[place];
                    row[0][place] += weighted;
                    row[1][place] += weighted * data;
                    row[2][place] += weighted * across[place];
                }
            }
        }
        let mut best = [0.0_f64; PLACES];
        for down in 0..PLACES {
            let [mut light, mut both, mut square] = [[0.0; PLACES]; 3];
            for (row, shape) in rows.iter().zip(shape) {
                let down = shape[down];
                for place in 0..PLACES {
                    light[place] += down * row[0][place];
                    both[place] += down * row[1][place];
                    square[place] += down * down * row[2][place];
                }
            }
            for place in 0..PLACES {
                let explained = sums.explained(light[place], both[place], square[place]);
                best[place] = best[place].max(explained);
            }
        }
        best.into_iter().fold(0.0, f64::max)
    }

    /// Part of chi-square that light in the brightest pixel alone explains.
    fn explained_by_pixel(&self, sums: Sums) -> f64 {
        let weight = self.weight[REACH][REACH];
        sums.explained(weight, weight * self.height(), weight)
    }
}

/// Profile of a Gaussian along an axis, at each pixel for each of the places of its middle; a round one is
/// the product of two.
type Shape = [[f64; PLACES]; SIDE];

/// Shapes that a peak is compared with.
#[derive(Debug, Clone)]
pub(super) struct Shapes {
    stars: [Shape; 3],
    narrower: [Shape; 2],
    /// Least part of the light of a star's brightest pixel that stands beside it.
    beside: f64,
    /// Least gain in chi-square by which something narrower must explain the pixels.
    clear: f64,
}

impl Shapes {
    /// Shapes of stars of that width, and of narrower peaks.
    pub(super) fn of(width: StarWidth) -> Self {
        let StarWidth {
            typical, narrowest, ..
        } = width;
        let clear = if typical < NARROW {
            CLEAR_OF_NARROW
        } else {
            CLEAR
        };
        Self {
            stars: [narrowest, typical, 1.3 * typical].map(shape),
            narrower: [0.35 * narrowest, 0.6 * narrowest].map(shape),
            beside: (-0.5 * (FWHM_OF_SIGMA / narrowest).powi(2)).exp(),
            clear,
        }
    }
}

fn shape(fwhm: f64) -> Shape {
    let sigma = fwhm / FWHM_OF_SIGMA;
    std::array::from_fn(|at| {
        std::array::from_fn(|place| {
            let middle = FARTHEST * (2.0 * place as f64 / (PLACES - 1) as f64 - 1.0);
            let distance = at as f64 - REACH as f64 - middle;
            (-0.5 * (distance / sigma).powi(2)).exp()
        })
    })
}

/// Sums over the pixels round a peak of weights and of weighted data.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    weight: f64,
    data: f64,
}

impl Sums {
    /// Part of chi-square that a shape of the best height, not below 0, explains on the best level, from the
    /// weighted sums of the shape, of its product with the data and of its square.
    #[inline(always)]
    fn explained(self, light: f64, both: f64, square: f64) -> f64 {
        let both = (self.weight * both - self.data * light).max(0.0);
        let spread = self.weight * square - light * light;
        if spread > 1e-9 * self.weight * square {
            both * both / (self.weight * spread)
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{RngExt, SeedableRng};
    use rand_distr::{Distribution, Normal};
    use rand_pcg::Pcg64;

    use super::*;

    const NOISE: f64 = 5.0;

    /// Parts of many peaks that are called sharp and single pixels: stars of this width and
    /// signal-to-noise ratio, integrated over the pixels, or hot pixels where there is no width.
    fn parts(fwhm: Option<f64>, significance: f64, typical: f64) -> (f64, f64) {
        const COUNT: usize = 2000;
        let mut rng = Pcg64::seed_from_u64(3);
        let sky = Normal::new(100.0, NOISE).unwrap();
        let flat = Array2::from_shape_simple_fn((64, 64), || sky.sample(&mut rng));
        let background = Background::estimate(flat.view(), 32);
        let shapes = Shapes::of(StarWidth {
            typical,
            narrowest: 0.9 * typical,
            widest: typical,
        });
        let (mut sharp, mut single) = (0, 0);
        for _ in 0..COUNT {
            let (x, y) = (
                32.0 + rng.random_range(-0.5..0.5),
                32.0 + rng.random_range(-0.5..0.5),
            );
            let light = |column: usize, row: usize| match fwhm {
                None => f64::from(u8::from((column, row) == (32, 32))),
                Some(fwhm) => {
                    let sigma = fwhm / FWHM_OF_SIGMA;
                    let part = |at: usize, center: f64| {
                        let edge = |edge: f64| libm::erf(edge / sigma / 2f64.sqrt());
                        0.5 * (edge(at as f64 + 0.5 - center) - edge(at as f64 - 0.5 - center))
                    };
                    part(column, x) * part(row, y)
                }
            };
            let mut squares = 0.0;
            for row in 24..41 {
                for column in 24..41 {
                    squares += light(column, row).powi(2);
                }
            }
            let flux = significance * NOISE / squares.sqrt();
            let pixels = Array2::from_shape_fn((64, 64), |(row, column)| {
                let near = row.abs_diff(32) < 9 && column.abs_diff(32) < 9;
                let star = if near { flux * light(column, row) } else { 0.0 };
                star + if near { sky.sample(&mut rng) } else { 100.0 }
            });
            let Some(peak) = Peak::at(pixels.view(), &background, None, (x, y)) else {
                panic!("there are pixels")
            };
            sharp += usize::from(peak.is_sharp(&shapes));
            single += usize::from(peak.is_single_pixel());
        }
        (sharp as f64 / COUNT as f64, single as f64 / COUNT as f64)
    }

    #[test]
    fn hot_pixels_are_sharp_and_stars_are_not() {
        for typical in [1.2_f64, 1.5, 2.0, 3.0, 5.0] {
            // What a sampled Gaussian finds of one that is integrated.
            let fwhm = (typical * typical - 0.46).sqrt();
            // A faint star 1.2 pixels wide in the middle of a pixel has hardly any light beside it.
            let (sharp, _) = parts(None, 10.0, typical);
            let least = if typical < 1.5 { 0.6 } else { 0.95 };
            assert!(sharp >= least, "{typical}: {sharp} of the hot pixels");
            for significance in [6.0, 20.0, 100.0, 1000.0] {
                let (sharp, single) = parts(Some(fwhm), significance, typical);
                let most = match (significance < 20.0, typical < NARROW) {
                    (true, true) => 0.04,
                    (true, false) => 0.02,
                    (false, _) => 0.005,
                };
                assert!(
                    sharp < most,
                    "{typical}, {significance}: {sharp} of the stars"
                );
                let most = if significance >= 20.0 && typical >= 1.5 {
                    0.01
                } else {
                    1.0
                };
                assert!(single <= most, "{typical}, {significance}: {single}");
            }
            let (_, single) = parts(None, 10.0, typical);
            assert!(single > 0.95, "{single}");
        }
    }

    #[test]
    fn a_peak_may_be_at_the_border_or_nowhere() {
        let mut pixels = Array2::from_shape_fn((16, 16), |(y, x)| ((7 * x + 11 * y) % 5) as f64);
        let background = Background::estimate(pixels.view(), 16);
        pixels[[0, 0]] = 500.0;
        let at = |x, y| Peak::at(pixels.view(), &background, None, (x, y));
        let corner = at(0.6, 0.4).unwrap();
        assert!(corner.height() > 400.0);
        assert!(!corner.is_single_pixel(), "two of its sides are not there");
        for (x, y) in [
            (-3.0, 5.0),
            (5.0, 20.0),
            (f64::NAN, 5.0),
            (f64::INFINITY, 1.0),
        ] {
            assert!(at(x, y).is_none());
        }
        let nothing = Array2::from_elem((4, 4), f64::NAN);
        let background = Background::estimate(nothing.view(), 16);
        assert!(Peak::at(nothing.view(), &background, None, (1.0, 1.0)).is_none());
    }
}
