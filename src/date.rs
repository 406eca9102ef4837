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

/// The time that DATE-OBS says: `2026-01-02T03:04:05.678`, with a space or a Z as well, or a day
/// alone, which is its beginning; `02/01/97` of before 2000. `None` for anything else.
#[cfg(feature = "report")]
pub(crate) fn parse(text: &str) -> Option<f64> {
    let text = text.trim().trim_end_matches('Z');
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, "0:0:0"));
    let whole = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        let is_number = digits.contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
        is_number.then(|| text.parse::<i64>().ok()).flatten()
    };
    let (year, month, day) = match day.split('-').collect::<Vec<_>>()[..] {
        [year, month, day] => (
            whole(year, 4..=4)?,
            whole(month, 1..=2)?,
            whole(day, 1..=2)?,
        ),
        _ => match day.split('/').collect::<Vec<_>>()[..] {
            [day, month, year] => {
                let year = 1900 + whole(year, 2..=2)?;
                (year, whole(month, 1..=2)?, whole(day, 1..=2)?)
            }
            _ => return None,
        },
    };
    let mut parts = time.trim().split(':');
    let hour = whole(parts.next()?, 1..=2)?;
    let minute = parts.next().map_or(Some(0), |text| whole(text, 1..=2))?;
    let second = match parts.next() {
        Some(text) if text.starts_with(|c: char| c.is_ascii_digit()) => text.parse().ok()?,
        Some(_) => return None,
        None => 0.0,
    };
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    // 60 is a leap second.
    let is_time = hour < 24 && minute < 60 && (0.0..61.0).contains(&second);
    if !is_date || !is_time || parts.next().is_some() {
        return None;
    }
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day = year * 365 + year / 4 - year / 100 + (153 * from_march + 2) / 5 + day - 1;
    let days = era * ERA_DAYS + day - TO_1970;
    Some((days * DAY + hour * 3_600 + minute * 60) as f64 + second)
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
            assert_eq!(parse(date), Some(seconds as f64), "{date}");
        }
        assert_ne!(iso(951_782_400), iso(951_868_800));
        for seconds in [i64::MIN, i64::MAX] {
            assert!(!iso(seconds).is_empty());
        }
    }

    #[cfg(feature = "report")]
    #[test]
    fn dates_are_read_as_headers_have_them() {
        for (text, seconds) in [
            ("1970-01-01T00:00:01.25", 1.25),
            (" 1970-01-02 ", 86_400.0),
            ("1970-01-01 00:01", 60.0),
            ("1970-01-01T00:00:01Z", 1.0),
            ("02/01/70", 86_400.0),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-01-32",
            "2026-01-01T24:00:00",
            "2026-01-01T00:00:nan",
            "2026-01-01T00:00:-1",
            "2026-01-01T00:00:00:00",
            "-026-01-01",
            "99999999999999999999-01-01",
            "<script>",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
