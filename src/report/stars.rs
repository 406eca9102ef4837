//! Stars as they were fitted, read from a database and their images, and how one of them is shown.

pub(super) mod numbers;
pub(super) mod pixels;
pub(super) mod portrait;
pub(super) mod record;
pub(super) mod scene;
pub(super) mod statistics;
pub(super) mod text_art;
pub(super) mod triplet;
