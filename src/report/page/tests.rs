use super::document::quoted;
use super::*;
use crate::catalog::{self, ImageInfo, Row, RunInfo};
use crate::fit::{FitStatus, Flags};

#[test]
fn many_frames_have_room() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let mut writer = catalog::create(&database, &RunInfo::default()).unwrap();
    for at in 0..1_200 {
        let mut image = ImageInfo {
            name: format!("x.fits[{at}]"),
            width: 100,
            height: 100,
            ..ImageInfo::default()
        };
        image.source.path = format!("gone/{}{at}.fits", "<&\">".repeat(60)).into();
        image.header.filter = Some("<&\">".repeat(1_000));
        let rows = (0..20).map(|id| {
            let mut row = Row::new(id, FitStatus::Converged, Flags(0));
            for (name, value) in [("x", 50.0), ("y", 50.0), ("flux", 9.0), ("snr", 8.0)] {
                row.set(name, value + id as f64);
            }
            row.set("fwhm", 2.0 + 0.01 * (id + at) as f64);
            row
        });
        writer.write(&image, &rows.collect::<Vec<_>>()).unwrap();
    }
    writer.finish().unwrap();
    let output = folder.path().join("a.html");
    for images in [vec![], vec!["x.fits".to_owned()]] {
        let shown = if images.is_empty() { 3 } else { Limits::SHOWN };
        let report = Report { images, run: None };
        let written = report.write(&database, &output, None).unwrap();
        assert_eq!((written.images, written.shown), (1_200, shown));
        assert_eq!((written.unavailable.len(), written.pictures), (shown, 0));
        let page = std::fs::read_to_string(&output).unwrap();
        assert!(page.len() == written.bytes && page.len() < LARGEST_PAGE);
        assert!(page.trim_end().ends_with("</html>") && page.contains("gone since"));
        assert!(page.contains(&format!("<p>{shown} images have figures, the best")));
        assert!(page.contains(&format!("not there any more: {shown}.</p>")));
        // As much as there is room for, not as little as possible.
        assert!(page.len() > LARGEST_PAGE / 8, "{}", page.len());
    }
}

#[test]
fn commands_can_be_pasted() {
    assert_eq!(quoted("m13.fits[0]"), "'m13.fits[0]'");
    assert_eq!(quoted("it's $(x)"), r"'it'\''s $(x)'");
}

#[test]
fn the_database_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("a.db");
    let writer = catalog::create(&database, &RunInfo::default()).unwrap();
    writer.finish().unwrap();
    let before = std::fs::read(&database).unwrap();
    let wrong = Report::default().write(&database, &database, None);
    assert!(matches!(wrong, Err(Error::Option { .. })));
    assert_eq!(std::fs::read(&database).unwrap(), before);
}
