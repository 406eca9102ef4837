//! The region in which stars are looked for.

use crate::error::{Error, Result};

/// A part of an image or of the sky.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Region {
    /// Between two corners, pixels, the edges included.
    Box {
        /// x of both corners.
        x: [f64; 2],
        /// y of both corners.
        y: [f64; 2],
    },
    /// Around a place on the sky; degrees, the edge included.
    Cone {
        /// Right ascension, ICRS.
        ra: f64,
        /// Declination, ICRS.
        dec: f64,
        /// Radius.
        radius: f64,
    },
    /// The stars of each image that are nearest to a place, pixels.
    Near {
        /// x of the place.
        x: f64,
        /// y of the place.
        y: f64,
        /// Number of stars of each image.
        count: u64,
    },
}

impl Region {
    /// Refuses values that make no region.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |option: &str, expected: &str, found: f64| {
            Err(Error::Option {
                option: option.to_owned(),
                expected: expected.to_owned(),
                found: found.to_string(),
                hint: None,
            })
        };
        match *self {
            Self::Box { x, y } => {
                let wrong = x.into_iter().chain(y).find(|edge| !edge.is_finite());
                wrong.map_or(Ok(()), |edge| refuse("--box", "finite numbers", edge))
            }
            Self::Cone { ra, dec, radius } => {
                if !ra.is_finite() {
                    refuse("--cone", "a right ascension in degrees", ra)
                } else if !(-90.0..=90.0).contains(&dec) {
                    refuse("--cone", "a declination within -90 to 90 degrees", dec)
                } else if !(0.0..=180.0).contains(&radius) {
                    refuse("--cone", "a radius within 0 to 180 degrees", radius)
                } else {
                    Ok(())
                }
            }
            Self::Near { x, y, count } => match [x, y].into_iter().find(|at| !at.is_finite()) {
                Some(at) => refuse("--near", "finite numbers", at),
                None if count == 0 => refuse("--near", "one star or more", 0.0),
                None => Ok(()),
            },
        }
    }
}
