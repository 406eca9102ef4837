//! Queries as SQL. Apart from the condition, the user gives only known names and finite numbers, which
//! are written as they are.

use std::f64::consts::PI;
use std::fmt::Write as _;

use super::{Order, Region};
use crate::catalog::sqlite::{in_table, is_own};
use crate::catalog::{COLUMNS, Column};

/// Bands of declination in a degree, as the tables have them.
const ZONES: f64 = 120.0;

/// The stars that a statement looks at.
#[derive(Debug, Clone)]
pub(crate) enum Chosen {
    /// The stars of these images.
    Images(Vec<i64>),
    /// These stars.
    Stars(Vec<i64>),
}

/// One statement. Its first column is the number of the image.
#[derive(Debug, Clone)]
pub(crate) struct Select<'a> {
    pub(crate) columns: &'a [Column],
    pub(crate) chosen: Chosen,
    pub(crate) region: Option<&'a Region>,
    /// Largest distance from a place, pixels along x and y.
    pub(crate) reach: Option<f64>,
    pub(crate) condition: Option<&'a str>,
    pub(crate) order: &'a [Order],
    pub(crate) limit: Option<u64>,
}

impl Default for Select<'_> {
    fn default() -> Self {
        Self {
            columns: &[],
            chosen: Chosen::Images(Vec::new()),
            region: None,
            reach: None,
            condition: None,
            order: &[],
            limit: None,
        }
    }
}

impl Select<'_> {
    /// The statement for tables that have these columns, as `stars.x`, and where in it the condition begins.
    pub(super) fn sql(&self, stored: &[String]) -> (String, usize) {
        let mut sql = self.source(stored);
        let mut begins = sql.len();
        if let Some(condition) = self.condition {
            // On lines of its own: a comment in it ends there.
            sql.push_str(" WHERE (\n");
            begins = sql.len();
            let _ = write!(sql, "{condition}\n)");
        }
        let _ = write!(sql, " ORDER BY {}", self.order());
        if let Some(limit) = self.limit {
            // Numbers of SQLite end at `i64::MAX`.
            let _ = write!(sql, " LIMIT {}", limit.min(i64::MAX as u64));
        }
        (sql, begins)
    }

    /// The statement with the condition outside parentheses, and where the condition begins. A condition
    /// that is good SQL inside parentheses and outside is one expression, and does not close them itself.
    pub(super) fn bare(&self, condition: &str, stored: &[String]) -> (String, usize) {
        let sql = format!("{} WHERE\n", self.source(stored));
        let begins = sql.len();
        (format!("{sql}{condition}\nLIMIT 1"), begins)
    }

    /// The stars by everything but the condition. A column that an older version did not store is null.
    fn source(&self, stored: &[String]) -> String {
        let is_stored = |name: &str| stored.iter().any(|known| known == name);
        let mjd = if is_stored("images.mjd") {
            "images.mjd"
        } else {
            "NULL"
        };
        let mut sql = String::new();
        // We choose the order of the tables: so it is known which index serves.
        let (from, place, distance) = match self.region {
            Some(Region::Cone { ra, dec, radius }) => {
                let cone = Cone::new(*ra, *dec, *radius);
                sql.push_str(&cone.with());
                (
                    "band CROSS JOIN span CROSS JOIN stars",
                    Some(cone.place()),
                    format!("separation(stars.ra, stars.dec, {ra:?}, {dec:?})"),
                )
            }
            Some(Region::Box { x, y }) => ("stars", Some(within(x, y)), "NULL".to_owned()),
            Some(Region::Near { x, y, .. }) => {
                let distance = format!("pixel_distance(stars.x, stars.y, {x:?}, {y:?})");
                let around = |at: f64, reach: f64| [at - reach, at + reach];
                let place = self
                    .reach
                    .map(|reach| within(&around(*x, reach), &around(*y, reach)));
                ("stars", place, distance)
            }
            None => ("stars", None, "NULL".to_owned()),
        };
        let names = self.columns.iter().map(|column| column.name);
        let names: Vec<&str> = ["image_id"].into_iter().chain(names).collect();
        let own: String = COLUMNS
            .iter()
            .skip(1)
            .map(|column| {
                let (stored_as, name) = (format!("stars.{}", in_table(column)), column.name);
                match is_stored(&stored_as) {
                    true => format!("{stored_as} AS {name}, "),
                    false => format!("NULL AS {name}, "),
                }
            })
            .collect();
        let more = stored
            .iter()
            .filter_map(|stored| stored.strip_prefix("stars."));
        let more: String = more
            .filter(|name| is_own(name))
            .map(|name| format!("stars.{name} AS {name}, "))
            .collect();
        let chosen = match &self.chosen {
            Chosen::Images(ids) => format!("stars.image_id IN ({})", list(ids)),
            Chosen::Stars(ids) => format!("stars.star_id IN ({})", list(ids)),
        };
        // Writing to a text cannot fail, here and below.
        let _ = write!(
            sql,
            "SELECT {} FROM (SELECT stars.star_id AS star_id, stars.image_id AS image_id, \
             images.run_id AS run_id, images.name AS image, {own}{more}stars.object_id AS object_id, \
             images.date AS date, {mjd} AS mjd, images.filter AS filter, images.exposure AS exposure, \
             {distance} AS distance FROM {from} CROSS JOIN images \
             ON images.image_id = stars.image_id WHERE {chosen}",
            names.join(", "),
        );
        if let Some(place) = place {
            let _ = write!(sql, " AND {place}");
        }
        sql.push_str(") AS catalog");
        sql
    }

    fn order(&self) -> String {
        if self.order.is_empty() {
            let order = match self.region {
                Some(Region::Cone { .. }) => "distance, star_id",
                Some(Region::Near { .. }) => "image_id, distance, star_id",
                Some(Region::Box { .. }) | None => "y, x",
            };
            return order.to_owned();
        }
        let mut terms: Vec<String> = Vec::new();
        for order in self.order {
            let name = &order.column;
            let direction = if order.descending { " DESC" } else { "" };
            terms.push(format!("{name} IS NULL, {name}{direction}"));
        }
        terms.push("star_id".to_owned());
        terms.join(", ")
    }
}

/// SQL condition that a star is in a box of pixels.
fn within(x: &[f64; 2], y: &[f64; 2]) -> String {
    let between = |edges: &[f64; 2]| {
        let (low, high) = (edges[0].min(edges[1]), edges[0].max(edges[1]));
        format!("BETWEEN {low:?} AND {high:?}")
    };
    format!("stars.y {} AND stars.x {}", between(y), between(x))
}

/// The numbers as a list in SQL. A single number is an equality, after which an index still has its rows
/// in order.
fn list(ids: &[i64]) -> String {
    let mut list = String::new();
    for (at, id) in ids.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(list, "{comma}{id}");
    }
    list
}

/// A cone on the sky, as bands of declination and ranges of right ascension that contain it.
struct Cone {
    ra: f64,
    dec: f64,
    radius: f64,
    zones: (i64, i64),
    spans: Vec<(f64, f64)>,
}

impl Cone {
    fn new(ra: f64, dec: f64, radius: f64) -> Self {
        /// Wider than the rounding of any of these.
        const SLACK: f64 = 1e-9;
        let zone = |dec: f64| ((dec.clamp(-90.0, 90.0) + 90.0) * ZONES) as i64;
        let reach = radius + SLACK;
        Self {
            ra,
            dec,
            radius,
            zones: (zone(dec - reach), zone(dec + reach)),
            spans: spans(ra, half_width(dec, reach)),
        }
    }

    /// The tables `band` and `span`.
    fn with(&self) -> String {
        let (first, last) = self.zones;
        let spans = self.spans.iter();
        let spans: Vec<String> = spans
            .map(|(low, high)| format!("({low:?}, {high:?})"))
            .collect();
        format!(
            "WITH RECURSIVE band(zone) AS (SELECT {first} UNION ALL \
             SELECT zone + 1 FROM band WHERE zone < {last}), \
             span(low, high) AS (VALUES {}) ",
            spans.join(", ")
        )
    }

    /// SQL condition that a star is in the cone.
    fn place(&self) -> String {
        let Self {
            ra, dec, radius, ..
        } = self;
        format!(
            "stars.zone = band.zone AND stars.ra BETWEEN span.low AND span.high \
             AND separation(stars.ra, stars.dec, {ra:?}, {dec:?}) <= {radius:?}"
        )
    }
}

/// Half the width of a cone in right ascension, degrees: where its edge touches a meridian, sin =
/// sin(radius) / cos(dec). A cone that contains a pole has every right ascension.
fn half_width(dec: f64, radius: f64) -> f64 {
    if dec.abs() + radius >= 90.0 {
        return 180.0;
    }
    let sine = radius.to_radians().sin() / dec.to_radians().cos();
    sine.min(1.0).asin().to_degrees() + 1e-9
}

/// Ranges of right ascension, from 0 to 360 degrees, within `half_width` of `ra`.
fn spans(ra: f64, half_width: f64) -> Vec<(f64, f64)> {
    if half_width >= 180.0 {
        return vec![(0.0, 360.0)];
    }
    let ra = ra.rem_euclid(360.0);
    let (low, high) = (ra - half_width, ra + half_width);
    if low < 0.0 {
        vec![(0.0, high), (low + 360.0, 360.0)]
    } else if high > 360.0 {
        vec![(0.0, high - 360.0), (low, 360.0)]
    } else {
        vec![(low, high)]
    }
}

/// The angle between two places on the sky, degrees, by the haversine, which small angles do not
/// make inexact (R. W. Sinnott 1984, Sky & Telescope 68, 159).
pub(super) fn separation(ra1: f64, dec1: f64, ra2: f64, dec2: f64) -> f64 {
    let haversine = |angle: f64| (angle.to_radians() / 2.0).sin().powi(2);
    let cosines = dec1.to_radians().cos() * dec2.to_radians().cos();
    let h = haversine(dec2 - dec1) + cosines * haversine(ra2 - ra1);
    2.0 * h.clamp(0.0, 1.0).sqrt().asin() * 180.0 / PI
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separations_are_exact_near_and_far() {
        for (a, b, expected) in [
            ((10.0, 20.0), (10.0, 20.0), 0.0),
            ((0.0, 0.0), (180.0, 0.0), 180.0),
            ((0.0, 90.0), (123.0, -90.0), 180.0),
            ((359.999, 0.0), (0.001, 0.0), 0.002),
            ((0.0, 60.0), (1e-6, 60.0), 0.5e-6),
            ((50.0, 89.0), (230.0, 89.0), 2.0),
        ] {
            let found = separation(a.0, a.1, b.0, b.1);
            let error = (found - expected).abs();
            assert!(error <= 1e-9 * expected.max(1e-6), "{a:?} {b:?}: {found}");
        }
        assert!((separation(0.0, 60.0, 1.0, 60.0) - 1.0).abs() > 0.4);
    }

    #[test]
    fn right_ascension_goes_round() {
        assert_eq!(spans(10.0, 2.0), [(8.0, 12.0)]);
        assert_eq!(spans(1.0, 2.0), [(0.0, 3.0), (359.0, 360.0)]);
        assert_eq!(spans(359.0, 2.0), [(0.0, 1.0), (357.0, 360.0)]);
        assert_eq!(spans(-1.0, 2.0), [(0.0, 1.0), (357.0, 360.0)]);
        assert_eq!(spans(77.0, 180.0), [(0.0, 360.0)]);
    }

    #[test]
    fn a_cone_at_a_pole_has_every_right_ascension() {
        assert_eq!(half_width(89.5, 0.5), 180.0);
        assert_eq!(half_width(-89.9, 1.0), 180.0);
        let narrow = half_width(89.0, 0.5);
        assert!((29.0..31.0).contains(&narrow), "{narrow}");
        let equator = half_width(0.0, 0.5);
        assert!((equator - 0.5).abs() < 1e-8, "{equator}");
    }
}
