//! Section of the page about one image.

mod plots;
mod residuals;
mod tables;

use std::collections::{BTreeMap, HashSet};

use ndarray::Array2;

use crate::catalog::rounded;
use crate::error::Result;
use crate::estimator::Estimator;
use crate::report::page::figure::Layout;
use crate::report::page::html::Html;
use crate::report::page::night::Frame;
use crate::report::page::section::residuals::Residuals;
use crate::report::page::{head, judgement};
use crate::report::stars::statistics::StarValues;
use crate::report::{ImageRecord, Limits, Records, Scene, Triplet, shrink};

/// Most stars in the distribution of residuals, and most of their pixels.
const RESIDUAL_STARS: usize = 1_000;
const RESIDUAL_PIXELS: usize = 2_000_000;

/// One image with its stars and pictures.
#[derive(Debug)]
pub(in crate::report) struct Section<'a> {
    /// Place of the image among all frames.
    number: usize,
    /// Number of all frames.
    frames: usize,
    frame: &'a Frame,
    /// Stars of the image, the brightest first.
    stars: Vec<StarValues>,
    /// Pictures, or why there are none.
    pictures: std::result::Result<Pictures, String>,
}

/// Pictures that are made of the pixels of an image.
#[derive(Debug)]
struct Pictures {
    /// The image, and the factor by which it is shrunk; `None` for a stack.
    image: Option<(Array2<f64>, usize)>,
    triplets: Vec<Example>,
    residuals: Option<Residuals>,
    notes: Vec<String>,
}

/// One star as it was fitted.
#[derive(Debug)]
struct Example {
    /// Place of the star: best, median or worst.
    place: &'static str,
    star: StarValues,
    triplet: Triplet,
}

impl<'a> Section<'a> {
    /// Reads the stars of an image, and its pixels again.
    ///
    /// # Errors
    ///
    /// The errors of [`Records::each_star`].
    pub(in crate::report) fn read(
        records: &Records,
        frame: &'a Frame,
        number: usize,
        frames: usize,
    ) -> Result<Self> {
        let mut stars = StarValues::read(records, &frame.record)?;
        let brightness = |star: &StarValues| match star.snr {
            snr if snr.is_finite() => snr,
            _ => f64::NEG_INFINITY,
        };
        stars.sort_by(|a, b| {
            brightness(b)
                .total_cmp(&brightness(a))
                .then(a.id.cmp(&b.id))
        });
        let mut section = Self {
            number,
            frames,
            frame,
            stars,
            pictures: Err(String::new()),
        };
        section.pictures = match Scene::open(&frame.record) {
            Ok(scene) => Ok(section.look(records, &scene)?),
            Err(why) => Err(why.to_string()),
        };
        Ok(section)
    }

    pub(in crate::report) fn number(&self) -> usize {
        self.number
    }

    /// Why the section has no pictures.
    pub(in crate::report) fn why_not(&self) -> Option<&str> {
        self.pictures.as_ref().err().map(String::as_str)
    }

    fn record(&self) -> &ImageRecord {
        &self.frame.record
    }

    fn first_pixel(&self) -> f64 {
        self.record().settings.first_pixel()
    }

    fn clean(&self) -> Vec<&StarValues> {
        let summary = &self.frame.summary;
        self.stars
            .iter()
            .filter(|star| summary.is_clean(star))
            .collect()
    }

    /// Makes the pictures.
    fn look(&self, records: &Records, scene: &Scene) -> Result<Pictures> {
        let image = scene.image().map(|image| {
            let longest = image.width().max(image.height());
            let factor = longest.div_ceil(Limits::FULL.picture).max(1);
            (shrink(image.pixels.view(), factor), factor)
        });
        let clean = self.clean();
        let examples = examples(&clean, |star| self.misfit(star));
        let assumed = self.record().info.assumed.size;
        let pixels = assumed.0.saturating_mul(assumed.1).max(1);
        let most = (RESIDUAL_PIXELS / pixels).clamp(1, RESIDUAL_STARS);
        let sampled = clean.iter().step_by(clean.len().div_ceil(most).max(1));
        let sampled: HashSet<usize> = sampled.map(|star| star.id).collect();
        let mut residuals = residuals::Sample::default();
        let mut triplets = BTreeMap::new();
        records.each_star(self.record(), |row| {
            let is_example = examples.iter().any(|(_, star)| star.id == row.id);
            // Cutouts may be larger than the database says.
            let is_sampled = sampled.contains(&row.id) && residuals.pixels() < RESIDUAL_PIXELS;
            if !is_example && !is_sampled {
                return Ok(());
            }
            // A cutout that cannot be read any more is as good as none.
            let Ok(triplet) = Triplet::new(scene, &row) else {
                return Ok(());
            };
            if let Some(model) = triplet.model.as_ref().filter(|_| is_sampled) {
                residuals.add(model);
            }
            if is_example {
                triplets.insert(row.id, triplet);
            }
            Ok(())
        })?;
        let triplets = examples.into_iter().filter_map(|(place, star)| {
            Some(Example {
                place,
                star: *star,
                triplet: triplets.remove(&star.id)?,
            })
        });
        Ok(Pictures {
            image,
            triplets: triplets.collect(),
            residuals: residuals.finish(),
            notes: scene.notes().to_vec(),
        })
    }

    /// Number by which fits are judged: chi-square where it has a meaning, else the residuals as a part
    /// of the flux.
    fn misfit(&self, star: &StarValues) -> f64 {
        if self.knows_noise() {
            star.reduced_chi2
        } else {
            star.qfit
        }
    }

    fn misfit_name(&self) -> &'static str {
        if self.knows_noise() {
            "χ²/dof"
        } else {
            "qfit"
        }
    }

    fn knows_noise(&self) -> bool {
        let record = self.record();
        let settings = &record.settings;
        let has_noise =
            !record.is_stack() || record.info.assumed.gain.is_some() || settings.noise.is_some();
        settings.estimator == Estimator::Poisson || settings.measure.weighted && has_noise
    }

    /// The stars that have a row in the table.
    fn rows(&self, most: usize) -> Vec<&StarValues> {
        let mut rows: Vec<&StarValues> = self.stars.iter().take(most).collect();
        let triplets = self.pictures.iter().flat_map(|pictures| &pictures.triplets);
        for example in triplets {
            if !rows.iter().any(|star| star.id == example.star.id) {
                rows.push(&example.star);
            }
        }
        rows
    }

    /// A width in pixels and, where the scale is known, in seconds of arc.
    fn width(&self, fwhm: f64) -> String {
        let pixels = rounded(fwhm, 3);
        match self.frame.scale {
            Some(scale) => format!("{pixels}\u{a0}pix ({}″)", rounded(fwhm * scale, 3)),
            None => format!("{pixels}\u{a0}pix"),
        }
    }

    /// Writes the section; links lead to rows that are there.
    pub(in crate::report) fn write(&self, html: &mut Html, limits: &Limits) {
        let rows = self.rows(limits.rows);
        let linked: HashSet<usize> = rows.iter().map(|star| star.id).collect();
        let number = self.number;
        let href = |id: usize| linked.contains(&id).then(|| format!("#s{number}-{id}"));
        head::open(html, self.frame, number, self.frames);
        let (width, height) = self.record().info.assumed.size;
        if let Some(words) = judgement::widest(&self.stars, width.max(height)) {
            html.element("p", &[("class", "warning")], &words);
        }
        match &self.pictures {
            Err(why) => {
                html.open("p", &[("class", "warning")]);
                html.text("No pictures: ").name(why).close("p");
            }
            Ok(pictures) => {
                for note in &pictures.notes {
                    html.open("p", &[("class", "warning")])
                        .name(note)
                        .close("p");
                }
            }
        }
        let figures = self.figures(limits, &href, &linked);
        let (triplets, plots): (Vec<_>, Vec<_>) = figures
            .iter()
            .partition(|figure| figure.layout == Layout::Third);
        html.open("div", &[("class", "figures")]);
        for figure in plots {
            figure.write(html);
            if figure.layout == Layout::Tall {
                self.write_judgement(html);
            }
        }
        html.close("div");
        html.open("div", &[("class", "figures thirds")]);
        for figure in triplets {
            figure.write(html);
        }
        html.close("div");
        self.write_counts(html);
        self.write_stars(html, &rows);
        html.close("section");
    }

    fn write_judgement(&self, html: &mut Html) {
        let info = &self.record().info;
        let size = (info.width, info.height);
        let sentences = judgement::sentences(&self.clean(), size, self.first_pixel(), |fwhm| {
            self.width(fwhm)
        });
        html.open("div", &[("class", "judgement")]);
        html.element("h4", &[], "What the map says");
        for sentence in sentences {
            html.element("p", &[], &sentence);
        }
        html.close("div");
    }
}

/// Best, median and worst of the stars by a number.
fn examples<'a>(
    clean: &[&'a StarValues],
    of: impl Fn(&StarValues) -> f64,
) -> Vec<(&'static str, &'a StarValues)> {
    let finite = clean.iter().copied().filter(|star| of(star).is_finite());
    let mut sorted: Vec<&StarValues> = finite.collect();
    sorted.sort_by(|a, b| of(a).total_cmp(&of(b)).then(a.id.cmp(&b.id)));
    let places = match sorted.len() {
        0 => vec![],
        1 => vec![("Median", 0)],
        2 => vec![("Best", 0), ("Worst", 1)],
        n => vec![("Best", 0), ("Median", (n - 1) / 2), ("Worst", n - 1)],
    };
    let chosen = places.into_iter();
    chosen
        .filter_map(|(name, at)| Some((name, *sorted.get(at)?)))
        .collect()
}

#[cfg(test)]
mod tests;
