//! World coordinate systems: from pixels to the sky and back.
//!
//! A header's keywords become a chain of transformations (Greisen & Calabretta 2002, A&A 395, 1061;
//! Calabretta & Greisen 2002, A&A 395, 1077): pixels, SIP, the linear part, TPV, the projection,
//! the rotation from its native sphere, and the reference system to ICRS. It agrees with
//! `astropy.wcs` and `SkyCoord` within 0.01 mas.
//!
//! Unsupported parts are an error, never a wrong position: other distortions (TNX, ZPX, TPD, lookup
//! tables), other projections (AZP, SZP, AIR, BON, PCO, quad cubes, HEALPix, tables), ecliptic and
//! planetary coordinates, GAPPT, PV cards that move the fiducial point.

mod axes;
mod distortion;
mod frame;
mod keywords;
mod linear;
mod projection;
mod rotation;

use axes::{Axes, PvCards};
use distortion::Distortion;
use frame::Frame;
use keywords::Keywords;
use linear::Linear;
use projection::Projection;
use rotation::{Matrix3, Orientation, angles, direction, dot, rotate, transpose};

use crate::io::fits::Value;

/// Largest distance of the pixel of a star from the star's position, radians: 2 mas, as much as rounding
/// makes at the limb of an orthographic projection.
const TOLERANCE: f64 = 1e-8;

/// Why the WCS of an image is not used, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

/// A position on the sky, ICRS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sky {
    /// Right ascension, degrees from 0 up to 360.
    pub ra: f64,
    /// Declination, degrees.
    pub dec: f64,
}

impl Sky {
    /// A position, degrees, in the system of that name in lower case: `icrs`, `fk5` or `j2000`,
    /// `fk4` or `b1950`, `galactic`. `None` for other names.
    pub(crate) fn from_system(system: &str, longitude: f64, latitude: f64) -> Option<Self> {
        let frame = Frame::named(system)?;
        let direction = direction(longitude.to_radians(), latitude.to_radians());
        Some(Self::of_direction(frame.to_icrs(direction)))
    }

    /// The unit vector.
    pub(crate) fn direction(self) -> [f64; 3] {
        direction(self.ra.to_radians(), self.dec.to_radians())
    }

    /// The position that a vector of any length points to.
    pub(crate) fn of_direction(direction: [f64; 3]) -> Self {
        let (ra, dec) = angles(direction);
        let ra = ra.to_degrees().rem_euclid(360.0);
        Self {
            // A value below 0 by rounding would be 360.
            ra: if ra < 360.0 { ra } else { 0.0 },
            dec: dec.to_degrees(),
        }
    }

    /// The unit vectors to the east and to the north.
    pub(crate) fn east_and_north(self) -> [[f64; 3]; 2] {
        let (sin_ra, cos_ra) = self.ra.to_radians().sin_cos();
        let (sin_dec, cos_dec) = self.dec.to_radians().sin_cos();
        [
            [-sin_ra, cos_ra, 0.0],
            [-sin_dec * cos_ra, -sin_dec * sin_ra, cos_dec],
        ]
    }
}

/// The transformation between the pixels of an image and the sky.
#[derive(Debug, Clone, PartialEq)]
pub struct Wcs {
    linear: Linear,
    sip: Option<Distortion>,
    tpv: Option<Distortion>,
    /// Whether the first axis is declination.
    swapped: bool,
    projection: Projection,
    from_native: Matrix3,
    frame: Frame,
    text: String,
}

impl Wcs {
    /// The WCS of the first two axes. `lookup` gives the value of a keyword, `None` where there is no
    /// such card, and an error for a card that cannot be believed. `Ok(None)` means that the keywords say
    /// nothing about the sky.
    ///
    /// # Errors
    ///
    /// [`Unsupported`] where the keywords do, and positions by them would be wrong or are nowhere.
    pub fn from_header(
        lookup: impl Fn(&str) -> Result<Option<Value>, Unsupported>,
    ) -> Result<Option<Self>, Unsupported> {
        let mut keywords = Keywords::new(&lookup);
        let Some(axes) = Axes::read(&mut keywords)? else {
            return Ok(None);
        };
        refuse_others(&mut keywords)?;
        let units = [
            unit(keywords.text("CUNIT1")?)?,
            unit(keywords.text("CUNIT2")?)?,
        ];
        let linear = Linear::read(&mut keywords, units, axes.latitude)?;
        let longitude = 1 - axes.latitude;
        let reference = linear::pair(&mut keywords, "CRVAL")?;
        let fiducial = |axis: usize| {
            let value = reference[axis].ok_or_else(|| missing(&format!("CRVAL{}", axis + 1)))?;
            Ok(value * units[axis])
        };
        let (ra0, dec0): (f64, f64) = (fiducial(longitude)?, fiducial(axes.latitude)?);
        if dec0.abs() > 90.0 {
            let axis = axes.latitude + 1;
            return Err(Unsupported(format!(
                "CRVAL{axis}: expected a latitude from -90 to 90, found {dec0}"
            )));
        }

        let coefficients = [
            keywords.numbers(60, |m| format!("PV1_{m}"))?,
            keywords.numbers(60, |m| format!("PV2_{m}"))?,
        ];
        let (code, sip, tpv, parameters) = match axes.pv_cards(&coefficients) {
            PvCards::Polynomial => {
                // wcslib applies it before CDELT, and to the axes in another order.
                if linear.is_scaled || axes.latitude == 0 {
                    let what = "TPV with CDELT, or with declination first";
                    return Err(Unsupported(what.into()));
                }
                let tpv = Distortion::tpv(&coefficients)?;
                ("TAN", None, Some(tpv), Default::default())
            }
            PvCards::Leftover => {
                let sip = Distortion::sip(&mut keywords)?;
                ("TAN", sip, None, Default::default())
            }
            PvCards::Parameters => {
                let sip = Distortion::sip(&mut keywords)?;
                (axes.code.as_str(), sip, None, coefficients)
            }
        };
        let projection = Projection::new(code, &parameters[axes.latitude], dec0.to_radians())?;
        let theta0 = projection.theta0();
        let orientation =
            Orientation::read(&mut keywords, &parameters[longitude], [ra0, dec0], theta0)?;
        let frame = Frame::read(&mut keywords, &axes.longitude_name)?;
        Ok(Some(Self {
            linear,
            sip,
            tpv,
            swapped: axes.latitude == 0,
            projection,
            from_native: orientation.rotation()?,
            frame,
            text: keywords.into_text(),
        }))
    }

    /// The WCS that [`text`](Self::text) describes.
    ///
    /// # Errors
    ///
    /// [`Unsupported`] where the text describes none.
    pub fn from_text(text: &str) -> Result<Self, Unsupported> {
        let cards = keywords::read_text(text)?;
        let wcs = Self::from_header(|keyword| Ok(cards.get(keyword).cloned()))?;
        wcs.ok_or_else(|| Unsupported("no celestial axes".into()))
    }

    /// The keywords that the WCS is made from, as cards of a FITS header, one a line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The position on the sky of a place in the image, pixels from 0; `None` where the
    /// projection has none.
    pub fn to_sky(&self, x: f64, y: f64) -> Option<Sky> {
        self.to_direction(x, y).map(Sky::of_direction)
    }

    /// The sky position as a unit vector.
    fn to_direction(&self, x: f64, y: f64) -> Option<[f64; 3]> {
        let [x0, y0] = self.linear.reference;
        let mut place = [x + 1.0 - x0, y + 1.0 - y0];
        if let Some(sip) = &self.sip {
            place = sip.apply(place);
        }
        let mut world = self.linear.to_world(place);
        if let Some(tpv) = &self.tpv {
            world = tpv.apply(world);
        }
        if self.swapped {
            world.swap(0, 1);
        }
        let [x, y] = world.map(f64::to_radians);
        let (phi, theta) = self.projection.to_native(x, y)?;
        let celestial = rotate(&self.from_native, direction(phi, theta));
        let icrs = self.frame.to_icrs(celestial);
        icrs.iter().all(|axis| axis.is_finite()).then_some(icrs)
    }

    /// The place in the image of a position on the sky, degrees; `None` where the projection or the
    /// distortion has none.
    pub fn to_pixel(&self, ra: f64, dec: f64) -> Option<(f64, f64)> {
        if !ra.is_finite() || dec.is_nan() || dec.abs() > 90.0 {
            return None;
        }
        let celestial = self.frame.of_icrs(Sky { ra, dec }.direction());
        let (phi, theta) = angles(rotate(&transpose(&self.from_native), celestial));
        let (x, y) = self.projection.to_plane(phi, theta)?;
        let mut world = [x, y].map(f64::to_degrees);
        if self.swapped {
            world.swap(0, 1);
        }
        if let Some(tpv) = &self.tpv {
            world = tpv.invert(world)?;
        }
        let mut place = self.linear.to_offset(world);
        if let Some(sip) = &self.sip {
            place = sip.invert(place)?;
        }
        let [x0, y0] = self.linear.reference;
        let (x, y) = (place[0] + x0 - 1.0, place[1] + y0 - 1.0);
        // Where digits run out, or a distortion folds the plane, there is no way back.
        let back = rotation::separation(self.to_direction(x, y)?, Sky { ra, dec }.direction());
        (back <= TOLERANCE).then_some((x, y))
    }

    /// Degrees on the sky a pixel: the derivatives of (ra cos dec, dec) by x and y.
    pub fn jacobian(&self, x: f64, y: f64) -> Option<[[f64; 2]; 2]> {
        /// Step in pixels: small against distortions, large against rounding.
        const STEP: f64 = 0.05;
        let here = self.to_sky(x, y)?;
        let axes = here.east_and_north();
        let along = |dx: f64, dy: f64| {
            let after = self.to_direction(x + dx, y + dy)?;
            let before = self.to_direction(x - dx, y - dy)?;
            let change: [f64; 3] = std::array::from_fn(|k| (after[k] - before[k]) / (2.0 * STEP));
            Some(axes.map(|axis| dot(change, axis).to_degrees()))
        };
        let (by_x, by_y) = (along(STEP, 0.0)?, along(0.0, STEP)?);
        Some([[by_x[0], by_y[0]], [by_x[1], by_y[1]]])
    }

    /// Side of a square as large as the pixel at a place, degrees.
    pub fn pixel_scale(&self, x: f64, y: f64) -> Option<f64> {
        let [[a, b], [c, d]] = self.jacobian(x, y)?;
        Some((a * d - b * c).abs().sqrt())
    }
}

/// Refuses keywords that change positions and are not read.
fn refuse_others(keywords: &mut Keywords<'_>) -> Result<(), Unsupported> {
    const OTHERS: [(&str, &str); 11] = [
        ("CPDIS1", "a distortion by CPDISi"),
        ("CPDIS2", "a distortion by CPDISi"),
        ("CQDIS1", "a distortion by CQDISi"),
        ("CQDIS2", "a distortion by CQDISi"),
        ("D2IMDIS1", "a distortion by D2IMDISi"),
        ("D2IMDIS2", "a distortion by D2IMDISi"),
        ("AXISCORR", "a distortion by AXISCORR"),
        ("PC001001", "the old form PC001001 of PC1_1"),
        ("CD001001", "the old form CD001001 of CD1_1"),
        ("PROJP1", "the old form PROJP1 of PVi_1"),
        ("PROJP2", "the old form PROJP2 of PVi_2"),
    ];
    for (keyword, what) in OTHERS {
        if keywords.get(keyword)?.is_some() {
            return Err(Unsupported(what.into()));
        }
    }
    Ok(())
}

/// Degrees in a unit of CUNIT; degrees where there is none.
fn unit(name: Option<String>) -> Result<f64, Unsupported> {
    match name.as_deref() {
        None | Some("DEG" | "DEGREE" | "DEGREES") => Ok(1.0),
        Some("ARCMIN") => Ok(1.0 / 60.0),
        Some("ARCSEC") => Ok(1.0 / 3600.0),
        Some("MAS") => Ok(1.0 / 3.6e6),
        Some("RAD") => Ok(1f64.to_degrees()),
        Some(other) => Err(Unsupported(format!("the unit {other} in CUNIT"))),
    }
}

fn missing(keyword: &str) -> Unsupported {
    Unsupported(format!("{keyword} is missing"))
}
