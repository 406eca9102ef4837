use std::sync::Arc;

use crate::catalog::{ImageInfo, RunInfo};
use crate::report::ImageRecord;
use crate::report::page::night::*;
use crate::report::stars::statistics::tests::star;
use crate::settings::Settings;

/// A frame of `stars` stars of that FWHM, all of them undersampled, as a fit flags them, where that
/// is less than 1.5.
fn frame(fwhm: f64, stars: usize, date: Option<&str>) -> Frame {
    let run = RunInfo::default();
    let mut info = ImageInfo::default();
    info.header.date = date.map(str::to_owned);
    info.header.filter = Some("L".to_owned());
    info.header.exposure = Some(30.0);
    let record = ImageRecord {
        image_id: 1,
        run_id: 1,
        settings: Settings::from_json(&run.settings),
        run: Arc::new(run),
        started: String::new(),
        info,
        n_stars: stars as u64,
    };
    let stars = (0..stars).map(|id| {
        let mut star = star(id, 0.0, 0.0, fwhm);
        if fwhm < 1.5 {
            star.flags = Flags::UNDERSAMPLED;
        }
        star
    });
    Frame::new(record, &stars.collect::<Vec<_>>(), None)
}

fn weighted(night: &Night) -> Vec<f64> {
    let frames = night.frames.iter();
    frames.map(|frame| frame.weighted_fwhm.unwrap()).collect()
}

#[test]
fn undersampled_stars_are_clean_in_all_frames_or_in_none() {
    // Of the second frame nearly half are flagged, of the first all.
    let mixed = |sharp: usize, other: usize| {
        let flagged = frame(1.48, sharp, None);
        let mut frame = frame(1.53, other, None);
        frame.summary.stars += flagged.summary.stars;
        frame.lenient.clean += flagged.lenient.clean;
        frame
    };
    let night = Night::new(vec![frame(1.48, 1000, None), mixed(450, 550)]);
    let clean: Vec<usize> = night
        .frames
        .iter()
        .map(|frame| frame.summary.clean)
        .collect();
    assert_eq!(clean, [1000, 1000]);
    assert_eq!(weighted(&night), [1.48, 1.53]);
    // Hot pixels among stars stay out.
    let night = Night::new(vec![mixed(450, 550), frame(2.0, 1000, None)]);
    let clean = night.frames.iter().map(|frame| frame.summary.clean);
    assert_eq!(clean.collect::<Vec<_>>(), [550, 1000]);
}

#[test]
fn exposure_times_within_a_hundredth_are_one_kind() {
    let of = |exposures: [f64; 3]| {
        let frames = exposures.into_iter().zip([100, 50, 100]);
        let frames = frames.map(|(exposure, stars)| {
            let mut frame = frame(2.0, stars, None);
            frame.record.info.header.exposure = Some(exposure);
            frame
        });
        weighted(&Night::new(frames.collect()))
    };
    assert_eq!(of([30.0, 30.0003, 29.9998]), [2.0, 4.0, 2.0]);
    assert_eq!(of([30.0, 60.0, 29.9998]), [2.0, 2.0, 2.0]);
}

#[test]
fn frames_are_outliers_among_those_of_their_kind() {
    let night = |blue: usize| {
        let mut frames: Vec<Frame> = (0..40)
            .map(|at| frame(2.0 + 0.001 * f64::from(at), 100, None))
            .collect();
        frames.push(frame(3.0, 100, None));
        frames.push(frame(2.0, 0, None));
        frames.extend((0..blue).map(|at| {
            let mut frame = frame(if at == 0 { 4.0 } else { 2.6 }, 100, None);
            frame.record.info.header.filter = Some("B".to_owned());
            frame
        }));
        let night = Night::new(frames);
        let frames = night.frames.iter().enumerate();
        let outliers = frames.filter(|(_, frame)| frame.is_outlier);
        outliers.map(|(at, _)| at).collect::<Vec<_>>()
    };
    assert_eq!(night(6), [40, 41, 42]);
    // Four say nothing about each other.
    assert_eq!(night(4), [40, 41]);
}

#[test]
fn figures_are_over_time_where_frames_have_their_own() {
    let figure = |dates: &[Option<&str>]| {
        let frames = dates.iter().map(|date| frame(2.0, 10, *date));
        let night = Night::new(frames.collect());
        let figure = night.figures(&|_| None).remove(0);
        (figure.svg.inline(), figure.caption)
    };
    let is_timed = |svg: &str| svg.contains(">UTC, from 2026-01-02<");
    let dates = ["00", "01", "02"].map(|hour| format!("2026-01-02T{hour}:00:00"));
    let mut dates: Vec<_> = dates.iter().map(|date| Some(date.as_str())).collect();
    let (svg, caption) = figure(&dates);
    assert!(is_timed(&svg) && !caption.contains("left out"), "{caption}");
    assert_eq!(svg.matches("<circle").count(), 3);
    dates.push(Some("yesterday"));
    let (svg, caption) = figure(&dates);
    assert!(
        is_timed(&svg) && caption.ends_with("are left out: 1."),
        "{caption}"
    );
    assert_eq!(svg.matches("<circle").count(), 3);
    // The planes of a cube.
    for dates in [[Some("2026-01-02"); 4], [None; 4]] {
        let (svg, caption) = figure(&dates);
        assert!(svg.contains("in their order") && !caption.contains("left out"));
        let places = svg.split("cx=\"").skip(1);
        let places: std::collections::HashSet<_> =
            places.map(|text| text.split('"').next()).collect();
        assert_eq!(places.len(), 4);
    }
}

#[test]
fn units_are_printable() {
    let mut frame = frame(2.0, 10, None);
    frame.record.info.header.unit = Some("\u{1b}[2J".repeat(20));
    let unit = Night::new(vec![frame]).common_unit().unwrap();
    assert!(unit.chars().count() <= 31 && !unit.chars().any(char::is_control));
}
