//! Lists of stars to fit, from a file.

use std::borrow::Cow;
use std::path::Path;

use crate::error::{Error, Result};
use crate::image::Image;
use crate::wcs::Sky;

/// Stars below which another core is not worth waking.
pub(crate) const WORTH_A_CORE: usize = 64;

/// One thing to fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Star {
    /// Running number in its image or list.
    pub id: usize,
    /// Column, pixels; the centre of the first pixel is 0. NaN where the list has no value.
    pub x: f64,
    /// Row, as `x`.
    pub y: f64,
}

/// Stars to fit, and what else is known of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StarList {
    /// The file, for messages.
    pub file: String,
    /// The stars, in order; their ids are their places.
    pub stars: Vec<Star>,
    /// Where they are on the sky, where the list says that instead of pixels: x and y are then NaN.
    pub sky: Option<Vec<Sky>>,
    /// Further columns.
    pub columns: Vec<Column>,
}

/// A column of a list beside the positions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Column {
    /// Name, as in the file.
    pub name: String,
    /// A value for each star, NaN where there is none.
    pub values: Vec<f64>,
    /// The first field that is no number, with its line. Names and remarks are columns too: it is
    /// an error only where a number is asked for.
    pub text: Option<(u64, String)>,
}

impl StarList {
    /// A list of positions alone.
    pub fn from_stars(stars: Vec<Star>) -> Self {
        Self {
            stars,
            ..Self::default()
        }
    }

    /// The list with positions in the pixels of `image`. A star that its projection does not show
    /// has none.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] where the list has positions on the sky and the image no WCS.
    pub fn on(&self, image: &Image) -> Result<Cow<'_, Self>> {
        let Some(sky) = &self.sky else {
            return Ok(Cow::Borrowed(self));
        };
        let Some(wcs) = &image.wcs else {
            return Err(Error::Malformed {
                file: image.name.clone(),
                field: "WCS".into(),
                expected: format!("a supported one, as {} has ra and dec", self.file),
                found: "none".into(),
                hint: Some("give columns x and y, or solve the image for its WCS first".into()),
            });
        };
        let place = |(id, sky): (usize, &Sky)| {
            let (x, y) = wcs
                .to_pixel(sky.ra, sky.dec)
                .unwrap_or((f64::NAN, f64::NAN));
            Star { id, x, y }
        };
        Ok(Cow::Owned(Self {
            file: self.file.clone(),
            stars: sky.iter().enumerate().map(place).collect(),
            sky: None,
            columns: self.columns.clone(),
        }))
    }

    /// The place of a column of numbers, whatever the case of its name.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] where the column holds something else than numbers.
    pub fn column(&self, name: &str) -> Result<Option<usize>> {
        let mut columns = self.columns.iter();
        let place = columns.position(|column| column.name.eq_ignore_ascii_case(name));
        if let Some(column) = place.map(|place| &self.columns[place])
            && let Some((line, text)) = &column.text
        {
            return Err(no_number(&self.file, *line, &column.name, text)
                .with_hint("leave a field empty, or rename the column, where it is not meant"));
        }
        Ok(place)
    }

    /// The value of a star in the column at that place.
    pub fn value(&self, column: usize, star: usize) -> f64 {
        self.columns[column].values[star]
    }
}

fn no_number(file: &str, line: u64, column: &str, found: &str) -> Error {
    Error::Malformed {
        file: file.into(),
        field: format!("line {line}, column {column}"),
        expected: "a number".into(),
        found: format!("{found:?}"),
        hint: None,
    }
}

/// Names of a column of positions, in the order in which they are preferred, and the coordinate of
/// the centre of the first pixel: photutils and astropy count from 0, SExtractor from 1.
const NAMES: [(&str, &str, f64); 10] = [
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
/// preferred. J2000 is 0.02 arcseconds from ICRS.
const SKY_NAMES: [(&str, &str); 4] = [
    ("ra", "dec"),
    ("ra_icrs", "de_icrs"),
    ("raj2000", "dej2000"),
    (SEXTRACTOR_RA, "delta_j2000"),
];

const SEXTRACTOR_RA: &str = "alpha_j2000";

/// Reads a list of stars: CSV, ECSV or the ASCII_HEAD list of SExtractor, with positions in
/// columns named as photutils or SExtractor name them, whatever their case, or else on the sky.
/// Each row is a star, in the order of the file. With `one_based` the columns `x`, `y` count from
/// 1; SExtractor's always do.
///
/// All further columns come along, except SExtractor's FLUX_MAX: it is the brightest pixel of a
/// star and would be taken for the upper bound of its flux.
///
/// # Errors
///
/// [`Error::Io`], or [`Error::Malformed`] where a column is missing or a position is no number.
pub fn read_stars(path: &Path, one_based: bool) -> Result<StarList> {
    let bytes = std::fs::read(path).map_err(|source| Error::io(path, source))?;
    let text = String::from_utf8(bytes).map_err(|_| Error::Malformed {
        file: path.display().to_string(),
        field: "text".into(),
        expected: "a CSV, ECSV or SExtractor list in UTF-8".into(),
        found: "other bytes".into(),
        hint: Some("FITS tables are not read: save the list as CSV".into()),
    })?;
    let file = path.display().to_string();
    let table = Table::parse(&file, &text)?;
    let places = table.positions(&file)?;
    let position = |place: usize| -> Result<Vec<f64>> {
        let column = table.column(place);
        match &column.text {
            None => Ok(column.values),
            Some((line, text)) => {
                let error = no_number(&file, *line, &column.name, text);
                Err(match places.first {
                    Some(_) => error,
                    None => error.with_hint("positions on the sky are in degrees, as 83.6331"),
                })
            }
        }
    };
    let pairs = position(places.columns[0])?
        .into_iter()
        .zip(position(places.columns[1])?);
    let (stars, sky) = match places.first {
        Some(first) => {
            let origin = if one_based { 1.0 } else { first };
            let star = |(id, (x, y)): (usize, (f64, f64))| Star {
                id,
                x: x - origin,
                y: y - origin,
            };
            (pairs.enumerate().map(star).collect(), None)
        }
        None => {
            let sky: Vec<Sky> = pairs.map(|(ra, dec)| Sky { ra, dec }).collect();
            check_sky(&file, &table, places.columns[1], &sky)?;
            let star = |id| Star {
                id,
                x: f64::NAN,
                y: f64::NAN,
            };
            ((0..sky.len()).map(star).collect(), Some(sky))
        }
    };
    let by_sextractor = places.by_sextractor;
    let means_something_else = |name: &str| by_sextractor && name.eq_ignore_ascii_case("flux_max");
    let columns = (0..table.names.len())
        .filter(|place| {
            !places.columns.contains(place) && !means_something_else(&table.names[*place])
        })
        .map(|place| table.column(place))
        .collect();
    Ok(StarList {
        file,
        stars,
        sky,
        columns,
    })
}

/// Refuses declinations that are none: hours, or columns that were taken for others.
fn check_sky(file: &str, table: &Table, column: usize, sky: &[Sky]) -> Result<()> {
    match sky.iter().position(|sky| sky.dec.abs() > 90.0) {
        None => Ok(()),
        Some(row) => Err(Error::Malformed {
            file: file.into(),
            field: format!("line {}, column {}", table.rows[row].0, table.names[column]),
            expected: "a declination from -90 to 90 degrees".into(),
            found: sky[row].dec.to_string(),
            hint: None,
        }),
    }
}

/// Which columns of a table are positions.
struct Places {
    columns: [usize; 2],
    /// The coordinate of the first pixel's centre; `None` of positions on the sky.
    first: Option<f64>,
    by_sextractor: bool,
}

/// A text table: names of columns and, with their line numbers, rows of fields.
struct Table {
    names: Vec<String>,
    rows: Vec<(u64, Vec<String>)>,
}

impl Table {
    fn parse(file: &str, text: &str) -> Result<Self> {
        let names = sextractor_names(text);
        if !names.is_empty() {
            let rows = (1u64..)
                .zip(text.lines())
                .filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty())
                .map(|(number, line)| {
                    (number, line.split_whitespace().map(str::to_owned).collect())
                })
                .collect();
            return Ok(Self { names, rows });
        }
        let header = text
            .lines()
            .find(|line| !line.starts_with('#') && !line.trim().is_empty());
        // ECSV separates by blanks unless its head says otherwise; spreadsheets like semicolons.
        let delimiter = [b',', b';', b'\t']
            .into_iter()
            .find(|&d| header.is_some_and(|h| h.contains(d as char)));
        let mut reader = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .delimiter(delimiter.unwrap_or(b' '))
            .trim(csv::Trim::All)
            .flexible(true)
            .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
        let malformed = |error: csv::Error| Error::Malformed {
            file: file.into(),
            field: error
                .position()
                .map_or_else(String::new, |at| format!("line {}", at.line())),
            expected: "a row of the table".into(),
            found: error.to_string(),
            hint: None,
        };
        let names = reader
            .headers()
            .map_err(malformed)?
            .iter()
            .map(str::to_owned)
            .collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(malformed)?;
            let line = record.position().map_or(0, csv::Position::line);
            rows.push((line, record.iter().map(str::to_owned).collect()));
        }
        Ok(Self { names, rows })
    }

    /// The column at that place.
    fn column(&self, place: usize) -> Column {
        let mut text = None;
        let number = |(line, row): &(u64, Vec<String>)| {
            let field = row
                .get(place)
                .map_or("", |field| field.trim().trim_matches('"'));
            if field.is_empty() || field == "--" {
                return f64::NAN;
            }
            field.parse().unwrap_or_else(|_| {
                text.get_or_insert_with(|| (*line, field.to_owned()));
                f64::NAN
            })
        };
        let values = self.rows.iter().map(number).collect();
        Column {
            name: self.names[place].clone(),
            values,
            text,
        }
    }

    /// The columns of positions: in pixels, else on the sky.
    fn positions(&self, file: &str) -> Result<Places> {
        let column = |wanted: &str| {
            self.names
                .iter()
                .position(|name| name.eq_ignore_ascii_case(wanted))
        };
        let in_pixels = NAMES.iter().find_map(|(x, y, origin)| {
            Some(Places {
                columns: [column(x)?, column(y)?],
                first: Some(*origin),
                by_sextractor: *origin == 1.0,
            })
        });
        let on_sky = || {
            SKY_NAMES.iter().find_map(|(ra, dec)| {
                Some(Places {
                    columns: [column(ra)?, column(dec)?],
                    first: None,
                    by_sextractor: *ra == SEXTRACTOR_RA,
                })
            })
        };
        in_pixels.or_else(on_sky).ok_or_else(|| Error::Malformed {
            file: file.into(),
            field: "columns".into(),
            expected: "x and y or ra and dec, or another program's names of them".into(),
            found: if self.names.is_empty() {
                "no columns".into()
            } else {
                self.names.join(", ")
            },
            hint: Some(format!(
                "understood are {}, {}",
                NAMES.map(|(x, y, _)| format!("{x} {y}")).join(", "),
                SKY_NAMES.map(|(ra, dec)| format!("{ra} {dec}")).join(", ")
            )),
        })
    }
}

/// The names in SExtractor's head, `#   1 NUMBER   Running object number`; empty if there is none.
fn sextractor_names(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in text.lines().take_while(|line| line.starts_with('#')) {
        let mut words = line.trim_start_matches('#').split_whitespace();
        let (Some(Ok(number)), Some(name)) = (words.next().map(str::parse::<usize>), words.next())
        else {
            return Vec::new();
        };
        // A vector column takes several numbers and is listed under the first.
        if number <= names.len() || number > 10_000 {
            return Vec::new();
        }
        names.resize(number - 1, String::new());
        names.push(name.to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, one_based: bool) -> Result<Vec<(f64, f64)>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Ok(read_stars(file.path(), one_based)?
            .stars
            .iter()
            .map(|star| (star.x, star.y))
            .collect())
    }

    #[test]
    fn every_dialect_gives_the_same_stars() {
        let wanted = vec![(9.5, 19.0), (0.0, -1.0)];
        for text in [
            "x,y\n9.5,19\n0,-1\n",
            "id;y;x\n7;19;9.5\n8;-1;0\n",
            "\u{feff}X\tY\r\n9.5\t19\r\n0\t-1\r\n",
            "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: x, datatype: float64}\nid x y\n1 9.5 19\n2 0.0 -1.0\n",
            "x_centroid,y_centroid,flux\n9.5,19,3\n0,-1,4\n",
            "NUMBER,X_IMAGE,Y_IMAGE\n1,10.5,20\n2,1,0\n",
            "#   1 NUMBER  Running object number\n#   2 MAG_APER  Magnitudes [mag]\n#   4 X_IMAGE  x [pixel]\n#   5 Y_IMAGE  y [pixel]\n 1 12.0 12.1 10.5 20\n 2 13.0 13.1 1 0\n",
        ] {
            assert_eq!(read(text, false).unwrap(), wanted, "{text}");
        }
        assert_eq!(read("x,y\n10.5,20\n1,0\n", true).unwrap(), wanted);
        assert_ne!(read("x,y\n10.5,20\n1,0\n", false).unwrap(), wanted);
    }

    #[test]
    fn a_missing_value_is_a_row_and_a_wrong_one_is_an_error() {
        let stars = read("x,y\n1,2\n,3\n", false).unwrap();
        assert!(stars[1].0.is_nan() && stars[1].1 == 3.0);
        let error = read("x,y\n1,2\n1,zwei\n", false).unwrap_err().to_string();
        assert!(
            error.ends_with("line 3, column y: expected a number, found \"zwei\""),
            "{error}"
        );
        let error = read("a,b\n1,2\n", false).unwrap_err();
        assert!(
            error.to_string().contains("found a, b") && error.hint().unwrap().contains("x_image")
        );
        assert!(read("", false).is_err());
        assert_eq!(read("x,y\n", false).unwrap(), []);
    }

    fn list(text: &str) -> StarList {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_stars(file.path(), false).unwrap()
    }

    #[test]
    fn text_is_an_error_only_where_numbers_are_asked_for() {
        let list = list("image,x,y,Flux,fwhm\nm13.fits,1,2,300,\nm13.fits,3,4,,wide\n");
        let flux = list.column("flux").unwrap().unwrap();
        assert_eq!(list.value(flux, 0), 300.0);
        assert!(list.value(flux, 1).is_nan());
        assert_eq!(list.column("beta").unwrap(), None);
        for (name, wanted) in [
            (
                "fwhm",
                "line 3, column fwhm: expected a number, found \"wide\"",
            ),
            (
                "image",
                "line 2, column image: expected a number, found \"m13.fits\"",
            ),
        ] {
            let error = list.column(name).unwrap_err().to_string();
            assert!(error.ends_with(wanted), "{error}");
        }
    }

    #[test]
    fn the_brightest_pixel_of_sextractor_is_no_bound() {
        let names = |text| {
            let columns = list(text).columns.into_iter();
            columns.map(|column| column.name).collect::<Vec<_>>()
        };
        assert_eq!(
            names("X_IMAGE,Y_IMAGE,FLUX_MAX,BACKGROUND\n1,2,3,4\n"),
            ["BACKGROUND"]
        );
        assert_eq!(names("x,y,FLUX_MAX\n1,2,3\n"), ["FLUX_MAX"]);
    }
}
