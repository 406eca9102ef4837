//! Arrays whose axes are not what they are taken for: colours last, cutouts without a shape.

use std::path::Path;

use crate::error::{Error, Result};
use crate::io::fits::FitsFile;
use crate::io::stack::StackFile;

/// Fewest rows and columns of an image, where an axis of colours stands beside them.
const IMAGE_SIDE: usize = 17;
/// Largest side of a single cutout without an axis of numbers, pixels.
const CUTOUT_SIDE: usize = 255;
/// Smallest side of flattened cutouts, pixels.
const FLAT_SIDE: usize = 5;

/// Refuses an image that looks like numpy's (height, width, colours): FITS has the axes the other
/// way round, and each row would be an image.
pub fn check_image(path: &Path, file: &FitsFile) -> Result<()> {
    let axes = file.naxis();
    let used = axes.iter().rposition(|&n| n > 1).map_or(0, |last| last + 1);
    let is_side = |n: &usize| *n >= IMAGE_SIDE;
    match axes.get(..used.max(3)) {
        Some([1 | 3 | 4, sides @ ..]) if sides.len() == 2 && sides.iter().all(is_side) => {}
        _ => return Ok(()),
    }
    let found: Vec<String> = (1..)
        .zip(axes)
        .map(|(i, n)| format!("NAXIS{i} = {n}"))
        .collect();
    let array: Vec<String> = axes.iter().rev().map(usize::to_string).collect();
    Err(transposed(path, found.join(", "), &array.join(", ")))
}

fn transposed(path: &Path, found: String, array: &str) -> Error {
    Error::Malformed {
        file: path.display().to_string(),
        field: "axes".into(),
        expected: "an image, or planes of images with the planes first in numpy and last in FITS"
            .into(),
        found: format!("{found}: the axes look transposed"),
        hint: Some(format!(
            "numpy: np.moveaxis(array, -1, 0) makes planes of an array of shape ({array})"
        )),
    }
}

/// Refuses a stack that is plainly none: cutouts that have lost their shape, a whole image, or
/// images with the colours last. Two axes are one cutout where they look like it.
pub(super) fn check_stack(path: &Path, stack: &StackFile) -> Result<()> {
    let (n, height, width) = stack.dim();
    if n >= IMAGE_SIDE && height >= IMAGE_SIDE && matches!(width, 1 | 3 | 4) {
        let shape = format!("{n}, {height}, {width}");
        return Err(transposed(path, format!("({shape})"), &shape));
    }
    let (long, short) = (height.max(width), height.min(width));
    if !stack.is_flat() || (long <= CUTOUT_SIDE && height == width) {
        return Ok(());
    }
    let side = width.isqrt();
    // Cutouts have a middle pixel; an image as wide as an odd square is rare.
    let is_square = side * side == width && side >= FLAT_SIDE;
    let is_long = long > 3 * short;
    let hint = if is_square && height != width && (is_long || side % 2 == 1) {
        format!(
            "{height} flattened cutouts of {side} x {side} are array.reshape({height}, {side}, {side}) in numpy; \
             one cutout of this shape is array[None]"
        )
    } else if long > CUTOUT_SIDE {
        let image = match stack {
            StackFile::Npy(_) => "an image is fitted as FITS: fits.writeto('image.fits', array)",
            StackFile::Fits(_) => "without --cutouts it is fitted as an image",
        };
        format!("{image}; one cutout of this shape is array[None] in numpy")
    } else if is_long {
        "one cutout of this shape is array[None] in numpy".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::Malformed {
        file: path.display().to_string(),
        field: "shape".into(),
        expected: "cutouts, (n, height, width)".into(),
        found: format!("({height}, {width})"),
        hint: Some(hint),
    })
}

/// The colour of each plane of a cube that has as many as colour images do, where its header does
/// not say that the third axis is something else.
pub(super) fn colours(file: &FitsFile) -> Option<&'static [&'static str]> {
    const COLOURS: [&str; 4] = ["red", "green", "blue", "luminance"];
    let of_another_kind = file.cards().any(|(keyword, value)| {
        keyword == "CTYPE3"
            && value.text().is_some_and(|kind| {
                let kind = kind.trim().to_uppercase();
                !["", "RGB", "COLOR", "COLOUR"].contains(&kind.as_str())
            })
    });
    let n = file.planes();
    (matches!(n, 3 | 4) && !of_another_kind)
        .then(|| COLOURS.get(..n))
        .flatten()
}
