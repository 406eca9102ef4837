//! Ready cutouts, however many: block after block, the next one read and cut while one is fitted
//! and the one before is written.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use ndarray::{Array3, ArrayView3, Axis, s};

use super::beliefs::{SkyNoise, believed_read_noise, stated_gain, stated_saturation};
use super::counts::{Sky, counts};
use super::elongation::{Light, RoundStar, advice, set_ellipticities};
use super::mosaic::refuse_cutouts;
use super::resolve::{Frame, Resolver};
use super::rows::{flag_undersampled, number_from_one, rows};
use super::{LARGEST_CUTOUT, MeasureOptions, Measured, StageTimes, stars_at_once};
use crate::batch::{Batch, Scale, Start};
use crate::catalog::{Assumptions, Row};
use crate::cutout::{Cutout, CutoutOptions, Noise};
use crate::error::{Error, Result};
use crate::estimator::Estimator;
use crate::fit::Fit;
use crate::fitter::{Fitter, timed};
use crate::image::Header;
use crate::io::check_range;
use crate::numbers::median;
use crate::pixels::Pixels;
use crate::rim::{rim_median, rim_noise};
use crate::star::{Positions, Star, StarList};

/// Ready cutouts, each with its star somewhere near the middle.
#[derive(Debug, Clone, Copy)]
pub struct Cutouts<'a> {
    /// Name of the cutouts in messages.
    pub name: &'a str,
    /// Pixels: (n, height, width).
    pub pixels: &'a Array3<f64>,
    /// Variance of each pixel, of the same shape, where the user gives one.
    pub variance: Option<ArrayView3<'a, f64>>,
    /// Header of the cutouts.
    pub header: &'a Header,
}

/// Ready cutouts that are read when they are needed: all may be too many for the memory.
pub trait CutoutSource: Sync {
    /// Number of cutouts, height and width, pixels.
    fn dim(&self) -> (usize, usize, usize);

    /// Whether a variance comes with each pixel.
    fn has_variance(&self) -> bool;

    /// The cutouts of these numbers; NaN is a missing pixel.
    ///
    /// # Errors
    ///
    /// The errors of the file of the cutouts; [`Error::Option`] for numbers without a cutout.
    fn read(&self, cutouts: Range<usize>) -> Result<CutoutBlock>;
}

/// Neighbouring cutouts of a stack.
#[derive(Debug, Clone)]
pub struct CutoutBlock {
    /// Pixels: (n, height, width).
    pub pixels: Array3<f64>,
    /// Variance of each pixel, of the same shape or (1, height, width) for all, where
    /// [`CutoutSource::has_variance`].
    pub variance: Option<Array3<f64>>,
}

impl CutoutSource for Cutouts<'_> {
    fn dim(&self) -> (usize, usize, usize) {
        self.pixels.dim()
    }

    fn has_variance(&self) -> bool {
        self.variance.is_some()
    }

    fn read(&self, cutouts: Range<usize>) -> Result<CutoutBlock> {
        check_range(&cutouts, self.pixels.dim().0)?;
        let block = s![cutouts, .., ..];
        let variance = self.variance.as_ref();
        Ok(CutoutBlock {
            pixels: self.pixels.slice(block).to_owned(),
            variance: variance.map(|variance| variance.slice(block).to_owned()),
        })
    }
}

/// Facts about ready cutouts beside their pixels.
#[derive(Debug, Clone, Copy)]
pub struct StackInfo<'a> {
    /// Name of the cutouts in messages.
    pub name: &'a str,
    /// Header of the cutouts.
    pub header: &'a Header,
    /// Cutouts at once; `None`: as many as suit the fit and the memory. Every multiple of 1024 gives the same
    /// rows.
    pub block: Option<usize>,
}

/// Measures ready cutouts. With a `list`, each of its rows says where the star of the cutout of
/// that number is, and what it starts from.
///
/// The noise is known where the gain is, or a variance is given; else every pixel counts the same.
///
/// # Errors
///
/// [`Error::Malformed`] for cutouts of more than a million pixels, a list of another length, or `poisson`
/// where the pixels are no counts; [`Error::Option`] where fixed values, bounds and start values contradict
/// each other or the model, or the cutouts have no pixel; the errors of the fitter's backend.
pub fn measure_stack(
    cutouts: &Cutouts<'_>,
    list: Option<&StarList>,
    options: &MeasureOptions,
    fitter: &Fitter,
) -> Result<Measured> {
    let info = StackInfo {
        name: cutouts.name,
        header: cutouts.header,
        block: None,
    };
    let mut all = Vec::with_capacity(cutouts.pixels.dim().0);
    let mut measured = measure_blocks(cutouts, &info, list, options, fitter, |_, rows| {
        all.extend(rows);
        Ok::<_, Error>(())
    })?;
    measured.rows = all;
    Ok(measured)
}

/// Measures ready cutouts as [`measure_stack`] does, but hands the assumptions and the rows to `take`, block
/// after block in their order; the result has no rows. A few blocks are in memory at once: a block is read
/// and cut while the one before is fitted, and the one before that is with `take`.
///
/// A fault that shows without a fit is an error before the first call of `take`.
///
/// # Errors
///
/// The errors of [`measure_stack`], `cutouts` and `take`.
pub fn measure_blocks<E: From<Error>>(
    cutouts: &dyn CutoutSource,
    info: &StackInfo<'_>,
    list: Option<&StarList>,
    options: &MeasureOptions,
    fitter: &Fitter,
    mut take: impl FnMut(&Assumptions, Vec<Row>) -> Result<(), E>,
) -> Result<Measured, E> {
    let mut times = StageTimes::default();
    let job = timed(&mut times.detect, || {
        StackJob::new(cutouts, info, list, options, fitter)
    })?;
    let (n, height, width) = cutouts.dim();
    let assumed = Assumptions {
        background: None,
        noise: None,
        gain: job.gain,
        gain_err: None,
        by_residuals: job.cut.noise == Noise::Unit,
        saturation: Some(job.saturation).filter(|level| level.is_finite()),
        fwhm: options.fwhm,
        size: (width, height),
    };
    let block = info.block.unwrap_or_else(|| stars_at_once(width * height));
    let block = block.max(1);
    let blocks = (0..n)
        .step_by(block)
        .map(|from| from..n.min(from.saturating_add(block)));
    thread::scope(|scope| {
        // Nothing waits between two stages: each stage holds its result until the next takes it.
        let (cut, ready) = sync_channel(0);
        let (fitted, done) = sync_channel(0);
        let job = &job;
        let reader = scope.spawn(move || {
            let mut read = Duration::ZERO;
            for block in blocks {
                let batch = timed(&mut read, || job.cut(block.clone()));
                if cut.send((block, batch)).is_err() {
                    // A later stage has failed.
                    break;
                }
            }
            read
        });
        let fitter = scope.spawn(move || {
            let (mut fits, mut fit) = (Vec::new(), Duration::ZERO);
            for (block, batch) in ready {
                let fitted_rows = || batch.and_then(|batch| job.fit(block, batch, &mut fits));
                let rows = timed(&mut fit, fitted_rows);
                let is_last = rows.is_err();
                if fitted.send(rows).is_err() || is_last {
                    break;
                }
            }
            fit
        });
        done.into_iter()
            .try_for_each(|rows| take(&assumed, rows?))?;
        let time_of = |stage: ScopedJoinHandle<'_, Duration>| {
            stage.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        times.read = time_of(reader);
        times.fit = time_of(fitter);
        Ok::<_, E>(())
    })?;
    Ok(Measured {
        rows: Vec::new(),
        assumed,
        times,
    })
}

/// Job of fitting a stack: all that its blocks share.
struct StackJob<'a> {
    cutouts: &'a dyn CutoutSource,
    list: Option<&'a StarList>,
    options: &'a MeasureOptions,
    fitter: &'a Fitter,
    constraints: Resolver<'a>,
    gain: Option<f64>,
    saturation: f64,
    cut: CutoutOptions,
    name: &'a str,
    /// Whether it was said that the stars are long.
    is_advised: AtomicBool,
}

impl<'a> StackJob<'a> {
    /// Checks the whole stack, and works out all that its blocks share.
    fn new(
        cutouts: &'a dyn CutoutSource,
        info: &StackInfo<'a>,
        list: Option<&'a StarList>,
        options: &'a MeasureOptions,
        fitter: &'a Fitter,
    ) -> Result<Self> {
        let StackInfo { name, header, .. } = *info;
        let (n, height, width) = cutouts.dim();
        let malformed = |expected: String, found: String, hint: &str| Error::Malformed {
            file: name.into(),
            field: "cutouts".into(),
            expected,
            found,
            hint: Some(hint.into()),
        };
        if width * height > LARGEST_CUTOUT {
            return Err(malformed(
                format!("at most {LARGEST_CUTOUT} pixels each"),
                format!("{width} x {height}"),
                "an image is fitted without --cutouts, and as FITS",
            ));
        }
        refuse_cutouts(name, options)?;
        let wants_sky = options.positions == Some(Positions::Sky);
        if let Some(list) = list.filter(|list| !list.has_pixels || wants_sky) {
            return Err(malformed(
                format!("an image with a WCS, as {} has ra and dec", list.file),
                "ready cutouts".into(),
                "give columns x and y, in the pixels of each cutout",
            ));
        }
        if let Some(list) = list.filter(|list| list.stars.len() != n) {
            return Err(malformed(
                format!("{}, as many as {} has rows", list.stars.len(), list.file),
                n.to_string(),
                "a list for ready cutouts has a row for each, in their order",
            ));
        }
        let frame = Frame {
            name,
            side: width.max(height) as f64,
            bias: options.bias,
        };
        let constraints = Resolver::new(fitter.model, options, list, frame)?;
        for star in list.iter().flat_map(|list| &list.stars) {
            constraints.of(star)?;
        }
        let sky = sky_of(cutouts)?;
        let believed = || {
            let (level, noise) = (sky.0 - options.bias, sky.1);
            stated_gain(name, header, SkyNoise { level, noise })
        };
        let gain = options.gain.or_else(believed);
        let stated = || stated_saturation(name, header, sky.0);
        let saturation = options.saturation.or_else(stated).unwrap_or(f64::INFINITY);
        let read_noise = believed_read_noise(options.read_noise, header);
        let noise = match (fitter.estimator, options.weighted, gain) {
            (Estimator::Poisson, ..) => counts(&Sky {
                name,
                gain,
                found: None,
                read_noise,
                bias: options.bias,
                level: sky.0,
                noise: sky.1,
            })?
            .less(options.bias),
            (Estimator::LeastSquares, true, _) if cutouts.has_variance() => Noise::Variance,
            (Estimator::LeastSquares, true, Some(_)) => Noise::Known { gain, read_noise },
            (Estimator::LeastSquares, ..) => Noise::Unit,
        };
        let cut = CutoutOptions {
            noise,
            saturation: saturation - options.bias,
        };
        Ok(Self {
            cutouts,
            list,
            options,
            fitter,
            constraints,
            gain,
            saturation,
            cut,
            name,
            is_advised: AtomicBool::new(false),
        })
    }

    /// The star of the cutout of this number: of the list, or near the middle.
    fn star(&self, id: usize) -> Star {
        let (_, height, width) = self.cutouts.dim();
        let center = |side: usize| (side / 2) as f64;
        let listed = self.list.and_then(|list| list.stars.get(id));
        listed.copied().unwrap_or(Star {
            id,
            x: center(width),
            y: center(height),
        })
    }

    /// Reads and cuts the stars of these numbers.
    fn cut(&self, stars: Range<usize>) -> Result<Batch> {
        let (_, height, width) = self.cutouts.dim();
        let (n, first) = (stars.len(), stars.start);
        let block = self.cutouts.read(stars)?;
        let variance = block.variance.as_ref();
        let variance = variance.and_then(|variance| variance.broadcast(block.pixels.dim()));
        Batch::build(width, height, n, |at| {
            let star = self.star(first + at);
            let pixels = block.pixels.index_axis(Axis(0), at);
            let cutout = Cutout::from_pixels(
                pixels.mapv(|value| value - self.options.bias).view(),
                variance.map(|variance| variance.index_axis_move(Axis(0), at)),
                &self.cut,
            );
            let start = Start::Moments {
                position: self
                    .list
                    .map(|_| (star.x, star.y))
                    .filter(|(x, y)| x.is_finite() && y.is_finite()),
                fwhm: self.options.fwhm,
            };
            Ok((cutout, start, self.constraints.of(&star)?))
        })
    }

    /// Fits a batch of the stars of these numbers, in the memory of the batch before.
    fn fit(&self, stars: Range<usize>, batch: Batch, fits: &mut Vec<Fit>) -> Result<Vec<Row>> {
        self.fitter.fit_into(&batch, fits)?;
        let stars: Vec<Star> = stars.map(|id| self.star(id)).collect();
        let (model, options) = (self.fitter.model, self.options);
        let mut rows = rows(&stars, fits, model, options, &self.constraints, None)?;
        self.elongate(&mut rows, &batch);
        drop(batch);
        for row in &mut rows {
            if let Some(level) = row.get("background") {
                row.set("background", level + options.bias);
            }
            flag_undersampled(row);
        }
        number_from_one(&mut rows, options.one_based);
        Ok(rows)
    }

    /// Sets the ellipticities of the stars of a batch, and says once if they are long.
    fn elongate(&self, rows: &mut [Row], batch: &Batch) {
        let chunk = batch.chunk(0, batch.len());
        set_ellipticities(rows, |at, star| {
            let Pixels {
                width,
                data,
                weight,
            } = chunk.pixels(at);
            let Scale {
                range, pedestal, ..
            } = batch.stars[at].scale;
            let scaled = RoundStar {
                background: (star.background - pedestal) / range,
                ..*star
            };
            scaled.ellipticity(&Light {
                width,
                data,
                weight: Some(weight),
                saturation: f64::INFINITY,
            })
        });
        if let Some(advice) = advice(rows, self.fitter.model)
            && !self.is_advised.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("{}: {advice}", self.name);
        }
    }
}

/// Level and noise of the sky in ready cutouts: medians over the rims of some of them.
fn sky_of(cutouts: &dyn CutoutSource) -> Result<(f64, f64)> {
    const SAMPLE: usize = 1000;
    let (n, height, width) = cutouts.dim();
    let step = n.div_ceil(SAMPLE).max(1);
    let (mut levels, mut noises) = (Vec::new(), Vec::new());
    for at in (0..n).step_by(step) {
        let data: Vec<f64> = cutouts.read(at..at + 1)?.pixels.into_iter().collect();
        let used = |value: &f64| f64::from(u8::from(value.is_finite()));
        let weight: Vec<f64> = data.iter().map(used).collect();
        let pixels = Pixels {
            width,
            data: data.as_slice().into(),
            weight: weight.as_slice().into(),
        };
        levels.push(rim_median(&pixels, height));
        noises.push(rim_noise(&pixels, height).sigma);
    }
    let median = |values: &mut [f64]| median(values).unwrap_or(0.0);
    Ok((median(&mut levels), median(&mut noises)))
}
