use super::*;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn of(cards: &[(&str, Value)], exposure: Option<f64>) -> Observed {
    let get = |keyword: &str| {
        let card = cards.iter().find(|(name, _)| *name == keyword);
        card.map(|(_, value)| value.clone())
    };
    observed(&get, exposure)
}

/// `Time("2023-01-01T12:34:56.789").mjd` of astropy 7, and that of 60 s later.
const START: f64 = 59945.5242683912;
const MIDDLE: f64 = 59945.52496283565;

fn is_near(mjd: Option<f64>, expected: f64) -> bool {
    (mjd.unwrap() - expected).abs() * 86_400.0 < 1e-3
}

#[test]
fn one_time_in_all_the_cards_it_is_written_in() {
    let day = ("DATE-OBS", text("2023-01-01"));
    let clock = || text("12:34:56.789");
    let mjd = Value::Float(START);
    let cases: Vec<Vec<(&str, Value)>> = vec![
        vec![("DATE-OBS", text("2023-01-01T12:34:56.789"))],
        vec![("DATE-OBS", text("2023-01-01 12:34:56.789Z"))],
        vec![("DATE-OBS", text("2023-01-01T14:34:56.789+02:00"))],
        vec![day.clone(), ("TIME-OBS", clock())],
        vec![day.clone(), ("UT", clock())],
        vec![day.clone(), ("UTC", Value::Float(45_296.789))],
        vec![day.clone(), ("TIME-OBS", Value::Float(45_296.789))],
        vec![day.clone(), ("UT", Value::Float(45_296.789 / 3600.0))],
        vec![day.clone(), ("UTSTART", clock())],
        vec![day.clone(), ("UT-OBS", clock())],
        vec![day.clone(), ("UTC-OBS", clock())],
        vec![day.clone(), ("TIME", clock())],
        vec![day.clone(), ("TIME-BEG", clock())],
        vec![day.clone(), ("TIME-OBS", text("2023-01-01T12:34:56.789"))],
        vec![day.clone(), ("UT", text("?")), ("TIME", clock())],
        vec![day.clone(), ("DATE-BEG", text("2023-01-01T12:34:56.789"))],
        vec![day.clone(), ("MJD-OBS", mjd.clone())],
        vec![("DATEOBS", text("2023-01-01T12:34:56.789"))],
        vec![("DATE-BEG", text("2023-01-01T12:34:56.789"))],
        vec![("DATE-OBS", text("2023/01/01")), ("UT", clock())],
        vec![("MJD-OBS", mjd.clone())],
        vec![("MJD-OBS", text("59945.5242683912"))],
        vec![("MJD", mjd.clone())],
        vec![("MJD-BEG", mjd.clone())],
        vec![("EXPSTART", mjd.clone())],
        vec![("JD", Value::Float(START + 2_400_000.5))],
        vec![("JD-OBS", Value::Float(START + 2_400_000.5))],
        vec![("DATE-AVG", text("2023-01-01T12:35:56.789"))],
        vec![("MJD-AVG", Value::Float(MIDDLE))],
        vec![("DATE-END", text("2023-01-01T12:36:56.789"))],
        vec![
            ("EXPSTART", mjd),
            ("EXPEND", Value::Float(2.0 * MIDDLE - START)),
        ],
    ];
    for cards in cases {
        let found = of(&cards, Some(120.0));
        let date = found.date.as_deref().unwrap();
        // Julian dates have 0.04 ms.
        assert!(
            date == "2023-01-01T12:34:56.789" || date == "2023-01-01T12:34:56.788",
            "{cards:?}: {date}"
        );
        assert!(is_near(found.mjd, MIDDLE), "{cards:?}: {:?}", found.mjd);
        assert_eq!((found.warning, found.note), (None, None), "{cards:?}");
        assert!(!is_near(found.mjd, START), "the middle is not the start");
    }
    let alone = of(&[("DATE-OBS", text("2023-01-01T12:34:56.789"))], None);
    assert!(is_near(alone.mjd, START), "without an exposure time");
    // Negative control: the day alone has no time, and says so.
    let found = of(&[day], Some(120.0));
    assert_eq!(
        (found.date.as_deref(), found.mjd),
        (Some("2023-01-01"), None)
    );
    assert!(found.warning.unwrap().contains("DATE-OBS is a day"));
}

#[test]
fn a_middle_that_is_stated_is_taken() {
    let start = ("DATE-OBS", text("2023-01-01T12:34:56.789"));
    let mean = ("MJD-AVG", Value::Float(START + 0.01));
    assert!(is_near(
        of(&[start.clone(), mean], Some(120.0)).mjd,
        START + 0.01
    ));
    // Ramps and pauses take longer than the exposure; a file that was written hours later does not.
    let end = |text: &str| ("DATE-END", Value::Text(text.to_owned()));
    let longer = of(
        &[start.clone(), end("2023-01-01T12:38:56.789")],
        Some(120.0),
    );
    assert!(is_near(longer.mjd, START + 120.0 / 86_400.0));
    let later = of(&[start, end("2023-01-01T19:00:00")], Some(120.0));
    assert!(is_near(later.mjd, MIDDLE));
}

#[test]
fn other_scales_become_utc() {
    let start = ("DATE-OBS", text("2023-01-01T12:34:56.789"));
    // As the table of the scales: astropy's Time(text, scale="tai").utc.
    for (system, date, mjd) in [
        ("UTC", "2023-01-01T12:34:56.789", START),
        ("TAI", "2023-01-01T12:34:19.789", 59945.52384015046),
        ("TT", "2023-01-01T12:33:47.605", 59945.52346765046),
        ("TDB", "2023-01-01T12:33:47.605", 59945.52346765046),
        ("GPS", "2023-01-01T12:34:38.789", 59945.52406005787),
    ] {
        let found = of(&[start.clone(), ("TIMESYS", text(system))], None);
        assert_eq!(found.date.as_deref(), Some(date), "{system}");
        assert!(
            (found.mjd.unwrap() - mjd).abs() * 86_400.0 < 2e-3,
            "{system}"
        );
        assert_eq!(found.note.is_some(), system != "UTC");
    }
    // A universal time is one whatever the rest is.
    let cards = [
        ("DATE-OBS", text("2023-01-01")),
        ("UT", text("12:34:56.789")),
        ("TIMESYS", text("TAI")),
    ];
    assert!(is_near(of(&cards, None).mjd, START));
    let local = of(&[start, ("TIMESYS", text("LOCAL"))], None);
    assert_eq!(
        (local.date.as_deref(), local.mjd),
        (Some("2023-01-01T12:34:56.789"), None)
    );
    assert!(local.warning.unwrap().contains("TIMESYS \"LOCAL\""));
}

#[test]
fn what_is_not_understood_is_said() {
    let said = |cards: &[(&str, Value)]| {
        let found = of(cards, Some(10.0));
        (found.date, found.mjd, found.warning.unwrap_or_default())
    };
    for (keyword, value, shown) in [
        ("DATE-OBS", text("yesterday"), "DATE-OBS \"yesterday\""),
        (
            "DATE-OBS",
            text("1858-11-17T00:00:00"),
            "DATE-OBS \"1858-11-17T00:00:00\"",
        ),
        ("DATE-OBS", text("01/02/23"), "DATE-OBS \"01/02/23\""),
        (
            "DATE-OBS",
            text("9999-12-31T00:00:00"),
            "DATE-OBS \"9999-12-31T00:00:00\"",
        ),
        ("DATE-OBS", Value::Integer(2023), "DATE-OBS 2023"),
        ("MJD-OBS", Value::Float(0.0), "MJD-OBS 0"),
        ("MJD-OBS", Value::Integer(99_999), "MJD-OBS 99999"),
        ("MJD", Value::Float(8_946.5), "MJD 8946.5"),
        ("JD", Value::Float(59_945.5), "JD 59945.5"),
        ("EXPSTART", Value::Logical(true), "EXPSTART a truth value"),
        (
            "HJD",
            Value::Float(2_459_946.0),
            "HJD (not at the telescope)",
        ),
        (
            "BJD",
            Value::Float(2_459_946.0),
            "BJD (not at the telescope)",
        ),
    ] {
        let (date, mjd, warning) = said(&[(keyword, value)]);
        assert_eq!((date, mjd), (None, None), "{keyword}");
        assert!(
            warning.starts_with(shown) && warning.ends_with("stay empty"),
            "{warning}"
        );
    }
    // Another card mends it, which is said too.
    let (date, _, warning) = said(&[
        ("DATE-OBS", text("yesterday")),
        ("MJD-OBS", Value::Float(58_000.0)),
    ]);
    assert_eq!(date.as_deref(), Some("2017-09-04T00:00:00"));
    assert_eq!(
        warning,
        "DATE-OBS \"yesterday\": not understood as a time: it is that of MJD-OBS"
    );
    let (date, mjd, warning) = said(&[
        ("DATE-OBS", text("2023-01-01")),
        ("UT", Value::Float(90_000.0)),
    ]);
    assert_eq!((date.as_deref(), mjd), (Some("2023-01-01"), None));
    assert!(warning.starts_with("UT 90000: not understood"), "{warning}");
    // Old dates sort with new ones.
    let (date, ..) = said(&[("DATE-OBS", text("31/12/99")), ("UT", text("01:02:03"))]);
    assert_eq!(date.as_deref(), Some("1999-12-31T01:02:03"));
    // Nothing there, or blank: nothing to say.
    assert_eq!(of(&[], None), Observed::default());
    for nothing in ["  ", "N/A", "unknown"] {
        let cards = [("DATE-OBS", text(nothing))];
        assert_eq!(of(&cards, None), Observed::default(), "{nothing}");
    }
}
