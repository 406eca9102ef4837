//! Head of the section of an image.

use serde_json::Value;

use crate::catalog::rounded;
use crate::catalog::unit::flux_unit;
use crate::numbers::significant;
use crate::report::page::html::Html;
use crate::report::page::night::Frame;
use crate::report::stars::numbers::printable;

/// Longest value of a run or a header that is shown, characters.
const LONGEST: usize = 80;

/// Opens the section of an image with the facts about it. `frames` is the number of all frames.
pub(in crate::report) fn open(html: &mut Html, frame: &Frame, number: usize, frames: usize) {
    html.open("section", &[("id", &format!("image-{number}"))]);
    html.open("h2", &[])
        .name(&frame.record.info.name)
        .close("h2");
    tiles(html, &of_frame(frame));
    html.open("p", &[("class", "facts")]);
    for (at, (name, text)) in facts(frame, frames).into_iter().enumerate() {
        if at > 0 {
            html.text(" · ");
        }
        html.element("b", &[], name).text(" ").name(&text);
    }
    html.close("p");
}

/// Writes numbers side by side, a large one and a smaller one each.
pub(in crate::report) fn tiles(html: &mut Html, tiles: &[(String, String, String)]) {
    html.open("dl", &[("class", "tiles")]);
    for (name, large, small) in tiles {
        html.open("div", &[]).element("dt", &[], name);
        html.open("dd", &[]).text(large);
        if !small.is_empty() {
            html.element("small", &[], small);
        }
        html.close("dd").close("div");
    }
    html.close("dl");
}

fn of_frame(frame: &Frame) -> Vec<(String, String, String)> {
    let summary = &frame.summary;
    let mut tiles = Vec::new();
    let mut add = |name: &str, large: String, small: String| {
        tiles.push((name.to_owned(), large, small));
    };
    let percent = |count: usize| match summary.stars {
        0 => String::new(),
        stars => format!("{:.1}\u{a0}%", 100.0 * count as f64 / stars as f64),
    };
    add("stars", summary.stars.to_string(), String::new());
    add(
        "converged",
        summary.converged().to_string(),
        percent(summary.converged()),
    );
    add("clean", summary.clean.to_string(), percent(summary.clean));
    if let Some(fwhm) = summary.fwhm {
        let sky = frame
            .scale
            .map(|scale| format!("{}″", rounded(fwhm * scale, 3)));
        add(
            "FWHM",
            format!("{} pix", rounded(fwhm, 3)),
            sky.unwrap_or_default(),
        );
    }
    if let Some(ellipticity) = summary.ellipticity {
        add("ellipticity", format!("{ellipticity:.3}"), String::new());
    }
    if let Some(chi2) = summary.reduced_chi2 {
        add("χ²/dof", rounded(chi2, 3), String::new());
    }
    let assumed = &frame.record.info.assumed;
    if let Some(background) = assumed.background {
        let unit = printable(&flux_unit(frame.record.info.header.unit.as_deref()), 20);
        let noise = assumed.noise.filter(|noise| *noise > 0.0);
        let (level, noise) = match noise {
            Some(noise) => (
                significant(background, noise),
                format!("± {} {unit}", significant(noise, noise)),
            ),
            None => (rounded(background, 4), unit),
        };
        add("background", level, noise);
    }
    tiles
}

fn facts(frame: &Frame, frames: usize) -> Vec<(&'static str, String)> {
    let record = &frame.record;
    let (info, run) = (&record.info, &record.run);
    let setting = |name: &str| match run.settings.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    let mut size = format!("{} × {} pix", info.width, info.height);
    if record.is_stack() {
        size = format!("{} cutouts of {size}", record.n_stars);
    }
    let number =
        |value: Option<f64>, unit: &str| value.map(|value| format!("{}{unit}", rounded(value, 4)));
    let rank = (frames > 1).then(|| format!("{} of {frames}", frame.rank + 1));
    let gain = number(info.assumed.gain, "").map(|gain| match info.assumed.gain_err {
        Some(error) => format!("{gain} ± {} from the noise", rounded(error, 2)),
        None => gain,
    });
    let facts = [
        ("rank", rank),
        ("file", Some(info.source.path.display().to_string())),
        ("size", Some(size)),
        ("date", info.header.date.clone()),
        ("filter", info.header.filter.clone()),
        ("exposure", number(info.header.exposure, " s")),
        ("scale", number(frame.scale, "″/pix")),
        ("gain", gain),
        ("saturation", number(info.assumed.saturation, "")),
        ("model", setting("model")),
        ("estimator", setting("estimator")),
        ("solver", setting("solver")),
        ("backend", Some(run.backend.clone())),
        (
            "run",
            Some(format!("{}, {}", record.run_id, record.started)),
        ),
    ];
    let known = facts
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)));
    let known = known.filter(|(_, text)| !text.trim().is_empty());
    known
        .map(|(name, text)| match name {
            "file" => (name, text),
            _ => (name, printable(&text, LONGEST)),
        })
        .collect()
}
