//! Cutouts of one size as flat arrays, scaled to order 1, for solvers and backends.

mod packing;
mod scale;
mod star;
mod start;
mod values;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use fearless_simd::{Level, dispatch};
use rayon::prelude::*;

use crate::constraints::Constraints;
use crate::cutout::Cutout;
use crate::error::{Error, Result};
use crate::numbers::lanes::LANES;
use crate::pixels::{PixelBlock, Pixels};
use crate::star::WORTH_A_CORE;
pub use scale::Scale;
pub(crate) use scale::Scales;
pub use star::BatchStar;
pub use start::Start;
use values::Values;
pub(crate) use values::{Value, ValuesOf, with_values};

/// Cutouts of one height and width.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Values as they were read, star after star, row after row; an unused pixel has the lowest value
    /// of its star.
    values: Values,
    /// Weights relative to the largest of each star, or the level that counts stand on (see
    /// [`Poisson`](crate::estimator::Poisson)); 0 = unused. The weights of a star with a
    /// [uniform weight](BatchStar::uniform_weight) are not written; in a batch that is
    /// [built](Self::build) their pages take no memory.
    weight: Vec<f64>,
    /// The stars, in order.
    pub stars: Vec<BatchStar>,
}

/// Why a batch cannot be built.
enum Failure {
    /// The type does not hold the values exactly.
    Inexact,
    /// A star has an error.
    Star(Error),
}

impl Batch {
    /// An empty batch.
    pub fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            values: Values::Short(Vec::new()),
            weight: Vec::new(),
            stars: Vec::new(),
        }
    }

    /// A batch of `n` stars. `cut` takes the number of a star and gives its cutout, the start of its
    /// fit and the user's constraints. Several stars are made at once.
    ///
    /// # Errors
    ///
    /// The error of `cut` for the first star that has one; [`Error::Option`] where a cutout is not of
    /// this width and height, or these are 0.
    pub fn build(
        width: usize,
        height: usize,
        n: usize,
        cut: impl Fn(usize) -> Result<(Cutout, Start, Option<Constraints>)> + Sync,
    ) -> Result<Self> {
        let batch = Self::new(width, height);
        if batch.pixels_per_star() == 0 {
            return Err(batch.wrong_shape(width, height));
        }
        let mut built = batch.built(n, &cut, Values::Short);
        if let Err(Failure::Inexact) = built {
            built = batch.built(n, &cut, Values::Single);
        }
        if let Err(Failure::Inexact) = built {
            built = batch.built(n, &cut, Values::Double);
        }
        built.map_err(|failure| match failure {
            Failure::Star(error) => error,
            Failure::Inexact => unreachable!("f64 holds every value"),
        })
    }

    /// A batch with values of the type `V`, which `kind` wraps.
    fn built<V: Value>(
        &self,
        n: usize,
        cut: &(impl Fn(usize) -> Result<(Cutout, Start, Option<Constraints>)> + Sync),
        kind: impl Fn(Vec<V>) -> Values,
    ) -> std::result::Result<Self, Failure> {
        let (width, height, pixels) = (self.width, self.height, self.pixels_per_star());
        let mut values = vec![V::default(); n * pixels];
        let mut weight = vec![0.0; n * pixels];
        let places = values
            .par_chunks_exact_mut(pixels)
            .zip(weight.par_chunks_exact_mut(pixels));
        let is_inexact = AtomicBool::new(false);
        let stars: Vec<std::result::Result<BatchStar, Failure>> = places
            .enumerate()
            .with_min_len(WORTH_A_CORE)
            .map(|(star, (values, weight))| {
                if is_inexact.load(Ordering::Relaxed) {
                    return Err(Failure::Inexact);
                }
                let (cutout, start, constraints) = cut(star).map_err(Failure::Star)?;
                if (cutout.width, cutout.height) != (width, height) {
                    let error = self.wrong_shape(cutout.width, cutout.height);
                    return Err(Failure::Star(error));
                }
                let star = BatchStar::new(&cutout, start, constraints);
                if !dispatch!(Level::new(), _simd => star.write_values(&cutout, values)) {
                    is_inexact.store(true, Ordering::Relaxed);
                    return Err(Failure::Inexact);
                }
                star.write_weights(&cutout, weight);
                Ok(star)
            })
            .collect();
        if is_inexact.into_inner() {
            return Err(Failure::Inexact);
        }
        Ok(Self {
            width,
            height,
            values: kind(values),
            weight,
            stars: stars.into_iter().collect::<std::result::Result<_, _>>()?,
        })
    }

    /// The error for a cutout of another width and height, or without a pixel.
    fn wrong_shape(&self, width: usize, height: usize) -> Error {
        Error::Option {
            option: "cutout".into(),
            expected: match self.pixels_per_star() {
                0 => "at least one pixel".into(),
                _ => format!("{} x {} pixels", self.width, self.height),
            },
            found: format!("{width} x {height}"),
            hint: None,
        }
    }

    /// Pixels of a cutout.
    pub fn pixels_per_star(&self) -> usize {
        self.width * self.height
    }

    /// Adds a star. Its pixels lose their pedestal and get a range of 1, in `f64`, before anything is
    /// rounded to `f32`, so that neither a sky of 1e9 nor a flux of 1e-16 costs a digit.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] where the cutout is not of the batch's height and width, or these are 0.
    pub fn push(&mut self, cutout: &Cutout, start: Start) -> Result<()> {
        self.push_constrained(cutout, start, None)
    }

    /// Adds a star with the user's constraints, if any.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] where the cutout is not of the batch's height and width, or these are 0.
    pub fn push_constrained(
        &mut self,
        cutout: &Cutout,
        start: Start,
        constraints: Option<Constraints>,
    ) -> Result<()> {
        let fits = (cutout.width, cutout.height) == (self.width, self.height);
        if !fits || self.pixels_per_star() == 0 {
            return Err(self.wrong_shape(cutout.width, cutout.height));
        }
        self.push_unchecked(cutout, start, constraints);
        Ok(())
    }

    /// Adds a star whose cutout is known to have the batch's height and width.
    pub(crate) fn push_unchecked(
        &mut self,
        cutout: &Cutout,
        start: Start,
        constraints: Option<Constraints>,
    ) {
        let star = BatchStar::new(cutout, start, constraints);
        self.values.extend(star.values(cutout));
        let from = self.weight.len();
        self.weight.resize(from + cutout.data.len(), 0.0);
        star.write_weights(cutout, &mut self.weight[from..]);
        self.stars.push(star);
    }

    /// Number of stars.
    pub fn len(&self) -> usize {
        self.stars.len()
    }

    /// Whether there is no star.
    pub fn is_empty(&self) -> bool {
        self.stars.is_empty()
    }

    /// The stars `from..to` and their pixels.
    pub fn chunk(&self, from: usize, to: usize) -> Chunk<'_> {
        let n = self.pixels_per_star();
        Chunk {
            width: self.width,
            height: self.height,
            values: self.values.of(from * n..to * n),
            weight: &self.weight[from * n..to * n],
            stars: &self.stars[from..to],
        }
    }
}

/// Neighbouring stars of a batch that are on a device at once.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Values of the pixels, as [`Batch::values`] has them.
    pub(crate) values: ValuesOf<'a>,
    /// Weights of the pixels, as [`Batch::weight`] has them.
    pub(crate) weight: &'a [f64],
    /// The stars, in order.
    pub stars: &'a [BatchStar],
}

impl<'a> Chunk<'a> {
    /// Number of stars.
    pub fn len(&self) -> usize {
        self.stars.len()
    }

    /// Whether there is no star.
    pub fn is_empty(&self) -> bool {
        self.stars.is_empty()
    }

    /// The stars of a block: sixteen, or the rest.
    pub(crate) fn stars_of_block(&self, block: usize) -> Range<usize> {
        block * LANES..((block + 1) * LANES).min(self.len())
    }

    /// The pixels of all stars, sixteen to a block.
    pub fn pack(&self) -> Vec<PixelBlock> {
        let mut blocks = Vec::new();
        self.pack_into(&mut blocks);
        blocks
    }

    /// Packs the pixels as [`pack`](Self::pack) does, over the content of `blocks`.
    pub fn pack_into(&self, blocks: &mut Vec<PixelBlock>) {
        blocks.resize_with(self.len().div_ceil(LANES), PixelBlock::default);
        let mut scratch = Vec::new();
        for (index, block) in blocks.iter_mut().enumerate() {
            block.pack(self, self.stars_of_block(index), &mut scratch);
        }
    }

    /// The pixels of one star, scaled, in `f64`.
    pub fn pixels(&self, star: usize) -> Pixels<'a> {
        let n = self.width * self.height;
        let places = star * n..(star + 1) * n;
        let star = &self.stars[star];
        let Scale {
            pedestal, range, ..
        } = star.scale;
        let scaled = |value: f64| (value - pedestal) / range;
        Pixels {
            width: self.width,
            data: with_values!(self.values, values => {
                doubles(&values[places.clone()]).map(scaled).collect()
            }),
            weight: match star.uniform_weight {
                Some(weight) => Cow::Owned(vec![weight; n]),
                None => Cow::Borrowed(&self.weight[places]),
            },
        }
    }
}

/// The numbers in `f64`.
fn doubles<V: Value>(values: &[V]) -> impl Iterator<Item = f64> {
    values.iter().map(|&value| value.into())
}

#[cfg(test)]
pub(crate) mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::cutout::{CutoutOptions, Noise};

    /// Noise that is not known, and nothing saturated.
    pub(crate) const OPTIONS: CutoutOptions = CutoutOptions {
        noise: Noise::Unit,
        saturation: f64::INFINITY,
    };
    /// At the brightest spot.
    pub(crate) const START: Start = Start::Moments {
        position: None,
        fwhm: None,
    };

    /// Cutouts of 5 x 4 pixels on a `level`, which are multiples of `unit` above it, and one pixel of
    /// the second has no value.
    fn cutouts(level: f64, unit: f64) -> [Cutout; 3] {
        [0, 1, 2].map(|star| {
            let mut pixels = Array2::from_shape_fn((4, 5), |(y, x)| {
                level + unit * ((star + 1) * (7 * x + 11 * y) % 23) as f64
            });
            if star == 1 {
                pixels[[2, 3]] = f64::NAN;
            }
            Cutout::from_pixels(pixels.view(), None, &OPTIONS)
        })
    }

    fn build(cutouts: &[Cutout]) -> Batch {
        let cut = |star: usize| Ok((cutouts[star].clone(), START, None));
        Batch::build(5, 4, cutouts.len(), cut).unwrap()
    }

    /// Bytes of a number.
    fn bytes(batch: &Batch) -> usize {
        match batch.values {
            Values::Short(_) => 2,
            Values::Single(_) => 4,
            Values::Double(_) => 8,
        }
    }

    #[test]
    fn pixels_are_stored_in_the_smallest_type_that_has_them() {
        // A tenth is no multiple of a power of two; a quarter is, and 1e6 + 1/4 has 22 bits. The
        // largest pixel is 22 units above the level.
        let kinds = [
            (0.0, 1.0, 2),
            (65535.0 - 22.0, 1.0, 2),
            (65536.0 - 22.0, 1.0, 4),
            (-1.0, 1.0, 4),
            (100.0, 0.5, 4),
            (1e6, 0.25, 4),
            (1e6, 0.1, 8),
            // Whose scale f32 would lose, or the numbers themselves.
            (0.0, 2_f64.powi(-140), 4),
            (0.0, 2_f64.powi(110), 4),
            (0.0, 1e-50, 8),
            (0.0, 1e50, 8),
        ];
        for (level, unit, size) in kinds {
            let cutouts = cutouts(level, unit);
            let built = build(&cutouts);
            assert_eq!(bytes(&built), size, "{level} {unit}");
            let mut pushed = Batch::new(5, 4);
            for cutout in &cutouts {
                pushed.push(cutout, START).unwrap();
            }
            assert_eq!(bytes(&pushed), size, "{level} {unit}");
            for batch in [built, pushed] {
                let chunk = batch.chunk(0, 3);
                let packed = chunk.pack();
                for (star, cutout) in cutouts.iter().enumerate() {
                    let pixels = chunk.pixels(star);
                    let scale = batch.stars[star].scale;
                    for (at, (&data, &weight)) in cutout.data.iter().zip(&cutout.weight).enumerate()
                    {
                        assert_eq!(pixels.weight[at], weight);
                        assert_eq!(packed[0].weight[at][star], weight as f32);
                        let scaled = if weight > 0.0 {
                            (data - scale.pedestal) / scale.range
                        } else {
                            0.0
                        };
                        assert_eq!(pixels.data[at], scaled, "{unit}: star {star}, pixel {at}");
                        let error = (packed[0].data[at][star] - scaled as f32).abs();
                        assert!(error <= f32::EPSILON * scaled as f32, "{unit}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_batch_grows_into_larger_types() {
        let grown = |last: &[Cutout; 3]| {
            let integers = cutouts(100.0, 1.0);
            let mut batch = Batch::new(5, 4);
            batch.push(&integers[0], START).unwrap();
            assert_eq!(bytes(&batch), 2);
            batch.push(&last[1], START).unwrap();
            let alone = build(&integers[..1]);
            let (pixels, same) = (batch.chunk(0, 2).pixels(0), alone.chunk(0, 1).pixels(0));
            assert_eq!(pixels.data, same.data);
            assert_ne!(pixels.data, batch.chunk(0, 2).pixels(1).data);
            bytes(&batch)
        };
        assert_eq!(grown(&cutouts(100.0, 1.0)), 2);
        assert_eq!(grown(&cutouts(100.0, 0.5)), 4);
        assert_eq!(grown(&cutouts(100.0, 0.1)), 8);
    }
}
