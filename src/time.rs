//! Instants, and the scales of time that headers state them in.
//!
//! UTC has leap seconds (IERS Bulletin C), so that lengths of time are added in TAI. TT is TAI +
//! 32.184 s, GPS time TAI - 19 s; TDB differs from TT by less than 2 ms and is taken for it. Before
//! 1972, when UTC was another scale, TAI - UTC is taken for 10 s.

use crate::date::{self, MJD_OF_1970, Written};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// First day, MJD, of each value of TAI - UTC, seconds.
const LEAPS: [(i64, i64); 27] = [
    (41_499, 11),
    (41_683, 12),
    (42_048, 13),
    (42_413, 14),
    (42_778, 15),
    (43_144, 16),
    (43_509, 17),
    (43_874, 18),
    (44_239, 19),
    (44_786, 20),
    (45_151, 21),
    (45_516, 22),
    (46_247, 23),
    (47_161, 24),
    (47_892, 25),
    (48_257, 26),
    (48_804, 27),
    (49_169, 28),
    (49_534, 29),
    (50_083, 30),
    (50_630, 31),
    (51_179, 32),
    (53_736, 33),
    (54_832, 34),
    (56_109, 35),
    (57_204, 36),
    (57_754, 37),
];

/// A scale of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Utc,
    Tai,
    Tt,
    Gps,
}

impl Scale {
    /// The scale that TIMESYS names; the text after its first word is a realisation, as in `TT(TAI)`.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        let name = name.trim().to_uppercase();
        let word = name.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
        Some(match word {
            "UTC" | "UT" | "UT1" | "GMT" | "Z" => Self::Utc,
            "TAI" | "IAT" => Self::Tai,
            "TT" | "TDT" | "ET" | "TDB" => Self::Tt,
            "GPS" => Self::Gps,
            _ => return None,
        })
    }

    /// Microseconds that this scale is ahead of TAI.
    fn ahead(self) -> i64 {
        match self {
            Self::Utc | Self::Tai => 0,
            Self::Tt => 32_184_000,
            Self::Gps => -19 * SECOND,
        }
    }
}

/// An instant: microseconds of TAI since the beginning of MJD 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(i64);

impl Instant {
    /// The instant by a calendar and a clock of that scale: a day, MJD, and microseconds since its
    /// beginning.
    pub(crate) fn new(day: i64, time: i64, scale: Scale) -> Self {
        let leaps = if scale == Scale::Utc {
            tai_less_utc(day)
        } else {
            0
        };
        Self(day * DAY + time + leaps * SECOND - scale.ahead())
    }

    /// The instant of a modified Julian date, to the millisecond: a double has no more digits of a Julian
    /// date.
    pub(crate) fn from_mjd(day: i64, part: f64, scale: Scale) -> Self {
        let length = if scale == Scale::Utc {
            day_length(day)
        } else {
            DAY
        };
        let time = (part * length as f64 * 1e-3).round() as i64 * 1_000;
        Self::new(day, time, scale)
    }

    pub(crate) fn add_seconds(self, seconds: f64) -> Self {
        Self(self.0.saturating_add((seconds * 1e6).round() as i64))
    }

    /// Seconds from another instant to this one.
    pub(crate) fn seconds_since(self, other: Self) -> f64 {
        (self.0 - other.0) as f64 * 1e-6
    }

    /// Day, MJD, and microseconds since its beginning by UTC.
    fn utc(self) -> (i64, i64) {
        let begin = |day: i64| day * DAY + tai_less_utc(day) * SECOND;
        let day = self.0.div_euclid(DAY);
        let day = if begin(day) <= self.0 { day } else { day - 1 };
        (day, self.0 - begin(day))
    }

    /// Modified Julian date, UTC; a day with a leap second is as long as any other, as in SOFA.
    pub(crate) fn mjd(self) -> f64 {
        let (day, time) = self.utc();
        day as f64 + time as f64 / day_length(day) as f64
    }

    /// `2026-01-02T03:04:05.678` by UTC, with thousandths or millionths of a second where there are any.
    pub(crate) fn iso(self) -> String {
        let (day, time) = self.utc();
        let leap = (time - (DAY - SECOND)).max(0) / SECOND;
        // The second 60 is the one after 59 in the same minute.
        let second = time / SECOND - leap;
        let mut text = date::iso((day - MJD_OF_1970) * 86_400 + second);
        if leap > 0 {
            text.replace_range(17.., &(59 + leap).to_string());
        }
        let micros = time % SECOND;
        if micros % 1_000 != 0 {
            text.push_str(&format!(".{micros:06}"));
        } else if micros > 0 {
            text.push_str(&format!(".{:03}", micros / 1_000));
        }
        text
    }
}

impl Written {
    /// The instant, where a time of day is written.
    pub(crate) fn instant(self, scale: Scale) -> Option<Instant> {
        self.time.map(|time| Instant::new(self.day, time, scale))
    }
}

/// Seconds that TAI is ahead of UTC on a day, MJD.
fn tai_less_utc(day: i64) -> i64 {
    let after = LEAPS.partition_point(|(first, _)| *first <= day);
    let known = after.checked_sub(1).and_then(|at| LEAPS.get(at));
    known.map_or(10, |(_, seconds)| *seconds)
}

/// Microseconds of a day of UTC.
fn day_length(day: i64) -> i64 {
    DAY + (tai_less_utc(day + 1) - tai_less_utc(day)) * SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, scale: Scale) -> Instant {
        date::parse(text).unwrap().instant(scale).unwrap()
    }

    /// By astropy 7, ERFA's leap seconds: `Time(text, scale=scale).utc`, its `isot`, its `mjd`, and
    /// the `mjd` of `t + TimeDelta(60, format="sec")`; GPS as TAI 19 s later.
    const ASTROPY: [(&str, &str, &str, f64, f64); 10] = [
        (
            "UTC",
            "2023-01-01T12:34:56.789",
            "2023-01-01T12:34:56.789",
            59945.5242683912,
            59945.52496283565,
        ),
        (
            "TAI",
            "2023-01-01T12:34:56.789",
            "2023-01-01T12:34:19.789",
            59945.52384015046,
            59945.52453459491,
        ),
        (
            "TT",
            "2023-01-01T12:34:56.789",
            "2023-01-01T12:33:47.605",
            59945.52346765046,
            59945.52416209491,
        ),
        (
            "GPS",
            "2023-01-01T12:34:56.789",
            "2023-01-01T12:34:38.789",
            59945.52406005787,
            59945.52475450231,
        ),
        (
            "TDB",
            "2010-06-15T00:00:10",
            "2010-06-14T23:59:03.815426",
            55361.999349715574,
            55362.00004416002,
        ),
        (
            "UTC",
            "2016-12-31T23:59:60.5",
            "2016-12-31T23:59:60.500",
            57753.99999421303,
            57754.000688657405,
        ),
        (
            "UTC",
            "1998-12-31T23:59:30",
            "1998-12-31T23:59:30",
            51178.999641207854,
            51179.00033564815,
        ),
        (
            "TAI",
            "1999-01-01T00:00:31.5",
            "1998-12-31T23:59:60.500",
            51178.99999421303,
            51179.000688657405,
        ),
        (
            "TT",
            "1985-07-01T00:00:10",
            "1985-06-30T23:59:15.816",
            46246.99947704309,
            46247.00017148148,
        ),
        (
            "UTC",
            "1975-03-04T05:06:07",
            "1975-03-04T05:06:07",
            42475.21258101852,
            42475.213275462964,
        ),
    ];

    #[test]
    fn scales_and_leap_seconds_are_astropys() {
        for (name, text, iso, mjd, minute_later) in ASTROPY {
            let scale = Scale::by_name(name).unwrap();
            let found = at(text, scale);
            // TDB is taken for TT.
            let leeway = if name == "TDB" { 0.002 } else { 2e-6 };
            assert!(
                (found.mjd() - mjd).abs() * 86_400.0 < leeway,
                "{name} {text}"
            );
            let later = found.add_seconds(60.0).mjd();
            assert!(
                (later - minute_later).abs() * 86_400.0 < leeway,
                "{name} {text}"
            );
            if name == "TDB" {
                assert_eq!(found.iso(), "2010-06-14T23:59:03.816");
            } else {
                assert_eq!(found.iso(), iso, "{name} {text}");
                assert_eq!(at(iso, Scale::Utc), found, "{iso}");
            }
        }
        let tai = at("2023-01-01T12:34:56.789", Scale::Tai);
        let utc = at("2023-01-01T12:34:56.789", Scale::Utc);
        assert_eq!(utc.seconds_since(tai), 37.0);
        assert_eq!(Scale::by_name("TT(TAI)"), Some(Scale::Tt));
        assert_eq!(Scale::by_name("LOCAL"), None);
    }

    #[test]
    fn julian_dates_are_to_the_millisecond() {
        // Time(59945.52426838, format="mjd").isot
        let found = Instant::from_mjd(59945, 0.524_268_38, Scale::Utc);
        assert_eq!(found.iso(), "2023-01-01T12:34:56.788");
        let found = Instant::from_mjd(59945, 0.524_268_38, Scale::Tai);
        assert_eq!(found.iso(), "2023-01-01T12:34:19.788");
        assert_eq!(
            Instant::from_mjd(58000, 0.0, Scale::Utc).iso(),
            "2017-09-04T00:00:00"
        );
        assert_eq!(Instant::from_mjd(58000, 0.0, Scale::Utc).mjd(), 58000.0);
    }
}
