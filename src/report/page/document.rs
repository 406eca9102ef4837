//! Contents of the page.

use super::{LARGEST_PAGE, Report};
use crate::error::Result;
use crate::report::Limits;
use crate::report::draw::theme;
use crate::report::page::figure::Folder;
use crate::report::page::html::Html;
use crate::report::page::night::{Frame, Night};
use crate::report::page::section::Section;
use crate::report::page::{head, ranking};
use crate::report::stars::numbers::printable;
use crate::report::stars::pixels;

/// Everything that the page shows.
pub(super) struct Page<'a> {
    pub(super) report: &'a Report,
    /// Name of the database.
    pub(super) database: String,
    pub(super) night: &'a Night,
    pub(super) sections: Vec<Section<'a>>,
}

impl Page<'_> {
    /// The page with as much as there is room for, and the limits that it keeps.
    pub(super) fn html(&self) -> (String, Limits) {
        let mut page = (String::new(), Limits::FULL);
        for limits in Limits::all() {
            page = (self.within(&limits), limits);
            if page.0.len() < LARGEST_PAGE {
                break;
            }
        }
        page
    }

    /// The sections that there is room for.
    pub(super) fn shown(&self, limits: &Limits) -> &[Section<'_>] {
        let room = self.sections.len().min(limits.frames);
        self.sections.get(..room).unwrap_or_default()
    }

    /// Number of the shown sections that have pictures.
    pub(super) fn pictures(&self, limits: &Limits) -> usize {
        let shown = self.shown(limits).iter();
        let available = shown.filter(|section| section.why_not().is_none()).count();
        if limits.picture > 0 { available } else { 0 }
    }

    /// The page within `limits`; a page that is too large for any use ends early.
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
        self.write_head(&mut html, limits);
        if self.night.frames.len() > 1 {
            self.write_night(&mut html, limits);
        }
        for section in self.shown(limits) {
            section.write(&mut html, limits);
            if html.len() > LARGEST_PAGE {
                break;
            }
        }
        for (number, frame) in self.night.frames.iter().enumerate() {
            if html.len() > LARGEST_PAGE {
                break;
            }
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

    fn write_head(&self, html: &mut Html, limits: &Limits) {
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
                " Most stars are undersampled (FWHM under 1.5 pix): that flag is not held against them.",
            );
        }
        html.element("p", &[], &about);
        for sentence in self.left_out(limits) {
            html.element("p", &[], &sentence);
        }
        html.close("header");
    }

    /// Sentences about what is not in the page.
    fn left_out(&self, limits: &Limits) -> Vec<String> {
        let mut sentences = Vec::new();
        let (shown, pictures) = (self.shown(limits).len(), self.pictures(limits));
        let frames = self.night.frames.len();
        if shown < frames {
            let which = if self.report.images.is_empty() {
                "the best, the median and the worst"
            } else {
                "the best"
            };
            sentences.push(format!(
                "{shown} images have figures, {which} by the ranking: \
                 starfit report --image NAME shows others."
            ));
        }
        if limits.picture > 0 && pictures < shown {
            sentences.push(format!(
                "Without pictures, as the pixels are not there any more: {}.",
                shown - pictures
            ));
        }
        if *limits != Limits::FULL {
            let pictures = match limits.picture {
                0 => "there are no pictures".to_owned(),
                side => format!("pictures are not wider than {side} dots"),
            };
            let megabytes = LARGEST_PAGE / 1_000_000;
            sentences.push(format!(
                "To keep the page under {megabytes} MB, {pictures}, and tables are of {} stars.",
                limits.rows
            ));
        }
        sentences
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
        ranking::write(html, self.night, limits.frames, &href);
        html.close("section");
    }

    /// Whether a frame has its figures in the page.
    fn is_shown(&self, number: usize, limits: &Limits) -> bool {
        let mut shown = self.shown(limits).iter();
        shown.any(|section| section.number() == number)
    }

    /// Link to a frame in the page.
    fn href(&self, frame: &Frame, limits: &Limits) -> Option<String> {
        let number = self
            .night
            .frames
            .iter()
            .position(|other| std::ptr::eq(other, frame))?;
        (self.is_shown(number, limits) || frame.rank < limits.frames)
            .then(|| format!("#image-{number}"))
    }

    /// Names of images without pictures, and why.
    pub(super) fn unavailable(&self) -> Vec<(String, String)> {
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

    /// Writes the section of an image that has numbers alone.
    fn write_brief(&self, html: &mut Html, frame: &Frame, number: usize) {
        let info = &frame.record.info;
        head::open(html, frame, number, self.night.frames.len());
        html.open("p", &[("class", "about")]);
        match pixels::check_unchanged(&info.source) {
            Ok(()) => {
                html.text("For pictures: starfit report ")
                    .name(&quoted(&self.database));
                if let Some(run) = self.report.run {
                    html.text(&format!(" --run {run}"));
                }
                html.text(" --image ").name(&quoted(&info.name))
            }
            Err(why) => html.text("No pictures: ").name(&why.to_string()),
        };
        html.close("p").close("section");
    }

    pub(super) fn write_figures(&self, folder: &mut Folder<'_>) -> Result<()> {
        if self.night.frames.len() > 1 {
            folder.write("night", &self.night.figures(&|_| None))?;
        }
        for section in &self.sections {
            let Some(frame) = self.night.frames.get(section.number()) else {
                continue;
            };
            folder.write(&frame.record.info.name, &section.figures_of_file())?;
        }
        Ok(())
    }
}

/// Quotes a word for a shell.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
