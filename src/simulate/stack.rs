//! Stacks of cutouts with one star in each.

use std::path::Path;

use ndarray::Array3;
use rand::RngExt;
use rand_pcg::Pcg64;
use rayon::prelude::*;

use super::bound::Scene;
use super::recipe::{RECIPES, Recipe};
use super::truth::{self, Truth, truth_path};
use super::{Camera, MAX_STARS, Purpose, SimulationOptions, generator, in_range, set, wrong};
use crate::batch::{Batch, Start};
use crate::cutout::{Cutout, CutoutOptions, Noise};
use crate::error::{Error, Result};
use crate::io::fits::{self, Card, Value};
use crate::io::npy;
use crate::model::{Model, Role};

/// Most pixels of a stack: 4 GiB.
const MAX_PIXELS: usize = 1 << 30;

/// Cutouts with one star each, and the truth about them.
#[derive(Debug, Clone)]
pub struct Stack {
    /// The stars' model.
    pub model: &'static dyn Model,
    /// Camera that the noise comes from.
    pub camera: Camera,
    /// Pixels, adu: (n, height, width).
    pub pixels: Array3<f32>,
    /// The stars, in order, each in the coordinates of its cutout.
    pub truth: Vec<Truth>,
}

impl Stack {
    /// `count` cutouts of `size` x `size` pixels, the star within a pixel of the middle in x and
    /// in y.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for options that make no sense, alone or together.
    pub fn new(count: usize, size: usize, options: &SimulationOptions) -> Result<Self> {
        options.check()?;
        in_range("stack", count, 1, MAX_STARS)?;
        in_range("size", size, 3, 1024)?;
        if count * size * size > MAX_PIXELS {
            let most = MAX_PIXELS / (size * size);
            let expected = format!("at most {most} cutouts of {size} x {size} pixels");
            return Err(wrong("stack", expected, count));
        }
        let unit_star = options.unit_star(size)?;
        let scene = Scene {
            model: options.model,
            camera: options.camera,
            side: size,
        };
        let draw = |rng: &mut Pcg64| {
            let mut star = unit_star;
            for role in [Role::X, Role::Y] {
                set(options.model, &mut star, role, near_middle(rng, size, 1.0));
            }
            scene.star_of_snr(&star, options.draw_snr(rng))
        };
        Self::draw(scene, count, options.seed, draw).ok_or_else(|| options.out_of_reach(size))
    }

    /// `count` cutouts of a standard work. With `snr`, the stars are as bright as that makes them
    /// instead of as the recipe says; empty if some cannot be.
    pub fn from_recipe(recipe: &Recipe, count: usize, snr: Option<f64>, seed: u64) -> Self {
        let scene = Scene {
            model: recipe.model,
            camera: Camera {
                gain: 1.0,
                read_noise: 0.0,
            },
            side: recipe.side,
        };
        let draw = |rng: &mut Pcg64| {
            let star = recipe.draw(rng);
            match snr {
                Some(snr) => scene.star_of_snr(&star, snr),
                None => Some(scene.star(star)),
            }
        };
        Self::draw(scene, count, seed, draw).unwrap_or_else(|| Self {
            model: scene.model,
            camera: scene.camera,
            pixels: Array3::default((0, scene.side, scene.side)),
            truth: Vec::new(),
        })
    }

    /// The standard work W2: circular Gaussians.
    pub fn w2(count: usize, seed: u64) -> Self {
        Self::from_recipe(&RECIPES[0], count, None, seed)
    }

    /// The cutouts as a batch to be fitted. With `off`, every start value is that part off the
    /// truth, up or down in turn (a position by that part of a pixel); without it the fits start
    /// from their moments.
    pub fn batch(&self, noise: Noise, off: Option<f64>) -> Batch {
        let (_, height, width) = self.pixels.dim();
        let options = CutoutOptions {
            noise,
            saturation: f64::INFINITY,
        };
        let mut batch = Batch::new(width, height);
        for (index, (pixels, truth)) in self.pixels.outer_iter().zip(&self.truth).enumerate() {
            let start = match off {
                None => Start::Moments {
                    position: None,
                    fwhm: None,
                },
                Some(part) => {
                    let mut parameters = truth.parameters;
                    for (j, parameter) in self.model.parameters().iter().enumerate() {
                        let by = if (index >> j) & 1 == 0 { part } else { -part };
                        parameters[j] += match parameter.role {
                            Role::X | Role::Y => by,
                            Role::Flux | Role::Background | Role::Shape => by * parameters[j],
                        };
                    }
                    Start::Given(parameters)
                }
            };
            let cutout = Cutout::from_pixels(pixels.mapv(f64::from).view(), None, &options);
            batch.push_unchecked(&cutout, start, None);
        }
        batch
    }

    /// Cutouts of the stars that `draw` makes; `None` as soon as it makes none.
    fn draw(
        scene: Scene,
        count: usize,
        seed: u64,
        draw: impl Fn(&mut Pcg64) -> Option<Truth> + Sync,
    ) -> Option<Self> {
        let size = scene.side * scene.side;
        let mut pixels = vec![0.0; count * size];
        let one = |(index, cutout): (usize, &mut [f32])| {
            let mut rng = generator(seed, Purpose::Star, index);
            let star = draw(&mut rng)?;
            let expected = scene.expected(&star.parameters);
            for (pixel, &value) in cutout.iter_mut().zip(&expected) {
                *pixel = scene.camera.expose(value, &mut rng) as f32;
            }
            Some(star)
        };
        let cutouts = pixels.par_chunks_exact_mut(size).enumerate();
        let truth = cutouts.map(one).collect::<Option<Vec<_>>>()?;
        Some(Self {
            model: scene.model,
            camera: scene.camera,
            pixels: Array3::from_shape_vec((count, scene.side, scene.side), pixels).ok()?,
            truth,
        })
    }

    /// Writes the stack in the format that the ending stands for, and the truth beside it, see
    /// [`truth_path`]; both through temporary files.
    ///
    /// # Errors
    ///
    /// The errors of [`StackFormat::from_path`]; [`Error::Io`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let format = StackFormat::from_path(path)?;
        truth::write(&truth_path(path), self.model, &self.truth, None)?;
        match format {
            StackFormat::Npy => npy::write_stack(path, &self.pixels),
            StackFormat::Fits => {
                let Camera { gain, read_noise } = self.camera;
                let cards = [
                    Card::new("BUNIT", Value::Text("adu".into()), ""),
                    Card::new("GAIN", Value::Float(gain), "electrons for each adu"),
                    Card::new("RDNOISE", Value::Float(read_noise), "electrons"),
                ];
                fits::write_stack(path, &self.pixels, &cards)
            }
        }
    }
}

/// A place within `most` pixels of the middle of a side.
fn near_middle(rng: &mut Pcg64, side: usize, most: f64) -> f64 {
    (side as f64 - 1.0) / 2.0 + rng.random_range(-most..most)
}

/// How a stack is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StackFormat {
    /// numpy's `.npy`.
    Npy,
    /// A FITS cube: `.fits`, `.fit` or `.fts`.
    Fits,
}

impl StackFormat {
    /// The format that the ending of a file name stands for, in any case.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for any other ending.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        match ending.to_lowercase().as_str() {
            "npy" => Ok(Self::Npy),
            "fits" | "fit" | "fts" => Ok(Self::Fits),
            other => Err(Error::Option {
                option: format!("output {}", path.display()),
                expected: "one of the endings .npy, .fits, .fit, .fts".into(),
                found: if other.is_empty() {
                    "none".into()
                } else {
                    format!(".{other}")
                },
                hint: None,
            }),
        }
    }
}
