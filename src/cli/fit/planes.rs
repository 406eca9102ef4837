//! Files that say something about each pixel of the inputs: masks and variances.

use std::path::Path;

use anyhow::Result;
use ndarray::{Array, Array2, Array3, ArrayView, Axis, Dimension, Zip};
use starfit::Error;
use starfit::image::Image;
use starfit::io::fits::{FitsFile, FitsPath};
use starfit::io::npy;

use super::is_npy;
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
            file.leave_out(name, pixels, mask.view(), is_bad);
        }
        if let Some(file) = &self.variance {
            let variance = file.plane(name, pixels.dim(), at, planes)?;
            // A plane without any may be one of a cube that is not filled to its end.
            file.refuse_negative(name, pixels, variance.view())?;
            if file.content.planes() == 1 {
                file.refuse_useless(variance.view())?;
            }
            file.leave_out(name, pixels, variance.view(), is_no_variance);
            image.variance = Some(variance);
        }
        Ok(())
    }

    /// Takes the bad pixels out of ready cutouts and returns their variances: one plane, if it
    /// stands for all.
    pub(super) fn apply_to_stack(
        &self,
        name: &str,
        pixels: &mut Array3<f64>,
    ) -> Result<Option<Array3<f64>>> {
        let shape = pixels.dim();
        if let Some(file) = &self.mask {
            let mask = file.stack(name, shape)?;
            if let Some(mask) = mask.broadcast(shape) {
                file.leave_out(name, pixels, mask, is_bad);
            }
        }
        let Some(file) = &self.variance else {
            return Ok(None);
        };
        let variance = file.stack(name, shape)?;
        if let Some(variance) = variance.broadcast(shape) {
            file.refuse_negative(name, pixels, variance)?;
            file.refuse_useless(variance)?;
            file.leave_out(name, pixels, variance, is_no_variance);
        }
        Ok(Some(variance))
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
    /// One plane, or a stack.
    Read(Array3<f64>),
    /// A cube, of which each plane is read when its turn comes: all may be too many.
    Cube(Box<FitsFile>),
}

impl Content {
    fn planes(&self) -> usize {
        match self {
            Self::Read(stack) => stack.dim().0,
            Self::Cube(file) => file.planes(),
        }
    }

    /// Height and width.
    fn shape(&self) -> (usize, usize) {
        match self {
            Self::Read(stack) => (stack.dim().1, stack.dim().2),
            Self::Cube(file) => (file.height(), file.width()),
        }
    }
}

impl PlanesFile {
    fn open(option: &'static str, path: &Path) -> Result<Self> {
        let content = if is_npy(path) {
            Content::Read(npy::read_stack(path)?)
        } else {
            let file = FitsFile::open(&FitsPath::parse(path)?)?;
            match file.planes() {
                1 => Content::Read(file.stack()?),
                _ => Content::Cube(Box::new(file)),
            }
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
        Ok(match &self.content {
            Content::Read(stack) if stack.dim().0 == 1 => stack.index_axis(Axis(0), 0).to_owned(),
            Content::Read(stack) => stack.index_axis(Axis(0), at).to_owned(),
            Content::Cube(file) => file.image(at)?.pixels,
        })
    }

    /// All planes, or the one that stands for all.
    fn stack(&self, name: &str, (n, height, width): (usize, usize, usize)) -> Result<Array3<f64>> {
        self.check_shape(name, n, (height, width))?;
        Ok(match &self.content {
            Content::Read(stack) => stack.clone(),
            Content::Cube(file) => file.stack()?,
        })
    }

    fn check_shape(&self, name: &str, planes: usize, shape: (usize, usize)) -> Result<()> {
        let (found, found_planes) = (self.content.shape(), self.content.planes());
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

    /// Takes the value from each pixel where the plane says so.
    fn leave_out<D: Dimension>(
        &self,
        name: &str,
        pixels: &mut Array<f64, D>,
        plane: ArrayView<'_, f64, D>,
        is_bad: fn(f64) -> bool,
    ) {
        let mut bad = 0;
        Zip::from(&mut *pixels)
            .and(plane)
            .for_each(|pixel, &value| {
                if is_bad(value) {
                    *pixel = f64::NAN;
                    bad += 1;
                }
            });
        let (option, path, all) = (self.option, &self.path, pixels.len());
        if 2 * bad > all {
            tracing::warn!(
                "{name}: {option} {path} leaves out {bad} of {all} pixels; in a mask 0 is good"
            );
        } else if bad > 0 {
            tracing::info!("{name}: {option} {path} leaves out {}", count(bad, "pixel"));
        }
    }

    /// Refuses negative variances of pixels that have a value.
    fn refuse_negative<D: Dimension>(
        &self,
        name: &str,
        pixels: &Array<f64, D>,
        variance: ArrayView<'_, f64, D>,
    ) -> Result<()> {
        let (mut negative, mut lowest) = (0, 0.0);
        Zip::from(pixels)
            .and(variance)
            .for_each(|pixel, &variance| {
                if pixel.is_finite() && variance < 0.0 {
                    negative += 1;
                    lowest = variance.min(lowest);
                }
            });
        if negative == 0 {
            return Ok(());
        }
        Err(Error::Malformed {
            file: self.path.clone(),
            field: format!("{} of {name}", self.option),
            expected: "variances of 0 or more".into(),
            found: format!("{} below 0, the lowest {lowest}", count(negative, "pixel")),
            hint: Some(
                "leave these pixels out with --mask, or set them to 0 or NaN, which means the same"
                    .into(),
            ),
        }
        .into())
    }

    /// Refuses a file without a single variance.
    fn refuse_useless<D: Dimension>(&self, variance: ArrayView<'_, f64, D>) -> Result<()> {
        if !variance.iter().all(|&variance| is_no_variance(variance)) {
            return Ok(());
        }
        Err(Error::Malformed {
            file: self.path.clone(),
            field: self.option.into(),
            expected: "variances above 0".into(),
            found: "none".into(),
            hint: Some(
                "--variance is the square of the noise of each pixel, not its inverse or a mask"
                    .into(),
            ),
        }
        .into())
    }
}
