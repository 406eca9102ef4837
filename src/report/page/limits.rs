//! How much a page may show.

/// How much a page may show of each thing. A page that would be too large is made again with less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) struct Limits {
    /// Longest side of a picture, dots; 0: no pictures.
    pub(in crate::report) picture: usize,
    /// Rows of each table of stars.
    pub(in crate::report) rows: usize,
    /// Frames in the ranking, frames that have a section of numbers, and frames that have their
    /// figures.
    pub(in crate::report) frames: usize,
}

impl Limits {
    /// Most images that have figures: they are in memory together with their pixels and stars, and the
    /// page has no room for pictures of more.
    pub(in crate::report) const SHOWN: usize = 40;

    /// Limits of a page, unless there is no room for so much.
    pub(in crate::report) const FULL: Self = Self {
        picture: 1024,
        rows: 2000,
        frames: 1000,
    };

    /// Limits from the fullest page to one that always has room.
    pub(in crate::report) fn all() -> impl Iterator<Item = Self> {
        let steps = [
            (1024, 2000, 1000),
            (800, 2000, 1000),
            (640, 1000, 1000),
            (512, 500, 500),
            (400, 200, 500),
            (256, 100, 200),
            (128, 50, 100),
            (64, 20, 50),
            (0, 10, 50),
            (0, 0, 20),
        ];
        steps.into_iter().map(|(picture, rows, frames)| Self {
            picture,
            rows,
            frames,
        })
    }
}
