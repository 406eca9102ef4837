//! The inputs of a run: several are read and measured at once, and taken in their order.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::thread::Scope;
use std::time::Instant;

use anyhow::{Result, bail};
use starfit::catalog::{Assumptions, CatalogFormat, DoneImages, ImageInfo};
use starfit::fitter::Fitter;
use starfit::image::{Header, Source};
use starfit::io::fits::{FitsFile, FitsPath};
use starfit::io::stack::{StackFile, is_npy};
use starfit::measure::{MeasureOptions, Measured, measure_image, why_no_star};
use starfit::star::StarList;

use super::args::FitArgs;
use super::hot_pixels::Frames;
use super::planes::{InputPlanes, Planes};
use super::{axes, beside};
use crate::cli::summary::Tally;
use crate::cli::{is_interrupted, log};

/// Most images in memory at once, beside the one that is written: each takes several times its
/// pixels.
const IMAGES_AT_ONCE: usize = 8;

/// What an input turned out to be.
pub(super) enum Found {
    /// An image of it, with its rows and their numbers; more may follow.
    Image(Box<(ImageInfo, Measured, Tally)>),
    /// It is a stack, which is measured when its turn comes.
    Stack(Box<(ImageInfo, StackFile, InputPlanes)>),
    /// The catalogue has this image of it already; more may follow.
    Done,
    /// It cannot be read or measured.
    Failed(anyhow::Error),
    /// It has no more images.
    End,
}

/// What was found, and what there was to say of it.
pub(super) struct Message {
    pub(super) said: Vec<u8>,
    pub(super) found: Found,
}

/// What is the same for all inputs.
pub(super) struct Work<'a> {
    pub(super) args: &'a FitArgs,
    pub(super) options: MeasureOptions,
    pub(super) stars: Option<StarList>,
    pub(super) planes: Planes,
    pub(super) fitter: Fitter,
    /// What is to be left out.
    pub(super) done: DoneImages,
    pub(super) frames: Frames,
}

/// What becomes of the inputs.
pub(super) struct Queues(Vec<Receiver<Message>>);

impl Queues {
    /// What becomes of the input of this number.
    pub(super) fn of(&self, input: usize) -> &Receiver<Message> {
        &self.0[input % self.0.len()]
    }
}

/// Starts to work on `inputs`. Every thread takes its share of them in their order, and waits with
/// each image until it is taken: that bounds what is in memory. An input that is none is left out.
pub(super) fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: &'scope Work<'_>,
    inputs: &'scope [Option<PathBuf>],
) -> Queues {
    let most = rayon::current_num_threads().min(IMAGES_AT_ONCE);
    let threads = inputs.len().clamp(1, most.max(1));
    let start = |first: usize| {
        let (send, receive) = sync_channel(0);
        scope.spawn(move || {
            let share = inputs.iter().skip(first).step_by(threads);
            for path in share.flatten() {
                if is_interrupted() || work.input(path, &send).is_err() {
                    return;
                }
            }
        });
        receive
    };
    Queues((0..threads).map(start).collect())
}

impl Work<'_> {
    /// Reads and measures one file: an image, each plane of a cube, or a stack of cutouts.
    fn input(&self, path: &Path, queue: &SyncSender<Message>) -> Result<(), SendError<Message>> {
        log::keep();
        let send = |found| {
            let said = log::keep();
            queue.send(Message { said, found })
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
                    if is_interrupted() {
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
                    // Once for all planes, and not for those that are done.
                    let opened = match beside.take() {
                        Some(opened) => Ok(opened),
                        None => self.planes.of(&name, Some(&file)),
                    };
                    let measured = opened.and_then(|opened| {
                        let opened = beside.insert(opened);
                        self.image(&file, plane, opened, start)
                    });
                    match measured {
                        Ok(image) => send(Found::Image(Box::new(image)))?,
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

    fn open(&self, path: &Path) -> Result<Opened> {
        if is_npy(path) {
            let source = Source::of_file(path)?;
            let stack = StackFile::open(path)?;
            axes::check_stack(path, &stack)?;
            return self.stack(stack, source, Header::default());
        }
        let file = FitsFile::open(&FitsPath::parse(path)?)?;
        axes::check_image(path, &file)?;
        if self.args.cutouts {
            let first = file.image(0)?;
            let source = Source {
                plane: None,
                ..first.source
            };
            let stack = StackFile::Fits(Box::new(file));
            axes::check_stack(path, &stack)?;
            return self.stack(stack, source, first.header);
        }
        let planes = match self.args.plane {
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

    /// Says what the file of an image has of its noise and its bad pixels, where the user has not
    /// said where they are.
    fn hint(&self, file: &FitsFile) {
        let (lacks_noise, lacks_mask) = self.planes.lack();
        let wants_noise = lacks_noise && self.args.takes_noise();
        if let Some(hint) = beside::hint(file, wants_noise, lacks_mask) {
            tracing::warn!(target: log::HINT, "{hint}");
        }
    }

    fn stack(&self, stack: StackFile, source: Source, header: Header) -> Result<Opened> {
        let name = source
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for (option, given) in [
            ("--plane", self.args.plane.is_some()),
            ("--size", self.args.size.is_some()),
        ] {
            if given {
                bail!("{name}: {option} is for images, and these are ready cutouts");
            }
        }
        let is_region =
            |path: &PathBuf| matches!(CatalogFormat::from_path(path), Ok(CatalogFormat::Region));
        if self.args.output.iter().any(is_region) {
            bail!("{name}: .reg files are for images, and these are ready cutouts");
        }
        let (_, height, width) = stack.dim();
        let image = ImageInfo {
            name,
            source,
            header,
            width,
            height,
            wcs: None,
            assumed: Assumptions::default(),
        };
        Ok(Opened::Stack(Box::new((image, stack))))
    }

    /// Measures an image whose reading began then.
    fn image(
        &self,
        file: &FitsFile,
        plane: usize,
        beside: &InputPlanes,
        start: Instant,
    ) -> Result<(ImageInfo, Measured, Tally)> {
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
        let mut measured = measure_image(&image, stars, &self.options, &self.fitter)?;
        measured.times.read = read;
        beside.check_image(&image, &measured)?;
        if measured.rows.is_empty() {
            let why = match stars {
                None => why_no_star(&image, &self.options, &measured.assumed),
                Some(_) => "the list has none".to_owned(),
            };
            tracing::warn!("{}: no star found: {why}", image.name);
        }
        let mut tally = Tally::default();
        let (width, height) = measured.assumed.size;
        tally.add(&measured.rows, image.wcs.as_ref(), width.max(height));
        let mut info = ImageInfo::new(&image);
        info.assumed = measured.assumed;
        // To give the memory back takes a hundredth of what all the rest does, and nobody need wait.
        rayon::spawn(|| drop(image));
        Ok((info, measured, tally))
    }
}

/// An input that can be read.
enum Opened {
    Stack(Box<(ImageInfo, StackFile)>),
    /// These planes of a file are images.
    Planes(Box<FitsFile>, std::ops::Range<usize>),
}
