//! Conversion of the values of pixels to brightness.

use ndarray::{Array2, ArrayView2};

use crate::numbers::median;

/// Values between two levels as 0 to 1: `asinh(v / a) / asinh(1 / a)` of the part `v` of the way,
/// so that faint light is seen beside bright stars (R. Lupton et al. 2004, PASP 116, 133).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// Level that is shown as 0, with all values below.
    pub low: f64,
    /// Level that is shown as 1, with all values above.
    pub high: f64,
    /// Level where linear becomes logarithmic, as a part of the way from low to high; `None`: linear
    /// all the way.
    pub softening: Option<f64>,
}

impl Stretch {
    /// The softening that astropy and others have by default.
    pub const SOFTENING: f64 = 0.1;

    /// The levels that show an image as IRAF does, see [`zscale`], with bright stars softened.
    pub fn of_image(pixels: ArrayView2<'_, f64>) -> Self {
        let (low, high) = zscale(pixels);
        Self {
            low,
            high,
            softening: Some(Self::SOFTENING),
        }
    }

    /// The levels that show a star: from the level that one pixel in twenty is below to the highest
    /// pixel. A single dark pixel as the lower end would make a faint star's sky grey.
    pub fn of_star(pixels: ArrayView2<'_, f64>) -> Self {
        let mut values: Vec<f64> = pixels.iter().copied().collect();
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(0.0);
        Self {
            low: at(values.len() / 20),
            high: at(values.len().saturating_sub(1)),
            softening: Some(Self::SOFTENING),
        }
    }

    /// Linear levels from -`limit` to `limit`, for residuals.
    pub fn symmetric(limit: f64) -> Self {
        Self {
            low: -limit,
            high: limit,
            softening: None,
        }
    }

    /// Brightness of a value, 0 to 1; `None` where the value is not finite.
    pub fn apply(&self, value: f64) -> Option<f64> {
        if !value.is_finite() {
            return None;
        }
        let span = self.high - self.low;
        // A flat image is neither dark nor bright.
        let part = if span > 0.0 && span.is_finite() {
            ((value - self.low) / span).clamp(0.0, 1.0)
        } else {
            0.5
        };
        Some(match self.softening {
            Some(a) => (part / a).asinh() / a.recip().asinh(),
            None => part,
        })
    }
}

/// The levels between which IRAF's `display` shows an image: a line through a thousand sorted
/// pixels, without those that are off it, and steeper by the contrast.
///
/// The method is `ZScaleInterval` of astropy with its defaults: 1000 samples evenly spaced in memory
/// order, contrast 0.25, a fit of at most 5 iterations that leaves out samples further than 2.5 sigma
/// from the line, with their neighbours. Pixels without a finite value do not count; the levels are 0
/// and 0 where no pixel has one.
pub fn zscale(pixels: ArrayView2<'_, f64>) -> (f64, f64) {
    const SAMPLES: usize = 1000;
    const CONTRAST: f64 = 0.25;
    /// Part of the samples that must stay on the line.
    const LEAST: f64 = 0.5;
    let finite = || pixels.iter().copied().filter(|value| value.is_finite());
    let stride = (finite().count() / SAMPLES).max(1);
    let mut samples: Vec<f64> = finite().step_by(stride).take(SAMPLES).collect();
    samples.sort_by(f64::total_cmp);
    let (Some(&low), Some(&high)) = (samples.first(), samples.last()) else {
        return (0.0, 0.0);
    };
    let n = samples.len();
    let least = 5.max((LEAST * n as f64) as usize);
    let Some((slope, left)) = line_through(&samples, least) else {
        return (low, high);
    };
    if left < least {
        return (low, high);
    }
    let slope = slope / CONTRAST;
    let center = (n - 1) / 2;
    let middle = median(&mut samples.clone()).unwrap_or(0.0);
    // The line reaches one sample beyond the ends on either side, as in astropy.
    let below = middle - (center as f64 - 1.0) * slope;
    let above = middle + (n - center) as f64 * slope;
    (low.max(below), high.min(above))
}

/// Slope of the line through sorted values, by their places, and the number of values on it.
fn line_through(values: &[f64], least: usize) -> Option<(f64, usize)> {
    const REJECTION: f64 = 2.5;
    const ITERATIONS: usize = 5;
    let n = values.len();
    // A sample that is left out takes its neighbours with it, so many in all.
    let grown = 1.max((n as f64 * 0.01) as usize);
    let mut bad = vec![false; n];
    let (mut left, mut before) = (n, n + 1);
    let mut slope = None;
    for _ in 0..ITERATIONS {
        if left >= before || left < least {
            break;
        }
        let line = fit_line(values, &bad)?;
        slope = Some(line.0);
        let flat = |at: usize| values[at] - (line.1 + line.0 * at as f64);
        let good = (0..n).filter(|&at| !bad[at]);
        let count = good.clone().count() as f64;
        let mean = good.clone().map(flat).sum::<f64>() / count;
        let variance = good.map(|at| (flat(at) - mean).powi(2)).sum::<f64>() / count;
        let threshold = REJECTION * variance.sqrt();
        let off: Vec<bool> = (0..n)
            .map(|at| bad[at] || flat(at) < -threshold || flat(at) > threshold)
            .collect();
        bad = grow(&off, grown);
        before = left;
        left = bad.iter().filter(|bad| !**bad).count();
    }
    Some((slope?, left))
}

/// Marks every place within a window round a marked one, as numpy's
/// `convolve(mask, ones(window), mode="same")`.
fn grow(marked: &[bool], window: usize) -> Vec<bool> {
    let (before, after) = (window / 2, (window - 1) / 2);
    (0..marked.len())
        .map(|at| {
            let from = at.saturating_sub(before);
            let to = (at + after + 1).min(marked.len());
            marked[from..to].contains(&true)
        })
        .collect()
}

/// Slope and intercept by least squares.
fn fit_line(values: &[f64], bad: &[bool]) -> Option<(f64, f64)> {
    let good = || (0..values.len()).filter(|&at| !bad[at]);
    let n = good().count() as f64;
    let mean_place = good().map(|at| at as f64).sum::<f64>() / n;
    let mean = good().map(|at| values[at]).sum::<f64>() / n;
    let products = good().map(|at| (at as f64 - mean_place) * (values[at] - mean));
    let squares = good().map(|at| (at as f64 - mean_place).powi(2));
    let slope = products.sum::<f64>() / squares.sum::<f64>();
    slope
        .is_finite()
        .then_some((slope, mean - slope * mean_place))
}

/// Means of the finite values in squares of `factor` x `factor` pixels; the last squares in a row or
/// column may have fewer. A square without a finite value is NaN.
pub fn shrink(pixels: ArrayView2<'_, f64>, factor: usize) -> Array2<f64> {
    shrink_by(pixels, (factor, factor))
}

/// Means of rectangles, so many rows high and columns wide.
pub(in crate::report) fn shrink_by(
    pixels: ArrayView2<'_, f64>,
    factors: (usize, usize),
) -> Array2<f64> {
    let (along_y, along_x) = (factors.0.max(1), factors.1.max(1));
    let (height, width) = pixels.dim();
    let size = (height.div_ceil(along_y), width.div_ceil(along_x));
    Array2::from_shape_fn(size, |(row, column)| {
        let rows = row * along_y..(row * along_y).saturating_add(along_y).min(height);
        let columns = column * along_x..(column * along_x).saturating_add(along_x).min(width);
        let square = pixels.slice(ndarray::s![rows, columns]);
        let (sum, count) = square
            .iter()
            .filter(|value| value.is_finite())
            .fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        if count > 0.0 { sum / count } else { f64::NAN }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::io::fits::{FitsFile, FitsPath};
    use crate::report::draw::stretch::*;

    fn pixels(name: &str) -> Array2<f64> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let path = FitsPath::parse(folder.join(name)).unwrap();
        FitsFile::open(&path).unwrap().image(0).unwrap().pixels
    }

    /// `ZScaleInterval().get_limits(pixels)` of astropy 8.0.2, `pixels` as `fits.getdata` reads
    /// them, in double precision; the last one has NaN in the pixels above 1040.
    #[test]
    fn as_astropy() {
        let panoptes = pixels("panoptes.fits.fz");
        let mut holes = pixels("base.fits");
        holes.mapv_inplace(|value| if value > 1040.0 { f64::NAN } else { value });
        for (pixels, low, high) in [
            (panoptes, 2103.0, 2574.3058189621593),
            (pixels("base.fits"), 970.0, 1085.7857258997326),
            (holes, 956.0, 1039.0),
        ] {
            let found = zscale(pixels.view());
            let is_near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-12;
            assert!(is_near(found.0, low) && is_near(found.1, high), "{found:?}");
            assert!(!is_near(zscale((pixels + 0.001).view()).0, low));
        }
    }

    #[test]
    fn odd_pixels() {
        let of =
            |values: &[f64]| zscale(ArrayView2::from_shape((1, values.len()), values).unwrap());
        assert_eq!(of(&[]), (0.0, 0.0));
        assert_eq!(of(&[f64::NAN, f64::INFINITY]), (0.0, 0.0));
        assert_eq!(of(&[3.0]), (3.0, 3.0));
        assert_eq!(of(&[3.0, 1.0, f64::NAN]), (1.0, 3.0));
        assert_eq!(of(&[5.0; 2000]), (5.0, 5.0));
        let (low, high) = of(&[f64::MAX, f64::MIN, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!(low <= high);
    }

    #[test]
    fn stretches() {
        let stretch = Stretch {
            low: 10.0,
            high: 20.0,
            softening: Some(0.1),
        };
        assert_eq!(
            (stretch.apply(9.0), stretch.apply(21.0)),
            (Some(0.0), Some(1.0))
        );
        let half = stretch.apply(15.0).unwrap();
        assert!((half - 5f64.asinh() / 10f64.asinh()).abs() < 1e-12 && half > 0.7);
        let pixels = Array2::from_shape_fn((1, 100), |(_, x)| match x {
            7 => f64::NAN,
            8 => -1e9,
            x => x as f64,
        });
        let star = Stretch::of_star(pixels.view());
        assert_eq!((star.low, star.high), (3.0, 99.0));
        let none = Stretch::of_star(pixels.slice(ndarray::s![.., 7..8]));
        assert_eq!((none.low, none.high), (0.0, 0.0));
        let linear = Stretch::symmetric(4.0);
        assert_eq!(
            [-4.0, 0.0, 2.0].map(|v| linear.apply(v)),
            [Some(0.0), Some(0.5), Some(0.75)]
        );
        for value in [f64::NAN, f64::INFINITY] {
            assert_eq!(stretch.apply(value), None);
        }
        for (low, high) in [
            (1.0, 1.0),
            (2.0, 1.0),
            (f64::MIN, f64::MAX),
            (f64::NAN, 1.0),
        ] {
            let stretch = Stretch {
                low,
                high,
                softening: None,
            };
            assert_eq!(stretch.apply(1.0), Some(0.5));
        }
    }

    #[test]
    fn shrinking_is_a_mean_of_what_is_there() {
        let pixels = ndarray::arr2(&[[1.0, 3.0, 9.0], [f64::NAN, 5.0, f64::NAN]]);
        let small = shrink(pixels.view(), 2);
        assert_eq!(small, ndarray::arr2(&[[3.0, 9.0]]));
        assert_eq!(shrink(pixels.view(), usize::MAX), ndarray::arr2(&[[4.5]]));
        assert_eq!(
            shrink_by(pixels.view(), (2, 1)),
            ndarray::arr2(&[[1.0, 4.0, 9.0]])
        );
        assert!(shrink(pixels.slice(ndarray::s![1.., 2..]), 2)[[0, 0]].is_nan());
    }
}
