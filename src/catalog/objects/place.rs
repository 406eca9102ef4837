//! Mean positions, on the sky and in the first image.

use super::affine::Point;
use super::mean::Mean;
use super::measured::Measured;
use super::store::StoredImage;
use crate::wcs::{Sky, Wcs};

/// Place of a star, with the standard error of each coordinate, NaN where there is none.
#[derive(Debug, Clone, Copy)]
pub(super) enum StarPlace {
    /// On the sky; errors in degrees, the error of right ascension times cos dec.
    Sky(Sky, [f64; 2]),
    /// In the first image, pixels.
    Pixel(Point, [f64; 2]),
}

/// Place of an object.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ObjectPlace {
    /// Right ascension and declination, degrees.
    pub(super) sky: Option<Measured>,
    /// x and y in the first image, pixels.
    pub(super) pixel: Option<Measured>,
}

/// The pixels of an image, as its catalogue counts them.
#[derive(Debug)]
pub(super) struct Frame {
    wcs: Option<Wcs>,
    /// Coordinate of the centre of the first pixel in the catalogue.
    origin: f64,
    center: Point,
    size: (f64, f64),
}

impl Frame {
    pub(super) fn new(image: &StoredImage) -> Self {
        let wcs = image
            .wcs
            .as_ref()
            .and_then(|text| Wcs::from_text(text).ok());
        Self {
            wcs,
            origin: if image.one_based { 1.0 } else { 0.0 },
            center: image.center,
            size: image.size,
        }
    }

    /// Degrees in a pixel in the middle of the image.
    pub(super) fn scale(&self) -> Option<f64> {
        let scale = self
            .wcs
            .as_ref()?
            .pixel_scale(self.center.0, self.center.1)?;
        (scale > 0.0).then_some(scale)
    }

    /// The place on the sky of the middle of the image.
    pub(super) fn middle(&self) -> Option<Sky> {
        self.wcs.as_ref()?.to_sky(self.center.0, self.center.1)
    }

    /// The place on the sky of a place in the image.
    pub(super) fn sky_of(&self, (x, y): Point) -> Option<Sky> {
        self.wcs.as_ref()?.to_sky(x - self.origin, y - self.origin)
    }

    /// The place in the image of a place on the sky.
    pub(super) fn pixel_of(&self, sky: Sky) -> Option<Point> {
        let (x, y) = self.wcs.as_ref()?.to_pixel(sky.ra, sky.dec)?;
        Some((x + self.origin, y + self.origin))
    }

    /// Whether a place is in the image.
    pub(super) fn contains(&self, (x, y): Point) -> bool {
        let is_within =
            |at: f64, side: f64| at - self.origin >= -0.5 && at - self.origin < side - 0.5;
        is_within(x, self.size.0) && is_within(y, self.size.1)
    }

    /// Place of an object with these stars.
    pub(super) fn place(&self, stars: impl Iterator<Item = StarPlace> + Clone) -> ObjectPlace {
        match stars.clone().next() {
            Some(StarPlace::Sky(first, _)) => {
                let sky = mean_sky(first, stars);
                ObjectPlace {
                    sky,
                    pixel: sky.and_then(|sky| self.to_pixel(sky)),
                }
            }
            Some(StarPlace::Pixel(..)) => {
                let pixel = mean_pixel(stars);
                ObjectPlace {
                    sky: pixel.and_then(|pixel| self.to_sky(pixel)),
                    pixel,
                }
            }
            None => ObjectPlace::default(),
        }
    }

    fn to_pixel(&self, [(ra, ra_err), (dec, dec_err)]: Measured) -> Option<Measured> {
        let wcs = self.wcs.as_ref()?;
        let (x, y) = wcs.to_pixel(ra, dec)?;
        let [[a, b], [c, d]] = wcs.jacobian(x, y)?;
        let determinant = a * d - b * c;
        let inverse = [[d, -b], [-c, a]].map(|row| row.map(|part| part / determinant));
        let [x_err, y_err] = carried(inverse, [ra_err, dec_err]);
        Some([(x + self.origin, x_err), (y + self.origin, y_err)])
    }

    /// The place on the sky of a place in the image, with errors.
    pub(super) fn to_sky(&self, [(x, x_err), (y, y_err)]: Measured) -> Option<Measured> {
        let wcs = self.wcs.as_ref()?;
        let (x, y) = (x - self.origin, y - self.origin);
        let Sky { ra, dec } = wcs.to_sky(x, y)?;
        let [ra_err, dec_err] = carried(wcs.jacobian(x, y)?, [x_err, y_err]);
        Some([(ra, ra_err), (dec, dec_err)])
    }
}

/// Errors after a linear map; `None` where an error is unknown.
fn carried(map: [[f64; 2]; 2], errors: [Option<f64>; 2]) -> [Option<f64>; 2] {
    map.map(|[a, b]| {
        let error = (a * errors[0]?).hypot(b * errors[1]?);
        error.is_finite().then_some(error)
    })
}

/// The mean position, in the plane that touches the sky at one of the stars.
fn mean_sky(first: Sky, stars: impl Iterator<Item = StarPlace> + Clone) -> Option<Measured> {
    let (center, axes) = (first.direction(), first.east_and_north());
    let mean = |axis: usize| {
        let along = stars.clone().filter_map(move |star| match star {
            StarPlace::Sky(sky, errors) => {
                let at = sky.direction();
                let offset: f64 = (0..3).map(|k| (at[k] - center[k]) * axes[axis][k]).sum();
                Some((offset, Some(errors[axis].to_radians())))
            }
            StarPlace::Pixel(..) => None,
        });
        Mean::of(along)
    };
    let (east, north) = (mean(0)?, mean(1)?);
    let direction =
        std::array::from_fn(|k| center[k] + east.value * axes[0][k] + north.value * axes[1][k]);
    let Sky { ra, dec } = Sky::of_direction(direction);
    let error = |mean: Mean| mean.error.map(f64::to_degrees);
    Some([(ra, error(east)), (dec, error(north))])
}

fn mean_pixel(stars: impl Iterator<Item = StarPlace> + Clone) -> Option<Measured> {
    let mean = |axis: usize| {
        let along = stars.clone().filter_map(move |star| match star {
            StarPlace::Pixel((x, y), errors) => Some(([x, y][axis], Some(errors[axis]))),
            StarPlace::Sky(..) => None,
        });
        Mean::of(along)
    };
    let (x, y) = (mean(0)?, mean(1)?);
    Some([(x.value, x.error), (y.value, y.error)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(stars: &[Sky]) -> Sky {
        let frame = Frame {
            wcs: None,
            origin: 0.0,
            center: (0.0, 0.0),
            size: (1.0, 1.0),
        };
        let stars = stars.iter().map(|sky| StarPlace::Sky(*sky, [1e-5, 2e-5]));
        let [(ra, ra_err), (dec, dec_err)] = frame.place(stars).sky.unwrap();
        assert!((ra_err.unwrap() / dec_err.unwrap() - 0.5).abs() < 1e-9);
        Sky { ra, dec }
    }

    fn distance(a: Sky, b: Sky) -> f64 {
        let (a, b) = (a.direction(), b.direction());
        let squares = (0..3).map(|k| (a[k] - b[k]).powi(2));
        squares.sum::<f64>().sqrt().to_degrees()
    }

    #[test]
    fn means_are_right_at_the_poles_and_at_zero_hours() {
        let at = |ra, dec| Sky { ra, dec };
        for (stars, expected) in [
            ([at(359.9999, 10.0), at(0.0001, 10.0)], at(0.0, 10.0)),
            ([at(10.0, 89.9999), at(190.0, 89.9999)], at(0.0, 90.0)),
            ([at(80.0, -45.0), at(80.0002, -45.0)], at(80.0001, -45.0)),
        ] {
            let found = place(&stars);
            assert!(distance(found, expected) < 1e-9, "{found:?}");
            assert!((0.0..360.0).contains(&found.ra));
            assert!(distance(found, stars[0]) > 1e-5);
        }
    }
}
