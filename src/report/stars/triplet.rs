//! Data, model and residual of one star.

use ndarray::{Array2, ArrayView2};

use crate::catalog::Row;
use crate::cutout::Weighting;
use crate::error::Result;
use crate::model::Model;
use crate::numbers::matrix::{MAX_PARAMETERS, Parameters};
use crate::report::draw::color::{Color, ColorTable};
use crate::report::draw::ellipse::Ellipse;
use crate::report::draw::panel::Panel;
use crate::report::draw::picture::Picture;
use crate::report::draw::stretch::Stretch;
use crate::report::stars::scene::{Piece, Scene};

/// The pixels of a star, and, where it was fitted, its model and the residual.
#[derive(Debug, Clone)]
pub struct Triplet {
    /// Column and row of the first pixel, which may be outside the image.
    pub first: (i64, i64),
    /// (height, width), units of the image; NaN where there is no value.
    pub data: Array2<f64>,
    /// `None` where the star has no values in the catalogue, or this version does not know the
    /// model.
    pub model: Option<ModelStar>,
}

/// The model of a star at the pixels of its cutout.
#[derive(Debug, Clone)]
pub struct ModelStar {
    /// Star and background, (height, width), units of the image.
    pub values: Array2<f64>,
    /// Data less model in `unit`; NaN where the fit left a pixel out.
    pub residual: Array2<f64>,
    /// Unit of the residuals.
    pub unit: ResidualUnit,
    /// Ellipse at one sigma.
    pub ellipse: Ellipse,
}

/// Unit of residuals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ResidualUnit {
    /// The noise of each pixel, as the fit took it: of the sky and the photons, by the variances
    /// given, or of the counts.
    Noise,
    /// The root of the mean square of all residuals, units of the image: the noise was not known.
    Rms(f64),
}

/// Pixels of a star and how they are shown.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// `data`, `model` or `residual`.
    pub name: &'static str,
    /// (height, width); NaN where there is no value.
    pub values: ArrayView2<'a, f64>,
    /// Conversion of values to brightness.
    pub stretch: Stretch,
    /// Conversion of brightness to colours.
    pub table: ColorTable,
}

/// The parameters of a model from the columns of a star, positions counted from 0; `None` where a
/// column is null, as for stars without values.
pub fn parameters_of(model: &dyn Model, star: &Row, first_pixel: f64) -> Option<Parameters> {
    let mut columns = [0.0; MAX_PARAMETERS];
    for (value, column) in columns.iter_mut().zip(model.columns()) {
        *value = star.get(column.name)?;
        if matches!(column.name, "x" | "y") {
            *value -= first_pixel;
        }
    }
    let parameters = model.parameters_at(&columns).map(|dual| dual.value);
    let all = parameters.get(..model.parameters().len())?;
    all.iter()
        .all(|value| value.is_finite())
        .then_some(parameters)
}

impl Triplet {
    /// A star and its model.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`](crate::Error::Malformed) where the star has no place in the image; the
    /// errors of reading a cutout of a stack.
    pub fn new(scene: &Scene, star: &Row) -> Result<Self> {
        let piece = scene.piece(star)?;
        let first_pixel = scene.settings().first_pixel();
        let model = scene.settings().model.filter(|_| star.status.has_values());
        let model = model.and_then(|model| {
            let parameters = parameters_of(model, star, first_pixel)?;
            let ellipse = Ellipse::one_sigma(star, first_pixel)?;
            Some(ModelStar::new(model, &parameters, &piece, ellipse))
        });
        Ok(Self {
            first: piece.cutout.corner,
            data: piece.values,
            model,
        })
    }

    /// Layers of data, model and residual, as many as there are; data and model are shown by the levels
    /// of the data.
    pub fn layers(&self) -> Vec<Layer<'_>> {
        let stretch = Stretch::of_star(self.data.view());
        let star = |name, values| Layer {
            name,
            values,
            stretch,
            table: ColorTable::Gray,
        };
        let mut layers = vec![star("data", self.data.view())];
        if let Some(model) = &self.model {
            layers.push(star("model", model.values.view()));
            layers.push(Layer {
                name: "residual",
                values: model.residual.view(),
                stretch: Stretch::symmetric(model.limit()),
                table: ColorTable::Diverging,
            });
        }
        layers
    }

    /// The layers as pictures, with ellipses at 1, 2 and 3 sigma over data and model.
    pub fn panels(&self, magnification: usize) -> Vec<Picture> {
        let (rows, columns) = self.data.dim();
        let panel = Panel {
            first: (self.first.0 as f64, self.first.1 as f64),
            columns,
            rows,
            magnification: magnification as f64,
        };
        let draw = |layer: Layer<'_>| {
            let Layer {
                values,
                stretch,
                table,
                ..
            } = layer;
            let mut picture = Picture::of_pixels(values, &stretch, table, magnification);
            let ellipse = self.model.as_ref().map(|model| &model.ellipse);
            if let Some(ellipse) = ellipse.filter(|_| table == ColorTable::Gray) {
                let width = (magnification as f64 / 8.0).clamp(1.0, 2.0);
                for sigmas in [1.0, 2.0, 3.0] {
                    picture.ellipse(ellipse, sigmas, &panel, width, Color::ORANGE);
                }
            }
            picture
        };
        self.layers().into_iter().map(draw).collect()
    }
}

impl ModelStar {
    fn new(model: &dyn Model, parameters: &Parameters, piece: &Piece, ellipse: Ellipse) -> Self {
        let Piece {
            cutout,
            values: data,
            bias,
        } = piece;
        let (left, below) = cutout.corner;
        let values = Array2::from_shape_fn(data.dim(), |(row, column)| {
            let (x, y) = (left as f64 + column as f64, below as f64 + row as f64);
            model.evaluate(parameters, x, y).0
        });
        let mut residual = data - &values;
        let places = residual.iter_mut().zip(&cutout.weight).zip(&values);
        for ((residual, &weight), &value) in places {
            let noise = match cutout.weighting {
                _ if weight == 0.0 => f64::NAN,
                Weighting::Unit => 1.0,
                Weighting::InverseVariance => weight.sqrt().recip(),
                // The zero of the cutout, which lacks the bias.
                Weighting::Counts { gain, zero } => ((value - bias - zero) / gain).sqrt(),
            };
            *residual /= noise;
        }
        let unit = match cutout.weighting {
            Weighting::InverseVariance | Weighting::Counts { .. } => ResidualUnit::Noise,
            Weighting::Unit => {
                let used = residual.iter().filter(|residual| residual.is_finite());
                let (sum, count) = used.fold((0.0, 0.0), |(sum, count), residual| {
                    (sum + residual * residual, count + 1.0)
                });
                let rms: f64 = if count > 0.0 {
                    f64::sqrt(sum / count)
                } else {
                    0.0
                };
                if rms > 0.0 {
                    residual.mapv_inplace(|residual| residual / rms);
                }
                ResidualUnit::Rms(rms)
            }
        };
        Self {
            values,
            residual,
            unit,
            ellipse,
        }
    }

    /// Sum of the squares of the residuals, in their unit: chi-square where the unit is the noise.
    /// Where it differs from chi-square in the catalogue, the pixels are not those that were fitted.
    pub fn chi2(&self) -> f64 {
        let used = self.residual.iter().filter(|residual| residual.is_finite());
        used.map(|residual| residual * residual).sum()
    }

    /// Size of the residuals that are shown in the last colours: 5, or, where the model is further off,
    /// a round number that nine in ten pixels are within.
    pub fn limit(&self) -> f64 {
        const LEAST: f64 = 5.0;
        let mut sizes: Vec<f64> = self
            .residual
            .iter()
            .map(|residual| residual.abs())
            .collect();
        sizes.retain(|size| size.is_finite());
        sizes.sort_by(f64::total_cmp);
        let most = sizes.get(sizes.len() * 9 / 10).copied().unwrap_or(0.0);
        if most <= LEAST {
            return LEAST;
        }
        let power = 10f64.powf(most.log10().floor());
        let round = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
        let fits = |limit: &f64| (most..f64::INFINITY).contains(limit);
        round.into_iter().find(fits).unwrap_or(most)
    }
}
