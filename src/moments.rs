//! Start values: windowed moments of a star.

use crate::kernel::Pixels;
use crate::model::{FWHM_OF_SIGMA, Moments};

/// Times that the window is moved onto the centroid found.
const RECENTERINGS: usize = 3;

/// Moments of the star in `pixels`, weighted with a Gaussian window, as if the star were a
/// Gaussian. The background is the median of the rim. The window keeps neighbours and the noise of
/// the outskirts out, which an unweighted centre of mass does not.
///
/// `position` is where the star is expected, in pixels from the centre of the first one; without
/// it the brightest spot is taken. `fwhm` is its expected width; without it a quarter of the
/// shorter side.
pub fn moments(
    pixels: &Pixels<'_>,
    height: usize,
    position: Option<(f64, f64)>,
    fwhm: Option<f64>,
) -> Moments {
    let width = pixels.width;
    let background = rim_median(pixels, height);
    let light: Vec<f64> = pixels
        .data
        .iter()
        .zip(pixels.weight)
        .map(|(&data, &weight)| if weight > 0.0 { data - background } else { 0.0 })
        .collect();
    let fwhm = fwhm.unwrap_or(width.min(height) as f64 / 4.0);
    let window = (fwhm / FWHM_OF_SIGMA).max(0.7);
    let expected = position.unwrap_or_else(|| brightest(pixels, &light));

    let mut sums = Sums::new(&light, width, expected, window);
    let mut center = expected;
    for _ in 0..RECENTERINGS {
        let Some((dx, dy)) = sums.centroid() else {
            break;
        };
        // The window halves every offset of a star as wide as itself.
        let moved = (center.0 + 2.0 * dx, center.1 + 2.0 * dy);
        if (moved.0 - expected.0).hypot(moved.1 - expected.1) > fwhm {
            break;
        }
        center = moved;
        sums = Sums::new(&light, width, center, window);
    }

    let square = window * window;
    let (low, high) = (
        0.25,
        (4.0 * window)
            .min(width.min(height) as f64 / 4.0)
            .max(0.5)
            .powi(2),
    );
    let [xx, xy, yy] = sums
        .covariance()
        .and_then(|seen| without_window(seen, square))
        .filter(|[xx, xy, yy]| xx * yy - xy * xy > 0.1 * xx * yy)
        .filter(|[xx, _, yy]| [xx, yy].iter().all(|v| (low..=high).contains(*v)))
        .unwrap_or_else(|| {
            let variance = sums.covariance().map_or(square, |[xx, _, yy]| {
                let seen = 0.5 * (xx + yy);
                match seen < square {
                    true => (seen * square / (square - seen)).clamp(low, high),
                    false => high,
                }
            });
            [variance, 0.0, variance]
        });
    // The window takes away det(I + C / w^2)^-1/2 of the flux of a Gaussian.
    let seen = ((1.0 + xx / square) * (1.0 + yy / square) - (xy / square).powi(2)).sqrt();
    let flux = sums.light * seen;
    // A start of no flux at all would leave position and width undetermined.
    let least = 1e-3 * 0.5 * (xx + yy);
    let flux = if flux.abs() < least { least } else { flux };
    Moments {
        flux,
        x: center.0,
        y: center.1,
        xx,
        xy,
        yy,
        background,
    }
}

/// The covariance of a Gaussian that a round window of the variance `square` makes look like
/// `seen`: the inverses add up, `seen^-1 = C^-1 + 1 / w^2`. `None` where there is none.
fn without_window([xx, xy, yy]: [f64; 3], square: f64) -> Option<[f64; 3]> {
    let invert = |[xx, xy, yy]: [f64; 3]| {
        let determinant = xx * yy - xy * xy;
        (xx > 0.0 && determinant > 0.0)
            .then(|| [yy / determinant, -xy / determinant, xx / determinant])
    };
    let [a, b, c] = invert([xx, xy, yy])?;
    invert([a - 1.0 / square, b, c - 1.0 / square])
}

/// Sums over a window.
struct Sums {
    /// Light times window.
    light: f64,
    /// The same times the offset from the window's centre.
    x: f64,
    y: f64,
    /// The same times the products of the offsets.
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Sums {
    /// Over `light`, rows of `width` pixels, 0 where a pixel is not used.
    fn new(light: &[f64], width: usize, (x, y): (f64, f64), window: f64) -> Self {
        let profile = |offset: f64| (-0.5 * (offset / window).powi(2)).exp();
        // The window is a product: first the moments of each column, side by side, then of those.
        let mut columns = vec![[0.0; 3]; width];
        for (row, light) in light.chunks_exact(width).enumerate() {
            let dy = row as f64 - y;
            let factor = profile(dy);
            let factors = [factor, factor * dy, factor * dy * dy];
            for (column, &light) in columns.iter_mut().zip(light) {
                for (sum, factor) in column.iter_mut().zip(factors) {
                    *sum += factor * light;
                }
            }
        }
        let mut sums = Self {
            light: 0.0,
            x: 0.0,
            y: 0.0,
            xx: 0.0,
            xy: 0.0,
            yy: 0.0,
        };
        for (column, [light, by_dy, by_dy2]) in columns.into_iter().enumerate() {
            let dx = column as f64 - x;
            let factor = profile(dx);
            sums.light += factor * light;
            sums.x += factor * dx * light;
            sums.y += factor * by_dy;
            sums.xx += factor * dx * dx * light;
            sums.xy += factor * dx * by_dy;
            sums.yy += factor * by_dy2;
        }
        sums
    }

    /// Offset of the centroid from the window's centre.
    fn centroid(&self) -> Option<(f64, f64)> {
        let centroid = (self.x / self.light, self.y / self.light);
        (self.light > 0.0 && centroid.0.is_finite() && centroid.1.is_finite()).then_some(centroid)
    }

    /// Covariance of the light: along the rows, of both, along the columns.
    fn covariance(&self) -> Option<[f64; 3]> {
        let (dx, dy) = self.centroid()?;
        let central = |sum: f64, product: f64| sum / self.light - product;
        let [xx, xy, yy] = [
            central(self.xx, dx * dx),
            central(self.xy, dx * dy),
            central(self.yy, dy * dy),
        ];
        (xx > 0.0 && yy > 0.0).then_some([xx, xy, yy])
    }
}

/// Median of the usable pixels on the rim; of all pixels where the rim has none.
pub(crate) fn rim_median(pixels: &Pixels<'_>, height: usize) -> f64 {
    median(&mut rim(pixels, height)).unwrap_or(0.0)
}

/// Standard deviation of the usable pixels on the rim, from their median absolute deviation, which
/// a neighbour that reaches into the rim hardly moves.
pub(crate) fn rim_scatter(pixels: &Pixels<'_>, height: usize) -> f64 {
    /// Standard deviation of a normal deviate over its median absolute deviation.
    const SIGMA_OF_MAD: f64 = 1.482_602_218_505_602;
    let mut values = rim(pixels, height);
    let middle = median(&mut values).unwrap_or(0.0);
    for value in &mut values {
        *value = (*value - middle).abs();
    }
    SIGMA_OF_MAD * median(&mut values).unwrap_or(0.0)
}

/// The usable pixels on the rim; all usable ones where it has none.
fn rim(pixels: &Pixels<'_>, height: usize) -> Vec<f64> {
    let width = pixels.width;
    let values = |rim_only: bool| -> Vec<f64> {
        let mut values = Vec::with_capacity(if rim_only {
            2 * (width + height)
        } else {
            width * height
        });
        let rows = pixels
            .data
            .chunks_exact(width)
            .zip(pixels.weight.chunks_exact(width));
        for (row, (data, weight)) in rows.enumerate() {
            let is_whole = !rim_only || row == 0 || row + 1 == height;
            // Of a row between the first and the last its ends alone.
            let step = if is_whole { 1 } else { (width - 1).max(1) };
            let pixels = data.iter().zip(weight).step_by(step);
            values.extend(
                pixels
                    .filter(|(_, weight)| **weight > 0.0)
                    .map(|(data, _)| *data),
            );
        }
        values
    };
    let rim = values(true);
    if rim.is_empty() { values(false) } else { rim }
}

/// The middle value; `None` for no values. The order of `values` is lost.
pub fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let (middle, even) = (values.len() / 2, values.len().is_multiple_of(2));
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if even {
        let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Halves first: the sum may overflow.
        return Some(0.5 * lower + 0.5 * upper);
    }
    Some(upper)
}

/// The pixel whose 3 x 3 neighbourhood is brightest: a single hot pixel does not win against a star.
fn brightest(pixels: &Pixels<'_>, light: &[f64]) -> (f64, f64) {
    let (width, height) = (pixels.width, light.len() / pixels.width);
    let mut best = (f64::NEG_INFINITY, ((width / 2) as f64, (height / 2) as f64));
    // Light and number of usable pixels of three rows, column by column.
    let mut columns = vec![(0.0, 0.0); width];
    for row in 0..height {
        columns.fill((0.0, 0.0));
        let rows = row.saturating_sub(1) * width..(row + 2).min(height) * width;
        let lines = light[rows.clone()].chunks_exact(width);
        for (light, weight) in lines.zip(pixels.weight[rows].chunks_exact(width)) {
            for ((column, &light), &weight) in columns.iter_mut().zip(light).zip(weight) {
                column.0 += light;
                column.1 += f64::from(u8::from(weight > 0.0));
            }
        }
        for x in 0..width {
            let near = &columns[x.saturating_sub(1)..(x + 2).min(width)];
            let (sum, count) = near.iter().fold((0.0, 0.0), |(s, c), n| (s + n.0, c + n.1));
            if count > 0.0 && sum / count > best.0 {
                best = (sum / count, (x as f64, row as f64));
            }
        }
    }
    best.1
}
