use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use crate::measure::MeasureOptions;
use crate::model::Gaussian;
use crate::report::page::section::*;
use crate::report::tests::{field, fitted, written};

/// The shipped field, fitted: its folder, its database and its record.
fn fitted_field(weights: &str) -> (TempDir, PathBuf, ImageRecord) {
    let (folder, path) = field();
    let options = MeasureOptions {
        weighted: weights == "noise",
        ..MeasureOptions::default()
    };
    let (info, measured) = fitted(&path, &Gaussian, &options);
    let settings = json!({"model": "gaussian", "weights": weights});
    let record = written(folder.path(), &info, settings, &measured.rows);
    let database = folder.path().join("a.db");
    (folder, database, record)
}

/// Result of `make` for the section of a record.
fn of<T>(database: &std::path::Path, record: ImageRecord, make: impl Fn(&Section<'_>) -> T) -> T {
    let records = Records::open(database).unwrap();
    let stars = StarValues::read(&records, &record).unwrap();
    let frame = Frame::new(record, &stars, None);
    make(&Section::read(&records, &frame, 0, 1).unwrap())
}

#[test]
fn figures_are_the_same_in_a_file() {
    let (_folder, database, record) = fitted_field("noise");
    of(&database, record, |section| {
        let rows = section.rows(Limits::FULL.rows);
        let linked: HashSet<usize> = rows.iter().map(|star| star.id).collect();
        let href = |id: usize| Some(format!("#s0-{id}"));
        let of_page = section.figures(&Limits::FULL, &href, &linked);
        let of_file = section.figures_of_file();
        assert_eq!(of_page.len(), of_file.len());
        for (page, file) in of_page.iter().zip(&of_file) {
            assert_eq!(page.caption, file.caption);
            let (page, file) = (page.svg.inline(), file.svg.inline());
            for mark in ["class=\"dot\"", "class=\"odd\"", "plain", "<title>", "fit"] {
                let [page, file] = [&page, &file].map(|svg| svg.matches(mark).count());
                assert_eq!(page, file, "{mark}");
            }
            assert!(!file.contains("<a "));
        }
        let is_flux = |figure: &&crate::report::page::figure::Figure| figure.name == "flux-snr";
        let flux = of_file.iter().find(is_flux).unwrap();
        assert!(flux.svg.inline().contains("class=\"dot\"") && !flux.caption.contains("grey"));
        // Where the table ends before its stars do.
        let few = HashSet::from([rows[0].id]);
        let figures = section.figures(&Limits::FULL, &|_| None, &few);
        let flux = figures.iter().find(is_flux).unwrap();
        assert!(flux.svg.inline().contains("class=\"dot plain\""));
        assert!(flux.caption.ends_with("outside the table are grey."));
    });
}

#[test]
fn residuals_are_bounded_whatever_the_database_says() {
    let (_folder, database, record) = fitted_field("noise");
    let pixels = |size| {
        let mut record = record.clone();
        record.info.assumed.size = size;
        of(&database, record, |section| {
            let figures = section.figures_of_file();
            let found = figures.iter().find(|figure| figure.name == "residuals");
            let pixels = found.unwrap().caption.split(' ').next();
            pixels.unwrap().parse::<usize>().unwrap()
        })
    };
    let small = pixels((15, 15));
    assert!((3 * 225..=6 * 225).contains(&small), "{small}");
    // One star, whose cutout is as large as one may be.
    assert!(pixels((usize::MAX, 2)) <= 96 * 80);
}

#[test]
fn residuals_are_compared_with_what_they_follow() {
    for (weights, says) in [("noise", "√(1 − p/n)"), ("unit", "only the shape")] {
        let (_folder, database, record) = fitted_field(weights);
        let figures = of(&database, record, |section| section.figures_of_file());
        let found = figures.iter().find(|figure| figure.name == "residuals");
        let caption = &found.unwrap().caption;
        assert!(caption.contains(says), "{caption}");
        let others = ["√(1 − p/n)", "only the shape"];
        assert_eq!(
            others
                .iter()
                .filter(|text| caption.contains(**text))
                .count(),
            1
        );
    }
}
