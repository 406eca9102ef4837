//! The page: one file that needs nothing else.

mod document;
pub(super) mod field;
pub(super) mod figure;
pub(super) mod head;
pub(super) mod histogram;
pub(super) mod html;
pub(super) mod judgement;
pub(super) mod limits;
pub(super) mod night;
pub(super) mod overlay;
pub(super) mod ranking;
pub(super) mod section;

use std::collections::HashSet;
use std::path::Path;

use super::{ImageRecord, Limits, Records};
use crate::catalog::check_output;
use crate::error::{Error, Result};
use crate::io::replace_file;
use crate::report::page::figure::Folder;
use crate::report::page::night::{Frame, Night};
use crate::report::page::section::Section;
use crate::report::stars::statistics::StarValues;
use crate::wcs::Wcs;
use document::Page;

/// Most bytes of a page.
pub const LARGEST_PAGE: usize = 5_000_000;

/// Images that have pictures unless more are named.
const SHOWN: usize = 3;

/// A report of the images of a database. The default takes the newest run of each image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Images, by their names in the catalogue, with or without what is in brackets, or by their
    /// paths; none: all.
    pub images: Vec<String>,
    /// The run; `None`: the newest of each image.
    pub run: Option<i64>,
}

/// Sizes and counts of the files that were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Size of the page.
    pub bytes: usize,
    /// Images that the page is about.
    pub images: usize,
    /// Images that have their figures.
    pub shown: usize,
    /// Images that have pictures beside their figures.
    pub pictures: usize,
    /// Images whose pixels are not what they were, and why.
    pub unavailable: Vec<(String, String)>,
    /// Figures written as files of their own.
    pub figures: usize,
}

impl Report {
    /// Writes the page to `output`, and each of its figures to the folder `figures`, which is made
    /// where it is missing. Files are replaced when the new ones are complete.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for an image or a run that there is not, and an output that is the
    /// database; [`Error::Malformed`] and [`Error::Unsupported`] for a file that is no catalogue of
    /// starfit or a newer one's; [`Error::Io`] and [`Error::Database`].
    pub fn write(&self, database: &Path, output: &Path, figures: Option<&Path>) -> Result<Written> {
        let records = Records::open(database)?;
        check_output(output)?;
        records.check_output(output)?;
        let mut folder = figures.map(Folder::open).transpose()?;
        let frames = records.images(&self.images, self.run)?;
        let frames = frames.into_iter().map(|record| frame(&records, record));
        let night = Night::new(frames.collect::<Result<_>>()?);
        let shown = self.shown(&night);
        let sections = night.frames.iter().enumerate();
        let sections = sections.filter(|(number, _)| shown.contains(number));
        let mut sections: Vec<(usize, &Frame)> = sections.collect();
        sections.sort_by_key(|(_, frame)| frame.rank);
        let sections = sections
            .into_iter()
            .map(|(number, frame)| Section::read(&records, frame, number, night.frames.len()));
        let page = Page {
            report: self,
            database: database
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            night: &night,
            sections: sections.collect::<Result<_>>()?,
        };
        let (html, limits) = page.html();
        let mut written = Written {
            bytes: html.len(),
            images: night.frames.len(),
            shown: page.shown(&limits).len(),
            pictures: page.pictures(&limits),
            unavailable: page.unavailable(),
            figures: 0,
        };
        replace_file(output, |out| {
            out.write_all(html.as_bytes())
                .map_err(|error| Error::io(output, error))
        })?;
        if let Some(folder) = &mut folder {
            page.write_figures(folder)?;
            written.figures = folder.written();
        }
        Ok(written)
    }

    /// The frames that have figures: the best of the named images, or the best, the median and the worst.
    fn shown(&self, night: &Night) -> HashSet<usize> {
        let frames = night.frames.len();
        let ranks = if !self.images.is_empty() || frames <= SHOWN {
            (0..frames.min(Limits::SHOWN)).collect()
        } else {
            vec![0, (frames - 1) / 2, frames - 1]
        };
        let chosen = night.frames.iter().enumerate();
        let chosen = chosen.filter(|(_, frame)| ranks.contains(&frame.rank));
        chosen.map(|(number, _)| number).collect()
    }
}

/// An image and the numbers of its stars.
fn frame(records: &Records, record: ImageRecord) -> Result<Frame> {
    let stars = StarValues::read(records, &record)?;
    let wcs = record
        .info
        .wcs
        .as_deref()
        .and_then(|text| Wcs::from_text(text).ok());
    let middle = |side: usize| (side as f64 - 1.0) / 2.0;
    let (x, y) = (middle(record.info.width), middle(record.info.height));
    // There is no scale for a stack, nor for an image whose WCS says nonsense.
    let scale = wcs
        .filter(|_| !record.is_stack())
        .and_then(|wcs| wcs.pixel_scale(x, y));
    let scale = scale.map(|degrees| 3600.0 * degrees);
    let scale = scale.filter(|scale| scale.is_finite() && *scale > 0.0);
    Ok(Frame::new(record, &stars, scale))
}

#[cfg(test)]
mod tests;
