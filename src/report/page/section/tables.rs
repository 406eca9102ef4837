//! The tables of an image.

use crate::catalog::rounded;
use crate::catalog::unit::flux_unit;
use crate::fit::{FitStatus, Flags};
use crate::report::ImageRecord;
use crate::report::page::html::Html;
use crate::report::page::section::Section;
use crate::report::stars::numbers::{printable, with_error};
use crate::report::stars::statistics::StarValues;

impl Section<'_> {
    /// Writes how many fits ended in each way, and how many stars have each flag.
    pub(super) fn write_counts(&self, html: &mut Html) {
        let summary = &self.frame.summary;
        let percent = |count: usize| {
            let part = 100.0 * count as f64 / summary.stars.max(1) as f64;
            format!("{part:.1}\u{a0}%")
        };
        let table = |html: &mut Html, title: &str, rows: &[(&str, usize, &str)]| {
            html.open("div", &[]).element("h3", &[], title);
            html.open("div", &[("class", "scroll")]).open("table", &[]);
            html.push("<thead><tr><th>name</th><th class=\"n\">stars</th><th class=\"n\">part</th><th>meaning</th></tr></thead><tbody>");
            for (name, count, meaning) in rows {
                let class = if *count == 0 { "none" } else { "" };
                html.open("tr", &[("class", class)]);
                html.element("td", &[], name);
                html.element("td", &[("class", "n")], &count.to_string());
                html.element("td", &[("class", "n")], &percent(*count));
                html.element("td", &[], meaning);
                html.close("tr");
            }
            html.push("</tbody>")
                .close("table")
                .close("div")
                .close("div");
        };
        html.open("div", &[("class", "tables")]);
        let statuses = FitStatus::ALL.iter().zip(summary.by_status);
        let statuses = statuses.map(|(status, count)| (status.name(), count, status.meaning()));
        table(html, "How the fits ended", &statuses.collect::<Vec<_>>());
        let flags = Flags::TABLE.iter().zip(summary.by_flag);
        let flags = flags.map(|((_, name, meaning), count)| (*name, count, *meaning));
        table(html, "Flags", &flags.collect::<Vec<_>>());
        html.close("div");
    }

    pub(super) fn write_stars(&self, html: &mut Html, rows: &[&StarValues]) {
        if rows.is_empty() {
            return;
        }
        html.element("h3", &[], "Stars");
        let about = if rows.len() < self.stars.len() {
            format!(
                "The {} brightest of {} by S/N, and those shown above; starfit query has all.",
                rows.len(),
                self.stars.len()
            )
        } else {
            "All stars, the brightest by S/N first.".to_owned()
        };
        html.element("p", &[("class", "about")], &about);
        let columns = columns(&self.stars, self.record());
        html.open("div", &[("class", "scroll tall"), ("tabindex", "0")])
            .open("table", &[]);
        html.push("<thead><tr>");
        for column in &columns {
            html.open("th", &[("class", column.class)])
                .name(&column.title);
        }
        html.push("</tr></thead><tbody>\n");
        for star in rows {
            html.open("tr", &[("id", &format!("s{}-{}", self.number, star.id))]);
            for column in &columns {
                // HTML needs no end tags of cells and rows.
                let class = if column.class.is_empty() {
                    "<td>"
                } else {
                    "<td class=n>"
                };
                html.push(class).text(&(column.text)(star));
            }
            html.push("\n");
        }
        html.push("</tbody>").close("table").close("div");
    }
}

/// A column of the table of stars.
struct Column {
    title: String,
    class: &'static str,
    text: fn(&StarValues) -> String,
}

/// The columns that have values.
fn columns(stars: &[StarValues], record: &ImageRecord) -> Vec<Column> {
    fn number(value: f64, text: impl Fn(f64) -> String) -> String {
        if value.is_finite() {
            text(value)
        } else {
            String::new()
        }
    }
    fn fixed(value: f64, decimals: usize) -> String {
        // Catalogues can be changed by anyone.
        if value.abs() < 1e9 {
            format!("{value:.decimals$}")
        } else {
            rounded(value, 4)
        }
    }
    type Of = fn(&StarValues) -> f64;
    type Text = fn(&StarValues) -> String;
    let unit = printable(&flux_unit(record.info.header.unit.as_deref()), 30);
    let all: [(String, Of, Text); 13] = [
        (
            "id".into(),
            |star| star.id as f64,
            |star| star.id.to_string(),
        ),
        (
            "x".into(),
            |star| star.x,
            |star| number(star.x, |x| fixed(x, 2)),
        ),
        (
            "y".into(),
            |star| star.y,
            |star| number(star.y, |y| fixed(y, 2)),
        ),
        (
            "RA, °".into(),
            |star| star.ra,
            |star| number(star.ra, |ra| fixed(ra, 5)),
        ),
        (
            "Dec, °".into(),
            |star| star.dec,
            |star| number(star.dec, |dec| fixed(dec, 5)),
        ),
        (
            format!("flux, {unit}"),
            |star| star.flux,
            |star| number(star.flux, |flux| with_error(flux, Some(star.flux_err))),
        ),
        (
            "mag".into(),
            |star| star.mag,
            |star| number(star.mag, |mag| fixed(mag, 3)),
        ),
        (
            "S/N".into(),
            |star| star.snr,
            |star| number(star.snr, |snr| rounded(snr, 3)),
        ),
        (
            "FWHM, pix".into(),
            |star| star.fwhm,
            |star| number(star.fwhm, |fwhm| rounded(fwhm, 3)),
        ),
        (
            "ellipticity".into(),
            |star| star.ellipticity,
            |star| number(star.ellipticity, |value| fixed(value, 3)),
        ),
        (
            "θ, °".into(),
            |star| star.theta,
            |star| number(star.theta, |theta| fixed(theta, 0)),
        ),
        (
            "χ²/dof".into(),
            |star| star.reduced_chi2,
            |star| number(star.reduced_chi2, |chi2| rounded(chi2, 3)),
        ),
        (
            "qfit".into(),
            |star| star.qfit,
            |star| number(star.qfit, |qfit| rounded(qfit, 3)),
        ),
    ];
    let has_values = |of: Of| stars.iter().any(|star| of(star).is_finite());
    let numbers = all.into_iter().filter(|(_, of, _)| has_values(*of));
    let numbers = numbers.map(|(title, _, text)| Column {
        title,
        class: "n",
        text,
    });
    let words: [(&str, Text); 2] = [
        ("status", |star| star.status.name().replace('_', " ")),
        ("flags", |star| {
            star.flags.names().collect::<Vec<_>>().join(", ")
        }),
    ];
    let words = words.into_iter().map(|(title, text)| Column {
        title: title.to_owned(),
        class: "",
        text,
    });
    numbers.chain(words).collect()
}
