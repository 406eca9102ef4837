//! From fits to rows of the catalogue, and the flags that compare a star with the others.

use rayon::prelude::*;

use super::MeasureOptions;
use super::resolve::Resolver;
use super::width_class::StarWidth;
use crate::catalog::Row;
use crate::constraints::Constraints;
use crate::error::Result;
use crate::fit::{Fit, Flags};
use crate::model::{Model, Role};
use crate::neighbours::Neighbours;
use crate::star::{Star, WORTH_A_CORE};
use crate::wcs::Wcs;

/// The rows of the catalogue, positions counted from 0.
pub(super) fn rows(
    stars: &[Star],
    fits: &[Fit],
    model: &dyn Model,
    options: &MeasureOptions,
    constraints: &Resolver<'_>,
    wcs: Option<&Wcs>,
) -> Result<Vec<Row>> {
    let stars = stars.par_iter().zip(fits).with_min_len(WORTH_A_CORE);
    let rows: Vec<Result<Row>> = stars
        .map(|(star, fit)| {
            let mut row = row(star, fit, model, options.zero_point);
            row.name = constraints.name_of(star).cloned();
            if let Some(constraints) = constraints.of(star)? {
                round_to(&mut row, &constraints, model);
            }
            if let Some(wcs) = wcs.filter(|_| fit.status.has_values()) {
                set_sky(&mut row, fit, model, wcs);
            }
            Ok(row)
        })
        .collect();
    rows.into_iter().collect()
}

/// Sets a parameter that is fixed or at its bound to the user's value: the coordinates of the fit cost its
/// last digit. A value at a bound has its flag, even where chi-square is so flat that no slope holds it
/// there.
fn round_to(row: &mut Row, constraints: &Constraints, model: &dyn Model) {
    for (j, column) in model.columns().iter().enumerate() {
        let Some(value) = row.get(column.name) else {
            continue;
        };
        // Beyond the digits of a coordinate in an image of a million pixels, below all else.
        let is_near =
            |said: &f64| said.is_finite() && (value - said).abs() <= 1e-9 * said.abs().max(1e-3);
        let held = Some(constraints.start[j]).filter(|_| constraints.is_fixed(j));
        let bounds = [constraints.low[j], constraints.high[j]];
        let bound = bounds
            .into_iter()
            .find(|bound| held.is_none() && is_near(bound));
        if let Some(said) = held.filter(is_near).or(bound) {
            row.set(column.name, said);
        }
        if bound.is_some() {
            row.flags.set(Flags::NEAR_BOUND, true);
        }
    }
}

fn row(star: &Star, fit: &Fit, model: &dyn Model, zero_point: Option<f64>) -> Row {
    let mut row = Row::new(star.id, fit.status, fit.flags);
    if !fit.status.has_values() {
        row.set("x", star.x);
        row.set("y", star.y);
        return row;
    }
    let mut columns = model.columns().iter();
    let flux_column = columns.find(|column| column.role == Role::Flux);
    let flux_column = flux_column.map(|column| column.name);
    let (mut flux, mut flux_err) = (f64::NAN, f64::NAN);
    for quantity in model.quantities(&fit.parameters) {
        let error = fit.error(model, &quantity).unwrap_or(f64::NAN);
        row.state(quantity.column, quantity.value, error);
        if Some(quantity.column) == flux_column {
            (flux, flux_err) = (quantity.value, error);
        }
    }
    row.set("snr", flux / flux_err);
    if let Some(zero_point) = zero_point.filter(|_| flux > 0.0) {
        row.set("mag", zero_point - 2.5 * flux.log10());
        row.set("mag_err", 2.5 / std::f64::consts::LN_10 * flux_err / flux);
    }
    let dof = fit.dof();
    row.set("chi2", fit.chi2);
    row.set("dof", dof as f64);
    if dof > 0 {
        row.set("reduced_chi2", fit.chi2 / dof as f64);
    }
    row.set("qfit", fit.absolute_residuals / flux);
    row.set("cfit", fit.central_residual / flux);
    row.set("n_pixels", fit.n_pixels as f64);
    row.set("n_iterations", f64::from(fit.n_iterations));
    row
}

/// The position on the sky, whose errors follow from those of the pixels by the slope of the WCS.
fn set_sky(row: &mut Row, fit: &Fit, model: &dyn Model, wcs: &Wcs) {
    let (Some(x), Some(y)) = (row.get("x"), row.get("y")) else {
        return;
    };
    let Some(sky) = wcs.to_sky(x, y) else {
        return;
    };
    row.set("ra", sky.ra);
    row.set("dec", sky.dec);
    let (Some(x_err), Some(y_err)) = (row.get("x_err"), row.get("y_err")) else {
        return;
    };
    let quantities = model.quantities(&fit.parameters);
    let quantity = |column: &str| quantities.iter().find(|q| q.column == column);
    let covariance = quantity("x")
        .zip(quantity("y"))
        .and_then(|(x, y)| fit.covariance_of(model, x, y));
    let (Some(covariance), Some(jacobian)) = (covariance, wcs.jacobian(x, y)) else {
        return;
    };
    for (column, [by_x, by_y]) in ["ra_err", "dec_err"].into_iter().zip(jacobian) {
        let variance =
            (by_x * x_err).powi(2) + (by_y * y_err).powi(2) + 2.0 * by_x * by_y * covariance;
        row.set(column, variance.max(0.0).sqrt());
    }
}

/// Facts about a star of an image beside its fit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// Whether its light is narrower than a star.
    pub(super) is_sharp: bool,
    /// Light of neighbours that a fit takes for the star's, units of flux.
    pub(super) foreign_flux: f64,
    /// Whether the fit is worse than those of stars as bright.
    pub(super) is_poor: bool,
}

/// The flags that compare a star with the others of its image.
pub(super) fn flag_image(rows: &mut [Row], seen: &[Seen], width: StarWidth) {
    // Rows without a fit have no place.
    let ends: Vec<(f64, f64)> = rows
        .iter()
        .map(|row| match row.status.has_values() {
            true => (
                row.get("x").unwrap_or(f64::NAN),
                row.get("y").unwrap_or(f64::NAN),
            ),
            false => (f64::NAN, f64::NAN),
        })
        .collect();
    let same = Neighbours::new(&ends, 0.25 * width.typical);
    for (index, (row, seen)) in rows.iter_mut().zip(seen).enumerate() {
        row.flags.set(Flags::SHARP, seen.is_sharp);
        row.flags.set(Flags::POOR_FIT, seen.is_poor);
        row.flags.set(Flags::DUPLICATE, same.has_neighbour(index));
        let error = row.get("flux_err").unwrap_or(f64::INFINITY);
        row.flags
            .set(Flags::CROWDED, seen.foreign_flux.abs() > error);
        if let Some(fwhm) = row.get("fwhm") {
            let error = row.get("fwhm_err").unwrap_or(0.0);
            row.flags
                .set(Flags::EXTENDED, fwhm - 3.0 * error > width.widest);
        }
        flag_undersampled(row);
    }
}

pub(super) fn flag_undersampled(row: &mut Row) {
    let narrow = row.get("fwhm").is_some_and(|fwhm| fwhm < 1.5);
    row.flags.set(Flags::UNDERSAMPLED, narrow);
}

/// Moves positions to the convention that FITS and SExtractor count by, where asked for.
pub(super) fn number_from_one(rows: &mut [Row], one_based: bool) {
    if one_based {
        for row in rows {
            for column in ["x", "y"] {
                if let Some(value) = row.get(column) {
                    row.set(column, value + 1.0);
                }
            }
        }
    }
}
