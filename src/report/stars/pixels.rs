//! The pixels of an image, read again from where the catalogue says that they are.

use std::path::PathBuf;
use std::{fmt, io};

use crate::error::Error;
use crate::image::{Image, Source};
use crate::io::fits::{FitsFile, FitsPath, HduName};
use crate::io::stack::StackFile;
use crate::report::stars::record::ImageRecord;

/// The pixels that stars were fitted to.
#[derive(Debug)]
pub enum Pixels {
    /// An image, or one plane of a cube.
    Image(Box<Image>),
    /// Ready cutouts, each of which is read when it is asked for; a cutout and its star have the same
    /// number.
    Stack(StackFile),
}

/// Why pixels cannot be shown.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unavailable {
    /// There is no such file any more.
    Gone(PathBuf),
    /// The file is another one than it was.
    Changed {
        /// The file.
        path: PathBuf,
        /// Change of the file: in its size, in its time.
        how: String,
    },
    /// The file cannot be read.
    Unreadable(Error),
    /// The file's pixels are not those that were fitted.
    OtherPixels {
        /// The file.
        path: PathBuf,
        /// Pixels that the catalogue says.
        expected: String,
        /// Pixels that the file has.
        found: String,
    },
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(path) => write!(f, "{}: is gone since it was fitted", path.display()),
            Self::Changed { path, how } => {
                write!(
                    f,
                    "{}: has changed since it was fitted: {how}",
                    path.display()
                )
            }
            Self::Unreadable(error) => error.fmt(f),
            Self::OtherPixels {
                path,
                expected,
                found,
            } => write!(
                f,
                "{}: expected {expected} as they were fitted, found {found}",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Unavailable {}

impl Pixels {
    /// Reads an image, or opens a stack of cutouts, of which one is read at a time.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], where there are no longer the same pixels.
    pub fn open(record: &ImageRecord) -> Result<Self, Unavailable> {
        let source = &record.info.source;
        check_unchanged(source)?;
        let size = (record.info.width, record.info.height);
        let other_pixels = |expected: String, found: String| Unavailable::OtherPixels {
            path: source.path.clone(),
            expected,
            found,
        };
        let text = |(width, height): (usize, usize)| format!("{width} x {height} pixels");
        if record.is_stack() {
            let stack = open_stack(source).map_err(Unavailable::Unreadable)?;
            let (n, height, width) = stack.dim();
            if (width, height) != size || n as u64 != record.n_stars {
                let text = |n: u64, size| format!("{n} cutouts of {}", text(size));
                return Err(other_pixels(
                    text(record.n_stars, size),
                    text(n as u64, (width, height)),
                ));
            }
            return Ok(Self::Stack(stack));
        }
        let path = path_of(source);
        let file = FitsFile::open(&path).map_err(Unavailable::Unreadable)?;
        let found = (file.width(), file.height());
        if found != size {
            return Err(other_pixels(text(size), text(found)));
        }
        let image = file.image(source.plane.unwrap_or(0));
        let image = image.map_err(Unavailable::Unreadable)?;
        Ok(Self::Image(Box::new(image)))
    }
}

/// Checks whether a file has the size and the modification time that it had, as `--resume` does.
///
/// # Errors
///
/// [`Unavailable`], where the file is gone, cannot be asked, or has changed.
pub(in crate::report) fn check_unchanged(source: &Source) -> Result<(), Unavailable> {
    let path = source.path.clone();
    let now = match Source::of_file(&path) {
        Ok(now) => now,
        Err(Error::Io { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Err(Unavailable::Gone(path));
        }
        Err(error) => return Err(Unavailable::Unreadable(error)),
    };
    if now.bytes != source.bytes {
        let how = format!("it had {} bytes and has {}", source.bytes, now.bytes);
        return Err(Unavailable::Changed { path, how });
    }
    if now.modified != source.modified {
        let how = "it has been written again".to_owned();
        return Err(Unavailable::Changed { path, how });
    }
    Ok(())
}

pub(in crate::report) fn path_of(source: &Source) -> FitsPath {
    FitsPath {
        path: source.path.clone(),
        hdu: Some(HduName::Number(source.hdu)),
    }
}

fn open_stack(source: &Source) -> crate::Result<StackFile> {
    if crate::io::stack::is_npy(&source.path) {
        StackFile::open(&source.path)
    } else {
        StackFile::open_fits(&path_of(source))
    }
}
