//! The table of all frames, the best first.

use crate::catalog::rounded;
use crate::report::page::html::Html;
use crate::report::page::night::{Frame, Night};
use crate::report::stars::numbers::printable;

/// Writes the first `most` frames; `href` gives the link to a frame in the page.
pub(in crate::report) fn write(
    html: &mut Html,
    night: &Night,
    most: usize,
    href: &dyn Fn(&Frame) -> Option<String>,
) {
    let unit = night.unit();
    html.element("h3", &[], "Ranking");
    html.open("p", &[("class", "about")]);
    html.text(
        "The best first, by the weighted FWHM = median FWHM × N_best / N, where N is the number of clean stars \
         of the frame and N_best the most that any frame of the same filter and exposure time has: \
         a frame that lost half its stars to haze counts as one that is twice as wide. \
         Marked, to be thrown away first, are frames without clean stars and, of five or more of one filter \
         and exposure time, those more than 3 σ (of the median absolute deviation) and 5\u{a0}% above their median.",
    );
    let frames = night.ranking();
    if frames.len() > most {
        html.text(&format!(" The first {most} of {}.", frames.len()));
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
    for frame in frames.into_iter().take(most) {
        write_frame(html, night, frame, href(frame));
    }
    html.push("</tbody>").close("table").close("div");
}

fn write_frame(html: &mut Html, night: &Night, frame: &Frame, href: Option<String>) {
    let number =
        |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| rounded(value, 3));
    let info = &frame.record.info;
    let class = if frame.is_outlier { "outlier" } else { "" };
    html.open("tr", &[("class", class)]);
    html.element("td", &[("class", "n")], &(frame.rank + 1).to_string());
    html.open("td", &[]);
    match href {
        Some(href) => html
            .open("a", &[("href", &href)])
            .name(&info.name)
            .close("a"),
        None => html.name(&info.name),
    };
    html.close("td");
    for value in [
        number(frame.weighted_fwhm),
        number(night.fwhm(frame)),
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
