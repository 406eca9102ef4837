//! Stars from a database, and objects into it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row as SqlRow, params};

use super::affine::Point;
use super::mean::Mean;
use super::measured::Measured;
use super::{Linked, MatchOptions, Placement};
use crate::catalog::query::check_run;
use crate::catalog::sqlite::{close, database_error, open_to_change};
use crate::error::Result;
use crate::fit::{FitStatus, Flags};
use crate::wcs::Sky;

/// A database, locked against other writers until it is closed.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
}

/// An image with its stars.
#[derive(Debug)]
pub(super) struct StoredImage {
    image_id: i64,
    pub(super) name: String,
    /// Filter; empty where the header has none.
    pub(super) filter: String,
    pub(super) unit: String,
    pub(super) exposure: Option<f64>,
    pub(super) wcs: Option<String>,
    /// Whether the centre of the first pixel is (1, 1) in the catalogue.
    pub(super) one_based: bool,
    /// The pixel in the middle, from 0.
    pub(super) center: Point,
    /// Width and height, pixels.
    pub(super) size: (f64, f64),
    pub(super) stars: Vec<StoredStar>,
}

/// A star, NaN where the catalogue has null.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoredStar {
    star_id: i64,
    pub(super) x: f64,
    pub(super) x_err: f64,
    pub(super) y: f64,
    pub(super) y_err: f64,
    ra: f64,
    ra_err: f64,
    dec: f64,
    dec_err: f64,
    pub(super) flux: f64,
    flux_err: f64,
    mag: f64,
    mag_err: f64,
    pub(super) flags: Flags,
}

impl StoredStar {
    pub(super) fn pixel(&self) -> Point {
        (self.x, self.y)
    }

    /// The position on the sky, and the errors in degrees; `None` where there is none.
    pub(super) fn sky(&self) -> Option<(Sky, [f64; 2])> {
        let sky = Sky {
            ra: self.ra,
            dec: self.dec,
        };
        let is_known = sky.ra.is_finite() && sky.dec.is_finite();
        is_known.then_some((sky, [self.ra_err, self.dec_err]))
    }
}

impl StoredStar {
    /// Sets the position on the sky, or removes it.
    pub(super) fn set_sky(&mut self, place: Option<Measured>) {
        let nowhere = [(f64::NAN, None); 2];
        let [(ra, ra_err), (dec, dec_err)] = place.unwrap_or(nowhere);
        (self.ra, self.dec) = (ra, dec);
        self.ra_err = ra_err.unwrap_or(f64::NAN);
        self.dec_err = dec_err.unwrap_or(f64::NAN);
    }
}

impl Store {
    /// Opens a catalogue and begins the transaction that [`close`](Self::close) completes.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let store = Self {
            connection: open_to_change(path)?,
            path: path.to_owned(),
        };
        // The stars that are read must still be there when objects are written.
        store.run(|connection| connection.execute_batch("BEGIN IMMEDIATE"))?;
        Ok(store)
    }

    /// Keeps what was written.
    pub(super) fn close(self) -> Result<()> {
        self.run(|connection| connection.execute_batch("COMMIT"))?;
        close(self.connection, &self.path)
    }

    /// Leaves everything as it was.
    pub(super) fn abandon(self) {
        // Closing would do the same, but for the journal.
        if self.connection.execute_batch("ROLLBACK").is_ok() {
            let _ = close(self.connection, &self.path);
        }
    }

    fn run<T>(&self, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        act(&self.connection).map_err(|error| database_error(&self.path, &error))
    }

    /// The images in the order of their times, then of their files, each with its stars that can be
    /// linked, in the order of their numbers.
    pub(super) fn images(&self, options: &MatchOptions) -> Result<Vec<StoredImage>> {
        let images = match options.run {
            Some(run) => {
                check_run(&self.connection, &self.path, run)?;
                format!("(SELECT * FROM images WHERE run_id = {run})")
            }
            None => "newest_images".to_owned(),
        };
        self.run(|connection| {
            // Images of older versions have a date alone.
            let time = "coalesce(mjd, julianday(date) - 2400000.5)";
            let sql = format!(
                "SELECT * FROM {images} JOIN runs USING (run_id) \
                 ORDER BY {time} IS NULL, {time}, date IS NULL, date, path, hdu, plane, image_id"
            );
            let mut images = connection.prepare(&sql)?;
            let images = images.query_map([], stored_image)?;
            let mut images = images.collect::<rusqlite::Result<Vec<_>>>()?;
            let statuses = FitStatus::ALL.iter().filter(|status| status.has_values());
            let statuses: Vec<String> = statuses.map(|status| format!("'{status}'")).collect();
            let mut stars = connection.prepare(&format!(
                "SELECT star_id, x, x_err, y, y_err, ra, ra_err, dec, dec_err, flux, flux_err, \
                 mag, mag_err, flags FROM stars WHERE image_id = ? AND status IN ({}) \
                 AND x IS NOT NULL AND y IS NOT NULL AND flags & ? = 0 ORDER BY id, star_id",
                statuses.join(", ")
            ))?;
            for image in &mut images {
                let exclude = options.exclude.0;
                let found = stars.query_map(params![image.image_id, exclude], stored_star)?;
                image.stars = found.collect::<rusqlite::Result<_>>()?;
            }
            Ok(images)
        })
    }

    /// Replaces the objects of the database.
    pub(super) fn write(&self, linked: &Linked) -> Result<()> {
        self.run(|connection| {
            connection.execute_batch(
                "UPDATE stars SET object_id = NULL WHERE object_id IS NOT NULL; \
                 DELETE FROM object_fluxes; DELETE FROM objects; DELETE FROM registrations",
            )?;
            write_registrations(connection, linked)?;
            write_objects(connection, linked)
        })
    }
}

fn write_registrations(connection: &Connection, linked: &Linked) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare("INSERT INTO registrations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    for (image, placement) in linked.images.iter().zip(&linked.placements) {
        let found = match placement {
            Placement::Registered(found) => Some((found, 0)),
            Placement::Refined(refined) => Some((&refined.registration, refined.reference)),
            _ => None,
        };
        if let Some((found, reference)) = found {
            let map = found.map;
            let id = image.image_id;
            let reference = linked.images.get(reference).map(|image| image.image_id);
            insert.execute(params![
                id,
                map.xx,
                map.xy,
                map.x0,
                map.yx,
                map.yy,
                map.y0,
                i64::try_from(found.n_stars).unwrap_or(i64::MAX),
                found.rms,
                reference
            ])?;
        }
    }
    Ok(())
}

fn write_objects(connection: &Connection, linked: &Linked) -> rusqlite::Result<()> {
    let mut insert_object =
        connection.prepare("INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    let mut insert_flux = connection
        .prepare("INSERT INTO object_fluxes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
    let mut set_object = connection.prepare("UPDATE stars SET object_id = ? WHERE star_id = ?")?;
    let mut owners: Vec<(i64, i64)> = Vec::new();
    for (members, object_id) in linked.members.iter().zip(1_i64..) {
        let stars = linked.stars(members);
        let place = linked.frame.place(stars.clone().map(|(.., place)| place));
        let [ra, dec] = place.sky.map_or([None; 2], |sky| sky.map(Some));
        let [x, y] = place.pixel.map_or([None; 2], |pixel| pixel.map(Some));
        let value = |measured: Option<(f64, Option<f64>)>| measured.map(|(value, _)| value);
        let error = |measured: Option<(f64, Option<f64>)>| measured.and_then(|(_, error)| error);
        insert_object.execute(params![
            object_id,
            stars.clone().count() as i64,
            value(ra),
            error(ra),
            value(dec),
            error(dec),
            value(x),
            error(x),
            value(y),
            error(y),
        ])?;
        let mut filters: Vec<&str> = stars.clone().map(|(image, ..)| &*image.filter).collect();
        filters.sort_unstable();
        filters.dedup();
        for filter in filters {
            let own = stars.clone().filter(|(image, ..)| image.filter == filter);
            let own = own.map(|(_, star, _)| star);
            let has_flux = !linked.without_flux.iter().any(|without| without == filter);
            let fluxes = own.clone().filter(|_| has_flux);
            let flux = Mean::of(fluxes.map(|star| (star.flux, Some(star.flux_err))));
            let mag = Mean::of(own.clone().map(|star| (star.mag, Some(star.mag_err))));
            insert_flux.execute(params![
                object_id,
                filter,
                own.count() as i64,
                flux.map(|mean| mean.value),
                flux.and_then(|mean| mean.error),
                flux.and_then(|mean| mean.scatter),
                flux.and_then(|mean| mean.chi2).map(|(chi2, _)| chi2),
                flux.and_then(|mean| mean.chi2).map(|(_, dof)| dof),
                mag.map(|mean| mean.value),
                mag.and_then(|mean| mean.error),
                mag.and_then(|mean| mean.scatter),
                mag.and_then(|mean| mean.chi2).map(|(chi2, _)| chi2),
                mag.and_then(|mean| mean.chi2).map(|(_, dof)| dof),
            ])?;
        }
        owners.extend(stars.map(|(_, star, _)| (star.star_id, object_id)));
    }
    // In the order of the table, each page is changed once.
    owners.sort_unstable();
    for (star_id, object_id) in owners {
        set_object.execute([object_id, star_id])?;
    }
    Ok(())
}

fn stored_image(row: &SqlRow<'_>) -> rusqlite::Result<StoredImage> {
    let settings: String = row.get("settings")?;
    let settings: serde_json::Value = serde_json::from_str(&settings).unwrap_or_default();
    let (width, height): (i64, i64) = (row.get("width")?, row.get("height")?);
    let middle = |side: i64| (side as f64 - 1.0) / 2.0;
    let filter: Option<String> = row.get("filter")?;
    Ok(StoredImage {
        image_id: row.get("image_id")?,
        name: row.get("name")?,
        filter: filter.unwrap_or_default().trim().to_owned(),
        unit: row.get("unit")?,
        exposure: row.get("exposure")?,
        wcs: row.get("wcs")?,
        one_based: settings["fits_pixels"] == serde_json::Value::Bool(true),
        center: (middle(width), middle(height)),
        size: (width as f64, height as f64),
        stars: Vec::new(),
    })
}

fn stored_star(row: &SqlRow<'_>) -> rusqlite::Result<StoredStar> {
    let number = |at: usize| {
        let value: rusqlite::Result<Option<f64>> = row.get(at);
        value.map(|value| value.unwrap_or(f64::NAN))
    };
    let flags: i64 = row.get(13)?;
    Ok(StoredStar {
        star_id: row.get(0)?,
        x: number(1)?,
        x_err: number(2)?,
        y: number(3)?,
        y_err: number(4)?,
        ra: number(5)?,
        ra_err: number(6)?,
        dec: number(7)?,
        dec_err: number(8)?,
        flux: number(9)?,
        flux_err: number(10)?,
        mag: number(11)?,
        mag_err: number(12)?,
        flags: Flags(u16::try_from(flags).unwrap_or(0)),
    })
}
