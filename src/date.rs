//! Dates of the Gregorian calendar, as seconds since 1970, UTC.
//!
//! Source: H. Hinnant, "chrono-compatible low-level date algorithms": eras of 400 years that begin
//! on 1 March.

const DAY: i64 = 86_400;
/// Days from 1 March of year 0 to 1970.
const TO_1970: i64 = 719_468;
const ERA_DAYS: i64 = 146_097;

/// `2026-01-02T03:04:05`.
pub(crate) fn iso(seconds: i64) -> String {
    let (days, second) = (
        seconds.div_euclid(DAY).saturating_add(TO_1970),
        seconds.rem_euclid(DAY),
    );
    let (era, day) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// A day of the calendar, as headers write it, and the time of day where one stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Modified Julian day.
    pub(crate) day: i64,
    /// Time since the beginning of the day, microseconds; less than 0 or more than a day where a zone is
    /// stated.
    pub(crate) time: Option<i64>,
}

impl Written {
    /// Seconds since 1970; a day without a time counts from its beginning.
    #[cfg(feature = "report")]
    pub(crate) fn seconds(self) -> f64 {
        ((self.day - MJD_OF_1970) * DAY) as f64 + self.time.unwrap_or(0) as f64 * 1e-6
    }
}

/// Modified Julian day of 1970-01-01.
pub(crate) const MJD_OF_1970: i64 = 40_587;

/// Parses a date: `2026-01-02T03:04:05.678`, with a space, a Z or a zone (`+02:00`) as well, or a day
/// alone; `2026/01/02`; `02/01/97` of 1940 to 1999. `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<Written> {
    let text = text.trim();
    let split = text.split_once(['T', ' ']);
    let (day, time) = split.map_or((text, None), |(day, time)| (day, Some(time.trim())));
    let separator = if day.contains('-') { '-' } else { '/' };
    let mut parts = day.split(separator);
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, month, day) = if first.len() == 4 {
        (whole(first, 4)?, whole(second, 2)?, whole(third, 2)?)
    } else {
        // The standard had this for the years 1900 to 1999. The plates of the sky surveys begin in
        // 1949, and 01/02/23 is the mistake of a camera.
        let year = Some(1900 + whole(third, 2)?);
        let year = year.filter(|year| separator == '/' && third.len() == 2 && *year >= 1940);
        (year?, whole(second, 2)?, whole(first, 2)?)
    };
    if parts.next().is_some() {
        return None;
    }
    let (time, zone) = match time {
        None => (None, 0),
        Some(time) => {
            let (time, zone) = without_zone(time)?;
            (Some(clock(time)?), zone)
        }
    };
    let days = days_since_1970(year, month, day)?;
    Some(Written {
        day: days + MJD_OF_1970,
        time: time.map(|time| time - zone),
    })
}

/// A time of day, `03:04:05.678` or `03:04`; microseconds.
pub(crate) fn clock(text: &str) -> Option<i64> {
    let text = text.trim();
    let mut parts = text.trim_end_matches('Z').split(':');
    let (hour, minute) = (whole(parts.next()?, 2)?, whole(parts.next()?, 2)?);
    let second: f64 = match parts.next() {
        // Refuses a sign, and the words that are numbers.
        Some(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            text.trim().replace(',', ".").parse().ok()?
        }
        Some(_) => return None,
        None => 0.0,
    };
    // 60 is a leap second.
    let is_time = hour < 24 && minute < 60 && (0.0..61.0).contains(&second);
    (is_time && parts.next().is_none())
        .then(|| (hour * 3_600 + minute * 60) * 1_000_000 + (second * 1e6).round() as i64)
}

/// A time without the zone behind it, and how far the zone is ahead of UTC, microseconds.
fn without_zone(time: &str) -> Option<(&str, i64)> {
    let Some(at) = time.rfind(['+', '-']) else {
        return Some((time, 0));
    };
    let (time, zone) = time.split_at(at);
    let (sign, zone) = zone.split_at(1);
    let ahead = clock(zone)?;
    Some((time, if sign == "-" { -ahead } else { ahead }))
}

/// A number of one to `digits` digits.
fn whole(text: &str, digits: usize) -> Option<i64> {
    let is_number = (1..=digits).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Days from 1970 to a date; `None` where there is no such day.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day = year * 365 + year / 4 - year / 100 + (153 * from_march + 2) / 5 + day - 1;
    Some(era * ERA_DAYS + day - TO_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATES: [(i64, &str); 7] = [
        (-1, "1969-12-31T23:59:59"),
        (0, "1970-01-01T00:00:00"),
        (951_782_399, "2000-02-28T23:59:59"),
        (951_782_400, "2000-02-29T00:00:00"),
        (951_868_800, "2000-03-01T00:00:00"),
        (1_700_000_000, "2023-11-14T22:13:20"),
        (4_107_542_400, "2100-03-01T00:00:00"),
    ];

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in DATES {
            assert_eq!(iso(seconds), date);
            let written = parse(date).unwrap();
            let since = (written.day - MJD_OF_1970) * DAY * 1_000_000 + written.time.unwrap();
            assert_eq!(since, seconds * 1_000_000, "{date}");
        }
        assert_ne!(iso(951_782_400), iso(951_868_800));
        for seconds in [i64::MIN, i64::MAX] {
            assert!(!iso(seconds).is_empty());
        }
    }

    #[test]
    fn dates_are_read_as_headers_have_them() {
        const DAY: i64 = 86_400_000_000;
        for (text, day, time) in [
            ("1970-01-01T00:00:01.25", 0, Some(1_250_000)),
            (" 1970-01-02 ", 1, None),
            ("1970-01-01 00:01", 0, Some(60_000_000)),
            ("1970-01-01T00:00:01Z", 0, Some(1_000_000)),
            ("1970-01-01T00:00:01+02:00", 0, Some(1_000_000 - DAY / 12)),
            ("1970-01-01T12:00:00-02:00", 0, Some(DAY / 12 * 7)),
            ("1970/01/02", 1, None),
            ("02/01/70", 1, None),
            ("29/11/51", -6608, None),
            ("02/01/70 01:00:00,5", 1, Some(DAY / 24 + 500_000)),
        ] {
            let day = day + MJD_OF_1970;
            assert_eq!(parse(text), Some(Written { day, time }), "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-01-32",
            "2026-02-29",
            "1900-02-29",
            "2026-01-01T24:00:00",
            "2026-01-01T",
            "2026-01-01T12",
            "2026-01-01T00:00:nan",
            "2026-01-01T00:00:-1",
            "2026-01-01T00:00:00:00",
            "2026-01-01-01",
            "-026-01-01",
            "02-01-70",
            "02/01/23",
            "02/01/2023",
            "99999999999999999999-01-01",
            "<script>",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
