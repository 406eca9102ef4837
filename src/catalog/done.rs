//! Images that a catalogue has already.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::image::Source;

/// The images that a catalogue has already, as their files were then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoneImages(HashSet<Source>);

impl DoneImages {
    /// Whether the catalogue has this image, and the image's file has kept its size and modification time.
    pub fn contains(&self, image: &Source) -> bool {
        !self.0.is_empty()
            && self.0.contains(&Source {
                path: PathBuf::from(image.absolute_path()),
                ..image.clone()
            })
    }

    /// Keeps only the images that `other` has, too.
    pub fn retain(&mut self, other: &Self) {
        self.0.retain(|image| other.0.contains(image));
    }
}

/// Takes sources whose paths are results of [`Source::absolute_path`].
impl FromIterator<Source> for DoneImages {
    fn from_iter<I: IntoIterator<Item = Source>>(images: I) -> Self {
        Self(images.into_iter().collect())
    }
}
