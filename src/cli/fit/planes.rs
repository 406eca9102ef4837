//! Files that say something about each pixel of the inputs: masks and noise.

mod file;
mod noise;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use ndarray::Array3;
use starfit::Error;
use starfit::image::Image;
use starfit::io::fits::{FitsFile, FitsPath, HduName};
use starfit::io::stack::StackFile;
use starfit::measure::CutoutBlock;
use starfit::planes::{MaskRule, NoisePlane};

use file::{PlanesFile, Values, Variances, leave_out};
pub(super) use noise::{NoiseCheck, SkySample};

/// The paths of `--mask` and of the option for noise, as they are typed.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlanePaths<'a> {
    pub(super) mask: Option<(&'a Path, &'a MaskRule)>,
    pub(super) noise: Option<(&'a Path, NoisePlane)>,
}

/// Where a plane is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PlanePath {
    /// In one file for all inputs.
    File(FitsPath),
    /// `[ERR]`: in that extension of the file of each input.
    Own(HduName),
}

impl PlanePath {
    pub(super) fn parse(path: &Path) -> starfit::Result<Self> {
        let own = path
            .to_str()
            .filter(|text| text.starts_with('[') && text.ends_with(']') && !path.exists());
        let Some(own) = own else {
            return FitsPath::parse(path).map(Self::File);
        };
        // Whatever stands before the bracket is the file.
        let parsed = FitsPath::parse(format!("input{own}"))?;
        Ok(parsed
            .hdu
            .map_or(Self::File(path.to_owned().into()), Self::Own))
    }
}

/// What `--mask`, and `--variance` or its like, say of every input.
pub(super) struct Planes {
    mask: Option<Place>,
    noise: Option<Place>,
}

/// A file that is open already, or an extension of each input.
enum Place {
    File(Arc<PlanesFile>),
    Own {
        hdu: HduName,
        option: &'static str,
        values: Values,
    },
}

impl Place {
    fn open(path: &Path, option: &'static str, values: Values) -> Result<Self> {
        match PlanePath::parse(path)? {
            PlanePath::Own(hdu) => Ok(Self::Own {
                hdu,
                option,
                values,
            }),
            PlanePath::File(_) => {
                let (stack, path) = (StackFile::open(path)?, path.display().to_string());
                let file = PlanesFile::new(option, path, stack, &values)?;
                Ok(Self::File(Arc::new(file)))
            }
        }
    }

    /// The planes of the input `name`, which is in that FITS file, if it is in one.
    fn of(&self, name: &str, input: Option<&FitsFile>) -> Result<Arc<PlanesFile>> {
        let (hdu, option, values) = match self {
            Self::File(file) => return Ok(file.clone()),
            Self::Own {
                hdu,
                option,
                values,
            } => (hdu, option, values),
        };
        let input = input.ok_or_else(|| Error::Option {
            option: format!("{option} {hdu}"),
            expected: "a FITS file as the input, which has extensions".into(),
            found: name.into(),
            hint: Some(format!("{option} FILE takes another file")),
        })?;
        let stack = StackFile::Fits(Box::new(input.beside(hdu)?));
        let path = FitsPath {
            path: input.identify(0).1.path,
            hdu: Some(hdu.clone()),
        };
        let file = PlanesFile::new(option, path.to_string(), stack, values)?;
        Ok(Arc::new(file))
    }
}

impl Planes {
    pub(super) fn open(paths: PlanePaths<'_>) -> Result<Self> {
        let mask = paths
            .mask
            .map(|(path, rule)| Place::open(path, "--mask", Values::Mask(rule.clone())));
        let noise = paths
            .noise
            .map(|(path, kind)| Place::open(path, kind.option(), Values::Noise(kind)));
        Ok(Self {
            mask: mask.transpose()?,
            noise: noise.transpose()?,
        })
    }

    /// Whether nothing is said of the noise, and of bad pixels.
    pub(super) fn lack(&self) -> (bool, bool) {
        (self.noise.is_none(), self.mask.is_none())
    }

    /// What they say of the input `name`, which is in that FITS file, if it is in one.
    pub(super) fn of(&self, name: &str, input: Option<&FitsFile>) -> Result<InputPlanes> {
        let of = |place: &Option<Place>| place.as_ref().map(|place| place.of(name, input));
        Ok(InputPlanes {
            mask: of(&self.mask).transpose()?,
            noise: of(&self.noise).transpose()?,
        })
    }
}

/// What is said of the pixels of one input.
pub(super) struct InputPlanes {
    mask: Option<Arc<PlanesFile>>,
    noise: Option<Arc<PlanesFile>>,
}

impl InputPlanes {
    /// Takes the bad pixels out of `image`, which is the plane `at` of so many of its file, and
    /// gives it its variances.
    pub(super) fn apply(&self, image: &mut Image, at: usize, planes: usize) -> Result<()> {
        let Image { name, pixels, .. } = image;
        if let Some(file) = &self.mask {
            let mask = file.plane(name, pixels.dim(), at, planes)?;
            file.check_bits(name, mask.view())?;
            let bad = leave_out(pixels, mask.view(), |value| file.is_bad(value));
            file.report(name, bad, pixels.len());
        }
        if let Some(file) = &self.noise {
            let variance = file.plane(name, pixels.dim(), at, planes)?;
            let mut found = Variances::default();
            found.add(pixels, variance.view());
            // A plane without any may be one of a cube that is not filled to its end.
            found.is_useful |= file.planes() > 1;
            file.refuse(name, &found)?;
            let bad = leave_out(pixels, variance.view(), |value| file.is_bad(value));
            file.report(name, bad, pixels.len());
            image.variance = Some(variance);
        }
        Ok(())
    }

    /// Whether there is a variance of each pixel.
    pub(super) fn have_variance(&self) -> bool {
        self.noise.is_some()
    }

    /// Sees what the planes say of a whole stack, before any of it is fitted, and refuses what
    /// they cannot mean.
    pub(super) fn check_stack(&self, name: &str, stack: &StackFile) -> Result<()> {
        /// Pixels read at once.
        const PIXELS: usize = 1 << 21;
        let files = [&self.mask, &self.noise];
        if files.iter().all(|file| file.is_none()) {
            return Ok(());
        }
        let (n, height, width) = stack.dim();
        for file in files.into_iter().flatten() {
            file.check_shape(name, n, (height, width))?;
        }
        let (mut masked, mut without, mut found) = (0, 0, Variances::default());
        let mut sky = SkySample::new(n);
        let step = (PIXELS / (height * width).max(1)).max(1);
        for from in (0..n).step_by(step) {
            let block = from..n.min(from + step);
            let mut pixels = stack.read(block.clone())?;
            if let Some(file) = self.mask.as_ref().filter(|file| file.has_bits()) {
                file.check_bits(name, file.block(block.clone())?.view())?;
            }
            masked += self.mask_block(&mut pixels, block.clone())?;
            if let Some(file) = &self.noise {
                let variance = file.block(block)?;
                if let Some(variance) = variance.broadcast(pixels.dim()) {
                    found.add(&pixels, variance);
                    without += leave_out(&mut pixels, variance, |value| file.is_bad(value));
                    sky.add(from, &pixels, variance);
                }
            }
        }
        let all = n * height * width;
        if let Some(file) = &self.mask {
            file.report(name, masked, all);
        }
        if let Some(file) = &self.noise {
            file.refuse(name, &found)?;
            file.report(name, without, all);
            if let Some((sigma, seen)) = sky.noise() {
                file.judge(name, sigma, seen)?;
            }
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
        let Some(file) = &self.noise else {
            return Ok(CutoutBlock {
                pixels,
                variance: None,
            });
        };
        let variance = file.block(cutouts)?;
        if let Some(all) = variance.broadcast(pixels.dim()) {
            leave_out(&mut pixels, all, |value| file.is_bad(value));
        }
        Ok(CutoutBlock {
            pixels,
            variance: Some(variance),
        })
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
        Ok(mask.map_or(0, |mask| {
            leave_out(pixels, mask, |value| file.is_bad(value))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_alone_are_an_extension_of_each_input() {
        let parse = |text: &str| PlanePath::parse(Path::new(text));
        let own = |name: &str, version| Ok(PlanePath::Own(HduName::Name(name.into(), version)));
        let is = |text: &str, expected: Result<PlanePath, ()>| {
            assert_eq!(parse(text).map_err(drop), expected, "{text}");
        };
        is("[ERR]", own("ERR", None));
        is("[ERR,2]", own("ERR", Some(2)));
        is("[3]", Ok(PlanePath::Own(HduName::Number(3))));
        is(
            "a.fits[ERR]",
            FitsPath::parse("a.fits[ERR]")
                .map(PlanePath::File)
                .map_err(drop),
        );
        is(
            "[x]y.fits",
            Ok(PlanePath::File(Path::new("[x]y.fits").to_owned().into())),
        );
        assert!(parse("[]").is_err() && parse("[,1]").is_err());
    }
}
