//! The page: one file that needs nothing else.

use std::collections::HashSet;
use std::path::Path;

use super::figure::Folder;
use super::head;
use super::html::Html;
use super::night::{Frame, Night};
use super::numbers::printable;
use super::section::Section;
use super::statistics::{StarValues, Summary};
use super::{ImageRecord, Limits, Records, pixels, theme};
use crate::catalog::{check_output, rounded};
use crate::error::{Error, Result};
use crate::io::replace_file;
use crate::wcs::Wcs;

/// Most bytes of a page.
pub const LARGEST_PAGE: usize = 5_000_000;

/// Images that have pictures unless more are named.
const SHOWN: usize = 3;

/// A report of the images of a database. The default is of the newest run of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Images, by their names in the catalogue, with or without what is in brackets, or by their
    /// paths; none: all.
    pub images: Vec<String>,
    /// The run; `None`: the newest of each image.
    pub run: Option<i64>,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Size of the page.
    pub bytes: usize,
    /// Images that it is about.
    pub images: usize,
    /// Images that have their figures.
    pub shown: usize,
    /// Those of them that have no pictures, and why.
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
        let same = |path: &Path| path.canonicalize().ok();
        if same(output).is_some_and(|output| same(database) == Some(output)) {
            return Err(Error::Option {
                option: format!("output {}", output.display()),
                expected: "another file than the database".to_owned(),
                found: "the database".to_owned(),
                hint: None,
            });
        }
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
            database: database
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            night: &night,
            sections: sections.collect::<Result<_>>()?,
        };
        let html = page.html();
        let mut written = Written {
            bytes: html.len(),
            images: night.frames.len(),
            shown: page.sections.len(),
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

    /// The frames that have pictures: those that were named, or the best, the median and the worst.
    fn shown(&self, night: &Night) -> HashSet<usize> {
        let frames = night.frames.len();
        if !self.images.is_empty() || frames <= SHOWN {
            return (0..frames).collect();
        }
        let ranks = [0, (frames - 1) / 2, frames - 1];
        let chosen = night.frames.iter().enumerate();
        let chosen = chosen.filter(|(_, frame)| ranks.contains(&frame.rank));
        chosen.map(|(number, _)| number).collect()
    }
}

/// An image and the numbers of its stars.
fn frame(records: &Records, record: ImageRecord) -> Result<Frame> {
    let mut stars = Vec::new();
    records.each_star(&record, |row| {
        stars.push(StarValues::new(&row));
        Ok(())
    })?;
    let wcs = record
        .info
        .wcs
        .as_deref()
        .and_then(|text| Wcs::from_text(text).ok());
    let middle = |side: usize| (side as f64 - 1.0) / 2.0;
    let (x, y) = (middle(record.info.width), middle(record.info.height));
    // Where it cannot be, of a stack, or of an image of which it says nonsense, there is none.
    let scale = wcs
        .filter(|_| !record.is_stack())
        .and_then(|wcs| wcs.pixel_scale(x, y));
    let scale = scale.map(|degrees| 3600.0 * degrees);
    let scale = scale.filter(|scale| scale.is_finite() && *scale > 0.0);
    Ok(Frame::new(record, Summary::new(&stars), scale))
}

/// All that is shown.
struct Page<'a> {
    /// Its name.
    database: String,
    night: &'a Night,
    sections: Vec<Section<'a>>,
}

impl Page<'_> {
    /// As much of it as there is room for.
    fn html(&self) -> String {
        let mut html = String::new();
        for limits in Limits::all() {
            html = self.within(&limits);
            if html.len() < LARGEST_PAGE {
                break;
            }
        }
        html
    }

    fn within(&self, limits: &Limits) -> String {
        let mut html = Html::default();
        let title = format!("starfit report of {}", printable(&self.database, 100));
        html.push("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        html.push("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        // Whatever a text does, nothing is fetched and nothing runs.
        html.push(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             img-src data:; style-src 'unsafe-inline'\">\n<link rel=\"icon\" href=\"data:,\">\n",
        );
        html.element("title", &[], &title);
        html.push("<style>\n")
            .push(&theme::page_css())
            .push("</style>\n</head>\n<body>\n<main>\n");
        self.write_head(&mut html);
        if self.night.frames.len() > 1 {
            self.write_night(&mut html, limits);
        }
        for section in self.sections.iter().take(limits.frames) {
            section.write(&mut html, limits);
        }
        for (number, frame) in self.night.frames.iter().enumerate() {
            if !self.is_shown(number, limits) && frame.rank < limits.frames {
                self.write_brief(&mut html, frame, number);
            }
        }
        html.push("<footer>")
            .text(concat!("starfit ", env!("CARGO_PKG_VERSION")))
            .close("footer");
        html.push("</main>\n</body>\n</html>\n");
        html.into_string()
    }

    fn write_head(&self, html: &mut Html) {
        html.push("<header>\n")
            .open("h1", &[])
            .text("Fits of ")
            .name(&self.database)
            .close("h1");
        let frames = &self.night.frames;
        let stars: usize = frames.iter().map(|frame| frame.summary.stars).sum();
        let count = |number: usize, thing: &str| match number {
            1 => format!("1 {thing}"),
            _ => format!("{number} {thing}s"),
        };
        let mut about = format!(
            "{}, {}. ",
            count(frames.len(), "image"),
            count(stars, "star")
        );
        about.push_str(
            "A star is clean where its fit converged and it has no flag; medians, maps and distributions are of clean stars.",
        );
        let lenient = |frame: &Frame| frame.summary.allowed.0 != 0;
        if frames.iter().any(lenient) {
            about.push_str(
                " Where most stars are undersampled (FWHM under 1.5 pix), that flag is not held against them.",
            );
        }
        html.element("p", &[], &about);
        if self.sections.len() < frames.len() {
            html.element(
                "p",
                &[],
                &format!(
                    "{} images have pictures: the best, the median and the worst by the ranking. \
                 starfit report --image NAME shows others.",
                    self.sections.len()
                ),
            );
        }
        html.close("header");
    }

    fn write_night(&self, html: &mut Html, limits: &Limits) {
        html.open("section", &[("id", "night")])
            .element("h2", &[], "All frames");
        html.open("div", &[("class", "figures")]);
        let href = |frame: &Frame| self.href(frame, limits);
        for figure in self.night.figures(&href) {
            figure.write(html);
        }
        html.close("div");
        self.write_ranking(html, limits);
        html.close("section");
    }

    /// Whether a frame has its figures in the page.
    fn is_shown(&self, number: usize, limits: &Limits) -> bool {
        let mut shown = self.sections.iter().take(limits.frames);
        shown.any(|section| section.number() == number)
    }

    /// Where a frame is in the page.
    fn href(&self, frame: &Frame, limits: &Limits) -> Option<String> {
        let number = self
            .night
            .frames
            .iter()
            .position(|other| std::ptr::eq(other, frame))?;
        (self.is_shown(number, limits) || frame.rank < limits.frames)
            .then(|| format!("#image-{number}"))
    }

    fn write_ranking(&self, html: &mut Html, limits: &Limits) {
        let unit = self.night.unit();
        html.element("h3", &[], "Ranking");
        html.open("p", &[("class", "about")]);
        html.text(
            "The best first, by the weighted FWHM = median FWHM × N_best / N, where N is the number of clean stars \
             of the frame and N_best the most that any frame of the same filter and exposure time has: \
             a frame that lost half its stars to haze counts as one that is twice as wide. \
             Frames more than 3 σ (of the median absolute deviation) and 5\u{a0}% above the median are marked: \
             throw these away first.",
        );
        let frames = self.night.ranking();
        if frames.len() > limits.frames {
            html.text(&format!(
                " The first {} of {}.",
                limits.frames,
                frames.len()
            ));
        }
        html.close("p");
        html.open("div", &[("class", "scroll tall"), ("tabindex", "0")])
            .open("table", &[]);
        html.push("<thead><tr>");
        let heads = [
            ("n", "rank".to_owned()),
            ("", "image".to_owned()),
            ("n", format!("weighted FWHM, {unit}")),
            ("n", format!("FWHM, {unit}")),
            ("n", "clean stars".to_owned()),
            ("n", "ellipticity".to_owned()),
            ("n", "background".to_owned()),
            ("", "date".to_owned()),
            ("", "filter".to_owned()),
            ("n", "exposure, s".to_owned()),
        ];
        for (class, head) in heads {
            html.element("th", &[("class", class)], &head);
        }
        html.push("</tr></thead><tbody>\n");
        for frame in frames.into_iter().take(limits.frames) {
            self.write_ranked(html, frame, limits);
        }
        html.push("</tbody>").close("table").close("div");
    }

    fn write_ranked(&self, html: &mut Html, frame: &Frame, limits: &Limits) {
        let number =
            |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| rounded(value, 3));
        let info = &frame.record.info;
        let class = if frame.is_outlier { "outlier" } else { "" };
        html.open("tr", &[("class", class)]);
        html.element("td", &[("class", "n")], &(frame.rank + 1).to_string());
        html.open("td", &[]);
        match self.href(frame, limits) {
            Some(href) => html
                .open("a", &[("href", &href)])
                .name(&info.name)
                .close("a"),
            None => html.name(&info.name),
        };
        html.close("td");
        for value in [
            number(frame.weighted_fwhm),
            number(self.night.fwhm(frame)),
            frame.summary.clean.to_string(),
            number(frame.summary.ellipticity),
            number(info.assumed.background),
        ] {
            html.element("td", &[("class", "n")], &value);
        }
        for text in [&info.header.date, &info.header.filter] {
            let text = printable(text.as_deref().unwrap_or("–"), 40);
            html.open("td", &[]).name(&text).close("td");
        }
        html.element("td", &[("class", "n")], &number(info.header.exposure));
        html.close("tr");
    }

    /// Names of images without pictures, and why.
    fn unavailable(&self) -> Vec<(String, String)> {
        let why = |section: &Section<'_>| {
            let name = self
                .night
                .frames
                .get(section.number())?
                .record
                .info
                .name
                .clone();
            Some((name, section.why_not()?.to_owned()))
        };
        self.sections.iter().filter_map(why).collect()
    }

    /// The section of an image that has numbers alone.
    fn write_brief(&self, html: &mut Html, frame: &Frame, number: usize) {
        let info = &frame.record.info;
        head::open(html, frame, number, self.night.frames.len());
        html.open("p", &[("class", "about")]);
        match pixels::check_unchanged(&info.source) {
            Ok(()) => html
                .text("For pictures: starfit report ")
                .name(&self.database)
                .text(" --image ")
                .name(&info.name),
            Err(why) => html.text("No pictures: ").name(&why.to_string()),
        };
        html.close("p").close("section");
    }

    fn write_figures(&self, folder: &mut Folder<'_>) -> Result<()> {
        if self.night.frames.len() > 1 {
            for figure in self.night.figures(&|_| None) {
                folder.write("night", &figure)?;
            }
        }
        for section in &self.sections {
            let Some(frame) = self.night.frames.get(section.number()) else {
                continue;
            };
            for figure in section.figures_of_file() {
                folder.write(&frame.record.info.name, &figure)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{self, ImageInfo, Row, RunInfo};
    use crate::fit::{FitStatus, Flags};

    #[test]
    fn many_frames_have_room() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let mut writer = catalog::create(&database, &RunInfo::default()).unwrap();
        for at in 0..1_200 {
            let mut image = ImageInfo {
                name: format!("x.fits[{at}]"),
                width: 100,
                height: 100,
                ..ImageInfo::default()
            };
            image.source.path = format!("gone/{}{at}.fits", "<&\">".repeat(60)).into();
            image.header.filter = Some("<&\">".repeat(1_000));
            let rows = (0..20).map(|id| {
                let mut row = Row::new(id, FitStatus::Converged, Flags(0));
                for (name, value) in [("x", 50.0), ("y", 50.0), ("flux", 9.0), ("snr", 8.0)] {
                    row.set(name, value + id as f64);
                }
                row.set("fwhm", 2.0 + 0.01 * (id + at) as f64);
                row
            });
            writer.write(&image, &rows.collect::<Vec<_>>()).unwrap();
        }
        writer.finish().unwrap();
        let output = folder.path().join("a.html");
        for images in [vec![], vec!["x.fits".to_owned()]] {
            let shown = if images.is_empty() { 3 } else { 1_200 };
            let report = Report { images, run: None };
            let written = report.write(&database, &output, None).unwrap();
            assert_eq!((written.images, written.shown), (1_200, shown));
            assert_eq!(written.unavailable.len(), shown);
            let page = std::fs::read_to_string(&output).unwrap();
            assert!(page.len() == written.bytes && page.len() < LARGEST_PAGE);
            assert!(page.trim_end().ends_with("</html>") && page.contains("gone since"));
            // As much as there is room for, not as little as possible.
            assert!(page.len() > LARGEST_PAGE / 8, "{}", page.len());
        }
    }
}
