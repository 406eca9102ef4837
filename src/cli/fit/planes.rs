//! Files that say something about each pixel of the inputs: masks and variances.

use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use ndarray::{Array, Array2, Array3, ArrayView, Axis, Dimension, Zip};
use starfit::Error;
use starfit::image::Image;
use starfit::io::stack::StackFile;
use starfit::measure::CutoutBlock;

use crate::cli::summary::count;

/// What `--mask` and `--variance` say, of every input alike.
pub(super) struct Planes {
    mask: Option<PlanesFile>,
    variance: Option<PlanesFile>,
}

impl Planes {
    pub(super) fn open(mask: Option<&Path>, variance: Option<&Path>) -> Result<Self> {
        let open = |option, path: Option<&Path>| {
            path.map(|path| PlanesFile::open(option, path)).transpose()
        };
        Ok(Self {
            mask: open("--mask", mask)?,
            variance: open("--variance", variance)?,
        })
    }

    /// Takes the bad pixels out of `image`, which is the plane `at` of so many of its file, and
    /// gives it its variances.
    pub(super) fn apply(&self, image: &mut Image, at: usize, planes: usize) -> Result<()> {
        let Image { name, pixels, .. } = image;
        if let Some(file) = &self.mask {
            let mask = file.plane(name, pixels.dim(), at, planes)?;
            let bad = leave_out(pixels, mask.view(), is_bad);
            file.report(name, bad, pixels.len());
        }
        if let Some(file) = &self.variance {
            let variance = file.plane(name, pixels.dim(), at, planes)?;
            let mut found = Variances::default();
            found.add(pixels, variance.view());
            // A plane without any may be one of a cube that is not filled to its end.
            found.is_useful |= file.content.dim().0 > 1;
            file.refuse(name, &found)?;
            let bad = leave_out(pixels, variance.view(), is_no_variance);
            file.report(name, bad, pixels.len());
            image.variance = Some(variance);
        }
        Ok(())
    }

    /// Whether there is a variance of each pixel.
    pub(super) fn have_variance(&self) -> bool {
        self.variance.is_some()
    }

    /// Sees what the planes say of a whole stack, before any of it is fitted, and refuses what
    /// they cannot mean.
    pub(super) fn check_stack(&self, name: &str, stack: &StackFile) -> Result<()> {
        /// Pixels read at once.
        const PIXELS: usize = 1 << 21;
        let files = [&self.mask, &self.variance];
        if files.iter().all(|file| file.is_none()) {
            return Ok(());
        }
        let (n, height, width) = stack.dim();
        for file in files.into_iter().flatten() {
            file.check_shape(name, n, (height, width))?;
        }
        let (mut masked, mut without, mut found) = (0, 0, Variances::default());
        let step = (PIXELS / (height * width).max(1)).max(1);
        for from in (0..n).step_by(step) {
            let block = from..n.min(from + step);
            let mut pixels = stack.read(block.clone())?;
            masked += self.mask_block(&mut pixels, block.clone())?;
            if let Some(file) = &self.variance {
                let variance = file.block(block)?;
                if let Some(variance) = variance.broadcast(pixels.dim()) {
                    found.add(&pixels, variance);
                    without += leave_out(&mut pixels, variance, is_no_variance);
                }
            }
        }
        let all = n * height * width;
        if let Some(file) = &self.mask {
            file.report(name, masked, all);
        }
        if let Some(file) = &self.variance {
            file.refuse(name, &found)?;
            file.report(name, without, all);
        }
        Ok(())
    }

    /// Some cutouts of a stack without their bad pixels, and with their variances: one plane, if
    /// it stands for all.
    pub(super) fn apply_to_block(
        &self,
        mut pixels: Array3<f64>,
        cutouts: Range<usize>,
    ) -> starfit::Result<CutoutBlock> {
        self.mask_block(&mut pixels, cutouts.clone())?;
        let variance = self.variance.as_ref().map(|file| file.block(cutouts));
        let variance = variance.transpose()?;
        let all = variance.as_ref().and_then(|v| v.broadcast(pixels.dim()));
        if let Some(all) = all {
            leave_out(&mut pixels, all, is_no_variance);
        }
        Ok(CutoutBlock { pixels, variance })
    }

    /// Takes the masked pixels out of some cutouts; the number of those.
    fn mask_block(
        &self,
        pixels: &mut Array3<f64>,
        cutouts: Range<usize>,
    ) -> starfit::Result<usize> {
        let Some(file) = &self.mask else {
            return Ok(0);
        };
        let mask = file.block(cutouts)?;
        let mask = mask.broadcast(pixels.dim());
        Ok(mask.map_or(0, |mask| leave_out(pixels, mask, is_bad)))
    }
}

/// NaN is bad too: whoever could not tell does not vouch for the pixel.
fn is_bad(mask: f64) -> bool {
    mask != 0.0
}

fn is_no_variance(variance: f64) -> bool {
    !(variance > 0.0 && variance.is_finite())
}

/// A file of `--mask` or `--variance`.
struct PlanesFile {
    option: &'static str,
    path: String,
    content: Content,
}

enum Content {
    /// One plane, (1, height, width).
    One(Array3<f64>),
    /// Several, of which each is read when its turn comes: all may be too many.
    Stack(StackFile),
}

impl Content {
    /// Number of planes, height and width.
    fn dim(&self) -> (usize, usize, usize) {
        match self {
            Self::One(plane) => plane.dim(),
            Self::Stack(stack) => stack.dim(),
        }
    }
}

impl PlanesFile {
    fn open(option: &'static str, path: &Path) -> Result<Self> {
        let stack = StackFile::open(path)?;
        let content = match stack.dim() {
            (1, ..) => Content::One(stack.read(0..1)?),
            _ => Content::Stack(stack),
        };
        Ok(Self {
            option,
            path: path.display().to_string(),
            content,
        })
    }

    /// The plane for the plane `at` of so many of the input `name`.
    fn plane(
        &self,
        name: &str,
        shape: (usize, usize),
        at: usize,
        planes: usize,
    ) -> Result<Array2<f64>> {
        self.check_shape(name, planes, shape)?;
        Ok(self.block(at..at + 1)?.index_axis_move(Axis(0), 0))
    }

    /// The planes of these cutouts, or the one that stands for all.
    fn block(&self, cutouts: Range<usize>) -> starfit::Result<Array3<f64>> {
        match &self.content {
            Content::One(plane) => Ok(plane.clone()),
            Content::Stack(stack) => stack.read(cutouts),
        }
    }

    fn check_shape(&self, name: &str, planes: usize, shape: (usize, usize)) -> Result<()> {
        let (found_planes, height, width) = self.content.dim();
        let found = (height, width);
        if found == shape && [1, planes].contains(&found_planes) {
            return Ok(());
        }
        let text = |planes: usize, (height, width): (usize, usize)| match planes {
            1 => format!("{width} x {height} pixels"),
            _ => format!("{planes} planes of {width} x {height} pixels"),
        };
        let or_one = if planes > 1 {
            ", or one plane for all"
        } else {
            ""
        };
        let hint = if found == (shape.1, shape.0) && found != shape {
            "x and y are swapped: transpose it"
        } else if found != shape {
            "make it for these pixels; file.fits[EXT] chooses an extension of a file"
        } else {
            "give a plane for each of the input, in their order, or one for all"
        };
        Err(Error::Malformed {
            file: self.path.clone(),
            field: self.option.into(),
            expected: format!("{} of {name}{or_one}", text(planes, shape)),
            found: text(found_planes, found),
            hint: Some(hint.into()),
        }
        .into())
    }

    /// Says how many of all pixels of an input are left out.
    fn report(&self, name: &str, bad: usize, all: usize) {
        let (option, path) = (self.option, &self.path);
        if 2 * bad > all {
            tracing::warn!(
                "{name}: {option} {path} leaves out {bad} of {all} pixels; in a mask 0 is good"
            );
        } else if bad > 0 {
            tracing::info!("{name}: {option} {path} leaves out {}", count(bad, "pixel"));
        }
    }

    /// Refuses negative variances of pixels that have a value, and a file without any above 0.
    fn refuse(&self, name: &str, found: &Variances) -> Result<()> {
        let error = |field: String, expected: &str, found: String, hint: &str| {
            Err(Error::Malformed {
                file: self.path.clone(),
                field,
                expected: expected.into(),
                found,
                hint: Some(hint.into()),
            }
            .into())
        };
        if found.negative > 0 {
            let pixels = count(found.negative, "pixel");
            return error(
                format!("{} of {name}", self.option),
                "variances of 0 or more",
                format!("{pixels} below 0, the lowest {}", found.lowest),
                "leave these pixels out with --mask, or set them to 0 or NaN, which means the same",
            );
        }
        if !found.is_useful {
            return error(
                self.option.into(),
                "variances above 0",
                "none".into(),
                "--variance is the square of the noise of each pixel, not its inverse or a mask",
            );
        }
        Ok(())
    }
}

/// Takes the value from each pixel where the plane says so; the number of those.
fn leave_out<D: Dimension>(
    pixels: &mut Array<f64, D>,
    plane: ArrayView<'_, f64, D>,
    is_bad: fn(f64) -> bool,
) -> usize {
    let mut bad = 0;
    Zip::from(pixels).and(plane).for_each(|pixel, &value| {
        if is_bad(value) {
            *pixel = f64::NAN;
            bad += 1;
        }
    });
    bad
}

/// What variances are.
#[derive(Debug, Default)]
struct Variances {
    /// Those below 0, of pixels that have a value.
    negative: usize,
    lowest: f64,
    /// Whether one is a variance.
    is_useful: bool,
}

impl Variances {
    fn add<D: Dimension>(&mut self, pixels: &Array<f64, D>, variance: ArrayView<'_, f64, D>) {
        self.is_useful |= !variance.iter().all(|&variance| is_no_variance(variance));
        Zip::from(pixels)
            .and(variance)
            .for_each(|pixel, &variance| {
                if pixel.is_finite() && variance < 0.0 {
                    self.negative += 1;
                    self.lowest = variance.min(self.lowest);
                }
            });
    }
}
