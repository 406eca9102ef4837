//! Images of a database and their stars.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::catalog::query::{Chosen, Query, Select, Session, value};
use crate::catalog::{COLUMNS, ImageInfo, Row, RunInfo, Value};
use crate::error::{Error, Result};
use crate::fit::{FitStatus, Flags};
use crate::io::stack::is_npy;
use crate::settings::Settings;

/// A database that is open for reading.
#[derive(Debug)]
pub struct Records {
    session: Session,
    /// The database, for messages.
    file: String,
}

/// Record of one image of one run in a database.
#[derive(Debug, Clone)]
pub struct ImageRecord {
    /// Number of the image in the database.
    pub image_id: i64,
    /// Number of the run that fitted the image.
    pub run_id: i64,
    /// The run that fitted the image, shared with the other images of the run.
    pub run: Arc<RunInfo>,
    /// Start of the run, ISO 8601 in UTC.
    pub started: String,
    /// The run's settings as far as they say what the numbers mean.
    pub settings: Settings,
    /// Name, file, header and assumptions; for a stack, width and height of one cutout.
    pub info: ImageInfo,
    /// Number of stars of the image.
    pub n_stars: u64,
}

impl ImageRecord {
    /// Whether the stars were fitted to ready cutouts, one each, and not to one image.
    pub fn is_stack(&self) -> bool {
        self.settings.cutouts || is_npy(&self.info.source.path)
    }

    /// Place of a star in the pixels of the image, or of its cutout in a stack; the centre of the first
    /// pixel is (0, 0).
    pub fn position(&self, star: &Row) -> Option<(f64, f64)> {
        let first = self.settings.first_pixel();
        Some((star.get("x")? - first, star.get("y")? - first))
    }
}

impl Records {
    /// Opens a database.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Malformed`] and [`Error::Unsupported`] for a file that is no
    /// catalogue of starfit or a newer one's; [`Error::Database`].
    pub fn open(database: &Path) -> Result<Self> {
        Ok(Self {
            session: Session::open(database)?,
            file: database.display().to_string(),
        })
    }

    /// Refuses the database itself as an output.
    pub(in crate::report) fn check_output(&self, output: &Path) -> Result<()> {
        self.session.check_output(output)
    }

    /// The images of these names, with or without the part in brackets, or of these paths; without
    /// names all images. Each image is taken from its newest run, or from `run` alone.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for an image or a run that there is not; [`Error::Database`].
    pub fn images(&self, names: &[String], run: Option<i64>) -> Result<Vec<ImageRecord>> {
        let query = Query {
            images: names.to_vec(),
            run,
            ..Query::default()
        };
        let ids = self.session.images(&query)?;
        let mut runs = HashMap::new();
        let records = ids.into_iter().map(|id| self.image(id, &mut runs));
        // Another program may have fitted an image again in between.
        records.filter_map(Result::transpose).collect()
    }

    /// An image; `runs` are the runs that are known already.
    fn image(
        &self,
        image_id: i64,
        runs: &mut HashMap<i64, (Arc<RunInfo>, String)>,
    ) -> Result<Option<ImageRecord>> {
        let fail = |error: rusqlite::Error| self.session.error(&error);
        let Some((info, run_id, n_stars)) = self.session.image(image_id).map_err(fail)? else {
            return Ok(None);
        };
        let (run, started) = match runs.get(&run_id) {
            Some(known) => known.clone(),
            None => {
                let Some((run, started)) = self.session.run(run_id).map_err(fail)? else {
                    return Ok(None);
                };
                let run = (Arc::new(run), started);
                runs.insert(run_id, run.clone());
                run
            }
        };
        Ok(Some(ImageRecord {
            image_id,
            run_id,
            settings: Settings::from_json(&run.settings),
            run,
            started,
            info,
            n_stars,
        }))
    }

    /// Hands each star of an image to `take`, by y and x.
    ///
    /// # Errors
    ///
    /// [`Error::Database`]; [`Error::Malformed`] for a row that no starfit has written; the errors of
    /// `take`.
    pub fn each_star(
        &self,
        image: &ImageRecord,
        take: impl FnMut(Row) -> Result<()>,
    ) -> Result<()> {
        self.select(image, None, take)
    }

    /// The star of this number in an image.
    ///
    /// # Errors
    ///
    /// The errors of [`Records::each_star`]; [`Error::Option`] where there is no such star.
    pub fn star(&self, image: &ImageRecord, id: u64) -> Result<Row> {
        let mut found = None;
        // Numbers in SQLite end at the largest `i64`, and so do ours.
        let condition = format!("id = {}", i64::try_from(id).unwrap_or(-1));
        self.select(image, Some(&condition), |star| {
            found = Some(star);
            Ok(())
        })?;
        found.ok_or_else(|| Error::Option {
            option: "--id".to_owned(),
            expected: match image.n_stars {
                0 => format!("a star of {}, which has none", image.info.name),
                n => format!("0 to {} in {}", n - 1, image.info.name),
            },
            found: id.to_string(),
            hint: Some("`starfit query` lists the stars with their ids".to_owned()),
        })
    }

    fn select(
        &self,
        image: &ImageRecord,
        condition: Option<&str>,
        mut take: impl FnMut(Row) -> Result<()>,
    ) -> Result<()> {
        let select = Select {
            columns: COLUMNS,
            chosen: Chosen::Images(vec![image.image_id]),
            condition,
            ..Select::default()
        };
        self.session.each(&select, |row| {
            let values = COLUMNS.iter().enumerate();
            // The number of the image is first.
            let values = values.map(|(at, column)| value(row, at + 1, column.kind));
            let values = values.collect::<rusqlite::Result<Vec<_>>>();
            take(self.star_of(&values.map_err(|error| self.session.error(&error))?)?)
        })
    }

    /// A row of the catalogue from the values of all columns.
    fn star_of(&self, values: &[Value<'_>]) -> Result<Row> {
        let (mut id, mut status, mut flags, mut star_name) = (None, None, None, None);
        let mut numbers = Vec::with_capacity(values.len());
        for (column, value) in COLUMNS.iter().zip(values) {
            match (column.name, *value) {
                ("id", Value::Integer(value)) => id = usize::try_from(value).ok(),
                ("status", Value::Text(name)) => status = FitStatus::by_name(name),
                ("flags", Value::Integer(value)) => flags = u16::try_from(value).ok().map(Flags),
                ("id" | "status" | "flags", _) => {}
                ("name", Value::Text(name)) => star_name = Some(name.into()),
                (name, Value::Integer(value)) => numbers.push((name, value as f64)),
                (name, Value::Float(value)) => numbers.push((name, value)),
                (_, Value::Null | Value::Text(_)) => {}
            }
        }
        let (Some(id), Some(status), Some(flags)) = (id, status, flags) else {
            return Err(Error::Malformed {
                file: self.file.clone(),
                field: "stars".to_owned(),
                expected: "a number, a status and flags in each row".to_owned(),
                found: "something else".to_owned(),
                hint: Some("another program has changed it: fit the image again".to_owned()),
            });
        };
        let mut row = Row::new(id, status, flags);
        row.name = star_name;
        for (name, number) in numbers {
            row.set(name, number);
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog;
    use crate::report::stars::record::*;

    fn written(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("a.db");
        let run = RunInfo {
            settings: serde_json::json!({"model": "moffat", "fits_pixels": true}),
            ..RunInfo::default()
        };
        let mut writer = catalog::create(&path, &run).unwrap();
        for name in ["a.fits[0]", "b.fits[1]"] {
            let mut image = ImageInfo {
                name: name.into(),
                width: 30,
                height: 20,
                ..ImageInfo::default()
            };
            image.source.path = name.into();
            image.source.bytes = 77;
            image.source.modified = -5;
            image.source.plane = Some(3);
            image.header.filter = Some("V".into());
            image.assumed.gain = Some(1.5);
            image.assumed.size = (15, 15);
            let mut row = Row::new(0, FitStatus::Converged, Flags(5));
            row.set("x", 4.5);
            row.set("y", 6.5);
            row.set("dof", 220.0);
            let other = Row::new(1, FitStatus::SingularCurvature, Flags(0));
            writer.write(&image, &[row, other]).unwrap();
        }
        writer.finish().unwrap();
        path
    }

    #[test]
    fn what_was_written_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(&written(folder.path())).unwrap();
        let images = records.images(&[], None).unwrap();
        assert_eq!(images.len(), 2);
        assert!(Arc::ptr_eq(&images[0].run, &images[1].run));
        let image = &records.images(&["b.fits".into()], Some(1)).unwrap()[0];
        assert_eq!((image.info.name.as_str(), image.image_id), ("b.fits[1]", 2));
        assert_eq!(
            (image.info.source.bytes, image.info.source.modified),
            (77, -5)
        );
        assert_eq!(image.info.source.plane, Some(3));
        assert_eq!(image.info.assumed.gain, Some(1.5));
        assert_eq!(image.info.header.filter.as_deref(), Some("V"));
        assert_eq!(image.settings.model.unwrap().name(), "moffat");
        let mut ids = Vec::new();
        let taken = records.each_star(image, |star| {
            ids.push(star.id);
            Ok(())
        });
        taken.unwrap();
        assert_eq!(ids.len() as u64, image.n_stars);
        let star = records.star(image, 0).unwrap();
        assert!(ids.contains(&star.id));
        assert_eq!((star.flags, star.get("dof")), (Flags(5), Some(220.0)));
        assert_eq!(image.position(&star), Some((3.5, 5.5)));
        let star = records.star(image, 1).unwrap();
        assert_eq!(star.status, FitStatus::SingularCurvature);
        assert_eq!(image.position(&star), None);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let records = Records::open(&path).unwrap();
        let error = records.images(&["c.fits".into()], None).unwrap_err();
        assert!(error.hint().unwrap().contains("b.fits[1]"));
        assert!(records.images(&[], Some(2)).is_err());
        let image = &records.images(&[], None).unwrap()[0];
        for id in [2, u64::MAX] {
            let error = records.star(image, id).unwrap_err().to_string();
            assert!(error.contains("0 to 1 in a.fits[0]"), "{error}");
        }
        drop(records);
        let connection = rusqlite::Connection::open(&path).unwrap();
        let change = "UPDATE stars SET status = 'magic' WHERE id = 0";
        connection.execute(change, []).unwrap();
        let records = Records::open(&path).unwrap();
        assert!(records.star(image, 0).is_err() && records.star(image, 1).is_ok());
        assert!(Records::open(&folder.path().join("none.db")).is_err());
    }
}
