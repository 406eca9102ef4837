//! Pixels that are hot in the frames of a run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::hot_pixels::{FEWEST_FRAMES, HotPixels, MOST_FRAMES};
use crate::image::Image;
use crate::io::fits::{FitsFile, FitsPath};
use crate::io::stack::is_npy;
use tracing::subscriber::{NoSubscriber, with_default};

/// The inputs of a run, some of which tell the hot pixels of all once the first image is there.
#[derive(Debug, Default)]
pub(super) struct Frames {
    paths: Vec<PathBuf>,
    hot: OnceLock<HotPixels>,
}

impl Frames {
    pub(super) fn new<'a>(inputs: impl Iterator<Item = &'a PathBuf>) -> Self {
        let frames = inputs.filter(|path| !is_npy(path));
        let mut known = BTreeSet::new();
        Self {
            paths: frames.filter(|path| known.insert(*path)).cloned().collect(),
            hot: OnceLock::new(),
        }
    }

    /// Takes the value from the hot pixels of an image that has a file of its own.
    pub(super) fn leave_out_hot_pixels(&self, image: &mut Image) {
        let hot = self.hot.get_or_init(|| {
            // A file that cannot be read is reported when it is measured.
            let images = some(&self.paths).filter_map(|path| image_of(path));
            let hot = with_default(NoSubscriber::default(), || HotPixels::in_frames(images));
            if !hot.is_empty() {
                tracing::warn!(
                    "{} of the pixels are hot in most of {} frames of the run, and are left out of all its frames",
                    hot.len(),
                    hot.frames()
                );
            }
            hot
        });
        hot.leave_out(image);
    }
}

/// The files that are looked through, spread evenly over the run; none of a run too short to tell.
fn some(paths: &[PathBuf]) -> impl Iterator<Item = &PathBuf> {
    let count = match paths.len() {
        few if few < FEWEST_FRAMES => 0,
        many => many.min(MOST_FRAMES),
    };
    let last = paths.len().saturating_sub(1);
    (0..count).map(move |at| &paths[at * last / (count - 1).max(1)])
}

/// The image of a file that has one.
fn image_of(path: &Path) -> Option<Image> {
    let file = FitsFile::open(&FitsPath::parse(path).ok()?).ok()?;
    (file.planes() == 1).then(|| file.image(0).ok()).flatten()
}
