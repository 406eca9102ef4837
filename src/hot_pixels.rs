//! Pixels that are hot in many frames of one camera.
//!
//! In one frame a hot pixel may be a narrow star or a cosmic ray. Over the frames of a run a cosmic ray
//! stays in its frame, and a star, even one that never moves, shines on the pixels beside it: the median
//! of these pixels over the frames tells light in a single pixel from the narrowest star.

use std::collections::HashMap;
use std::iter;

use fearless_simd::{Level, dispatch};
use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::image::Image;
use crate::numbers::median;

/// Least number of different frames that can tell hot pixels.
pub const FEWEST_FRAMES: usize = 4;

/// Most frames of a run that are worth looking at: further frames tell hardly more.
pub const MOST_FRAMES: usize = 7;

/// Part of the frames in which a hot pixel stands out.
const MOST: f64 = 0.75;

/// How far a hot pixel stands out, sigma.
const CLEAR: f64 = 8.0;

/// Part of the light of a hot pixel that the electronics of a detector may spill into each pixel beside it.
const SPILL: f64 = 0.03;

/// How far the pixels beside a hot pixel may be above the spill by chance, sigma of their median over the
/// frames.
const CHANCE: f64 = 1.0;

/// Distance to the next pixel of the same colour in a Bayer mosaic: pixels at this distance tell the
/// level and noise of a pixel, so that colours need not be known.
const STEP: usize = 2;

/// Width of the border that is not looked at: the pixels that tell levels are then inside the image.
const BORDER: usize = 2 * STEP;

/// The pixels that are hot in most of some frames of a camera.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HotPixels {
    /// (height, width) of the frames.
    dim: (usize, usize),
    /// (row, column) of each hot pixel, in order.
    places: Vec<(usize, usize)>,
    /// Number of different frames of this size that were looked at.
    frames: usize,
}

impl HotPixels {
    /// The pixels that stand out alone in most of `frames`; none where fewer than [`FEWEST_FRAMES`]
    /// different frames have the size that most frames have.
    pub fn in_frames(frames: impl IntoIterator<Item = Image>) -> Self {
        let mut by_size: HashMap<(usize, usize), Vec<Vec<Peak>>> = HashMap::new();
        for frame in frames {
            let peaks = peaks(frame.pixels.view());
            let like = by_size.entry(frame.pixels.dim()).or_default();
            // A copy of a frame says nothing new.
            if peaks.is_empty() || !like.contains(&peaks) {
                like.push(peaks);
            }
        }
        let most = by_size
            .into_iter()
            .max_by_key(|(dim, frames)| (frames.len(), *dim));
        let Some((dim, frames)) = most.filter(|(_, frames)| frames.len() >= FEWEST_FRAMES) else {
            return Self::default();
        };
        let mut by_place: HashMap<(usize, usize), Vec<&Peak>> = HashMap::new();
        for peak in frames.iter().flatten() {
            by_place.entry(peak.place).or_default().push(peak);
        }
        let least = MOST * frames.len() as f64;
        let hot = by_place
            .into_iter()
            .filter(|(_, peaks)| peaks.len() as f64 >= least && are_alone(peaks));
        let mut places: Vec<_> = hot.map(|(place, _)| place).collect();
        places.sort_unstable();
        Self {
            dim,
            places,
            frames: frames.len(),
        }
    }

    /// Number of hot pixels.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no hot pixels.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Number of different frames that were looked at, of the size that most of them have.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Removes the values of the hot pixels of an image, if the image is as large as the frames were.
    pub fn leave_out(&self, image: &mut Image) {
        if image.pixels.dim() == self.dim {
            for &place in &self.places {
                image.pixels[place] = f64::NAN;
            }
        }
    }
}

/// A pixel that is brighter than the four beside it and stands out.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Peak {
    place: (usize, usize),
    /// Height above the level of the pixel, in units of the noise.
    height: f64,
    /// Mean of the four pixels beside it, each above its own level.
    beside: f64,
    /// Mean of the eight next pixels of its colour, above the level of the pixels twice as far: in a
    /// mosaic a star of one colour leaves the four pixels beside it dark.
    around: f64,
}

/// Whether the pixels beside a pixel have no more light than a single pixel leaves there, in most of the
/// frames in which the pixel stands out: in some of these frames a star may be there, too.
fn are_alone(peaks: &[&Peak]) -> bool {
    let middle = |of: fn(&Peak) -> f64| {
        let mut all: Vec<f64> = peaks.iter().map(|peak| of(peak)).collect();
        median(&mut all).unwrap_or(f64::NAN)
    };
    // The mean of four pixels has half the noise of one pixel, as has the mean of eight above their
    // level; the median has 1.25 times the error of a mean.
    let chance = CHANCE * 0.5 * 1.25 / (peaks.len() as f64).sqrt();
    let most = SPILL * middle(|peak| peak.height) + chance;
    middle(|peak| peak.beside) < most && middle(|peak| peak.around) < most
}

/// The pixels of a frame that stand out, in order.
fn peaks(pixels: ArrayView2<'_, f64>) -> Vec<Peak> {
    let (height, width) = pixels.dim();
    let Some(noise) = noise(pixels) else {
        return Vec::new();
    };
    let pixels = &pixels.as_standard_layout();
    let row_of = |row: usize| &pixels.as_slice().unwrap_or_default()[row * width..][..width];
    let rows = (BORDER..height.saturating_sub(BORDER)).into_par_iter();
    let of_rows = rows.map_init(
        || vec![false; width.saturating_sub(2 * BORDER)],
        |marks, row| {
            let near = [row - STEP, row - 1, row, row + 1, row + STEP].map(row_of);
            dispatch!(Level::new(), _simd => mark(near, CLEAR * noise, marks));
            let marked = marks.iter().enumerate().filter(|(_, marked)| **marked);
            let places = marked.map(|(at, _)| (row, BORDER + at));
            places
                .filter_map(|place| peak(pixels.view(), place, noise))
                .collect::<Vec<_>>()
        },
    );
    of_rows.flatten_iter().collect()
}

/// Marks the pixels of the middle row that are brighter than the four pixels beside them and stand
/// further than `least` above one of the pixels around, as a peak does above their median.
#[inline(always)]
fn mark(rows: [&[f64]; 5], least: f64, marks: &mut [bool]) {
    let count = marks.len();
    let shifted = |row: usize, by: usize| &rows[row][by..][..count];
    let beside = [
        shifted(1, BORDER),
        shifted(2, BORDER - 1),
        shifted(2, BORDER + 1),
        shifted(3, BORDER),
    ];
    let around = [
        shifted(0, BORDER - STEP),
        shifted(0, BORDER),
        shifted(0, BORDER + STEP),
        shifted(2, BORDER - STEP),
        shifted(2, BORDER + STEP),
        shifted(4, BORDER - STEP),
        shifted(4, BORDER),
        shifted(4, BORDER + STEP),
    ];
    let here = shifted(2, BORDER);
    for at in 0..count {
        let value = here[at];
        let is_summit = beside
            .iter()
            .fold(true, |is_summit, row| is_summit & (value > row[at]));
        let lowest = around.iter().fold(f64::INFINITY, |lowest, row| {
            if row[at] < lowest { row[at] } else { lowest }
        });
        marks[at] = is_summit & (value - lowest > least);
    }
}

/// The peak at a pixel that is brighter than the pixels beside it, if the pixel stands out.
fn peak(pixels: ArrayView2<'_, f64>, place: (usize, usize), noise: f64) -> Option<Peak> {
    let here = pixels[place];
    let height = (here - level(pixels, place, STEP)) / noise;
    if height <= CLEAR || height.is_nan() {
        return None;
    }
    let (row, column) = place;
    let beside = [
        (row, column - 1),
        (row, column + 1),
        (row - 1, column),
        (row + 1, column),
    ];
    let above = beside.map(|place| (pixels[place] - level(pixels, place, STEP)) / noise);
    let beside = above.iter().sum::<f64>() / above.len() as f64;
    let mean = around(pixels, place, STEP).sum::<f64>() / 8.0;
    let around = (mean - level(pixels, place, 2 * STEP)) / noise;
    (beside.is_finite() && around.is_finite()).then_some(Peak {
        place,
        height,
        beside,
        around,
    })
}

/// Noise of a pixel above its level; `None` where there is none.
fn noise(pixels: ArrayView2<'_, f64>) -> Option<f64> {
    /// Number of pixels that tell the noise to a hundredth.
    const ENOUGH: usize = 10_000;
    let (height, width) = pixels.dim();
    let inner = height
        .checked_sub(2 * BORDER)
        .zip(width.checked_sub(2 * BORDER))?;
    let count = inner.0 * inner.1;
    // Odd, for pixels of all colours.
    let step = (count as f64 / ENOUGH as f64).sqrt() as usize | 1;
    let along = |length: usize| (BORDER..BORDER + length).step_by(step);
    let places = along(inner.0).flat_map(|row| along(inner.1).map(move |column| (row, column)));
    let off = |place| (pixels[place] - level(pixels, place, STEP)).abs();
    let offs = places.map(off);
    let mut offs: Vec<f64> = offs.filter(|off| off.is_finite()).collect();
    median(&mut offs)
        .map(|off| 1.4826 * off)
        .filter(|&noise| noise > 0.0)
}

/// The level of a pixel: the median of the eight pixels that are `step` columns or rows away.
fn level(pixels: ArrayView2<'_, f64>, place: (usize, usize), step: usize) -> f64 {
    let mut values = [0.0; 8];
    for (value, around) in iter::zip(&mut values, around(pixels, place, step)) {
        *value = around;
    }
    median(&mut values).unwrap_or(f64::NAN)
}

/// The eight pixels that are `step` columns or rows away.
fn around(
    pixels: ArrayView2<'_, f64>,
    (row, column): (usize, usize),
    step: usize,
) -> impl Iterator<Item = f64> {
    let (top, left) = (row - step, column - step);
    let places = (0..9).filter(|&at| at != 4);
    places.map(move |at| pixels[[top + at / 3 * step, left + at % 3 * step]])
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal};
    use rand_pcg::Pcg64;

    use super::*;
    use crate::mosaic::{BayerPattern, Color};

    const SIDE: usize = 96;
    const NOISE: f64 = 5.0;
    const HOT: [(usize, usize); 3] = [(20, 31), (71, 71), (84, 50)];

    /// Frames of stars this wide, with hot pixels if `is_hot`: `place` tells where a star is in a frame.
    fn frames(
        n: usize,
        fwhm: f64,
        height: f64,
        is_hot: bool,
        place: impl Fn(usize, (f64, f64)) -> (f64, f64),
    ) -> Vec<Image> {
        let mut rng = Pcg64::seed_from_u64(5);
        let sky = Normal::new(300.0, NOISE).unwrap();
        let frame = |number: usize| {
            let mut pixels = Array2::from_shape_simple_fn((SIDE, SIDE), || sky.sample(&mut rng));
            for star in 0..14 {
                // Middles of pixels, where the light beside them is least.
                let at = ((star * 37 % 83 + 6) as f64, (star * 53 % 79 + 7) as f64);
                let (x, y) = place(number, at);
                for ((row, column), pixel) in pixels.indexed_iter_mut() {
                    let square = (column as f64 - x).powi(2) + (row as f64 - y).powi(2);
                    *pixel += height * NOISE * 2f64.powf(-4.0 * square / (fwhm * fwhm));
                }
            }
            for at in HOT.into_iter().filter(|_| is_hot) {
                pixels[at] += 20.0 * NOISE;
            }
            // A cosmic ray, which is somewhere else in the next frame.
            pixels[[10 + 7 * number, 40]] += 50.0 * NOISE;
            Image::from_pixels(number.to_string(), pixels)
        };
        (0..n).map(frame).collect()
    }

    #[test]
    fn pixels_that_stand_out_alone_in_most_frames_are_hot() {
        let drifts = |number: usize, at: (f64, f64)| (at.0 + 1.3 * number as f64, at.1 - 0.4);
        for fwhm in [1.5, 3.0, 6.0] {
            let hot = HotPixels::in_frames(frames(7, fwhm, 40.0, true, drifts));
            assert_eq!((hot.places.as_slice(), hot.frames()), (&HOT[..], 7));
            let none = HotPixels::in_frames(frames(7, fwhm, 40.0, false, drifts));
            assert!(none.is_empty(), "{none:?}");
        }
    }

    #[test]
    fn stars_that_never_move_are_not_hot() {
        // Optics that make stars a pixel wide, and the light of the pixel: a seventh of it on either side.
        for height in [10.0, 20.0, 100.0, 1e4] {
            let hot = HotPixels::in_frames(frames(7, 1.2, height, false, |_, at| at));
            assert!(hot.is_empty(), "{height}: {hot:?}");
        }
    }

    #[test]
    fn few_frames_copies_and_other_sizes_tell_nothing() {
        let drifts = |number: usize, at: (f64, f64)| (at.0 + number as f64, at.1);
        let few = frames(3, 3.0, 40.0, true, drifts);
        assert!(HotPixels::in_frames(few.clone()).is_empty());
        let copies = few.iter().chain(&few).cloned();
        assert!(HotPixels::in_frames(copies).is_empty());
        let larger = Image::from_pixels("larger", Array2::zeros((SIDE, SIDE + 1)));
        let mixed = few.into_iter().chain([larger.clone(), larger]);
        assert!(HotPixels::in_frames(mixed).is_empty());
    }

    #[test]
    fn a_mosaic_hides_no_hot_pixel_and_makes_none() {
        let pattern = BayerPattern::RGGB;
        let colored = |is_hot: bool| {
            let drifts = |number: usize, at: (f64, f64)| (at.0 + 0.7 * number as f64, at.1);
            let mut frames = frames(5, 2.5, 60.0, is_hot, drifts);
            for frame in &mut frames {
                for ((row, column), pixel) in frame.pixels.indexed_iter_mut() {
                    *pixel *= match pattern.phases()[row % 2 * 2 + column % 2] {
                        Color::Red => 0.5,
                        Color::Green => 1.0,
                        Color::Blue => 0.3,
                    };
                }
            }
            HotPixels::in_frames(frames)
        };
        assert!(colored(false).is_empty());
        assert!(!colored(true).is_empty());
    }

    #[test]
    fn stars_of_one_colour_are_not_hot() {
        let pattern = BayerPattern::RGGB;
        let mut frames = frames(7, 2.5, 100.0, false, |_, at| at);
        for frame in &mut frames {
            for ((row, column), pixel) in frame.pixels.indexed_iter_mut() {
                if pattern.phases()[row % 2 * 2 + column % 2] != Color::Red {
                    *pixel = 300.0 + 0.02 * (*pixel - 300.0) + (row * 7 + column * 3) as f64 % 5.0;
                }
            }
        }
        let hot = HotPixels::in_frames(frames);
        assert!(hot.is_empty(), "{hot:?}");
    }

    #[test]
    fn only_images_as_large_are_changed() {
        let hot = HotPixels::in_frames(frames(4, 3.0, 40.0, true, |_, at| at));
        let mut image = Image::from_pixels("image", Array2::zeros((SIDE, SIDE)));
        hot.leave_out(&mut image);
        let lost = image.pixels.iter().filter(|pixel| pixel.is_nan()).count();
        assert_eq!((lost, hot.len()), (HOT.len(), HOT.len()));
        assert!(HOT.iter().all(|&place| image.pixels[place].is_nan()));
        let mut larger = Image::from_pixels("larger", Array2::zeros((SIDE, SIDE + 1)));
        hot.leave_out(&mut larger);
        assert!(larger.pixels.iter().all(|pixel| pixel.is_finite()));
        let nothing = [0, 1, 5, 7].map(|side| Image::from_pixels("", Array2::zeros((side, side))));
        assert!(HotPixels::in_frames(nothing).is_empty());
    }
}
