//! Time of the exposure of an image, from the cards that observatories, cameras and programs write.

use crate::date::{self, Written};
use crate::io::fits::value::Value;
use crate::time::{Instant, Scale};

/// Cards of the start of the exposure, the likeliest first: a date with its time.
const STARTS: [&str; 4] = ["DATE-OBS", "DATE-BEG", "DATEOBS", "DATE_OBS"];
/// Cards of the day, where no time stands beside the start.
const DAYS: [&str; 5] = ["DATE-OBS", "DATEOBS", "DATE_OBS", "UTDATE", "UT-DATE"];
/// Cards of the time of the day: clocks, or numbers.
const CLOCKS: [&str; 12] = [
    "TIME-OBS", "UTC-OBS", "UT-OBS", "TIME-BEG", "UTC-BEG", "UTSTART", "UTCSTART", "UT-STR",
    "UT-START", "UTC", "UT", "TIME",
];
/// Cards of the modified Julian date of the start.
const MODIFIED: [&str; 5] = ["MJD-OBS", "MJD-BEG", "MJD", "OBSMJD", "EXPSTART"];
/// Cards of the Julian date of the start.
const JULIAN: [&str; 2] = ["JD-OBS", "JD"];
/// Cards of times at the Sun or the barycentre, minutes from the times at the telescope.
const ELSEWHERE: [&str; 6] = ["HJD", "HJD-OBS", "JD-HELIO", "BJD", "BJD-OBS", "BJD_TDB"];

/// Days, MJD, that are believed where they are written as dates: 1880 to 2099. An earlier day is a zero.
const BELIEVED: std::ops::Range<i64> = 7_670..88_069;
/// Days, MJD, that are believed where they are numbers: 1900 to 2099. A Julian date that lacks 2,450,000
/// lies before.
const BELIEVED_NUMBERS: std::ops::Range<f64> = 15_020.0..88_069.0;

/// Time of the exposure of an image.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Observed {
    /// Start, UTC, as [`crate::image::Header::date`].
    pub(super) date: Option<String>,
    /// Middle, UTC, as [`crate::image::Header::mjd`].
    pub(super) mjd: Option<f64>,
    /// Warning of cards that were not understood, a sentence.
    pub(super) warning: Option<String>,
    /// Note on changes to the time.
    pub(super) note: Option<String>,
}

/// Reads the time of the exposure from the cards that `get` has; the exposure time is in seconds.
pub(super) fn observed(get: &dyn Fn(&str) -> Option<Value>, exposure: Option<f64>) -> Observed {
    let system = get("TIMESYS").and_then(|value| Some(value.text()?.trim().to_owned()));
    let system = system.filter(|name| !name.is_empty());
    let scale = system.as_deref().map_or(Some(Scale::Utc), Scale::by_name);
    let mut cards = Cards {
        get,
        scale: scale.unwrap_or(Scale::Utc),
        odd: Vec::new(),
    };
    let start = cards.start();
    let mean = cards.first(&["DATE-AVG"], &["MJD-AVG", "MJD-MID", "EXPMID"]);
    let end = cards.first(&["DATE-END"], &["MJD-END", "EXPEND"]);
    let exposure = exposure.filter(|seconds| (0.0..1e7).contains(seconds));
    let half = exposure.unwrap_or(0.0) / 2.0;
    let (begin, middle) = match (start.map(|(at, _)| at), mean, end) {
        (Some(start), Some(mean), _) => (Some(start), Some(mean)),
        (Some(start), None, Some(end)) if is_end(end.seconds_since(start), exposure) => {
            let middle = start.add_seconds(end.seconds_since(start) / 2.0);
            (Some(start), Some(middle))
        }
        (Some(start), None, _) => (Some(start), Some(start.add_seconds(half))),
        (None, Some(mean), _) => (Some(mean.add_seconds(-half)), Some(mean)),
        (None, None, Some(end)) => {
            let start = end.add_seconds(-2.0 * half);
            (Some(start), Some(start.add_seconds(half)))
        }
        (None, None, None) => (None, None),
    };
    let day = cards.day();
    if begin.is_none() && day.is_none() {
        let is_there = |keyword: &&&str| (cards.get)(keyword).is_some();
        let elsewhere: Vec<&str> = ELSEWHERE.iter().filter(is_there).copied().collect();
        let odd = elsewhere
            .iter()
            .map(|keyword| format!("{keyword} (not at the telescope)"));
        cards.odd.extend(odd);
    }
    let mut observed = Observed {
        date: begin.map(Instant::iso).or_else(|| Some(iso_day(day?.1))),
        mjd: middle.map(Instant::mjd),
        ..Observed::default()
    };
    let odd = cards.odd.join(", ");
    observed.warning = match (begin, day) {
        (None, Some((keyword, _))) if odd.is_empty() => Some(format!(
            "{keyword} is a day, and no time stands beside it: mjd stays empty"
        )),
        (None, Some((keyword, _))) => Some(format!(
            "{odd}: not understood as a time: the date is the day of {keyword}, mjd stays empty"
        )),
        (None, None) if odd.is_empty() => None,
        (None, None) => Some(format!(
            "{odd}: not understood as a time: date and mjd stay empty"
        )),
        (Some(_), _) if odd.is_empty() => None,
        (Some(_), _) => Some(format!(
            "{odd}: not understood as a time: it is that of {}",
            start.map_or("the middle or the end", |(_, keyword)| keyword)
        )),
    };
    if begin.is_some() {
        match (scale, system) {
            (None, Some(system)) => {
                observed.mjd = None;
                observed.warning = Some(format!(
                    "TIMESYS {system:?} is not understood: the date is as it is written, mjd stays empty"
                ));
            }
            (Some(scale), Some(system)) if scale != Scale::Utc => {
                observed.note = Some(format!("date and mjd are turned from {system} into UTC"));
            }
            _ => {}
        }
    }
    observed
}

/// Whether an end can lie `length` seconds after its start: with pauses, but in the same night. The card
/// may also tell when the file was written.
fn is_end(length: f64, exposure: Option<f64>) -> bool {
    match exposure {
        Some(exposure) => (0.99 * exposure..=3.0 * exposure + 60.0).contains(&length),
        None => (0.0..86_400.0).contains(&length),
    }
}

/// Microseconds of a day by a number: seconds in the card UTC, as ESO writes them, and from 24 on, else
/// hours.
fn day_time(keyword: &str, number: f64) -> Option<i64> {
    let is_hours = keyword != "UTC" && number < 24.0;
    let seconds = if is_hours { number * 3_600.0 } else { number };
    (0.0..86_401.0)
        .contains(&seconds)
        .then(|| (seconds * 1e6).round() as i64)
}

fn iso_day(day: Written) -> String {
    let begin = Instant::new(day.day, 0, Scale::Utc).iso();
    begin.split('T').next().unwrap_or_default().to_owned()
}

struct Cards<'a> {
    get: &'a dyn Fn(&str) -> Option<Value>,
    scale: Scale,
    /// Cards that are no times, with their values.
    odd: Vec<String>,
}

impl Cards<'_> {
    /// The start, and the card that it is from.
    fn start(&mut self) -> Option<(Instant, &'static str)> {
        for keyword in STARTS {
            let written = self.written(keyword);
            if let Some(at) = written.and_then(|written| written.instant(self.scale)) {
                return Some((at, keyword));
            }
        }
        if let Some((_, day)) = self.day()
            && let Some(found) = self.clock(day)
        {
            return Some(found);
        }
        for keyword in MODIFIED.into_iter().chain(JULIAN) {
            if let Some(at) = self.julian(keyword) {
                return Some((at, keyword));
            }
        }
        None
    }

    /// The first instant of some cards of dates with their times, else of some modified Julian dates.
    fn first(&mut self, dates: &[&str], modified: &[&str]) -> Option<Instant> {
        for keyword in dates {
            let written = self.written(keyword);
            if let Some(at) = written.and_then(|written| written.instant(self.scale)) {
                return Some(at);
            }
        }
        modified.iter().find_map(|keyword| self.julian(keyword))
    }

    /// The first day that is there, and its card.
    fn day(&mut self) -> Option<(&'static str, Written)> {
        DAYS.into_iter()
            .find_map(|keyword| Some((keyword, self.written(keyword)?)))
    }

    /// A date that can be believed.
    fn written(&mut self, keyword: &str) -> Option<Written> {
        let value = self.value(keyword)?;
        let written = value.text().and_then(date::parse);
        let written = written.filter(|written| BELIEVED.contains(&written.day));
        if written.is_none() {
            self.note_odd(keyword, &value);
        }
        written
    }

    /// The time of a day.
    fn clock(&mut self, day: Written) -> Option<(Instant, &'static str)> {
        let before = self.odd.len();
        for keyword in CLOCKS {
            let Some(value) = self.value(keyword) else {
                continue;
            };
            // Whatever TIMESYS states.
            let scale = if keyword.starts_with("UT") {
                Scale::Utc
            } else {
                self.scale
            };
            let at = |time| Instant::new(day.day, time, scale);
            let at = match (&value, value.number()) {
                (Value::Text(text), _) => {
                    let whole = || date::parse(text)?.instant(scale);
                    date::clock(text).map(at).or_else(whole)
                }
                (_, Some(number)) => day_time(keyword, number).map(at),
                _ => None,
            };
            if let Some(at) = at {
                self.odd.truncate(before);
                return Some((at, keyword));
            }
            self.note_odd(keyword, &value);
        }
        None
    }

    /// A Julian date, modified or not, that can be believed; a number, also as text.
    fn julian(&mut self, keyword: &str) -> Option<Instant> {
        /// The half is taken from the part of a day, which keeps its digits.
        const ZERO: f64 = 2_400_000.0;
        let value = self.value(keyword)?;
        let number = match &value {
            Value::Text(text) => text.trim().parse().ok(),
            value => value.number(),
        };
        let shift = |number: f64| match JULIAN.contains(&keyword) {
            true => number - ZERO - 0.5,
            false => number,
        };
        let mjd = number
            .map(shift)
            .filter(|mjd| BELIEVED_NUMBERS.contains(mjd));
        if mjd.is_none() {
            self.note_odd(keyword, &value);
        }
        let mjd = mjd?;
        Some(Instant::from_mjd(
            mjd.floor() as i64,
            mjd.fract(),
            self.scale,
        ))
    }

    /// The value of a card that is neither blank nor a word for nothing.
    fn value(&self, keyword: &str) -> Option<Value> {
        const NOTHING: [&str; 7] = ["", "N/A", "NA", "NONE", "NULL", "UNKNOWN", "UNDEFINED"];
        let is_nothing = |text: &str| {
            let text = text.trim();
            NOTHING.iter().any(|word| text.eq_ignore_ascii_case(word))
        };
        (self.get)(keyword).filter(|value| !value.text().is_some_and(is_nothing))
    }

    fn note_odd(&mut self, keyword: &str, value: &Value) {
        const MOST: usize = 40;
        let shown = match value {
            Value::Text(text) => format!("{:?}", text.chars().take(MOST).collect::<String>()),
            Value::Logical(_) => "a truth value".to_owned(),
            value => value.number().unwrap_or(f64::NAN).to_string(),
        };
        let note = format!("{keyword} {shown}");
        if !self.odd.contains(&note) {
            self.odd.push(note);
        }
    }
}

#[cfg(test)]
mod tests;
