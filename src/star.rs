//! Lists of stars to fit, from a file.

use std::path::Path;

use crate::error::{Error, Result};

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
    /// Further columns: name and a value for each star, NaN where there is none.
    pub columns: Vec<(String, Vec<f64>)>,
}

impl StarList {
    /// A list of positions alone.
    pub fn from_stars(stars: Vec<Star>) -> Self {
        Self {
            stars,
            ..Self::default()
        }
    }

    /// The place of a column, whatever the case of its name.
    pub fn column(&self, name: &str) -> Option<usize> {
        let mut names = self.columns.iter().map(|(name, _)| name);
        names.position(|column| column.eq_ignore_ascii_case(name))
    }

    /// The value of a star in the column at that place.
    pub fn value(&self, column: usize, star: usize) -> f64 {
        self.columns[column].1[star]
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

/// Reads a list of stars: CSV, ECSV or the ASCII_HEAD list of SExtractor, with positions in
/// columns named as photutils or SExtractor name them, whatever their case. Each row is a star, in
/// the order of the file. With `one_based` the columns `x`, `y` count from 1; SExtractor's always do.
///
/// Columns whose every field is a number, or empty, come along.
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
    let (x, y, origin) = table.positions(&file)?;
    let origin = if one_based { 1.0 } else { origin };
    let position = |column: usize| -> Result<Vec<f64>> {
        let values = table.numbers(&file, column)?;
        Ok(values.into_iter().map(|value| value - origin).collect())
    };
    let stars = position(x)?.into_iter().zip(position(y)?).enumerate();
    let stars = stars.map(|(id, (x, y))| Star { id, x, y }).collect();
    let others = (0..table.names.len()).filter(|column| ![x, y].contains(column));
    let columns = others
        .filter_map(|column| {
            let values = table.numbers(&file, column).ok()?;
            Some((table.names[column].clone(), values))
        })
        .collect();
    Ok(StarList {
        file,
        stars,
        columns,
    })
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

    /// The numbers of a column; NaN where a row has none.
    fn numbers(&self, file: &str, column: usize) -> Result<Vec<f64>> {
        let number = |(line, row): &(u64, Vec<String>)| {
            let field = row
                .get(column)
                .map_or("", |field| field.trim().trim_matches('"'));
            if field.is_empty() || field == "--" {
                return Ok(f64::NAN);
            }
            field.parse::<f64>().map_err(|_| Error::Malformed {
                file: file.into(),
                field: format!("line {line}, column {}", self.names[column]),
                expected: "a number".into(),
                found: format!("{field:?}"),
                hint: None,
            })
        };
        self.rows.iter().map(number).collect()
    }

    /// The columns of x and y, and the coordinate of the first pixel's centre.
    fn positions(&self, file: &str) -> Result<(usize, usize, f64)> {
        let column = |wanted: &str| {
            self.names
                .iter()
                .position(|name| name.eq_ignore_ascii_case(wanted))
        };
        NAMES
            .iter()
            .find_map(|(x, y, origin)| Some((column(x)?, column(y)?, *origin)))
            .ok_or_else(|| Error::Malformed {
                file: file.into(),
                field: "columns".into(),
                expected: "x and y, or another program's names of them".into(),
                found: if self.names.is_empty() {
                    "no columns".into()
                } else {
                    self.names.join(", ")
                },
                hint: Some(format!(
                    "understood are {}",
                    NAMES.map(|(x, y, _)| format!("{x} {y}")).join(", ")
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
}
