//! Stars of a colour frame for pictures: pixels as the fit has seen them, with those of neighbours.

use std::sync::OnceLock;

use ndarray::Array2;

use super::pattern::silently;
use super::sky::Sky;
use super::star::{Colors, Frame};
use crate::catalog::Row;
use crate::cutout::{Cutout, CutoutOptions};
use crate::fitter::coordinates::values;
use crate::image::Image;
use crate::model::Model;
use crate::mosaic::{Bayer, BayerPattern, Channel, Color};
use crate::numbers::matrix::Parameters;

/// The mosaic of an image whose stars are shown.
#[derive(Debug)]
pub(crate) struct Shown {
    pattern: BayerPattern,
    channel: Channel,
    /// The sky, measured when it is first needed.
    sky: OnceLock<Sky>,
}

impl Shown {
    /// The mosaic that an image was fitted with, if it was.
    pub(crate) fn of(image: &Image, bayer: Bayer, channel: Channel) -> Option<Self> {
        Some(Self {
            pattern: silently(image, bayer)?.pattern,
            channel,
            sky: OnceLock::new(),
        })
    }

    /// The pixels round a place on the scale of a star's row, `[[y, x]]`: with all colours, as if each pixel
    /// had the light of all, on the background of the row; with one colour, its pixels as they are, without
    /// the others. The first result holds the pixels in use, with their weights, the second also the others.
    pub(crate) fn cut(
        &self,
        image: &Image,
        options: &CutoutOptions,
        place: (f64, f64),
        size: usize,
        (star, model): (&Row, Option<&dyn Model>),
    ) -> (Cutout, Array2<f64>) {
        let frame = Frame {
            image,
            sky: self.sky.get_or_init(|| Sky::estimate(image.pixels.view())),
            pattern: self.pattern,
            noise: options.noise,
            saturation: options.saturation,
            size,
        };
        let pixels = frame.cut(place);
        let profile = model.and_then(|model| pixels.profile(model, &parameters(model, star)?));
        let profile = profile.as_deref();
        let found = profile.and_then(|profile| pixels.colors_of(profile, &pixels.raw.weight));
        let colors = found.unwrap_or_else(|| self.colors(star));
        let one = match self.channel {
            Channel::All => None,
            Channel::One(color) => Some(color),
        };
        let background = star.get("background").unwrap_or(0.0);
        let mut cutout = match one {
            None => pixels.gray(&colors, profile),
            Some(color) => pixels.only(color, &colors, profile),
        };
        if one.is_none() {
            let used = cutout.data.iter_mut().zip(&cutout.weight);
            for (data, _) in used.filter(|(_, weight)| **weight > 0.0) {
                *data += background;
            }
        }
        let corner = cutout.corner;
        let colors_of_pixels: Vec<usize> = pixels.colors().collect();
        let shown = Array2::from_shape_fn((size, size), |(row, column)| {
            let at = |corner: i64, offset: usize| {
                usize::try_from(corner.checked_add(offset as i64)?).ok()
            };
            let place = at(corner.1, row).zip(at(corner.0, column));
            let raw = place.and_then(|place| image.pixels.get(place).copied());
            let raw = raw.unwrap_or(f64::NAN);
            let of = colors_of_pixels[row * size + column];
            match one {
                None => pixels.gray_value(raw, row, column, &colors) + background,
                Some(color) if color.place() == of => raw,
                Some(_) => f64::NAN,
            }
        });
        (cutout, shown)
    }

    /// The colours that a row states.
    fn colors(&self, star: &Row) -> Colors {
        let flux = |color: Color| star.get(color.columns()[0]).unwrap_or(f64::NAN);
        Colors::of_shares(Color::ALL.map(flux))
    }
}

/// The parameters that a row states.
fn parameters(model: &dyn Model, star: &Row) -> Option<Parameters> {
    let mut columns = Parameters::default();
    for (value, column) in columns.iter_mut().zip(model.columns()) {
        *value = star.get(column.name)?;
    }
    Some(values(&model.parameters_at(&columns)))
}
