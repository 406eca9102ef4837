use crate::report::draw::scale::*;

fn labels(scale: &Scale) -> Vec<String> {
    scale.ticks().into_iter().map(|(_, text)| text).collect()
}

#[test]
fn ticks_are_round() {
    for (low, high, expected) in [
        (0.0, 10.0, vec!["0", "2", "4", "6", "8", "10"]),
        (1.93, 2.41, vec!["2.0", "2.1", "2.2", "2.3", "2.4"]),
        (-1.0, 1.0, vec!["−1.0", "−0.5", "0.0", "0.5", "1.0"]),
        (0.0, 3e7, vec!["0", "1×10⁷", "2×10⁷", "3×10⁷"]),
        (
            1e-17,
            3e-17,
            vec![
                "1.0×10⁻¹⁷",
                "1.5×10⁻¹⁷",
                "2.0×10⁻¹⁷",
                "2.5×10⁻¹⁷",
                "3.0×10⁻¹⁷",
            ],
        ),
    ] {
        assert_eq!(labels(&Scale::linear(low, high)), expected);
    }
    assert_eq!(
        labels(&Scale::log(0.5, 2e4)),
        ["1", "10", "100", "1000", "10000"]
    );
    assert_eq!(labels(&Scale::log(3.0, 60.0)), ["5", "10", "20", "50"]);
    assert_eq!(
        labels(&Scale::log(2.0, 3.0)),
        ["2.0", "2.2", "2.4", "2.6", "2.8", "3.0"]
    );
    let night = Scale::time(1_700_000_000.0, 1_700_018_000.0);
    assert_eq!(
        labels(&night),
        ["23:00", "00:00", "01:00", "02:00", "03:00"]
    );
    assert_eq!(night.day().as_deref(), Some("2023-11-14"));
    let year = Scale::time(1_700_000_000.0, 1_731_000_000.0);
    assert!(
        labels(&year).iter().all(|text| text.len() == 10),
        "{year:?}"
    );
    assert_eq!(year.day(), None);
}

#[test]
fn an_axis_of_time_begins_on_the_day_of_its_first_value() {
    // 2023-11-14T00:10 to 05:00: the margin begins the day before.
    let first = 1_699_920_600.0;
    let night = Scale::around(Scale::time, [first + 17_400.0, first].into_iter());
    assert!(night.low < 1_699_920_000.0);
    assert_eq!(night.day().as_deref(), Some("2023-11-14"));
    let one = Scale::around(Scale::time, [1_699_920_000.0].into_iter());
    assert_eq!(one.day().as_deref(), Some("2023-11-14"));
}

#[test]
fn any_ends_make_an_axis() {
    let odd = [
        0.0,
        -0.0,
        1.0,
        -3.5,
        1e-320,
        f64::MAX,
        f64::MIN,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e6 + 1e-9,
    ];
    for make in [Scale::linear, Scale::log, Scale::time] {
        for low in odd {
            for high in odd {
                for scale in [
                    make(low, high),
                    Scale::around(make, [low, high].into_iter()),
                ] {
                    assert!(scale.low < scale.high, "{scale:?}");
                    let ticks = scale.ticks();
                    assert!(ticks.len() < 100, "{scale:?}: {}", ticks.len());
                    for (tick, _) in ticks {
                        assert!(scale.place(tick).is_some(), "{tick} on {scale:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn places_are_from_end_to_end() {
    let scale = Scale::linear(2.0, 4.0);
    assert_eq!(scale.place(2.0), Some(0.0));
    assert_eq!(scale.place(3.5), Some(0.75));
    for outside in [1.9, 4.1, f64::NAN, f64::INFINITY] {
        assert_eq!(scale.place(outside), None);
    }
    let scale = Scale::log(1.0, 100.0);
    assert!((scale.place(10.0).unwrap() - 0.5).abs() < 1e-12);
    for outside in [0.0, -1.0, 0.5, f64::INFINITY] {
        assert_eq!(scale.place(outside), None);
    }
}

#[test]
fn axes_are_around_their_values() {
    let scale = Scale::around(
        Scale::linear,
        [f64::NAN, 1.0, 3.0, f64::INFINITY].into_iter(),
    );
    assert_eq!((scale.low, scale.high), (0.9, 3.1));
    let scale = Scale::around(Scale::log, [-5.0, 0.0, 2.0, 200.0].into_iter());
    assert!(
        scale.low > 1.0 && scale.low < 2.0 && scale.high > 200.0,
        "{scale:?}"
    );
    let scale = Scale::around(Scale::linear, std::iter::empty());
    assert!(scale.low < scale.high);
}
