//! FITS images: every BITPIX, extensions, cubes, gzip and tile compression; and a small writer.

mod beside;
mod facts;
mod header;
mod load;
mod observed;
mod path;
mod read_table;
mod scaling;
mod table;
mod tiled;
mod unit;
mod value;
mod write;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use fitsio_pure::BLOCK_SIZE;
use fitsio_pure::checksum::checksum_blocks;
use fitsio_pure::hdu::Hdu;
use fitsio_pure::image::{ImageData, read_image_data};
use ndarray::{Array2, Array3};

pub use crate::io::fits::value::Value;
pub use beside::Extension;
pub use path::{FitsPath, HduName};
pub(crate) use read_table::{TableValues, read_table};
pub(crate) use table::{TableColumn, TableType, padding, table_header};
pub use write::{Card, PixelType, write_image, write_stack};

use crate::image::{self, Image, Source};
use crate::io::check_range;
use crate::wcs::Wcs;
use crate::{Error, Result};
use facts::{facts, warn_of_oddities};
use header::Header;
use load::Bytes;
use scaling::Scaling;
use unit::{Kind, Unit, Units};

/// An open FITS file with one image chosen in it.
///
/// Pixels are read when they are asked for; those of a gzipped or tile-compressed file are held in
/// memory as they are stored.
#[derive(Debug)]
pub struct FitsFile {
    /// The file as the user named it, for messages.
    file: String,
    source: Source,
    /// Bytes of the whole file, which its other units share.
    bytes: Arc<Bytes>,
    extensions: Vec<Extension>,
    primary: Option<Header>,
    unit: Unit,
    /// Pixels in x, pixels in y, planes.
    axes: [usize; 3],
    is_cube: bool,
    scaling: Scaling,
    /// Facts of the headers, once an image was asked for.
    facts: OnceLock<image::Header>,
    /// The WCS, once an image was asked for.
    wcs: OnceLock<Option<Wcs>>,
    /// The pixels of a tile-compressed image, once a plane was asked for.
    decoded: OnceLock<ImageData>,
}

impl FitsFile {
    /// Opens a file and finds the image asked for, else the first one: pixels, and two axes or more.
    /// Harmless oddities of the file are logged as warnings, one line a cause.
    ///
    /// Where a keyword is there twice, the first one counts.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Unsupported`] for other compressions of files, and
    /// [`Error::Malformed`] for everything that is no FITS image or damaged.
    pub fn open(path: &FitsPath) -> Result<Self> {
        let (bytes, metadata) = Bytes::open(&path.path)?;
        let source = Source::new(&path.path, &metadata);
        Self::from_bytes(path, Arc::new(bytes), &source, true)
    }

    /// Finds the image in the bytes of a file; `is_first` where no warning of the file has been logged
    /// yet.
    fn from_bytes(
        path: &FitsPath,
        mut bytes: Arc<Bytes>,
        source: &Source,
        is_first: bool,
    ) -> Result<Self> {
        let file = path.path.display().to_string();
        let mut units = Units::find(&bytes, &file)?;
        let hdu = units.choose(&file, path.hdu.as_ref())?;
        let extensions = Extension::list(&units);
        let constant = |unit: &Unit| unit.header.get("PIXVALUE").is_some();
        let numbered = units
            .units
            .iter()
            .enumerate()
            .filter(|(_, unit)| constant(unit));
        let constants: Vec<String> = numbered.map(|(number, _)| format!("[{number}]")).collect();
        if is_first && !constants.is_empty() {
            tracing::warn!(
                "{file}: no pixels but one constant, PIXVALUE, in HDU {}",
                constants.join(", ")
            );
        }
        let mut all = std::mem::take(&mut units.units);
        let count = all.len();
        let unit = all.swap_remove(hdu);
        let primary = (hdu > 0).then(|| all.swap_remove(0).header);

        check_length(bytes.len(), &unit, &file)?;
        if let Kind::Tiled { axes } = &unit.kind {
            if !bytes.is_in_memory() {
                bytes = Arc::new(Bytes::Memory(bytes.all()?.into_owned()));
            }
            tiled::check(&bytes.all()?, &unit, axes, &file)?;
        }
        let (axes, is_cube) = image_axes(&unit);
        let scaling = Scaling::new(&file, &unit)?;
        if is_first {
            warn_of_oddities(&file, &unit, primary.as_ref());
        }
        // Sums are over whole blocks: a last block that is not filled has its own warning.
        if unit.end() <= bytes.len() && !sums_match(&bytes, &unit)? {
            tracing::warn!(
                "{file}: CHECKSUM or DATASUM does not match: the file was changed or damaged"
            );
        }
        if scaling.scale == 0.0 {
            tracing::warn!("{file}: BSCALE is 0: every pixel has the same value");
        }
        if hdu + 1 == count && unit.end() > bytes.len() {
            tracing::warn!("{file}: the last block is not filled to {BLOCK_SIZE} bytes");
        }
        if !is_first {
            // The warnings below have been logged already.
        } else if let Some(e) = &units.broken {
            tracing::warn!("{file}: HDU [{count}] is ignored: {e}");
        } else if units.garbage {
            tracing::warn!("{file}: what follows the last HDU is ignored: it is no FITS");
        }
        Ok(Self {
            source: Source {
                hdu,
                ..source.clone()
            },
            file,
            bytes,
            extensions,
            primary,
            unit,
            axes,
            is_cube,
            scaling,
            facts: OnceLock::new(),
            wcs: OnceLock::new(),
            decoded: OnceLock::new(),
        })
    }

    /// Number of columns, NAXIS1.
    pub fn width(&self) -> usize {
        self.axes[0]
    }

    /// Number of rows, NAXIS2.
    pub fn height(&self) -> usize {
        self.axes[1]
    }

    /// Number of planes: the product of all further axes, 1 for an image.
    pub fn planes(&self) -> usize {
        self.axes[2]
    }

    /// NAXISn, all of them.
    pub fn naxis(&self) -> &[usize] {
        match &self.unit.kind {
            Kind::Image { axes, .. } | Kind::Tiled { axes } => axes,
            Kind::Other(_) => &[],
        }
    }

    /// Whether there is a third axis longer than 1.
    pub fn is_cube(&self) -> bool {
        self.is_cube
    }

    /// Number of the HDU, 0 = primary.
    pub fn hdu(&self) -> usize {
        self.source.hdu
    }

    /// Keywords and values of the chosen HDU in file order, without comments.
    pub fn cards(&self) -> impl Iterator<Item = (&str, Value)> {
        self.unit.header.cards()
    }

    /// Cards of the primary header, where the chosen HDU is an extension.
    pub fn primary_cards(&self) -> impl Iterator<Item = (&str, Value)> {
        self.primary.iter().flat_map(Header::cards)
    }

    /// One plane in physical values; missing and infinite pixels are NaN.
    ///
    /// # Errors
    /// [`Error::Malformed`] where there is no such plane or its compressed pixels are damaged.
    pub fn image(&self, plane: usize) -> Result<Image> {
        let [width, height, planes] = self.axes;
        if plane >= planes {
            return Err(Error::Malformed {
                file: self.file.clone(),
                field: "plane".into(),
                expected: format!("0 to {}", planes.saturating_sub(1)),
                found: plane.to_string(),
                hint: None,
            });
        }
        let size = width * height;
        let pixels = self.physical(plane * size, size)?;
        let (name, source) = self.identify(plane);
        Ok(Image {
            name,
            source,
            pixels: Array2::from_shape_vec((height, width), pixels).map_err(|e| self.shape(&e))?,
            variance: None,
            header: self.facts().clone(),
            wcs: self.wcs().cloned(),
        })
    }

    /// Name in the catalogue and source of a plane, whether there is such a plane or not.
    pub fn identify(&self, plane: usize) -> (String, Source) {
        let (mut name, mut source) = (self.name(), self.source.clone());
        if self.is_cube {
            name.push_str(&format!("[{plane}]"));
            source.plane = Some(plane);
        }
        (name, source)
    }

    /// Facts of the detector from the headers. A card that cannot be understood is logged as a warning, once.
    fn facts(&self) -> &image::Header {
        self.facts
            .get_or_init(|| facts(&self.file, &self.unit.header, self.primary.as_ref()))
    }

    /// The WCS of the chosen HDU. A WCS that is not supported is logged as a warning, once, and gives `None`.
    pub fn wcs(&self) -> Option<&Wcs> {
        let read = || {
            Wcs::from_header(|keyword| self.unit.header.certain(keyword)).unwrap_or_else(|why| {
                tracing::warn!("{}: WCS: {why}: ra and dec stay empty", self.file);
                None
            })
        };
        self.wcs.get_or_init(read).as_ref()
    }

    /// All planes, (planes, height, width), in physical values: a stack of cutouts. An image is
    /// a stack of one.
    ///
    /// # Errors
    /// The errors of [`FitsFile::image`].
    pub fn stack(&self) -> Result<Array3<f64>> {
        self.cutouts(0..self.planes())
    }

    /// Some planes of [`FitsFile::stack`]: no others are read, unless the file is compressed.
    ///
    /// # Errors
    /// The errors of [`FitsFile::image`]; [`Error::Option`] for planes that do not exist.
    pub fn cutouts(&self, planes: Range<usize>) -> Result<Array3<f64>> {
        check_range(&planes, self.planes())?;
        let [width, height, _] = self.axes;
        let size = width * height;
        let pixels = self.physical(planes.start * size, planes.len() * size)?;
        Array3::from_shape_vec((planes.len(), height, width), pixels).map_err(|e| self.shape(&e))
    }

    /// Name in the catalogue without the plane: `m13.fits[0]`.
    fn name(&self) -> String {
        let base = self.source.path.file_name().unwrap_or_default();
        format!("{}[{}]", base.to_string_lossy(), self.source.hdu)
    }

    fn physical(&self, start: usize, count: usize) -> Result<Vec<f64>> {
        let values = if let Kind::Image { bitpix, .. } = self.unit.kind {
            let size = (bitpix.unsigned_abs() / 8) as usize;
            let first = self.unit.data_start + start * size;
            let is_whole = first + count * size <= self.bytes.len();
            let read = |pixels: Range<usize>| {
                self.bytes
                    .range(first + pixels.start * size..first + pixels.end * size)
            };
            let decode = || self.scaling.decode(bitpix, count, read);
            is_whole.then(decode).transpose()?
        } else {
            let data = match self.decoded.get() {
                Some(data) => data,
                None => {
                    let bytes = self.bytes.all()?;
                    let data = raw_hdu(&self.unit)
                        .and_then(|hdu| read_image_data(&bytes, &hdu))
                        .map_err(|e| self.damaged(e.to_string()))?;
                    self.decoded.get_or_init(|| data)
                }
            };
            self.scaling.apply(data, start, count)
        };
        values.ok_or_else(|| self.damaged("fewer pixels than the header declares".into()))
    }

    fn damaged(&self, found: String) -> Error {
        Error::Malformed {
            file: self.file.clone(),
            field: format!("HDU [{}]", self.source.hdu),
            expected: self.unit.kind.describe(),
            found,
            hint: Some("the file is damaged: copy it again".into()),
        }
    }

    fn shape(&self, e: &ndarray::ShapeError) -> Error {
        self.damaged(e.to_string())
    }
}

/// The unit as the library knows it.
fn raw_hdu(unit: &Unit) -> fitsio_pure::Result<Hdu> {
    Hdu::from_cards(unit.header.raw.clone(), unit.start, unit.data_start)
}

/// Columns, rows and planes; and whether there are more than two axes, without axes of length 1 at the
/// end. The product of the axes fits: the pixels are known to be there.
fn image_axes(unit: &Unit) -> ([usize; 3], bool) {
    let axes: &[usize] = match &unit.kind {
        Kind::Image { axes, .. } | Kind::Tiled { axes } => axes,
        Kind::Other(_) => &[],
    };
    let mut axes = axes.iter().copied();
    let (width, height) = (axes.next().unwrap_or(0), axes.next().unwrap_or(0));
    let planes = axes.fold(1, usize::saturating_mul);
    ([width, height, planes], planes > 1)
}

/// Checks that all pixels are there before anything is allocated for them.
fn check_length(length: usize, unit: &Unit, file: &str) -> Result<()> {
    let found = length.saturating_sub(unit.data_start) as u64;
    if unit.data_length <= found {
        return Ok(());
    }
    let what = match unit.kind {
        Kind::Tiled { .. } => "compressed pixels",
        _ => "pixels",
    };
    let expected = match unit.data_length {
        u64::MAX => format!("more bytes of {what} than any file holds"),
        n => format!("{n} bytes of {what}"),
    };
    Err(Error::Malformed {
        file: file.into(),
        field: "data".into(),
        expected,
        found: found.to_string(),
        hint: Some("the file is cut short: copy it again".into()),
    })
}

/// Whether the sums in the header, where there are any, match the file.
fn sums_match(bytes: &Bytes, unit: &Unit) -> Result<bool> {
    let stated = unit.header.string("DATASUM");
    let has_checksum = unit.header.string("CHECKSUM").is_some();
    if stated.is_none() && !has_checksum {
        return Ok(true);
    }
    // Sums of ones' complement, of which all bits set is another zero.
    let add = |a: u32, b: u32| {
        let (sum, carry) = a.overflowing_add(b);
        sum + u32::from(carry)
    };
    let is_same = |a: u32, b: u32| a == b || (a.min(b) == 0 && a.max(b) == u32::MAX);
    let mut data = 0;
    for part in bytes.parts(unit.data_start..unit.end()) {
        data = add(data, checksum_blocks(&part?));
    }
    let header = checksum_blocks(&bytes.range(unit.start..unit.data_start)?);
    let stated = stated.map(|text| text.trim().parse::<u64>().map(|sum| sum as u32));
    Ok(
        stated.is_none_or(|stated| stated.is_ok_and(|stated| is_same(stated, data)))
            && (!has_checksum || is_same(add(header, data), 0)),
    )
}
