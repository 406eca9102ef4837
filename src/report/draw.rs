//! Drawing: pictures of pixels, and of lines.

pub(super) mod color;
pub(super) mod ellipse;
pub(super) mod letters;
pub(super) mod panel;
pub(super) mod picture;
pub(super) mod plot;
pub(super) mod scale;
pub(super) mod stretch;
pub(super) mod svg;
pub(super) mod theme;
