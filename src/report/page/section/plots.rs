//! The figures of an image.

use std::collections::HashSet;

use crate::catalog::rounded;
use crate::catalog::unit::flux_unit;
use crate::report::draw::plot::{Axis, Plot, Point};
use crate::report::draw::scale::Scale;
use crate::report::page::figure::{Figure, Layout};
use crate::report::page::histogram::Histogram;
use crate::report::page::overlay;
use crate::report::page::overlay::Shown;
use crate::report::page::section::residuals::Residuals;
use crate::report::page::section::{Example, Section};
use crate::report::stars::numbers::printable;
use crate::report::stars::statistics::StarValues;
use crate::report::{FieldMap, Limits};

/// Most points of a plot for stars that are not in the table, for each row of the table.
const PLAIN_POINTS: usize = 10;

impl Section<'_> {
    /// Every figure; `linked` are the stars of the table.
    pub(in crate::report) fn figures(
        &self,
        limits: &Limits,
        href: &dyn Fn(usize) -> Option<String>,
        linked: &HashSet<usize>,
    ) -> Vec<Figure> {
        let mut figures = Vec::new();
        let pictures = self.pictures.as_ref().ok();
        let clean = self.clean();
        if let Some((pixels, factor)) = pictures.and_then(|pictures| pictures.image.as_ref())
            && limits.picture > 0
        {
            let shown = Shown {
                pixels,
                factor: *factor,
                first: self.first_pixel(),
                fwhm: self.frame.summary.fwhm,
            };
            let stars = self.stars.iter().filter(|star| linked.contains(&star.id));
            let is_clean = |star: &StarValues| self.frame.summary.is_clean(star);
            figures.extend(overlay::figure(
                &shown,
                stars,
                limits.picture,
                is_clean,
                href,
            ));
        }
        if !self.record().is_stack() {
            figures.extend(self.map(&clean));
        }
        figures.extend(self.histograms(&clean));
        let residuals = pictures.and_then(|pictures| pictures.residuals.as_ref());
        figures.extend(residuals.map(Residuals::figure));
        figures.extend(self.flux(limits, href, linked));
        if let Some(pictures) = pictures.filter(|_| limits.picture > 0) {
            figures.extend(pictures.triplets.iter().map(|example| {
                let Example {
                    place,
                    star,
                    triplet,
                } = example;
                let misfit = rounded(self.misfit(star), 3);
                let title = format!(
                    "{place} fit: star {}, {} {misfit}",
                    star.id,
                    self.misfit_name()
                );
                let mut figure = overlay::triplet(triplet, &title);
                figure.name = format!("triplet-{}", place.to_lowercase());
                figure.caption = format!(
                    "{}. {} among the {} clean stars by {}. {}",
                    star.title().replacen('s', "S", 1),
                    place,
                    clean.len(),
                    self.misfit_name(),
                    figure.caption
                );
                figure.href = href(star.id);
                figure.layout = Layout::Third;
                figure
            }));
        }
        figures
    }

    /// Every figure for a file: in full, without links.
    pub(in crate::report) fn figures_of_file(&self) -> Vec<Figure> {
        let rows = self.rows(Limits::FULL.rows).into_iter();
        let linked = rows.map(|star| star.id).collect();
        self.figures(&Limits::FULL, &|_| None, &linked)
    }

    fn map(&self, clean: &[&StarValues]) -> Option<Figure> {
        let info = &self.record().info;
        let map = FieldMap::new(clean, (info.width, info.height), self.first_pixel())?;
        let mut caption = String::from(
            "Median FWHM of the clean stars in each part of the image, pixels; bright is wide; x goes to the right, y up.",
        );
        if clean.iter().any(|star| star.elongation().is_some()) {
            caption.push_str(
                " The lines are as long as the ellipticity that the stars have in common, along their \
                 major axis: all in one direction speaks of tracking, to or from the centre means coma.",
            );
        }
        let figure = Figure::new(
            "fwhm-map",
            "FWHM over the field",
            caption,
            map.svg("map of the FWHM over the field"),
        );
        Some(figure.with(Layout::Tall))
    }

    fn histograms(&self, clean: &[&StarValues]) -> Vec<Figure> {
        let mut figures = Vec::new();
        let scale = self.frame.scale;
        let mut add = |name: &str,
                       title: &str,
                       axis: &str,
                       caption: String,
                       of: &dyn Fn(&StarValues) -> f64| {
            if let Some(histogram) = Histogram::new(clean.iter().map(|star| of(star))) {
                let caption = caption + &histogram.left_out();
                let svg = histogram.svg(axis, "stars", None);
                figures.push(Figure::new(name, title, caption, svg));
            }
        };
        let (axis, factor) = match scale {
            Some(scale) => ("FWHM, arcsec", scale),
            None => ("FWHM, pix", 1.0),
        };
        let about = match scale {
            Some(scale) => format!(" A pixel has {}″.", rounded(scale, 4)),
            None => String::new(),
        };
        let caption = format!(
            "{} clean stars. One narrow hill is a good image; a second one to its left is of hot pixels, a long tail to the right of galaxies and blends.{about}",
            clean.len()
        );
        add("fwhm", "FWHM", axis, caption, &|star| star.fwhm * factor);
        let caption = "1 − minor/major axis of the clean stars. Noise alone makes faint stars elliptical, in any direction.";
        add(
            "ellipticity",
            "Ellipticity",
            "ellipticity",
            caption.to_owned(),
            &|star| star.ellipticity,
        );
        let caption = if self.knows_noise() {
            "Chi-square over degrees of freedom of the clean stars: 1 where model and noise are right; above it the model does not fit, or the noise is underestimated."
        } else {
            "The noise is not known: mean square of the residuals in units of the image, which says nothing about the model."
        };
        add(
            "reduced-chi2",
            "Reduced chi-square",
            "χ²/dof",
            caption.to_owned(),
            &|star| star.reduced_chi2,
        );
        figures
    }

    fn flux(
        &self,
        limits: &Limits,
        href: &dyn Fn(usize) -> Option<String>,
        linked: &HashSet<usize>,
    ) -> Option<Figure> {
        /// Least signal-to-noise ratio: fainter fits say nothing, but would take most of the axis.
        const LEAST: f64 = 0.1;
        let is_shown = |star: &&StarValues| {
            star.flux > 0.0 && star.snr >= LEAST && star.flux.is_finite() && star.snr.is_finite()
        };
        let shown: Vec<&StarValues> = self.stars.iter().filter(is_shown).collect();
        if shown.is_empty() {
            return None;
        }
        let unit = printable(&flux_unit(self.record().info.header.unit.as_deref()), 30);
        let mut plot = Plot::new(
            Axis::new(
                Scale::around(Scale::log, shown.iter().map(|star| star.flux)),
                format!("flux, {unit}"),
            ),
            Axis::new(
                Scale::around(Scale::log, shown.iter().map(|star| star.snr)),
                "S/N",
            ),
            "flux against S/N",
        );
        let point = |star: &StarValues, title: String| Point {
            x: star.flux,
            y: star.snr,
            title,
            href: href(star.id),
        };
        let (rows, others): (Vec<&StarValues>, Vec<&StarValues>) =
            shown.iter().partition(|star| linked.contains(&star.id));
        let has_others = !others.is_empty();
        let every = others
            .len()
            .div_ceil((PLAIN_POINTS * limits.rows).max(100))
            .max(1);
        let others = others.into_iter().step_by(every);
        let others = others.map(|star| point(star, String::new()));
        plot.points("dot", &others.collect::<Vec<_>>());
        let (clean, odd): (Vec<&StarValues>, Vec<&StarValues>) = rows
            .into_iter()
            .partition(|star| self.frame.summary.is_clean(star));
        for (class, stars) in [("odd", odd), ("dot", clean)] {
            let points = stars.into_iter().map(|star| point(star, star.title()));
            plot.points(class, &points.collect::<Vec<_>>());
        }
        let with_values = self
            .stars
            .iter()
            .filter(|star| star.flux.is_finite())
            .count();
        let mut caption = String::from(
            "Stars of the table: clean ones in blue, others in orange; a click on one leads to its row. \
             Faint stars are limited by the sky: S/N goes with the flux; bright ones by their own photons, where the gain is known: with its root.",
        );
        if with_values > shown.len() {
            caption.push_str(&format!(
                " {} without a positive flux, or with a S/N under {LEAST}, are not shown.",
                with_values - shown.len()
            ));
        }
        if has_others {
            caption.push_str(" Stars outside the table are grey");
            caption.push_str(&match every {
                1 => ".".to_owned(),
                _ => format!(": one in {every} of them."),
            });
        }
        Some(Figure::new(
            "flux-snr",
            "Flux and S/N",
            caption,
            plot.finish(),
        ))
    }
}
