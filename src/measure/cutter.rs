//! The cutouts of an image's stars.

use super::crowding::{Contamination, Crowd};
use crate::background::Background;
use crate::cutout::{Cutout, CutoutOptions};
use crate::image::Image;

/// Cuts the stars of an image out, without the pixels where their neighbours shine.
#[derive(Debug)]
pub(super) struct Cutter<'a> {
    pub(super) image: &'a Image,
    pub(super) background: &'a Background,
    pub(super) options: CutoutOptions,
    pub(super) positions: &'a [(f64, f64)],
    pub(super) crowd: Crowd<'a>,
    /// Side of a cutout, pixels.
    pub(super) size: usize,
}

impl Cutter<'_> {
    /// The cutout of the star of this number, and the effect of its neighbours.
    pub(super) fn cut(&self, star: usize) -> (Cutout, Contamination) {
        let place = self.positions[star];
        let mut cutout =
            Cutout::from_image(self.image, self.background, &self.options, place, self.size);
        let contamination = self.crowd.leave_out(star, &mut cutout, self.noise(star));
        (cutout, contamination)
    }

    /// Level of the sky at a star.
    pub(super) fn level(&self, star: usize) -> f64 {
        let (x, y) = self.positions[star];
        self.background.level(x, y)
    }

    /// Noise of a pixel of the sky at a star.
    pub(super) fn noise(&self, star: usize) -> f64 {
        let (x, y) = self.positions[star];
        self.background.noise(x, y)
    }
}
