//! Images in the tables.

use std::path::PathBuf;

use rusqlite::{Connection, ToSql, params};

use crate::catalog::columns::{COLUMNS, Column};
use crate::catalog::{DoneImages, ImageInfo};
use crate::image::Source;

/// Removes the same image of runs with the same settings, and its view.
pub(super) fn remove_earlier(
    connection: &Connection,
    image: &ImageInfo,
    settings: &str,
) -> rusqlite::Result<()> {
    let earlier = image_ids(
        connection,
        "SELECT image_id FROM images JOIN runs USING (run_id) \
         WHERE path = ? AND hdu = ? AND plane IS ? AND settings = ?",
        params![
            path_of(image),
            integer(image.source.hdu),
            image.source.plane.map(integer),
            settings
        ],
    )?;
    remove_images(connection, &earlier)
}

pub(super) fn image_ids(
    connection: &Connection,
    select: &str,
    params: &[&dyn ToSql],
) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached(select)?
        .query_map(params, |row| row.get(0))?
        .collect()
}

pub(super) fn remove_images(connection: &Connection, ids: &[i64]) -> rusqlite::Result<()> {
    for id in ids {
        connection.execute_batch(&format!("DROP VIEW IF EXISTS stars_{id}"))?;
        connection.execute("DELETE FROM images WHERE image_id = ?", [id])?;
    }
    Ok(())
}

pub(super) fn insert_image(
    connection: &Connection,
    run_id: i64,
    image: &ImageInfo,
    n_stars: usize,
    unit: &str,
) -> rusqlite::Result<i64> {
    let ImageInfo {
        source,
        header,
        assumed,
        ..
    } = image;
    let (width, height) = assumed.size;
    let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
    connection
        .prepare_cached(
            "INSERT INTO images (run_id, name, path, hdu, plane, bytes, modified, width, height, \
             gain, read_noise, saturation, exposure, date, filter, unit, wcs, n_stars, \
             sky_level, sky_noise, gain_used, saturation_used, fwhm_used, cutout_width, \
             cutout_height, gain_used_err, by_residuals, mjd) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .insert(params![
            run_id,
            image.name,
            path_of(image),
            integer(source.hdu),
            source.plane.map(integer),
            integer(source.bytes),
            source.modified,
            integer(image.width),
            integer(image.height),
            finite(header.gain()),
            finite(header.read_noise),
            finite(header.saturation),
            finite(header.exposure),
            header.date,
            header.filter,
            unit,
            image.wcs,
            integer(n_stars),
            finite(assumed.background),
            finite(assumed.noise),
            finite(assumed.gain),
            finite(assumed.saturation),
            finite(assumed.fwhm),
            (width > 0).then(|| integer(width)),
            (height > 0).then(|| integer(height)),
            finite(assumed.gain_err),
            assumed.by_residuals,
            finite(header.mjd),
        ])
}

/// Writes the unit of fluxes to `columns`: null where the images differ; `images.unit` has it for each.
pub(super) fn set_flux_unit(
    connection: &Connection,
    unit: &str,
    own: &[Column],
) -> rusqlite::Result<()> {
    let differ: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM images WHERE unit <> ?)",
        [unit],
        |row| row.get(0),
    )?;
    for column in COLUMNS
        .iter()
        .chain(own)
        .filter(|column| column.unit.is_of_image())
    {
        let unit = column.unit.resolve(Some(unit)).filter(|_| !differ);
        connection.execute(
            "UPDATE columns SET unit = ? WHERE name = ?",
            params![unit, column.name],
        )?;
    }
    Ok(())
}

/// The absolute path of an image's file; the image's name where there is no file.
fn path_of(image: &ImageInfo) -> String {
    if image.source.path.as_os_str().is_empty() {
        image.name.clone()
    } else {
        image.source.absolute_path()
    }
}

/// A number for SQLite, which has no unsigned numbers. Sizes and counts are far below the limit.
fn integer(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// The images that the views show as fitted with these settings. Where a newer run had other settings,
/// fitting again makes these the newest.
pub(super) fn done_images(connection: &Connection, settings: &str) -> rusqlite::Result<DoneImages> {
    // Counts and sizes are written by us, never below 0.
    let count = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    connection
        .prepare(
            "SELECT path, hdu, plane, bytes, modified \
             FROM newest_images JOIN runs USING (run_id) WHERE settings = ?",
        )?
        .query_map([settings], |row| {
            Ok(Source {
                path: PathBuf::from(row.get::<_, String>(0)?),
                hdu: count(row.get(1)?),
                plane: row.get::<_, Option<i64>>(2)?.map(count),
                bytes: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(u64::MAX),
                modified: row.get(4)?,
            })
        })?
        .collect()
}
