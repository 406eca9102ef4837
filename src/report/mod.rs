//! Pictures of how good fits are: of stars beside their models, of whole images.
//!
//! [`Records`] are what a database says of its images and their stars; [`Scene`] reads the pixels
//! of an image again and cuts out a star as it was fitted; [`Triplet`] is that star, its model and
//! the residual; [`Picture`] is what anything becomes that is drawn: pixels under a [`Stretch`] and
//! a [`ColorTable`], ellipses, lines and letters, and PNG in the end. [`Portrait`] is a star
//! with all its numbers, and [`text_art`] what a terminal shows of it.

mod color;
mod draw;
mod letters;
mod numbers;
mod picture;
mod pixels;
mod portrait;
mod record;
mod scene;
mod settings;
mod stretch;
mod text_art;
mod triplet;

pub use color::{Color, ColorTable};
pub use draw::Panel;
pub use letters::{Face, text_width};
pub use numbers::{Fact, facts, printable, significant, with_error};
pub use picture::Picture;
pub use pixels::{Pixels, Unavailable};
pub use portrait::Portrait;
pub use record::{ImageRecord, Records};
pub use scene::Scene;
pub use settings::{FitSettings, PlaneFile};
pub use stretch::{Stretch, shrink, zscale};
pub use text_art::{Tone, text_art};
pub use triplet::{Ellipse, Layer, ModelStar, ResidualUnit, Triplet, parameters_of};

#[cfg(test)]
mod tests;
