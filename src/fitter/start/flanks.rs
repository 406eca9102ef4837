//! Start of the fit of a star whose core is missing: clipped, or a hole.
//!
//! Moments of such a star are moments of its flanks: wider than the star, and lower. But a Gaussian is
//! a parabola in its logarithm, flanks and all: `ln(light)` against the coordinates is a linear problem
//! (R. A. Caruana et al. 1986, Anal. Chem. 58, 1162). Each pixel is weighted by the square of its
//! light, first as it is and then as the parabola has it (H. Guo 2011, IEEE Signal Process. Mag. 28
//! (5), 134), as the logarithm of a faint one is hardly known.

mod missing;

use crate::batch::Start;
use crate::cutout::{Cutout, Weighting};
use crate::fit::Flags;
use crate::model::Moments;
use missing::{Core, lowest, neighbours, noise_of};

/// Flanks end at this part of the light of the brightest of their pixels.
const FAINTEST: f64 = 0.02;

/// Least light of a pixel, in standard deviations of its noise.
const CLEAR: f64 = 3.0;

/// Part by which a pixel may be brighter than the one before it on the way out.
const RIPPLE: f64 = 0.1;

/// Rounds of a background for the flanks, and flanks for the background.
const ROUNDS: usize = 3;

/// Largest ratio of the axes of a star's light, squared.
const LONGEST: f64 = 25.0;

/// Moments of a star whose core is missing, from its flanks, in the units of its pixels and the
/// coordinates of its cutout; `None` where no core is missing, or the core is another star's.
pub(crate) fn moments_of_flanks(cutout: &Cutout, start: &Start) -> Option<Moments> {
    let Start::Moments { position, fwhm } = *start else {
        return None;
    };
    if cutout.flags.0 & (Flags::SATURATED.0 | Flags::MASKED.0) == 0 {
        return None;
    }
    let (left, top) = (cutout.corner.0 as f64, cutout.corner.1 as f64);
    let position = position.map(|(x, y)| (x - left, y - top));
    let core = Core::of(cutout, position, fwhm)?;
    let mut background = lowest(cutout)?;
    let mut moments = None;
    for _ in 0..ROUNDS {
        let flanks = Flanks::of(cutout, &core, background);
        let Some(shape) = flanks.shape(&core) else {
            break;
        };
        let Some(found) = with_light(cutout, &shape) else {
            break;
        };
        background = found.background;
        moments = Some(found);
    }
    moments.or_else(|| core.guess(cutout, background, fwhm))
}

/// A pixel of the flanks, from the centroid of the core.
struct Flank {
    x: f64,
    y: f64,
    light: f64,
    inverse_variance: f64,
}

/// The pixels whose light falls outwards from the edge of the core.
struct Flanks(Vec<Flank>);

impl Flanks {
    fn of(cutout: &Cutout, core: &Core, background: f64) -> Self {
        // Where the noise is not known pixel by pixel it is the same for all.
        let rough = match cutout.weighting {
            Weighting::Unit => noise_of(cutout).powi(2),
            Weighting::InverseVariance | Weighting::Counts { .. } => 0.0,
        };
        let variance = |at: usize| match cutout.weighting {
            Weighting::Unit => rough,
            Weighting::InverseVariance => cutout.weight[at].recip(),
            Weighting::Counts { gain, zero } => {
                ((cutout.data[at] - zero) / gain).max(gain.recip().powi(2))
            }
        };
        let light = |at: usize| cutout.data[at] - background;
        // Downhill from the core: light beyond a valley is another star's.
        let mut reached = core.is_in.clone();
        let mut queue = core.ring(cutout);
        for &at in &queue {
            reached[at] = true;
        }
        let mut next = 0;
        while let Some(&at) = queue.get(next) {
            next += 1;
            let most = light(at) * (1.0 + RIPPLE) + 2.0 * variance(at).sqrt();
            for near in neighbours(cutout, at) {
                if !reached[near] && cutout.weight[near] > 0.0 && light(near) <= most {
                    reached[near] = true;
                    queue.push(near);
                }
            }
        }
        let highest = queue.iter().map(|&at| light(at)).fold(0.0, f64::max);
        let is_clear =
            |&at: &usize| light(at) > FAINTEST * highest && light(at) > CLEAR * variance(at).sqrt();
        let flanks = queue.into_iter().filter(is_clear).map(|at| Flank {
            x: (at % cutout.width) as f64 - core.x,
            y: (at / cutout.width) as f64 - core.y,
            light: light(at),
            inverse_variance: match variance(at) {
                variance if variance > 0.0 => variance.recip(),
                _ => 1.0,
            },
        });
        Self(flanks.collect())
    }

    /// The star's place and shape: an ellipse where there are pixels enough, else a circle.
    fn shape(&self, core: &Core) -> Option<Moments> {
        const FEWEST: usize = 6;
        const FEWEST_OF_ELLIPSE: usize = 12;
        let ellipse = || {
            let [_, b, c, d, e, f] =
                self.parabola(|p| [1.0, p.x, p.y, p.x * p.x, p.x * p.y, p.y * p.y])?;
            Self::star(core, [b, c], [-2.0 * d, -e, -2.0 * f])
        };
        let circle = || {
            let [_, b, c, d] = self.parabola(|p| [1.0, p.x, p.y, p.x * p.x + p.y * p.y])?;
            Self::star(core, [b, c], [-2.0 * d, 0.0, -2.0 * d])
        };
        let centred = || {
            let [_, d] = self.parabola(|p| [1.0, p.x * p.x + p.y * p.y])?;
            Self::star(core, [0.0, 0.0], [-2.0 * d, 0.0, -2.0 * d])
        };
        let ellipse = (self.0.len() >= FEWEST_OF_ELLIPSE).then(ellipse).flatten();
        let circle = || (self.0.len() >= FEWEST).then(circle).flatten();
        let centred = || (self.0.len() >= FEWEST - 2).then(centred).flatten();
        ellipse.or_else(circle).or_else(centred)
    }

    /// The star whose logarithm has this slope at the core and this curvature, both downwards for a
    /// star: [xx, xy, yy] is the inverse of its covariance.
    fn star(core: &Core, slope: [f64; 2], [xx, xy, yy]: [f64; 3]) -> Option<Moments> {
        let determinant = xx * yy - xy * xy;
        let is_peak = xx > 0.0 && yy > 0.0 && determinant > 0.0;
        if !is_peak {
            return None;
        }
        let covariance = [yy / determinant, -xy / determinant, xx / determinant];
        // The larger axis over the smaller, squared, is (mean + root) / (mean - root).
        let mean = 0.5 * (xx + yy);
        let is_long = mean * mean > determinant * (1.0 + LONGEST).powi(2) / (4.0 * LONGEST);
        let x = covariance[0] * slope[0] + covariance[1] * slope[1];
        let y = covariance[1] * slope[0] + covariance[2] * slope[1];
        let is_far = x.hypot(y) > core.reach + 1.0;
        (!is_long && !is_far).then_some(Moments {
            flux: 1.0,
            x: core.x + x,
            y: core.y + y,
            xx: covariance[0],
            xy: covariance[1],
            yy: covariance[2],
            background: 0.0,
        })
    }

    /// The logarithm of the light as a sum of `terms` of the place.
    fn parabola<const N: usize>(&self, terms: impl Fn(&Flank) -> [f64; N]) -> Option<[f64; N]> {
        let fit = |light: &dyn Fn(&Flank) -> f64| {
            let (mut matrix, mut right) = ([[0.0; N]; N], [0.0; N]);
            for pixel in &self.0 {
                let weight = light(pixel).powi(2) * pixel.inverse_variance;
                let (terms, logarithm) = (terms(pixel), pixel.light.ln());
                for (j, (row, right)) in matrix.iter_mut().zip(&mut right).enumerate() {
                    *right += weight * terms[j] * logarithm;
                    for (element, term) in row.iter_mut().zip(&terms) {
                        *element += weight * terms[j] * term;
                    }
                }
            }
            solved(matrix, right)
        };
        let first = fit(&|pixel| pixel.light)?;
        let value = |pixel: &Flank| -> f64 {
            let terms = terms(pixel);
            terms
                .iter()
                .zip(&first)
                .map(|(term, factor)| term * factor)
                .sum()
        };
        // No more than the brightest light, whatever the parabola makes of a place.
        let highest = self.0.iter().map(|pixel| pixel.light).fold(0.0, f64::max);
        fit(&|pixel| value(pixel).exp().min(highest))
    }
}

/// The star of a shape with the flux and background that fit best, for which the problem is linear.
fn with_light(cutout: &Cutout, shape: &Moments) -> Option<Moments> {
    let Moments { xx, xy, yy, .. } = *shape;
    let determinant = xx * yy - xy * xy;
    let peak = (std::f64::consts::TAU * determinant.sqrt()).recip();
    let (mut matrix, mut right) = ([[0.0; 2]; 2], [0.0; 2]);
    for (at, (&data, &weight)) in cutout.data.iter().zip(&cutout.weight).enumerate() {
        if weight <= 0.0 {
            continue;
        }
        let weight = match cutout.weighting {
            Weighting::Unit | Weighting::InverseVariance => weight,
            Weighting::Counts { gain, zero } => gain / (data - zero).max(gain.recip()),
        };
        let (x, y) = (
            (at % cutout.width) as f64 - shape.x,
            (at / cutout.width) as f64 - shape.y,
        );
        let square = (yy * x * x - 2.0 * xy * x * y + xx * y * y) / determinant;
        let profile = peak * (-0.5 * square).exp();
        matrix[0][0] += weight * profile * profile;
        matrix[0][1] += weight * profile;
        matrix[1][1] += weight;
        right[0] += weight * profile * data;
        right[1] += weight * data;
    }
    matrix[1][0] = matrix[0][1];
    let [flux, background] = solved(matrix, right)?;
    (flux > 0.0).then_some(Moments {
        flux,
        background,
        ..*shape
    })
}

/// The solution of a symmetric, positive definite system, by Cholesky's factors; `None` where the
/// matrix is not positive definite.
fn solved<const N: usize>(mut matrix: [[f64; N]; N], mut right: [f64; N]) -> Option<[f64; N]> {
    /// Share of itself that each diagonal element must keep.
    const LEAST: f64 = 1e-12;
    for j in 0..N {
        let before = matrix[j][j];
        for k in 0..=j {
            let product: f64 = (0..k).map(|i| matrix[j][i] * matrix[k][i]).sum();
            let rest = matrix[j][k] - product;
            if j > k {
                matrix[j][k] = rest / matrix[k][k];
            } else if rest > LEAST * before && rest.is_finite() {
                matrix[j][j] = rest.sqrt();
            } else {
                return None;
            }
        }
        let product: f64 = (0..j).map(|i| matrix[j][i] * right[i]).sum();
        right[j] = (right[j] - product) / matrix[j][j];
    }
    for j in (0..N).rev() {
        let product: f64 = (j + 1..N).map(|i| matrix[i][j] * right[i]).sum();
        right[j] = (right[j] - product) / matrix[j][j];
    }
    right.iter().all(|value| value.is_finite()).then_some(right)
}
