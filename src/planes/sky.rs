//! Compares a noise plane with the noise that the sky of its image shows.

use ndarray::ArrayView2;

use super::NoisePlane;
use crate::numbers::median;
use crate::pixels::Pixels;
use crate::rim::rim_scatter;

/// Largest factor between the noise that a plane states and the noise that is seen. Resampled images have
/// neighbouring pixels that share their noise, so that less of it is seen than there is.
const LEEWAY: f64 = 2.0;

/// Statements about a plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Claim {
    /// Kind of the plane by the user.
    pub given: NoisePlane,
    /// Kind of the plane by its file, where the file states one.
    pub named: Option<NoisePlane>,
    /// Standard deviation of the sky by the plane, read as the given kind; units of the image.
    pub sigma: f64,
}

/// The noise that is seen in the sky, standard deviation in units of the image: at least and at
/// most, as stars may add to it and resampling may hide it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SkyNoise {
    /// At least.
    pub low: f64,
    /// At most.
    pub high: f64,
}

impl SkyNoise {
    /// The noise where it is one figure.
    pub fn of(sigma: f64) -> Self {
        Self {
            low: sigma,
            high: sigma,
        }
    }

    /// The figure that is nearest to `sigma`.
    pub fn nearest(&self, sigma: f64) -> f64 {
        sigma.max(self.low).min(self.high)
    }
}

/// Verdict whether a plane is of the kind that the user gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The sky has the noise that the plane says, or cannot tell.
    Fits,
    /// The plane is of another kind.
    Is(NoisePlane),
    /// No reading of the plane gives the noise that is seen.
    Differs,
}

/// Compares a plane with the noise that is seen, and with its name.
///
/// Another reading is believed where it fits within a factor of 2 and the given reading is worse by more
/// than a factor of 2. Where both fit, as they do where the noise is near 1, the plane's name decides.
pub fn judge(claim: &Claim, seen: SkyNoise) -> Verdict {
    let renamed = claim.named.filter(|named| *named != claim.given);
    let can_tell = seen.low > 0.0 && seen.high.is_finite() && claim.sigma > 0.0;
    if !can_tell || !claim.sigma.is_finite() {
        return renamed.map_or(Verdict::Fits, Verdict::Is);
    }
    let value = claim.given.of_variance(claim.sigma * claim.sigma);
    let off = |kind: NoisePlane| {
        let sigma = kind.to_variance(value).sqrt();
        (sigma / seen.nearest(sigma)).ln().abs()
    };
    let (leeway, given) = (LEEWAY.ln(), off(claim.given));
    let is_better = |kind: NoisePlane| off(kind) <= leeway && given - off(kind) > leeway;
    if let Some(named) = renamed {
        let denies_name = given <= leeway && off(named) - given > leeway;
        if !denies_name {
            return Verdict::Is(named);
        }
    }
    let mut others = NoisePlane::ALL.into_iter().filter(|kind| is_better(*kind));
    match (given > leeway, others.next()) {
        (false, _) => Verdict::Fits,
        // Where the file states the given kind, something else is wrong with the plane.
        (true, Some(kind)) if claim.named.is_none() => Verdict::Is(kind),
        (true, _) => Verdict::Differs,
    }
}

/// The noise of a ready cutout, NaN where a pixel is missing; `None` where there are too few pixels.
///
/// The scatter of the rim contains the light of a star that fills the cutout. Mixed second differences of
/// neighbours have hardly any light, but lack the noise that neighbours share
/// (J. Immerkaer 1996, Computer Vision and Image Understanding 64, 300).
pub fn cutout_noise(pixels: ArrayView2<'_, f64>) -> Option<SkyNoise> {
    /// Fewest values that give a scatter.
    const FEWEST: usize = 9;
    /// Root of the sum of squares of the differences' weights, times the median of the absolute
    /// value of a normal deviate.
    const SCALE: f64 = 6.0 * 0.674_489_750_196_081_7;
    let (height, width) = pixels.dim();
    let data: Vec<f64> = pixels.iter().copied().collect();
    let weight: Vec<f64> = data
        .iter()
        .map(|value| f64::from(u8::from(value.is_finite())))
        .collect();
    if weight.iter().filter(|weight| **weight > 0.0).count() < FEWEST {
        return None;
    }
    let view = Pixels {
        width,
        data: data.as_slice().into(),
        weight: weight.as_slice().into(),
    };
    let rim = rim_scatter(&view, height);
    let mut differences: Vec<f64> = pixels
        .windows((3, 3))
        .into_iter()
        .map(|w| {
            let corners = w[[0, 0]] + w[[0, 2]] + w[[2, 0]] + w[[2, 2]];
            let sides = w[[0, 1]] + w[[1, 0]] + w[[1, 2]] + w[[2, 1]];
            (corners - 2.0 * sides + 4.0 * w[[1, 1]]).abs()
        })
        .filter(|difference| difference.is_finite())
        .collect();
    if differences.len() < FEWEST {
        return Some(SkyNoise::of(rim));
    }
    let fine = median(&mut differences)? / SCALE;
    Some(SkyNoise {
        low: rim.min(fine),
        high: rim.max(fine),
    })
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::SeedableRng;
    use rand_distr::{Distribution, StandardNormal};
    use rand_pcg::Pcg64;

    use super::*;

    use NoisePlane::{Error, Variance};

    /// The verdict on a plane of that value where the sky's noise is `seen`.
    fn verdict(given: NoisePlane, named: Option<NoisePlane>, value: f64, seen: f64) -> Verdict {
        let sigma = given.to_variance(value).sqrt();
        let claim = Claim {
            given,
            named,
            sigma,
        };
        judge(&claim, SkyNoise::of(seen))
    }

    #[test]
    fn the_sky_tells_the_kind_of_a_plane() {
        for sigma in [30.0, 0.02] {
            for truth in NoisePlane::ALL {
                let value = truth.of_variance(sigma * sigma);
                for given in NoisePlane::ALL {
                    let expected = match given == truth {
                        true => Verdict::Fits,
                        false => Verdict::Is(truth),
                    };
                    assert_eq!(
                        verdict(given, None, value, sigma),
                        expected,
                        "{given} {truth}"
                    );
                }
            }
        }
        // Shared noise, and planes that are somewhat off.
        assert_eq!(verdict(Error, None, 30.0, 17.0), Verdict::Fits);
        assert_eq!(verdict(Variance, None, 900.0, 55.0), Verdict::Fits);
        // No reading fits.
        assert_eq!(verdict(Variance, None, 1440.0, 12.0), Verdict::Differs);
        assert_eq!(verdict(Error, None, 30_000.0, 30.0), Verdict::Differs);
    }

    #[test]
    fn where_the_noise_is_near_1_the_name_decides() {
        assert_eq!(verdict(Variance, None, 1.1, 1.1), Verdict::Fits);
        assert_eq!(verdict(Variance, Some(Error), 1.1, 1.1), Verdict::Is(Error));
        assert_eq!(verdict(Error, Some(Error), 1.1, 1.1), Verdict::Fits);
        assert_eq!(
            verdict(Variance, Some(Error), 30.0, 0.0),
            Verdict::Is(Error)
        );
        // Pixels that clearly have the noise of the reading given prove a name wrong, and a plane
        // of the right name is not taken for another.
        assert_eq!(verdict(Variance, Some(Error), 900.0, 30.0), Verdict::Fits);
        assert_eq!(verdict(Error, Some(Error), 900.0, 30.0), Verdict::Differs);
    }

    #[test]
    fn a_star_that_fills_its_cutout_is_no_noise() {
        let mut rng = Pcg64::seed_from_u64(5);
        let mut cutout = |peak: f64| {
            Array2::from_shape_fn((15, 15), |(y, x)| {
                let r2 = (y as f64 - 7.0).powi(2) + (x as f64 - 7.2).powi(2);
                let noise: f64 = StandardNormal.sample(&mut rng);
                peak * (-r2 / (2.0 * 16.0)).exp() + 10.0 * noise
            })
        };
        let mut lows: Vec<f64> = Vec::new();
        let mut highs: Vec<f64> = Vec::new();
        for _ in 0..200 {
            let noise = cutout_noise(cutout(3000.0).view()).unwrap();
            lows.push(noise.low);
            highs.push(noise.high);
        }
        let low = median(&mut lows).unwrap();
        assert!((low - 10.0).abs() < 1.5, "{low}");
        assert!(
            median(&mut highs).unwrap() > 40.0,
            "the rim has the star's light"
        );
        assert!(cutout_noise(Array2::from_elem((5, 5), f64::NAN).view()).is_none());
    }
}
