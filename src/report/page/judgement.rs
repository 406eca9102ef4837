//! Judgement of the map of a field, in words.

use crate::fit::{FitStatus, Flags};
use crate::report::page::field::Cell;
use crate::report::stars::statistics::{StarValues, direction};

/// Parts of an image: names, and which of the three thirds along x and y they are.
const CORNERS: [(&str, [usize; 2]); 4] = [
    ("bottom left", [0, 0]),
    ("bottom right", [2, 0]),
    ("top left", [0, 2]),
    ("top right", [2, 2]),
];

/// Least ratio of a difference to its error, and least difference, to be told.
const SIGNIFICANT: f64 = 3.0;
const WORTH_TELLING: f64 = 0.01;

/// The stars of an image by thirds along x and y.
struct Thirds<'a> {
    stars: Vec<(&'a StarValues, [usize; 2])>,
    size: [f64; 2],
    first: f64,
}

impl<'a> Thirds<'a> {
    fn new(clean: &[&'a StarValues], (width, height): (usize, usize), first: f64) -> Self {
        let size = [width as f64, height as f64];
        let third = |at: f64, side: f64| {
            let part = (at - first + 0.5) / side;
            (0.0..1.0).contains(&part).then_some((part * 3.0) as usize)
        };
        let stars = clean.iter().filter_map(|star| {
            let thirds = [third(star.x, size[0])?, third(star.y, size[1])?];
            Some((*star, thirds))
        });
        Self {
            stars: stars.collect(),
            size,
            first,
        }
    }

    fn cell(&self, is_in: impl Fn([usize; 2]) -> bool) -> Option<Cell> {
        Cell::new(&self.within(is_in))
    }

    fn within(&self, is_in: impl Fn([usize; 2]) -> bool) -> Vec<&'a StarValues> {
        let stars = self.stars.iter().filter(|(_, thirds)| is_in(*thirds));
        stars.map(|(star, _)| *star).collect()
    }

    /// Elongation of the corners away from the centre, or, below 0, around the centre.
    fn radial(&self) -> Option<f64> {
        let corners = self.within(|thirds| thirds.iter().all(|third| *third != 1));
        let parts = corners.iter().filter_map(|star| {
            let [along, across] = star.elongation()?;
            let from_centre = |at: f64, side: f64| at - self.first + 0.5 - side / 2.0;
            let (x, y) = (
                from_centre(star.x, self.size[0]),
                from_centre(star.y, self.size[1]),
            );
            let (sin, cos) = (2.0 * y.atan2(x)).sin_cos();
            Some(along * cos + across * sin)
        });
        let mut parts: Vec<f64> = parts.collect();
        (parts.len() >= 5)
            .then(|| crate::numbers::median(&mut parts))
            .flatten()
    }
}

/// Part of the width of `b` by which `a` is wider, and the error of the part.
fn wider(a: &Cell, b: &Cell) -> Option<(f64, f64)> {
    let ((a, a_err), (b, b_err)) = (a.fwhm, b.fwhm);
    let (a_err, b_err) = (a_err?, b_err?);
    let ratio = a / b;
    let error = ratio * (a_err / a).hypot(b_err / b);
    (ratio.is_finite() && error.is_finite()).then_some((ratio - 1.0, error))
}

fn is_significant((difference, error): (f64, f64)) -> bool {
    difference.abs() > SIGNIFICANT * error
}

fn is_told((difference, error): (f64, f64)) -> bool {
    is_significant((difference, error)) && difference.abs() >= WORTH_TELLING
}

fn percent(part: f64) -> String {
    format!("{:.0}\u{a0}%", 100.0 * part.abs())
}

/// Sentences about focus, tilt and tracking; the first has the numbers.
pub(in crate::report) fn sentences(
    clean: &[&StarValues],
    size: (usize, usize),
    first: f64,
    width: impl Fn(f64) -> String,
) -> Vec<String> {
    let thirds = Thirds::new(clean, size, first);
    let mut sentences = Vec::new();
    let centre = thirds.cell(|third| third == [1, 1]);
    let corners = CORNERS.map(|(name, place)| (name, thirds.cell(|third| third == place)));
    let known = corners.iter().filter_map(|(name, cell)| {
        let cell = cell.as_ref()?;
        Some(format!("{name} {}", width(cell.fwhm.0)))
    });
    let known: Vec<String> = known.collect();
    if let Some(centre) = &centre
        && !known.is_empty()
    {
        let centre = width(centre.fwhm.0);
        sentences.push(format!(
            "Median FWHM: centre {centre}; {}.",
            known.join(", ")
        ));
    }
    let all_corners = thirds.cell(|third| third.iter().all(|third| *third != 1));
    if let Some((corners, centre)) = all_corners.as_ref().zip(centre.as_ref())
        && let Some(difference) = wider(corners, centre)
    {
        sentences.push(compared(difference));
    }
    sentences.extend(tilt(&thirds));
    sentences.extend(elongation(clean, &thirds));
    sentences
}

/// Warning where many stars ended at the largest width that cutouts of this side allow, which is no
/// measured width.
pub(in crate::report) fn widest(stars: &[StarValues], side: usize) -> Option<String> {
    const FEWEST: usize = 3;
    const PART: usize = 10;
    let converged = |star: &&StarValues| star.status == FitStatus::Converged;
    let is_widest = |star: &&StarValues| {
        // NaN is no maximum.
        let width = star.fwhm.max(star.major);
        star.flags.contains(Flags::NEAR_BOUND) && side > 0 && width > side as f64
    };
    let all = stars.iter().filter(converged).count();
    let widest = stars.iter().filter(converged).filter(is_widest).count();
    (widest >= FEWEST && PART * widest >= all).then(|| {
        format!(
            "{widest} of {all} stars ended at the largest width that the cutouts allow and have no part in \
             the FWHM: trails, defocus or nebulosity?"
        )
    })
}

/// Sentence that compares the corners with the centre.
fn compared((difference, error): (f64, f64)) -> String {
    if !is_told((difference, error)) {
        let how = if is_significant((difference, error)) {
            format!("differ by less than {:.0}\u{a0}%", 100.0 * WORTH_TELLING)
        } else {
            "are equally wide within the errors".to_owned()
        };
        return format!(
            "Corners and centre {how} ({:+.1} \u{b1} {:.1}\u{a0}%).",
            100.0 * difference,
            100.0 * error
        )
        .replace('-', "\u{2212}");
    }
    if difference > 0.0 {
        format!(
            "The corners are {} wider than the centre: field curvature, coma, or a focus set on the centre.",
            percent(difference)
        )
    } else {
        format!(
            "The corners are {} narrower than the centre: field curvature with a focus set on the corners.",
            percent(difference)
        )
    }
}

/// Sentence about the pair of opposite sides that differs more, where any pair differs.
fn tilt(thirds: &Thirds<'_>) -> Option<String> {
    let pairs = [(0, "left", "right"), (1, "bottom", "top")];
    let differences = pairs.into_iter().filter_map(|(axis, low, high)| {
        let [low_cell, high_cell] = [0, 2].map(|side| thirds.cell(|third| third[axis] == side));
        let (low_cell, high_cell) = low_cell.zip(high_cell)?;
        let (wide, narrow, names) = if low_cell.fwhm.0 > high_cell.fwhm.0 {
            (low_cell, high_cell, (low, high))
        } else {
            (high_cell, low_cell, (high, low))
        };
        let difference = wider(&wide, &narrow)?;
        is_told(difference).then_some((difference.0, names))
    });
    let (difference, (wide, narrow)) = differences.max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(format!(
        "The {wide} third is {} wider than the {narrow} third: a sign of tilt.",
        percent(difference)
    ))
}

/// Sentence about the elongation round or away from the centre, or else the one that all stars share.
fn elongation(clean: &[&StarValues], thirds: &Thirds<'_>) -> Option<String> {
    /// Elongation below which stars are round.
    const ROUND: f64 = 0.03;
    let (length, angle) = direction(Cell::new(clean)?.elongation?);
    let radial = thirds
        .radial()
        .filter(|radial| radial.abs() > ROUND.max(length));
    if let Some(radial) = radial {
        let how = if radial > 0.0 { "away from" } else { "around" };
        return Some(format!(
            "The stars of the corners are elongated {how} the centre by {:.2}: optics rather than tracking.",
            radial.abs()
        ));
    }
    Some(if length > ROUND {
        format!(
            "All over the field stars are elongated by {length:.2} at {angle:.0}\u{b0} from +x to +y: tracking, wind, or astigmatism out of focus."
        )
        .replace(" -", " \u{2212}")
    } else {
        format!("No direction of elongation is common to the field (together {length:.2}).")
    })
}

#[cfg(test)]
mod tests {
    use crate::report::page::judgement::*;
    use crate::report::stars::statistics::tests::star;

    fn said(
        fwhm: impl Fn(f64, f64) -> f64,
        shape: impl Fn(f64, f64) -> Option<(f64, f64)>,
    ) -> Vec<String> {
        let places = (0..30).flat_map(|y| (0..30).map(move |x| (f64::from(x), f64::from(y))));
        let stars: Vec<StarValues> = places
            .enumerate()
            .map(|(id, (x, y))| {
                // Scatter of 2 % without a pattern.
                let scatter = 1.0 + 0.02 * ((id * 7919 % 101) as f64 / 50.0 - 1.0);
                let mut star = star(
                    id,
                    10.0 * x + 4.5,
                    10.0 * y + 4.5,
                    fwhm(x - 14.5, y - 14.5) * scatter,
                );
                if let Some((ellipticity, theta)) = shape(x - 14.5, y - 14.5) {
                    (star.ellipticity, star.theta) = (ellipticity, theta);
                }
                star
            })
            .collect();
        let all: Vec<&StarValues> = stars.iter().collect();
        sentences(&all, (300, 300), 0.0, |fwhm| format!("{fwhm:.1}"))
    }

    fn contains(sentences: &[String], words: &str) -> bool {
        sentences.iter().any(|sentence| sentence.contains(words))
    }

    #[test]
    fn a_flat_field_has_nothing_to_tell() {
        let said = said(|_, _| 2.0, |_, _| None);
        assert!(said[0].contains("centre 2.0; bottom left 2.0"), "{said:?}");
        assert!(contains(&said, "equally wide"), "{said:?}");
        assert_eq!(said.len(), 2, "{said:?}");
    }

    #[test]
    fn a_difference_within_its_error_is_not_a_small_one() {
        assert!(compared((0.008, 0.004)).contains("equally wide within the errors (+0.8 ± 0.4"));
        let small = compared((-0.008, 0.001));
        assert!(
            small.contains("differ by less than 1\u{a0}% (−0.8 ± 0.1"),
            "{small}"
        );
        assert!(compared((0.02, 0.001)).contains("2\u{a0}% wider"));
    }

    #[test]
    fn curvature_and_tilt_are_told() {
        let curved = said(|x, y| 2.0 + 0.003 * (x * x + y * y), |_, _| None);
        assert!(contains(&curved, "wider than the centre"), "{curved:?}");
        assert!(!contains(&curved, "tilt"), "{curved:?}");
        let tilted = said(|x, _| 3.0 - 0.02 * x, |_, _| None);
        assert!(contains(&tilted, "left third is"), "{tilted:?}");
        assert!(!contains(&tilted, "the bottom third"), "{tilted:?}");
    }

    #[test]
    fn common_and_radial_elongation_are_told_apart() {
        let trailed = said(|_, _| 2.0, |_, _| Some((0.2, 30.0)));
        assert!(contains(&trailed, "by 0.20 at 30"), "{trailed:?}");
        let coma = said(|_, _| 2.0, |x, y| Some((0.15, y.atan2(x).to_degrees())));
        assert!(contains(&coma, "away from the centre by 0.15"), "{coma:?}");
        let round = said(|_, _| 2.0, |x, y| Some((0.1, x * 37.0 + y * 91.0)));
        assert!(contains(&round, "No direction"), "{round:?}");
    }

    #[test]
    fn widths_at_their_bound_are_told() {
        let mut stars: Vec<StarValues> = (0..30).map(|id| star(id, 0.0, 0.0, 35.3)).collect();
        assert_eq!(widest(&stars, 15), None);
        for star in &mut stars[..3] {
            star.flags = Flags::NEAR_BOUND;
        }
        let said = widest(&stars, 15).unwrap();
        assert!(
            said.starts_with("3 of 30 stars ended at the largest width"),
            "{said}"
        );
        // In wide cutouts that is no bound, and one in fifteen is a galaxy.
        assert_eq!(widest(&stars, 41), None);
        assert_eq!(widest(&stars[1..], 15), None);
    }

    #[test]
    fn no_stars_say_nothing() {
        assert!(sentences(&[], (10, 10), 0.0, |_| String::new()).is_empty());
        assert!(sentences(&[], (0, 0), 0.0, |_| String::new()).is_empty());
    }
}
