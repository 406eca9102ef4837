//! Pictures of how good fits are: of stars beside their models, of whole images.
//!
//! [`Records`] reads the images of a database and their stars; [`Scene`] reads the pixels of an image
//! again and cuts out a star as it was fitted; [`Triplet`] is that star, its model and the residual;
//! [`Picture`] takes everything that is drawn: pixels under a [`Stretch`] and a [`ColorTable`],
//! ellipses, lines and letters, and becomes a PNG file in the end. [`Portrait`] is a star with all its
//! numbers, and [`text_art`] shows a star in a terminal. [`Report`] is the page of a whole database.

mod draw;
mod page;
mod stars;

use crate::report::page::field::FieldMap;
use crate::report::page::limits::Limits;

pub use crate::report::draw::color::{Color, ColorTable};
pub use crate::report::draw::ellipse::Ellipse;
pub use crate::report::draw::letters::{Face, text_width};
pub use crate::report::draw::panel::Panel;
pub use crate::report::draw::picture::Picture;
pub use crate::report::draw::stretch::{Stretch, shrink, zscale};
pub use crate::report::stars::numbers::{Fact, facts, printable, with_error};
pub use crate::report::stars::pixels::{Pixels, Unavailable};
pub use crate::report::stars::portrait::Portrait;
pub use crate::report::stars::record::{ImageRecord, Records};
pub use crate::report::stars::scene::Scene;
pub use crate::report::stars::text_art::{Tone, text_art};
pub use crate::report::stars::triplet::{Layer, ModelStar, ResidualUnit, Triplet, parameters_of};
pub use crate::settings::{Companion, Settings};
pub use page::{LARGEST_PAGE, Report, Written};

#[cfg(test)]
mod tests;
