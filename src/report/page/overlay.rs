//! Pixels with the fits drawn over them.

use std::path::Path;

use ndarray::{Array2, ArrayView2};

use crate::report::draw::svg::{Svg, short};
use crate::report::page::figure::{Figure, Layout};
use crate::report::stars::statistics::StarValues;
use crate::report::{ColorTable, Ellipse, Picture, ResidualUnit, Stretch, Triplet, shrink};

/// An image that is shown.
#[derive(Debug)]
pub(in crate::report) struct Shown<'a> {
    pub(in crate::report) pixels: &'a Array2<f64>,
    /// Factor by which the pixels are shrunk already.
    pub(in crate::report) factor: usize,
    /// Position of the first pixel in the catalogue.
    pub(in crate::report) first: f64,
    /// Median width of the stars.
    pub(in crate::report) fwhm: Option<f64>,
}

/// The image, no side longer than `side`, and the stars over it.
pub(in crate::report) fn figure<'a>(
    shown: &Shown<'_>,
    stars: impl Iterator<Item = &'a StarValues>,
    side: usize,
    is_clean: impl Fn(&StarValues) -> bool,
    href: &dyn Fn(usize) -> Option<String>,
) -> Option<Figure> {
    /// Widest fit that is drawn, in median widths of the stars.
    const WIDEST: f64 = 8.0;
    /// Half axes that an ellipse should have to be seen, dots.
    const VISIBLE: f64 = 4.0;
    let (rows, columns) = shown.pixels.dim();
    let again = rows.max(columns).div_ceil(side.max(1)).max(1);
    let pixels = shrink(shown.pixels.view(), again);
    let factor = (shown.factor * again) as f64;
    let (rows, columns) = pixels.dim();
    let mut svg = Svg::new(columns as f64, rows as f64, "the image with its fits");
    let stretch = Stretch::of_image(pixels.view());
    svg.push(&image(
        "picture",
        pixels.view(),
        &stretch,
        ColorTable::Gray,
    )?);
    // Whole numbers of FWHM, so that the ellipses can be measured.
    let size = shown.fwhm.map_or(1.0, |fwhm| {
        (VISIBLE * factor / fwhm).round().clamp(1.0, 100.0)
    });
    let place = |star: &StarValues| {
        let along = |at: f64| (at - shown.first + 0.5) / factor;
        (along(star.x), rows as f64 - along(star.y))
    };
    // A fit to nothing may be wider than the image.
    let widest = match shown.fwhm {
        Some(fwhm) => WIDEST * fwhm,
        None => factor * rows.max(columns) as f64 / 4.0,
    };
    let (mut drawn, mut too_wide) = (0, 0);
    for star in stars {
        let (x, y) = place(star);
        let axes = if star.major > 0.0 && star.minor > 0.0 && star.theta.is_finite() {
            (star.major, star.minor, star.theta)
        } else {
            (star.fwhm, star.fwhm, 0.0)
        };
        let radii = (axes.0 * size / factor, axes.1 * size / factor);
        let numbers = [x, y, radii.0, radii.1];
        let is_inside = (0.0..=columns as f64).contains(&x) && (0.0..=rows as f64).contains(&y);
        if numbers.iter().any(|number| !number.is_finite()) || radii.0 <= 0.0 || !is_inside {
            continue;
        }
        if axes.0 > widest {
            too_wide += 1;
            continue;
        }
        let class = if is_clean(star) { "fit" } else { "fit flagged" };
        let [x, y] = [x, y].map(short);
        let shape = if axes.0 == axes.1 {
            format!(
                "circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{}\"",
                short(radii.0)
            )
        } else {
            format!(
                "ellipse class=\"{class}\" cx=\"{x}\" cy=\"{y}\" rx=\"{}\" ry=\"{}\" \
                 transform=\"rotate({} {x} {y})\"",
                short(radii.0),
                short(radii.1),
                short(-axes.2)
            )
        };
        svg.mark(&shape, &star.title(), href(star.id).as_deref());
        drawn += 1;
    }
    let shrunk = match factor {
        1.0 => String::new(),
        factor => format!(", {factor} pixels to a dot"),
    };
    let mut caption = format!(
        "zscale levels, asinh stretch{shrunk}; x goes to the right, y up. The {drawn} fits of the table of stars, as ellipses \
         with half axes of {size} FWHM: clean ones in blue, others in orange; a click on one leads to its row."
    );
    if too_wide > 0 {
        caption.push_str(&format!(
            " {too_wide} more, far wider than most, are not drawn."
        ));
    }
    Some(Figure::new("image", "Image and fits", caption, svg).with(Layout::Wide))
}

/// Data, model and residual side by side, with ellipses at 1, 2 and 3 sigma.
pub(in crate::report) fn triplet(triplet: &Triplet, title: &str) -> Figure {
    const SIDE: f64 = 112.0;
    const GAP: f64 = 6.0;
    const HEAD: f64 = 18.0;
    let layers = triplet.layers();
    let (rows, columns) = triplet.data.dim();
    let scale = SIDE / rows.max(columns).max(1) as f64;
    let (width, height) = (columns as f64 * scale, rows as f64 * scale);
    let panels = layers.len() as f64;
    let mut svg = Svg::new(panels * (width + GAP) - GAP, height + HEAD, title);
    let first = (triplet.first.0 as f64, triplet.first.1 as f64);
    let mut left = 0.0;
    for layer in layers {
        svg.text("middle title", (left + width / 2.0, 12.0), layer.name);
        let mut inside = format!(
            "<svg x=\"{}\" y=\"{HEAD}\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {columns} {rows}\">",
            short(left),
            short(width),
            short(height)
        );
        let pixels = image("pixels", layer.values, &layer.stretch, layer.table);
        inside.push_str(&pixels.unwrap_or_default());
        let model = triplet.model.as_ref();
        if let Some(model) = model.filter(|_| layer.table == ColorTable::Gray) {
            for sigmas in [1.0, 2.0, 3.0] {
                inside.push_str(&isophote(&model.ellipse, sigmas, first, rows));
            }
        }
        inside.push_str("</svg>");
        svg.push(&inside);
        left += width + GAP;
    }
    let mut caption = String::from("Ellipses at 1, 2 and 3 σ.");
    if let Some(model) = &triplet.model {
        let limit = model.limit();
        let unit = match model.unit {
            ResidualUnit::Noise => "times the noise of the pixel",
            ResidualUnit::Rms(_) => "times their rms",
        };
        caption.push_str(&format!(
            " Residuals from −{limit} (blue) to {limit} (red) {unit}."
        ));
    }
    Figure::new("triplet", title, caption, svg)
}

/// An ellipse in the coordinates of a cutout, whose rows go up.
fn isophote(ellipse: &Ellipse, sigmas: f64, first: (f64, f64), rows: usize) -> String {
    let [x, y] = [
        ellipse.x - first.0 + 0.5,
        rows as f64 - (ellipse.y - first.1 + 0.5),
    ];
    let numbers = [
        x,
        y,
        ellipse.major * sigmas,
        ellipse.minor * sigmas,
        -ellipse.theta,
    ];
    if numbers.iter().any(|number| !number.is_finite()) {
        return String::new();
    }
    let [x, y, major, minor, theta] = numbers.map(short);
    format!(
        "<ellipse class=\"fit\" cx=\"{x}\" cy=\"{y}\" rx=\"{major}\" ry=\"{minor}\" \
         transform=\"rotate({theta} {x} {y})\"/>"
    )
}

/// Pixels as an element of a picture, one to each unit of length.
fn image(
    class: &str,
    pixels: ArrayView2<'_, f64>,
    stretch: &Stretch,
    table: ColorTable,
) -> Option<String> {
    let picture = Picture::of_pixels(pixels, stretch, table, 1);
    let png = picture.png(Path::new("picture")).ok()?;
    Some(format!(
        "<image class=\"{class}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
         href=\"data:image/png;base64,{}\"/>",
        picture.width(),
        picture.height(),
        base64(&png)
    ))
}

/// Encodes bytes as letters (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            if place <= group.len() {
                let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
                text.push(char::from(letter));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::report::page::overlay::*;
    use crate::report::stars::statistics::tests::star;

    #[test]
    fn bytes_become_letters() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"fooba", "Zm9vYmE="),
            (b"foobar", "Zm9vYmFy"),
            (&[0xff, 0xef, 0xbe], "/+++"),
        ] {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn wide_stars_of_small_images_are_drawn() {
        let pixels = Array2::from_shape_fn((31, 31), |(y, x)| (x + y) as f64);
        let stars = [star(3, 15.0, 15.0, 8.5), star(4, 15.0, 15.0, 70.0)];
        for (fwhm, drawn) in [(Some(8.0), 1), (Some(9.0), 2), (None, 0)] {
            let shown = Shown {
                pixels: &pixels,
                factor: 1,
                first: 0.0,
                fwhm,
            };
            let figure = figure(&shown, stars.iter(), 1000, |_| true, &|_| None).unwrap();
            let circles = figure.svg.inline().matches("<circle").count();
            assert_eq!(circles, drawn, "{fwhm:?}");
            assert_eq!(figure.caption.contains("far wider"), drawn < 2);
        }
    }

    #[test]
    fn fits_are_over_their_pixels() {
        let pixels = Array2::from_shape_fn((20, 30), |(y, x)| (x + y) as f64);
        let mut stars = vec![
            star(0, 3.0, 5.0, 4.0),
            star(1, 7.0, 7.0, 1e9),
            star(2, f64::NAN, 0.0, 2.0),
        ];
        let mut tilted = star(7, 20.0, 5.0, 3.0);
        (tilted.major, tilted.minor, tilted.theta) = (4.0, 2.0, 30.0);
        stars.push(tilted);
        let shown = Shown {
            pixels: &pixels,
            factor: 2,
            first: 1.0,
            fwhm: Some(9.0),
        };
        let of = |side: usize| {
            let href = |id: usize| Some(format!("#s1-{id}"));
            let figure = figure(&shown, stars.iter(), side, |star| star.id == 0, &href);
            figure.unwrap().svg.inline()
        };
        let svg = of(1000);
        // (3 - 1 + 0.5) / 2 from the left, 4.5 / 2 from below.
        assert!(
            svg.contains("class=\"fit\" cx=\"1.25\" cy=\"17.75\" r=\"2\""),
            "{svg}"
        );
        assert!(
            svg.contains("rotate(-30 9.75 17.75)") && svg.contains("href=\"#s1-7\""),
            "{svg}"
        );
        assert!(!svg.contains("#s1-1\"") && !svg.contains("#s1-2\"") && !svg.contains("NaN"));
        assert!(of(10).contains("viewBox=\"0 0 10 7\""));
    }
}
