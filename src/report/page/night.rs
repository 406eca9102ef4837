//! Several images beside each other: how they change with time, and which are the best.

use crate::catalog::objects::is_same_exposure;
use crate::catalog::rounded;
use crate::catalog::unit::flux_unit;
use crate::date;
use crate::fit::Flags;
use crate::image::Header;
use crate::report::ImageRecord;
use crate::report::draw::plot::{Axis, Plot, Point};
use crate::report::draw::scale::Scale;
use crate::report::draw::svg::Svg;
use crate::report::page::figure::Figure;
use crate::report::stars::numbers::printable;
use crate::report::stars::statistics::{StarValues, Summary, median_with_error};

/// Longest name in a tooltip, characters.
const NAME: usize = 80;

/// Most points of a plot, and most points of a plot where each has a tooltip and a link.
const MOST_POINTS: usize = 5_000;
const TITLED_POINTS: usize = 1_000;

/// One image among others.
#[derive(Debug, Clone)]
pub(in crate::report) struct Frame {
    pub(in crate::report) record: ImageRecord,
    pub(in crate::report) summary: Summary,
    /// Summary in which undersampled stars are clean, too.
    lenient: Summary,
    /// Seconds of arc a pixel, in the middle of the image.
    pub(in crate::report) scale: Option<f64>,
    /// Seconds since 1970.
    pub(in crate::report) time: Option<f64>,
    /// FWHM times the clean stars of the best frame of its kind, over the clean stars of this frame.
    pub(in crate::report) weighted_fwhm: Option<f64>,
    /// Place in the ranking, from 0.
    pub(in crate::report) rank: usize,
    /// Whether the frame is much worse than most.
    pub(in crate::report) is_outlier: bool,
}

impl Frame {
    pub(in crate::report) fn new(
        record: ImageRecord,
        stars: &[StarValues],
        scale: Option<f64>,
    ) -> Self {
        let header = &record.info.header;
        let middle = header
            .mjd
            .map(|mjd| (mjd - date::MJD_OF_1970 as f64) * 86_400.0);
        let start = || date::parse(header.date.as_deref()?).map(date::Written::seconds);
        let time = middle.or_else(start);
        Self {
            record,
            summary: Summary::new(stars, Flags::default()),
            lenient: Summary::new(stars, Flags::UNDERSAMPLED),
            scale,
            time,
            weighted_fwhm: None,
            rank: 0,
            is_outlier: false,
        }
    }
}

/// All frames in the order of time; frames without a time are last.
#[derive(Debug)]
pub(in crate::report) struct Night {
    pub(in crate::report) frames: Vec<Frame>,
    /// Whether widths are in seconds of arc: all frames have a scale.
    pub(in crate::report) in_arcsec: bool,
    /// Whether figures are over time, and not over the order of the frames.
    is_timed: bool,
}

impl Night {
    pub(in crate::report) fn new(mut frames: Vec<Frame>) -> Self {
        let time = |frame: &Frame| frame.time.unwrap_or(f64::INFINITY);
        frames.sort_by(|a, b| time(a).total_cmp(&time(b)));
        let mut times: Vec<f64> = frames.iter().filter_map(|frame| frame.time).collect();
        times.dedup();
        // Planes of a cube, and frames of which only the day is known, would lie on one line.
        let is_timed = times.len() > 1 && 2 * times.len() >= frames.len();
        // Where most stars are undersampled, the optics are the cause, and no star is at fault; where
        // few are, they are hot pixels and cosmic rays. All frames are judged together: a frame that is
        // a little sharper than the next must not have twice its stars.
        let clean = |of: fn(&Frame) -> usize| frames.iter().map(of).sum::<usize>();
        if clean(|frame| frame.lenient.clean) > 2 * clean(|frame| frame.summary.clean) {
            for frame in &mut frames {
                std::mem::swap(&mut frame.summary, &mut frame.lenient);
            }
        }
        let mut night = Self {
            in_arcsec: frames.iter().all(|frame| frame.scale.is_some()),
            frames,
            is_timed,
        };
        night.rank();
        night
    }

    /// The width of a frame in the unit of the night.
    pub(in crate::report) fn fwhm(&self, frame: &Frame) -> Option<f64> {
        let scale = if self.in_arcsec { frame.scale? } else { 1.0 };
        frame.summary.fwhm.map(|fwhm| fwhm * scale)
    }

    pub(in crate::report) fn unit(&self) -> &'static str {
        if self.in_arcsec { "arcsec" } else { "pix" }
    }

    /// Frames by rank, the best first.
    pub(in crate::report) fn ranking(&self) -> Vec<&Frame> {
        let mut ranking: Vec<&Frame> = self.frames.iter().collect();
        ranking.sort_by_key(|frame| frame.rank);
        ranking
    }

    /// Ranks frames by their widths, weighed by stars among comparable frames: of one filter and
    /// exposure time.
    fn rank(&mut self) {
        for kind in self.kinds() {
            let frames = || kind.iter().filter_map(|at| self.frames.get(*at));
            let best = frames().map(|frame| frame.summary.clean).max();
            let best = best.unwrap_or_default() as f64;
            let weighted = frames().map(|frame| {
                let weighted = self.fwhm(frame)? * best / frame.summary.clean as f64;
                weighted.is_finite().then_some(weighted)
            });
            let weighted: Vec<Option<f64>> = weighted.collect();
            let mut known: Vec<f64> = weighted.iter().copied().flatten().collect();
            let limit = median_with_error(&mut known).and_then(|(middle, error)| {
                let scatter = error? / 1.2533 * (known.len() as f64).sqrt();
                Some(middle + (3.0 * scatter).max(0.05 * middle))
            });
            for (at, weighted) in kind.into_iter().zip(weighted) {
                if let Some(frame) = self.frames.get_mut(at) {
                    frame.weighted_fwhm = weighted;
                    frame.is_outlier = match (weighted, limit) {
                        (Some(weighted), Some(limit)) => weighted > limit,
                        (None, _) => true,
                        (Some(_), None) => false,
                    };
                }
            }
        }
        let mut ranking: Vec<&mut Frame> = self.frames.iter_mut().collect();
        let weighted = |frame: &Frame| frame.weighted_fwhm.unwrap_or(f64::INFINITY);
        ranking.sort_by(|a, b| weighted(a).total_cmp(&weighted(b)));
        for (rank, frame) in ranking.into_iter().enumerate() {
            frame.rank = rank;
        }
    }

    /// Groups of the places of frames that share filter and exposure time.
    fn kinds(&self) -> Vec<Vec<usize>> {
        let mut kinds: Vec<(&Header, Vec<usize>)> = Vec::new();
        for (at, frame) in self.frames.iter().enumerate() {
            let header = &frame.record.info.header;
            let known = kinds.iter_mut().find(|(first, _)| {
                is_same_exposure(first.exposure, header.exposure) && first.filter == header.filter
            });
            match known {
                Some((_, places)) => places.push(at),
                None => kinds.push((header, vec![at])),
            }
        }
        kinds.into_iter().map(|(_, places)| places).collect()
    }

    /// Figures of the values that change from frame to frame; `href` gives the link to a frame in the page.
    pub(in crate::report) fn figures(
        &self,
        href: &dyn Fn(&Frame) -> Option<String>,
    ) -> Vec<Figure> {
        let unit = self.common_unit();
        let unit = unit.as_deref().unwrap_or("units of each image");
        let timeless = self.frames.iter().filter(|frame| frame.time.is_none());
        let left_out = match timeless.count() {
            n if n > 0 && self.is_timed => format!(" Frames without a time are left out: {n}."),
            _ => String::new(),
        };
        type Of<'a> = Box<dyn Fn(&Frame) -> Option<f64> + 'a>;
        let all: [(&str, &str, String, &str, Of<'_>); 4] = [
            (
                "fwhm",
                "FWHM",
                format!("median FWHM, {}", self.unit()),
                "Seeing, focus and tracking: the median of the clean stars of each frame.",
                Box::new(|frame| self.fwhm(frame)),
            ),
            (
                "ellipticity",
                "Ellipticity",
                "median ellipticity".to_owned(),
                "Tracking and wind. Faint stars are never quite round: a frame is to be compared with its neighbours.",
                Box::new(|frame| frame.summary.ellipticity),
            ),
            (
                "stars",
                "Stars",
                "clean stars".to_owned(),
                "Clouds, haze, dew and focus take stars away.",
                Box::new(|frame| Some(frame.summary.clean as f64)),
            ),
            (
                "background",
                "Background",
                format!("background, {unit}"),
                "Twilight, the Moon, haze and passing lights.",
                Box::new(|frame| frame.record.info.assumed.background),
            ),
        ];
        let figures = all
            .into_iter()
            .filter_map(|(name, title, axis, caption, of)| {
                let svg = self.figure(&axis, &*of, href)?;
                Some(Figure::new(
                    name,
                    title,
                    format!("{caption}{left_out}"),
                    svg,
                ))
            });
        figures.collect()
    }

    fn figure(
        &self,
        title: &str,
        of: &dyn Fn(&Frame) -> Option<f64>,
        href: &dyn Fn(&Frame) -> Option<String>,
    ) -> Option<Svg> {
        let frames = self.frames.iter().enumerate();
        let values = frames.filter_map(|(at, frame)| {
            let value = of(frame).filter(|value| value.is_finite())?;
            let place = if self.is_timed {
                frame.time?
            } else {
                (at + 1) as f64
            };
            Some((place, value, frame))
        });
        let values: Vec<(f64, f64, &Frame)> = values.collect();
        if values.is_empty() {
            return None;
        }
        let every = values.len().div_ceil(MOST_POINTS);
        let values: Vec<(f64, f64, &Frame)> = values.into_iter().step_by(every).collect();
        let is_titled = values.len() <= TITLED_POINTS;
        let places = values.iter().map(|(place, ..)| *place);
        let x = if self.is_timed {
            Axis::new(Scale::around(Scale::time, places), "UTC")
        } else {
            let last = self.frames.len() as f64;
            Axis::new(Scale::linear(0.5, last + 0.5), "frame, in their order")
        };
        let y = Scale::around(Scale::linear, values.iter().map(|(_, value, _)| *value));
        let mut plot = Plot::sized(
            210.0,
            x,
            Axis::new(y, title),
            format!("{title} of each frame"),
        );
        let filter = |frame: &Frame| frame.record.info.header.filter.clone();
        let first = values.first().map(|(.., frame)| filter(frame));
        // A line from one filter to another would say nothing.
        if values
            .iter()
            .all(|(.., frame)| Some(filter(frame)) == first)
        {
            plot.curve(
                "curve",
                values.iter().map(|(place, value, _)| (*place, *value)),
            );
        }
        for odd in [false, true] {
            let chosen = values.iter().filter(|(.., frame)| frame.is_outlier == odd);
            let points = chosen.map(|(place, value, frame)| {
                let name = || printable(&frame.record.info.name, NAME);
                let title = || format!("{}: {}", name(), rounded(*value, 4));
                Point {
                    x: *place,
                    y: *value,
                    title: is_titled.then(title).unwrap_or_default(),
                    href: is_titled.then(|| href(frame)).flatten(),
                }
            });
            plot.points(if odd { "odd" } else { "dot" }, &points.collect::<Vec<_>>());
        }
        Some(plot.finish())
    }

    /// The unit of all frames, where they share one.
    fn common_unit(&self) -> Option<String> {
        let units = self
            .frames
            .iter()
            .map(|frame| &frame.record.info.header.unit);
        let mut units = units.map(|unit| flux_unit(unit.as_deref()));
        let first = units.next()?;
        units
            .all(|unit| unit == first)
            .then(|| printable(&first, 30))
    }
}

#[cfg(test)]
mod tests;
