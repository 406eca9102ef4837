//! Positions of the stars of a list in an image: by their pixels, or by their places on the sky.

use std::borrow::Cow;

use rayon::prelude::*;

use super::{Star, StarList, WORTH_A_CORE};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::numbers::median;
use crate::wcs::{Sky, Wcs};

/// Kind of positions that counts in a list that has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// Positions on the sky.
    Sky,
    /// Positions in pixels.
    Pixels,
}

impl Positions {
    /// Name on the command line and in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sky => "sky",
            Self::Pixels => "pixels",
        }
    }

    /// The kind of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Sky, Self::Pixels]
            .into_iter()
            .find(|positions| positions.name() == name)
    }
}

/// Largest distance between pixels and sky of a list, pixels: the median of its stars. Nearer positions
/// are of the same image, or of an image that lies on it.
const NEAR: f64 = 2.0;

/// Number of stars that are looked at to measure the distance.
const SAMPLE: usize = 1000;

/// Distance between x, y of the list and the projection of its ra, dec.
#[derive(Debug, Clone, Copy)]
struct Difference {
    /// Median distance, pixels; infinite where the image does not show most places on the sky.
    distance: f64,
    /// Whether x and y are both off by 1 pixel, as where the list counts from 1 instead of 0, or from 0.
    counts_from_one: bool,
}

impl StarList {
    /// The list with the positions that count in `image`, in pixels. Of two kinds the kind asked for
    /// counts; else the pixels, unless they and the sky disagree by more than 2 pixels (the median) under
    /// the image's WCS, as pixels of another image do: then the sky counts, and a warning says so.
    ///
    /// A star that the projection does not show has no position. Where the sky counts, bounds of x and y
    /// in the list are pixels of another image, and are left out.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] where the list does not have the positions asked for, or has positions on the
    /// sky alone and the image has no WCS.
    pub fn on(&self, image: &Image, wanted: Option<Positions>) -> Result<Cow<'_, Self>> {
        self.check_positions(wanted)?;
        let Some(sky) = self
            .sky
            .as_ref()
            .filter(|_| wanted != Some(Positions::Pixels))
        else {
            return Ok(Cow::Borrowed(self));
        };
        let Some(wcs) = &image.wcs else {
            if self.has_pixels && wanted.is_none() {
                return Ok(Cow::Borrowed(self));
            }
            return Err(self.no_wcs(image));
        };
        let mut difference = None;
        if self.has_pixels && wanted.is_none() {
            let found = self.difference(sky, wcs);
            if found.distance <= NEAR {
                if found.counts_from_one {
                    tracing::warn!(
                        "{}: {}: x and y are 1 pixel from ra and dec along both axes: \
                         --fits-pixels is for lists that count from 1, --positions sky takes ra and dec",
                        image.name,
                        self.file
                    );
                }
                return Ok(Cow::Borrowed(self));
            }
            difference = Some(found);
        }
        let stars = projected(sky, wcs);
        if let Some(difference) = difference {
            let is_inside = |star: &&Star| {
                let within = |at: f64, side: usize| at >= -0.5 && at < side as f64 - 0.5;
                within(star.x, image.width()) && within(star.y, image.height())
            };
            tracing::warn!(
                "{}: {}: x and y are not where ra and dec are here ({}): it is of another image; ra \
                 and dec are taken, {} of {} stars are in this image; --positions pixels takes x and y",
                image.name,
                self.file,
                if difference.distance.is_finite() {
                    format!("median distance {:.1} pixels", difference.distance)
                } else {
                    "most places are not in its projection".into()
                },
                stars.iter().filter(is_inside).count(),
                stars.len()
            );
        }
        Ok(Cow::Owned(Self {
            stars,
            has_pixels: true,
            sky: None,
            ..self.without_pixels()
        }))
    }

    /// The part of the list that holds whichever positions count: without x and y where the image decides
    /// which count.
    pub(crate) fn certain(&self, wanted: Option<Positions>) -> Cow<'_, Self> {
        let is_open = self.sky.is_some() && self.has_pixels && wanted != Some(Positions::Pixels);
        if is_open {
            Cow::Owned(self.without_pixels())
        } else {
            Cow::Borrowed(self)
        }
    }

    /// Refuses a list that does not have the positions asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`].
    pub(crate) fn check_positions(&self, wanted: Option<Positions>) -> Result<()> {
        let Some(wanted) = wanted else {
            return Ok(());
        };
        let (is_there, names) = match wanted {
            Positions::Sky => (self.sky.is_some(), "ra and dec"),
            Positions::Pixels => (self.has_pixels, "x and y"),
        };
        if is_there {
            return Ok(());
        }
        Err(Error::Malformed {
            file: self.file.clone(),
            field: "columns".into(),
            expected: format!(
                "{names} with numbers, as --positions {} is asked for",
                wanted.name()
            ),
            found: "none".into(),
            hint: None,
        })
    }

    fn no_wcs(&self, image: &Image) -> Error {
        Error::Malformed {
            file: image.name.clone(),
            field: "WCS".into(),
            expected: if self.has_pixels {
                "a supported one, as --positions sky is asked for".into()
            } else {
                format!("a supported one, as {} has ra and dec", self.file)
            },
            found: "none".into(),
            hint: Some(if self.has_pixels {
                "leave --positions sky out, or solve the image for its WCS first".into()
            } else {
                "give columns x and y, or solve the image for its WCS first".into()
            }),
        }
    }

    /// The list without its positions and bounds in pixels.
    fn without_pixels(&self) -> Self {
        const BOUNDS: [&str; 4] = ["x_min", "x_max", "y_min", "y_max"];
        let is_bound = |name: &str| BOUNDS.iter().any(|bound| name.eq_ignore_ascii_case(bound));
        let columns = self.columns.iter();
        let nowhere = |id| Star {
            id,
            x: f64::NAN,
            y: f64::NAN,
        };
        Self {
            file: self.file.clone(),
            stars: (0..self.stars.len()).map(nowhere).collect(),
            has_pixels: false,
            sky: self.sky.clone(),
            names: self.names.clone(),
            columns: columns.filter(|c| !is_bound(&c.name)).cloned().collect(),
        }
    }

    fn difference(&self, sky: &[Sky], wcs: &Wcs) -> Difference {
        let have_both = self.stars.iter().zip(sky).filter(|(star, sky)| {
            [star.x, star.y, sky.ra, sky.dec]
                .iter()
                .all(|at| at.is_finite())
        });
        let have_both: Vec<_> = have_both.collect();
        let step = have_both.len().div_ceil(SAMPLE).max(1);
        let offsets = have_both.iter().step_by(step).map(|(star, sky)| {
            let place = wcs.to_pixel(sky.ra, sky.dec);
            place.map_or([f64::INFINITY; 2], |(x, y)| [star.x - x, star.y - y])
        });
        let offsets: Vec<[f64; 2]> = offsets.collect();
        let of = |part: fn(&[f64; 2]) -> f64| {
            let mut values: Vec<f64> = offsets.iter().map(part).collect();
            median(&mut values).unwrap_or(0.0)
        };
        let (dx, dy) = (of(|d| d[0]), of(|d| d[1]));
        let is_corner = |sign: f64| (dx - sign).abs() < 0.1 && (dy - sign).abs() < 0.1;
        Difference {
            distance: of(|[x, y]| x.hypot(*y)),
            counts_from_one: is_corner(1.0) || is_corner(-1.0),
        }
    }
}

/// Stars in an image by their places on the sky.
fn projected(sky: &[Sky], wcs: &Wcs) -> Vec<Star> {
    let place = |(id, sky): (usize, &Sky)| {
        let place = wcs.to_pixel(sky.ra, sky.dec);
        let (x, y) = place.unwrap_or((f64::NAN, f64::NAN));
        Star { id, x, y }
    };
    let sky = sky.par_iter().with_min_len(WORTH_A_CORE).enumerate();
    sky.map(place).collect()
}
