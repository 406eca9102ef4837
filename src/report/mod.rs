//! Pictures of how good fits are: of stars beside their models, of whole images.
//!
//! [`Records`] are what a database says of its images and their stars; [`Scene`] reads the pixels
//! of an image again and cuts out a star as it was fitted; [`Triplet`] is that star, its model and
//! the residual; [`Picture`] is what anything becomes that is drawn: pixels under a [`Stretch`] and
//! a [`ColorTable`], ellipses, lines and letters, and PNG in the end. [`Portrait`] is a star
//! with all its numbers, and [`text_art`] what a terminal shows of it. [`Report`] is the page of a
//! whole database.

mod color;
mod draw;
mod ellipse;
mod field;
mod figure;
mod head;
mod histogram;
mod html;
mod judgement;
mod letters;
mod limits;
mod night;
mod numbers;
mod overlay;
mod page;
mod picture;
mod pixels;
mod plot;
mod portrait;
mod ranking;
mod record;
mod scale;
mod scene;
mod section;
mod settings;
mod statistics;
mod stretch;
mod svg;
mod text_art;
mod theme;
mod triplet;

use field::FieldMap;
use limits::Limits;

pub use color::{Color, ColorTable};
pub use draw::Panel;
pub use ellipse::Ellipse;
pub use letters::{Face, text_width};
pub use numbers::{Fact, facts, printable, significant, with_error};
pub use page::{LARGEST_PAGE, Report, Written};
pub use picture::Picture;
pub use pixels::{Pixels, Unavailable};
pub use portrait::Portrait;
pub use record::{ImageRecord, Records};
pub use scene::Scene;
pub use settings::{FitSettings, PlaneFile};
pub use stretch::{Stretch, shrink, zscale};
pub use text_art::{Tone, text_art};
pub use triplet::{Layer, ModelStar, ResidualUnit, Triplet, parameters_of};

#[cfg(test)]
mod tests;
