//! Provenance of a catalogue: the runs that made its rows, and the images.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::unit::{DEFAULT_FLUX_UNIT, flux_unit};
use super::{ImageInfo, RunInfo};
use crate::date;

/// The program that writes catalogues.
pub(super) const CREATOR: &str = concat!("starfit ", env!("CARGO_PKG_VERSION"));

/// Facts that a catalogue states about its own making.
#[derive(Debug, Clone)]
pub(super) struct Provenance {
    /// Date of writing, UTC.
    date: String,
    runs: Vec<Value>,
    images: Vec<Value>,
}

/// A fact that is true of every row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    /// Keyword in a FITS header.
    pub(super) keyword: &'static str,
    pub(super) value: Value,
    pub(super) description: &'static str,
}

/// Name, FITS keyword and description of the facts that runs and images may share, and how to
/// find them in the JSON of a run or an image.
const SHARED: [(&str, &str, &str, Of, &str); 11] = [
    ("model", "MODEL", "/settings/model", Of::Run, "star model"),
    (
        "estimator",
        "ESTIMATR",
        "/settings/estimator",
        Of::Run,
        "what is maximised",
    ),
    (
        "solver",
        "SOLVER",
        "/settings/solver",
        Of::Run,
        "how it is found",
    ),
    (
        "backend",
        "BACKEND",
        "/backend",
        Of::Run,
        "what evaluated the pixels",
    ),
    ("adapter", "ADAPTER", "/adapter", Of::Run, "the device"),
    (
        "threshold",
        "THRESH",
        "/settings/threshold",
        Of::Run,
        "least significance of a detection, sigma",
    ),
    (
        "gain",
        "GAIN",
        "/gain",
        Of::Image,
        "gain used, electrons for each unit of the image",
    ),
    (
        "fwhm_expected",
        "FWHM",
        "/fwhm",
        Of::Image,
        "FWHM expected of the stars, pix",
    ),
    (
        "flux_unit",
        "FLUXUNIT",
        "/unit",
        Of::Image,
        "unit of fluxes",
    ),
    (
        "run_version",
        "VERSION",
        "/version",
        Of::Run,
        "version of starfit that did the fits",
    ),
    (
        "command_line",
        "COMMAND",
        "/command_line",
        Of::Run,
        "the command as typed",
    ),
];

#[derive(Debug, Clone, Copy)]
enum Of {
    Run,
    Image,
}

impl Provenance {
    pub(super) fn new() -> Self {
        Self {
            date: now(),
            runs: Vec::new(),
            images: Vec::new(),
        }
    }

    /// Date of writing, UTC.
    pub(super) fn date(&self) -> &str {
        &self.date
    }

    /// Adds a run that began at `started`, with its number in a database.
    pub(super) fn add_run(&mut self, run: &RunInfo, run_id: Option<i64>, started: &str) {
        self.runs.push(without_nulls(json!({
            "run_id": run_id,
            "started": started,
            "version": run.version,
            "command_line": run.command_line,
            "backend": run.backend,
            "adapter": run.adapter,
            "settings": run.settings,
        })));
    }

    /// Adds an image of `n_stars` rows, with the number of its run.
    pub(super) fn add_image(&mut self, image: &ImageInfo, run_id: Option<i64>, n_stars: u64) {
        let ImageInfo {
            header, assumed, ..
        } = image;
        let (width, height) = assumed.size;
        self.images.push(without_nulls(json!({
            "name": image.name,
            "path": image.source.path.display().to_string(),
            "run_id": run_id,
            "n_stars": n_stars,
            "width": image.width,
            "height": image.height,
            "date": header.date,
            "mjd": header.mjd,
            "exposure": header.exposure,
            "filter": header.filter,
            "unit": flux_unit(header.unit.as_deref()),
            "background": assumed.background,
            "background_noise": assumed.noise,
            "gain": assumed.gain,
            "gain_err": assumed.gain_err,
            "saturation": assumed.saturation,
            "fwhm": assumed.fwhm,
            "cutout": (width > 0).then_some([width, height]),
        })));
    }

    /// The unit of fluxes; `None` where the images differ.
    pub(super) fn flux_unit(&self) -> Option<&str> {
        let mut units = self.images.iter().map(|image| image["unit"].as_str());
        let Some(first) = units.next() else {
            return Some(DEFAULT_FLUX_UNIT);
        };
        first.filter(|first| units.all(|unit| unit == Some(first)))
    }

    /// The runs, as objects.
    pub(super) fn runs(&self) -> &[Value] {
        &self.runs
    }

    /// The images, as objects.
    pub(super) fn images(&self) -> &[Value] {
        &self.images
    }

    /// Facts that are the same for all runs and images.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let fact = |name, keyword, value, description| Fact {
            name,
            keyword,
            value,
            description,
        };
        let mut facts = vec![
            fact("creator", "CREATOR", CREATOR.into(), "what wrote this"),
            fact("date", "DATE", self.date.as_str().into(), "when, UTC"),
        ];
        for (name, keyword, place, of, description) in SHARED {
            let records = match of {
                Of::Run => &self.runs,
                Of::Image => &self.images,
            };
            let mut values = records.iter().map(|record| record.pointer(place));
            let Some(Some(first)) = values.next() else {
                continue;
            };
            if values.all(|value| value == Some(first)) && !first.is_null() {
                facts.push(fact(name, keyword, first.clone(), description));
            }
        }
        facts
    }

    /// The whole provenance as JSON.
    pub(super) fn to_json(&self) -> Value {
        let facts = self.facts().into_iter();
        let mut all: Map<String, Value> = facts
            .map(|fact| (fact.name.to_owned(), fact.value))
            .collect();
        all.insert("runs".to_owned(), self.runs.clone().into());
        all.insert("images".to_owned(), self.images.clone().into());
        all.into()
    }
}

/// An object without its null members.
fn without_nulls(mut object: Value) -> Value {
    if let Value::Object(members) = &mut object {
        members.retain(|_, member| !member.is_null());
    }
    object
}

/// The time as ISO 8601 writes it, UTC, seconds.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    date::iso(i64::try_from(seconds).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::{image, run};

    #[test]
    fn only_what_all_share_is_a_fact() {
        let named = |provenance: &Provenance, name: &str| {
            let facts = provenance.facts();
            let found = facts.iter().find(|fact| fact.name == name);
            found.map(|fact| fact.value.clone())
        };
        let mut provenance = Provenance::new();
        assert_eq!(provenance.facts().len(), 2);
        let mut info = image("a.fits");
        info.assumed.gain = Some(1.5);
        info.assumed.fwhm = Some(2.5);
        provenance.add_run(&run("moffat"), None, "2026-01-02T03:04:05");
        provenance.add_image(&info, None, 3);
        assert_eq!(named(&provenance, "model"), Some("moffat".into()));
        assert_eq!(named(&provenance, "gain"), Some(1.5.into()));
        assert_eq!(named(&provenance, "fwhm_expected"), Some(2.5.into()));
        assert_eq!(named(&provenance, "adapter"), None);
        // One that is unknown is as good as another.
        info.assumed.fwhm = None;
        provenance.add_image(&info, None, 3);
        assert_eq!(named(&provenance, "gain"), Some(1.5.into()));
        assert_eq!(named(&provenance, "fwhm_expected"), None);
        provenance.add_run(&run("gaussian"), None, "2026-01-02T03:04:05");
        assert_eq!(named(&provenance, "model"), None);
        assert_eq!(named(&provenance, "backend"), Some("cpu".into()));
        let json = provenance.to_json();
        assert_eq!(json.pointer("/images/1/n_stars"), Some(&3.into()));
        assert_eq!(json.pointer("/images/1/fwhm"), None);
    }
}
