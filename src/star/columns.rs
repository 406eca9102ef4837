//! Columns of positions and names in a table, by the names that programs give them.

use super::table::Table;
use super::{Column, Star, StarList, no_number};
use crate::error::{Error, Result};
use crate::wcs::Sky;

/// Names of a column of positions, in the order in which they are preferred, and the coordinate of
/// the centre of the first pixel: photutils and astropy count from 0, SExtractor from 1.
const PIXELS: [(&str, &str, f64); 10] = [
    ("x", "y", 0.0),
    ("x_fit", "y_fit", 0.0),
    ("x_init", "y_init", 0.0),
    ("x_0", "y_0", 0.0),
    ("x_centroid", "y_centroid", 0.0),
    ("xcentroid", "ycentroid", 0.0),
    ("x_peak", "y_peak", 0.0),
    ("xwin_image", "ywin_image", 1.0),
    ("x_image", "y_image", 1.0),
    ("xpeak_image", "ypeak_image", 1.0),
];

/// Names of a column of positions on the sky, ICRS in degrees, in the order in which they are
/// preferred. J2000 is 0.02 arcseconds from ICRS. VizieR adds `_RAJ2000` in degrees to tables that
/// have it in hours.
const SKY: [(&str, &str); 7] = [
    ("ra", "dec"),
    ("ra_icrs", "de_icrs"),
    ("_raj2000", "_dej2000"),
    ("raj2000", "dej2000"),
    ("alphawin_j2000", "deltawin_j2000"),
    ("alpha_j2000", "delta_j2000"),
    ("alphapeak_j2000", "deltapeak_j2000"),
];

/// Names of a column of names, in the order in which they are preferred. All but the first may
/// count the rows, and are no names then.
const NAMES: [&str; 6] = ["name", "main_id", "id", "number", "source_id", "label"];

/// Whether a table with these columns is a list of stars.
pub(super) fn have_positions<'a>(names: impl Iterator<Item = &'a str> + Clone) -> bool {
    let has = |wanted: &str| names.clone().any(|name| name.eq_ignore_ascii_case(wanted));
    PIXELS.iter().any(|(x, y, _)| has(x) && has(y)) || SKY.iter().any(|(a, b)| has(a) && has(b))
}

/// Columns of a table that are positions.
struct Places {
    /// Columns of pixels, with the coordinate of the first pixel's centre.
    pixels: Option<([usize; 2], f64)>,
    sky: Option<[usize; 2]>,
}

impl Places {
    fn find(table: &Table, file: &str) -> Result<Self> {
        let pair = |a: &str, b: &str| Some([table.find(a)?, table.find(b)?]);
        let pixels = PIXELS
            .iter()
            .find_map(|(x, y, first)| Some((pair(x, y)?, *first)));
        let are_numbers =
            |pair: &[usize; 2]| pair.iter().all(|at| table.numbers(*at).text.is_none());
        let on_sky = || SKY.iter().filter_map(|(ra, dec)| pair(ra, dec));
        let sky = on_sky().find(are_numbers);
        // Beside pixels, columns without numbers of degrees are left out; alone, they are an error.
        let sky = match pixels {
            Some(_) => sky,
            None => sky.or_else(|| on_sky().next()),
        };
        if pixels.is_some() || sky.is_some() {
            return Ok(Self { pixels, sky });
        }
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| &**name).collect();
        Err(Error::Malformed {
            file: file.into(),
            field: "columns".into(),
            expected: "x and y or ra and dec, or another program's names of them".into(),
            found: if names.is_empty() {
                "no columns".into()
            } else {
                names.join(", ")
            },
            hint: Some(format!(
                "understood are {}, {}",
                PIXELS.map(|(x, y, _)| format!("{x} {y}")).join(", "),
                SKY.map(|(ra, dec)| format!("{ra} {dec}")).join(", ")
            )),
        })
    }
}

/// The list of stars of a table. With `one_based` the columns `x`, `y` count from 1; SExtractor's columns
/// always do.
///
/// # Errors
///
/// [`Error::Malformed`] where a column is missing or a position is no number.
pub(super) fn list_of(table: &Table, file: &str, one_based: bool) -> Result<StarList> {
    let places = Places::find(table, file)?;
    let numbers = |at: usize, hint: Option<&str>| -> Result<Vec<f64>> {
        let Column { name, values, text } = table.numbers(at);
        match text {
            None => Ok(values),
            Some((place, text)) => {
                let error = no_number(file, &place, &name, &text);
                Err(match hint {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                })
            }
        }
    };
    let stars = match places.pixels {
        Some(([x, y], first)) => {
            let origin = if one_based { 1.0 } else { first };
            let pairs = numbers(x, None)?.into_iter().zip(numbers(y, None)?);
            let star = |(id, (x, y)): (usize, (f64, f64))| Star {
                id,
                x: x - origin,
                y: y - origin,
            };
            pairs.enumerate().map(star).collect()
        }
        None => {
            let nowhere = |id| Star {
                id,
                x: f64::NAN,
                y: f64::NAN,
            };
            (0..table.n_rows).map(nowhere).collect()
        }
    };
    let mut sky = None;
    if let Some([ra, dec]) = places.sky {
        let hint = Some("positions on the sky are in degrees, as 83.6331");
        let pairs = numbers(ra, hint)?.into_iter().zip(numbers(dec, hint)?);
        let mut found: Vec<Sky> = pairs.map(|(ra, dec)| Sky { ra, dec }).collect();
        if places.pixels.is_none() {
            check_sky(file, table, dec, &found)?;
        }
        for place in &mut found {
            // Values that mark an unknown place, as -99 or 999.
            if !(place.dec.abs() <= 90.0 && place.ra.is_finite()) {
                (place.ra, place.dec) = (f64::NAN, f64::NAN);
            }
        }
        // A catalogue of an image without a WCS has the columns, and nothing in them.
        let is_known = places.pixels.is_none() || found.iter().any(|place| !place.ra.is_nan());
        sky = is_known.then_some(found);
    }
    let by_sextractor = places.pixels.is_some_and(|(_, first)| first == 1.0)
        || table.find("alpha_j2000").is_some()
        || table.find("alphawin_j2000").is_some();
    let positions = places.pixels.into_iter().flat_map(|(columns, _)| columns);
    let positions: Vec<usize> = positions.chain(places.sky.into_iter().flatten()).collect();
    let is_further = |at: &usize| {
        let means_something_else =
            by_sextractor && table.columns[*at].0.eq_ignore_ascii_case("flux_max");
        !positions.contains(at) && !means_something_else
    };
    let names = NAMES.iter().find_map(|name| table.names(table.find(name)?));
    Ok(StarList {
        file: file.into(),
        stars,
        has_pixels: places.pixels.is_some(),
        sky,
        names: names.unwrap_or_default(),
        columns: (0..table.columns.len())
            .filter(is_further)
            .map(|at| table.numbers(at))
            .collect(),
    })
}

/// Refuses declinations that cannot be: hours, or columns that were taken for others.
fn check_sky(file: &str, table: &Table, column: usize, sky: &[Sky]) -> Result<()> {
    match sky.iter().position(|sky| sky.dec.abs() > 90.0) {
        None => Ok(()),
        Some(row) => Err(Error::Malformed {
            file: file.into(),
            field: format!(
                "{}, column {}",
                table.place_of(row),
                table.columns[column].0
            ),
            expected: "a declination from -90 to 90 degrees".into(),
            found: sky[row].dec.to_string(),
            hint: None,
        }),
    }
}
