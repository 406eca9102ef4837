//! The inputs of a run: several are read and measured at once, and taken in their order.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;
use std::time::Instant;

use crate::catalog::{Assumptions, ImageInfo};
use crate::error::{Error, Result};
use crate::image::{Header, Image, Source};
use crate::io::fits::{FitsFile, FitsPath};
use crate::io::stack::{StackFile, is_npy};
use crate::measure::{Measured, measure_image, why_no_star};

use super::planes::InputPlanes;
use super::{Engine, HINT, Watcher, axes, hint};

/// Most images in memory at once, beside the one that is written: each takes several times its
/// pixels.
const IMAGES_AT_ONCE: usize = 8;

/// Result of an input, or of one image of it.
#[derive(Debug)]
pub enum Found<S> {
    /// An image of the input, with its rows and [their summary](Watcher::sum_up); more may follow.
    Image(Box<(ImageInfo, Measured, S)>),
    /// A stack, which is measured when its turn comes.
    Stack(Box<(ImageInfo, StackFile, InputPlanes)>),
    /// An image that the catalogue has already; more may follow.
    Done,
    /// An error: the input cannot be read or measured.
    Failed(Error),
    /// The end: the input has no more images.
    End,
}

/// A result, with the messages about it.
#[derive(Debug)]
pub struct Message<S> {
    /// Messages that the [watcher](Watcher::take_said) has kept.
    pub said: Vec<u8>,
    /// The result.
    pub found: Found<S>,
}

/// Results of the inputs, in their order.
#[derive(Debug)]
pub struct Queues<S>(Vec<Receiver<Message<S>>>);

impl<S> Queues<S> {
    /// Results of the input of this number.
    pub fn of(&self, input: usize) -> &Receiver<Message<S>> {
        &self.0[input % self.0.len()]
    }
}

/// Error: nobody takes the results any more.
struct Gone;

impl Engine {
    /// Starts to work on `inputs`. Every thread takes its share of them in their order, and waits with each
    /// image until it is taken, which bounds the memory in use. An input of `None` is left out.
    pub fn start<'scope, W: Watcher>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        watcher: &'scope W,
        inputs: &'scope [Option<PathBuf>],
    ) -> Queues<W::Summary> {
        let most = rayon::current_num_threads().min(IMAGES_AT_ONCE);
        let threads = inputs.len().clamp(1, most.max(1));
        let start = |first: usize| {
            let (send, receive) = sync_channel(0);
            scope.spawn(move || {
                let share = inputs.iter().skip(first).step_by(threads);
                for path in share.flatten() {
                    if watcher.is_interrupted() || self.input(path, watcher, &send).is_err() {
                        return;
                    }
                }
            });
            receive
        };
        Queues((0..threads).map(start).collect())
    }

    /// Reads and measures one file: an image, each plane of a cube, or a stack of cutouts.
    fn input<W: Watcher>(
        &self,
        path: &Path,
        watcher: &W,
        queue: &SyncSender<Message<W::Summary>>,
    ) -> Result<(), Gone> {
        watcher.take_said();
        let send = |found| {
            let said = watcher.take_said();
            queue.send(Message { said, found }).map_err(|_| Gone)
        };
        let mut start = Instant::now();
        match self.open(path) {
            Err(error) => send(Found::Failed(error)),
            Ok(Opened::Stack(stack)) if self.is_done(&stack.0.name, &stack.0.source) => {
                send(Found::Done)?;
                send(Found::End)
            }
            Ok(Opened::Stack(stack)) => {
                let (image, stack) = *stack;
                let file = match &stack {
                    StackFile::Fits(file) => Some(&**file),
                    StackFile::Npy(_) => None,
                };
                match self.planes.of(&image.name, file) {
                    Ok(beside) => send(Found::Stack(Box::new((image, stack, beside)))),
                    Err(error) => send(Found::Failed(error)),
                }
            }
            Ok(Opened::Planes(file, planes)) => {
                let mut beside = None;
                for plane in planes {
                    if watcher.is_interrupted() {
                        return Ok(());
                    }
                    let (name, source) = file.identify(plane);
                    if self.is_done(&name, &source) {
                        send(Found::Done)?;
                        continue;
                    }
                    if beside.is_none() {
                        self.hint(&file);
                    }
                    // Opened once for all planes, and not for planes that are done.
                    let opened = match beside.take() {
                        Some(opened) => Ok(opened),
                        None => self.planes.of(&name, Some(&file)),
                    };
                    let measured = opened.and_then(|opened| {
                        let opened = beside.insert(opened);
                        self.image(&file, plane, opened, start)
                    });
                    match measured {
                        Ok((image, measured)) => {
                            let sum = watcher.sum_up(&measured, image.wcs.as_ref());
                            let mut info = ImageInfo::new(&image);
                            info.assumed = measured.assumed;
                            // To give the memory back takes a hundredth of the time of all the rest, and
                            // nobody need wait.
                            rayon::spawn(|| drop(image));
                            send(Found::Image(Box::new((info, measured, sum))))?;
                        }
                        Err(error) => return send(Found::Failed(error)),
                    }
                    start = Instant::now();
                }
                send(Found::End)
            }
        }
    }

    fn is_done(&self, name: &str, image: &Source) -> bool {
        let is_done = self.done.contains(image);
        if is_done {
            tracing::info!("{name}: is in the catalogue already");
        }
        is_done
    }

    /// Opens an input, and says what is odd about it.
    pub(super) fn open(&self, path: &Path) -> Result<Opened> {
        if is_npy(path) {
            let source = Source::of_file(path)?;
            let stack = StackFile::open(path)?;
            axes::check_stack(path, &stack)?;
            return Ok(opened_stack(stack, source, Header::default()));
        }
        let file = FitsFile::open(&FitsPath::parse(path)?)?;
        axes::check_image(path, &file)?;
        if self.settings.cutouts {
            let first = file.image(0)?;
            let source = Source {
                plane: None,
                ..first.source
            };
            let stack = StackFile::Fits(Box::new(file));
            axes::check_stack(path, &stack)?;
            return Ok(opened_stack(stack, source, first.header));
        }
        let planes = match self.plane {
            Some(plane) => plane..plane + 1,
            None => 0..file.planes(),
        };
        if planes.len() > 1 {
            let what = match axes::colours(&file) {
                Some(colours) => format!(
                    "{} planes are taken for the colours {}",
                    colours.len(),
                    colours.join(", ")
                ),
                None => format!("a cube of {} planes", planes.len()),
            };
            tracing::warn!(
                "{}: {what}, fitted one after the other; --plane chooses one, --cutouts takes them as cutouts",
                path.display()
            );
        }
        Ok(Opened::Planes(Box::new(file), planes))
    }

    /// Names the noise and the bad pixels in the file of an image, where the user has not said where they
    /// are.
    fn hint(&self, file: &FitsFile) {
        let (lacks_noise, lacks_mask) = self.planes.lack();
        let wants_noise = lacks_noise && self.settings.takes_noise();
        if let Some(hint) = hint::of_file(file, wants_noise, lacks_mask) {
            tracing::warn!(target: HINT, "{hint}");
        }
    }

    /// Measures an image whose reading began at `start`.
    pub(super) fn image(
        &self,
        file: &FitsFile,
        plane: usize,
        beside: &InputPlanes,
        start: Instant,
    ) -> Result<(Image, Measured)> {
        let mut image = file.image(plane)?;
        if let Some(colours) = axes::colours(file) {
            let colour = colours.get(plane).map(|colour| (*colour).to_owned());
            image.header.filter = image.header.filter.take().or(colour);
        }
        beside.apply(&mut image, plane, file.planes())?;
        let read = start.elapsed();
        if file.planes() == 1 {
            self.frames.leave_out_hot_pixels(&mut image);
        }
        let stars = self.stars.as_ref();
        let mut measured = measure_image(&image, stars, &self.settings.measure, &self.fitter)?;
        measured.times.read = read;
        beside.check_image(&image, &measured)?;
        if measured.rows.is_empty() {
            let why = match stars {
                None => why_no_star(&image, &self.settings.measure, &measured.assumed),
                Some(_) => "the list has none".to_owned(),
            };
            tracing::warn!("{}: no star found: {why}", image.name);
        }
        Ok((image, measured))
    }
}

/// A stack of cutouts, with its source, size and header.
fn opened_stack(stack: StackFile, source: Source, header: Header) -> Opened {
    let name = source.path.file_name().unwrap_or_default();
    let (_, height, width) = stack.dim();
    let image = ImageInfo {
        name: name.to_string_lossy().into_owned(),
        source,
        header,
        width,
        height,
        wcs: None,
        assumed: Assumptions::default(),
    };
    Opened::Stack(Box::new((image, stack)))
}

/// An input that can be read.
#[derive(Debug)]
pub(super) enum Opened {
    Stack(Box<(ImageInfo, StackFile)>),
    /// A file and those of its planes that are images.
    Planes(Box<FitsFile>, std::ops::Range<usize>),
}
