//! Objects: stars of several images that are the same star.
//!
//! [`MatchOptions::write`] links the stars of the images of a database and writes a table `objects`
//! with their mean positions, a table `object_fluxes` with their mean fluxes in each filter, and
//! the number of its object for every star. All of it replaces what an earlier call has written,
//! in one transaction.
//!
//! Images are taken in order of their dates, then of their files, so that the order in which they
//! came into the database does not matter. Where all images have positions on the sky, stars are linked
//! there; an image whose bright stars are not where other images have them, but in the same pattern, has
//! its positions corrected by the pattern. Where an image has no positions on the sky, each image is
//! registered to the first by the pattern of its stars, and stars are linked in the pixels of the first
//! image; an image that cannot be registered is left out.

mod affine;
mod grid;
mod judge;
mod link;
mod mean;
mod measured;
mod place;
mod register;
mod store;
mod triangles;

use std::path::Path;

use crate::error::{Error, Result};
use crate::fit::Flags;
use affine::Point;
use link::{Linker, Position};
use place::{Frame, StarPlace};
use register::Pattern;
use store::{Store, StoredImage, StoredStar};

pub use affine::Affine;
pub use judge::{Links, Refined};
pub use register::Registration;

/// Largest radius, pixels of the first image: as far as stars can be from each other and still be
/// told apart.
const LARGEST_RADIUS: f64 = 100.0;

/// Flags of stars that are no part of a pattern: a spot that stays in place on the detector would
/// register every image without a shift.
const NO_PATTERN: [Flags; 4] = [
    Flags::SHARP,
    Flags::DUPLICATE,
    Flags::CENTROID_OUTSIDE,
    Flags::NEGATIVE_FLUX,
];

/// Options that decide which stars are one object.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchOptions {
    /// Number of the run; `None`: the newest run of each image.
    pub run: Option<i64>,
    /// Largest distance between positions of one object, whatever their errors: for errors of the WCS or
    /// of the registration, and for motion. Default: 1 pixel.
    pub radius: Radius,
    /// Largest distance between positions in units of their combined standard error, added to the radius
    /// in quadrature. Default: 5. The sum is five radii at most.
    pub sigma: f64,
    /// Stars with any of these flags are left out. Default: [`Flags::DUPLICATE`].
    pub exclude: Flags,
    /// How a star of one image is placed in another. Default: [`Placing::Judged`].
    pub placing: Placing,
}

impl Default for MatchOptions {
    fn default() -> Self {
        Self {
            run: None,
            radius: Radius::Pixels(1.0),
            sigma: 5.0,
            exclude: Flags::DUPLICATE,
            placing: Placing::default(),
        }
    }
}

/// How a star of one image is placed in another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Placing {
    /// Positions on the sky, where every image has them; positions of an image that contradict other
    /// images are corrected by the pattern of its stars.
    #[default]
    Judged,
    /// Positions on the sky as they are, where every image has them.
    Sky,
    /// Patterns of stars, whether images have positions on the sky or not.
    Pattern,
}

/// A distance in an image or on the sky.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Radius {
    /// Pixels of the first image.
    Pixels(f64),
    /// Degrees.
    Degrees(f64),
}

/// Summary of the objects that were written.
#[derive(Debug, Clone, PartialEq)]
pub struct Matched {
    /// The images that have stars, in order of their dates.
    pub images: Vec<MatchedImage>,
    /// Number of objects.
    pub n_objects: usize,
    /// Number of objects in two images or more.
    pub n_repeated: usize,
    /// Number of stars that are in an object.
    pub n_stars: usize,
    /// Filters whose fluxes are of different units or exposure times and have no mean.
    pub without_flux: Vec<String>,
}

/// An image and how its stars were placed.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchedImage {
    /// Name of the image in the catalogue.
    pub name: String,
    /// Number of stars that could be linked.
    pub n_stars: usize,
    /// How the stars were placed.
    pub placement: Placement,
}

/// How the stars of an image were placed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Placement {
    /// On the sky.
    Sky,
    /// On the sky, by the WCS of another image, because the image's own WCS contradicts that image.
    Refined(Refined),
    /// Not moved: the other images are registered to this image.
    First,
    /// Registered to the first image.
    Registered(Registration),
    /// Not at all: no pattern in common with the first image.
    Unregistered,
}

impl MatchOptions {
    /// Links the stars of a database.
    ///
    /// Only stars that have values count (status `converged` or `max_iterations`). The database is
    /// locked against other writers for as long as it takes, not against readers.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for a run that does not exist, and for a radius or sigma that makes no sense;
    /// [`Error::Malformed`] where there is nothing to link, or no image could be registered to the first,
    /// and for a file that is no catalogue of starfit; [`Error::Unsupported`], [`Error::Io`] and
    /// [`Error::Database`] as [`SqliteWriter::create`](super::sqlite::SqliteWriter::create). Older
    /// objects are then left as they are.
    pub fn write(&self, database: &Path) -> Result<Matched> {
        self.check()?;
        let store = Store::open(database)?;
        let found = store
            .images(self)
            .and_then(|images| self.link(database, images))
            .and_then(|found| store.write(&found).map(|()| found));
        match found {
            Ok(found) => store.close().map(|()| found.summary()),
            Err(error) => {
                store.abandon();
                Err(error)
            }
        }
    }

    fn check(&self) -> Result<()> {
        let (Radius::Pixels(radius) | Radius::Degrees(radius)) = self.radius;
        if !(radius > 0.0 && radius.is_finite()) {
            return Err(wrong("radius", "more than 0", radius));
        }
        if !(0.0..=1000.0).contains(&self.sigma) {
            return Err(wrong("sigma", "0 to 1000", self.sigma));
        }
        Ok(())
    }

    fn link(&self, database: &Path, images: Vec<StoredImage>) -> Result<Linked> {
        let mut images: Vec<StoredImage> =
            images.into_iter().filter(|i| !i.stars.is_empty()).collect();
        let nothing = |field: &str, expected: &str, found: String, hint: &str| Error::Malformed {
            file: database.display().to_string(),
            field: field.to_owned(),
            expected: expected.to_owned(),
            found,
            hint: Some(hint.to_owned()),
        };
        let Some(first) = images.first() else {
            let hint = "fit some images, or exclude fewer flags";
            return Err(nothing("stars", "stars with values", "none".into(), hint));
        };
        let frame = Frame::new(first);
        let has_sky = |image: &StoredImage| image.stars.iter().any(|star| star.sky().is_some());
        let by_sky = self.placing != Placing::Pattern && images.iter().all(has_sky);
        let radius = self.radius_in(&frame, by_sky)?;
        let placements = match (by_sky, self.placing) {
            (true, Placing::Judged) => judge::placements(&images, radius, self.sigma),
            (true, _) => vec![Placement::Sky; images.len()],
            (false, _) => placements(&images),
        };
        judge::correct(&mut images, &placements);
        let is_registered = |placement: &Placement| *placement != Placement::Unregistered;
        if images.len() > 1 && placements.iter().filter(|p| is_registered(p)).count() < 2 {
            let first = images.first().map_or("", |first| &first.name);
            let found = format!("none that {first} and another image have in common");
            let hint = "they may be of different fields, or have too few stars";
            return Err(nothing("images", "patterns of stars", found, hint));
        }

        let mut linker = Linker::new(radius, self.sigma);
        let mut members: Vec<Vec<(usize, usize)>> = Vec::new();
        for (index, (image, placement)) in images.iter().zip(&placements).enumerate() {
            let placed = image.stars.iter().enumerate();
            let (stars, positions): (Vec<usize>, Vec<Position>) = placed
                .filter_map(|(star, stored)| Some((star, position(stored, placement)?)))
                .unzip();
            let objects = linker.add(&positions);
            members.resize_with(linker.n_objects(), Vec::new);
            for (object, star) in objects.into_iter().zip(stars) {
                if let Some(member) = members.get_mut(object) {
                    member.push((index, star));
                }
            }
        }
        Ok(Linked {
            without_flux: without_flux(&images, &placements),
            images,
            placements,
            frame,
            members,
        })
    }

    /// The radius in the unit of places: radians on the sky, else pixels.
    fn radius_in(&self, frame: &Frame, by_sky: bool) -> Result<f64> {
        let no_scale = || Error::Option {
            option: "radius".to_owned(),
            expected: if by_sky {
                "an angle, as the first image has no scale".to_owned()
            } else {
                "pixels, as the first image has no scale".to_owned()
            },
            found: match self.radius {
                Radius::Pixels(radius) => format!("{radius} pixels"),
                Radius::Degrees(radius) => format!("{} arcseconds", radius * 3600.0),
            },
            hint: None,
        };
        let scale = frame.scale();
        let pixels = match self.radius {
            Radius::Pixels(radius) => Some(radius),
            Radius::Degrees(radius) => scale.map(|scale| radius / scale),
        };
        if let Some(pixels) = pixels.filter(|pixels| *pixels > LARGEST_RADIUS) {
            let expected = format!("at most {LARGEST_RADIUS} pixels");
            return Err(wrong("radius", &expected, pixels));
        }
        let radius = match (self.radius, by_sky) {
            (Radius::Degrees(radius), true) => Some(radius.to_radians()),
            (Radius::Pixels(radius), true) => scale.map(|scale| (radius * scale).to_radians()),
            (_, false) => pixels,
        };
        radius.ok_or_else(no_scale)
    }
}

/// Registers every image to the first.
fn placements(images: &[StoredImage]) -> Vec<Placement> {
    let mut images = images.iter();
    let first = images.next().map(pattern);
    let others = images.map(|image| {
        let registration = first
            .as_ref()
            .and_then(|first| pattern(image).register(first));
        registration.map_or(Placement::Unregistered, Placement::Registered)
    });
    [Placement::First].into_iter().chain(others).collect()
}

/// The pattern of the stars of an image.
fn pattern(image: &StoredImage) -> Pattern {
    let is_part = |star: &&StoredStar| !NO_PATTERN.iter().any(|flag| star.flags.contains(*flag));
    let stars = image.stars.iter().filter(is_part);
    Pattern::new(stars.map(|star| (star.pixel(), star.flux)).collect())
}

/// Position of a star, in the unit of places; `None` for a star without a place.
fn position(star: &StoredStar, placement: &Placement) -> Option<Position> {
    let (at, errors) = match placement {
        Placement::Sky | Placement::Refined(_) => {
            let (sky, errors) = star.sky()?;
            (sky.direction(), errors.map(f64::to_radians))
        }
        _ => {
            let (place, errors) = pixel(star, placement)?;
            ([place.0, place.1, 0.0], errors)
        }
    };
    let [a, b] = errors.map(|error| if error.is_finite() { error } else { 0.0 });
    Some(Position {
        at,
        error: a.hypot(b) / std::f64::consts::SQRT_2,
    })
}

/// Place of a star in pixels of the first image, and its errors, NaN where there are none.
fn pixel(star: &StoredStar, placement: &Placement) -> Option<(Point, [f64; 2])> {
    let map = match placement {
        Placement::First => Affine::IDENTITY,
        Placement::Registered(registration) => registration.map,
        Placement::Sky | Placement::Refined(_) | Placement::Unregistered => return None,
    };
    let (x_err, y_err) = map.errors((star.x_err, star.y_err));
    Some((map.apply(star.pixel()), [x_err, y_err]))
}

/// Whether exposure times are the same within a hundredth: cameras write measured times.
pub(crate) fn is_same_exposure(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 0.01 * a.max(b),
        (a, b) => a == b,
    }
}

/// The filters with images whose fluxes have different units, or exposure times that differ by
/// more than a hundredth.
fn without_flux(images: &[StoredImage], placements: &[Placement]) -> Vec<String> {
    let is_placed = |placement: &Placement| *placement != Placement::Unregistered;
    let placed = images.iter().zip(placements);
    let placed = placed.filter(|(_, placement)| is_placed(placement));
    let mut first: Vec<&StoredImage> = Vec::new();
    let mut differ = Vec::new();
    for (image, _) in placed {
        let Some(other) = first.iter().find(|other| other.filter == image.filter) else {
            first.push(image);
            continue;
        };
        let is_same = image.unit == other.unit && is_same_exposure(image.exposure, other.exposure);
        if !is_same && !differ.contains(&image.filter) {
            differ.push(image.filter.clone());
        }
    }
    differ
}

fn wrong(option: &str, expected: &str, found: f64) -> Error {
    Error::Option {
        option: option.to_owned(),
        expected: expected.to_owned(),
        found: found.to_string(),
        hint: None,
    }
}

/// The objects of images.
#[derive(Debug)]
struct Linked {
    images: Vec<StoredImage>,
    placements: Vec<Placement>,
    frame: Frame,
    /// For each object the image of each star, and the star's place in the image, in order of the images.
    members: Vec<Vec<(usize, usize)>>,
    without_flux: Vec<String>,
}

impl Linked {
    /// The stars of an object, each with its image and its place.
    fn stars<'a>(
        &'a self,
        members: &'a [(usize, usize)],
    ) -> impl Iterator<Item = (&'a StoredImage, &'a StoredStar, StarPlace)> + Clone {
        members.iter().filter_map(|&(image, star)| {
            let (stored, placement) = (self.images.get(image)?, self.placements.get(image)?);
            let star = stored.stars.get(star)?;
            let place = match placement {
                Placement::Sky | Placement::Refined(_) => {
                    let (sky, errors) = star.sky()?;
                    StarPlace::Sky(sky, errors)
                }
                _ => {
                    let (place, errors) = pixel(star, placement)?;
                    StarPlace::Pixel(place, errors)
                }
            };
            Some((stored, star, place))
        })
    }

    fn summary(&self) -> Matched {
        let images = self.images.iter().zip(&self.placements);
        Matched {
            images: images
                .map(|(image, placement)| MatchedImage {
                    name: image.name.clone(),
                    n_stars: image.stars.len(),
                    placement: *placement,
                })
                .collect(),
            n_objects: self.members.len(),
            n_repeated: self.members.iter().filter(|stars| stars.len() > 1).count(),
            n_stars: self.members.iter().map(Vec::len).sum(),
            without_flux: self.without_flux.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
