//! The front door: one call from pixels to stars.

use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ndarray::{Array3, ArrayView3, s};

use crate::backend::CpuBackend;
use crate::catalog::{Assumptions, COLUMNS, Column, ColumnValues, Row, column_values, own_columns};
use crate::engine::{Engine, MaskedStack};
use crate::error::{Error, Result};
use crate::image::{Header, Image};
use crate::measure::{CutoutBlock, CutoutSource, StackInfo, measure_blocks};
use crate::settings::Settings;

/// Stars that were fitted: a row for each, and the assumptions of the fits.
#[derive(Debug, Clone)]
pub struct Stars {
    /// A row for each star.
    pub rows: Vec<Row>,
    /// Background, gain, saturation, expected width, size of the cutouts.
    pub assumed: Assumptions,
    own_columns: Vec<Column>,
}

impl Stars {
    /// Number of stars.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no star.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The columns that the rows have: those of every catalogue, then the model's own.
    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        COLUMNS.iter().chain(&self.own_columns)
    }

    /// The numbers of a column, one for each star, in its unit; NaN where a star has none.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] where there is no such column, or it is one of texts.
    pub fn column(&self, name: &str) -> Result<Vec<f64>> {
        match self.values(name)? {
            ColumnValues::Floats(values) => Ok(values),
            ColumnValues::Integers(values) => {
                let number = |value: Option<i64>| value.map_or(f64::NAN, |value| value as f64);
                Ok(values.into_iter().map(number).collect())
            }
            ColumnValues::Texts(_) => Err(Error::Option {
                option: "column".into(),
                expected: "a column of numbers".into(),
                found: format!("{name}, a column of texts"),
                hint: Some("Stars::values has texts, too".into()),
            }),
        }
    }

    /// The values of a column of any type.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] where there is no such column.
    pub fn values(&self, name: &str) -> Result<ColumnValues> {
        let column = self.columns().find(|column| column.name == name);
        let column = column.ok_or_else(|| Error::Option {
            option: "column".into(),
            expected: format!(
                "one of {}",
                self.columns()
                    .map(|column| column.name)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            found: name.to_owned(),
            hint: None,
        })?;
        Ok(column_values(&self.rows, column))
    }
}

/// An image: in memory, or in a FITS file, whose HDU may stand in brackets behind its name.
#[derive(Debug, Clone, Copy)]
pub enum ImageSource<'a> {
    /// An image in memory.
    Image(&'a Image),
    /// An image in a FITS file.
    Path(&'a Path),
}

impl<'a> From<&'a Image> for ImageSource<'a> {
    fn from(image: &'a Image) -> Self {
        Self::Image(image)
    }
}

impl<'a> From<&'a Path> for ImageSource<'a> {
    fn from(path: &'a Path) -> Self {
        Self::Path(path)
    }
}

impl<'a> From<&'a PathBuf> for ImageSource<'a> {
    fn from(path: &'a PathBuf) -> Self {
        Self::Path(path)
    }
}

impl<'a> From<&'a str> for ImageSource<'a> {
    fn from(path: &'a str) -> Self {
        Self::Path(Path::new(path))
    }
}

/// Finds and fits the stars of an image, on the CPU. The files that the settings name are read.
///
/// # Errors
///
/// The errors of reading the files and of [`measure_image`](crate::measure::measure_image);
/// [`Error::Unsupported`] for a cube, of which [`FitsFile::image`](crate::io::fits::FitsFile::image) reads
/// one plane.
pub fn fit_image<'a>(image: impl Into<ImageSource<'a>>, settings: &Settings) -> Result<Stars> {
    let engine = engine(settings)?;
    let measured = match image.into() {
        ImageSource::Path(path) => engine.only_image(path)?,
        ImageSource::Image(image) => engine.image_in_memory(image)?,
    };
    Ok(Stars {
        rows: measured.rows,
        assumed: measured.assumed,
        own_columns: own_columns(engine.fitter.model),
    })
}

/// Fits a star to each cutout of an array (n, height, width) of any numbers, on the CPU; a pixel that is no
/// finite number is missing. The files that the settings name are read.
///
/// # Errors
///
/// The errors of reading the files and of [`measure_stack`](crate::measure::measure_stack).
pub fn fit_cutouts<T: Pixel>(cutouts: ArrayView3<'_, T>, settings: &Settings) -> Result<Stars> {
    const NAME: &str = "cutouts";
    let engine = engine(settings)?;
    let planes = engine.planes_of(NAME)?;
    let array = Array { cutouts };
    planes.check_stack(NAME, &array)?;
    let stack = MaskedStack {
        stack: &array,
        planes: &planes,
    };
    let info = StackInfo {
        name: NAME,
        header: &Header::default(),
        block: None,
    };
    let mut rows = Vec::with_capacity(array.dim().0);
    let measured = measure_blocks(
        &stack,
        &info,
        engine.stars.as_ref(),
        &settings.measure,
        &engine.fitter,
        |_, block| {
            rows.extend(block);
            Ok::<_, Error>(())
        },
    )?;
    Ok(Stars {
        rows,
        assumed: measured.assumed,
        own_columns: own_columns(engine.fitter.model),
    })
}

fn engine(settings: &Settings) -> Result<Engine> {
    let backend = Box::new(CpuBackend::default());
    Engine::new(settings.clone(), backend, iter::empty())
}

/// A number that pixels are made of.
pub trait Pixel: Copy + Sync {
    /// The number in `f64`; the largest of 64 bits are rounded.
    fn number(self) -> f64;
}

macro_rules! pixels {
    ($($kind:ty),*) => {$(
        impl Pixel for $kind {
            fn number(self) -> f64 {
                self as f64
            }
        }
    )*};
}
pixels!(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64);

/// Cutouts in memory, converted block by block.
struct Array<'a, T> {
    cutouts: ArrayView3<'a, T>,
}

impl<T: Pixel> CutoutSource for Array<'_, T> {
    fn dim(&self) -> (usize, usize, usize) {
        self.cutouts.dim()
    }

    fn has_variance(&self) -> bool {
        false
    }

    fn read(&self, cutouts: Range<usize>) -> Result<CutoutBlock> {
        let pixels: Array3<f64> = self.cutouts.slice(s![cutouts, .., ..]).mapv(|pixel| {
            let number = pixel.number();
            if number.is_finite() { number } else { f64::NAN }
        });
        Ok(CutoutBlock {
            pixels,
            variance: None,
        })
    }
}
