//! Arrays whose axes stand in another order, or are fewer, than an image or cutouts have.

use std::path::Path;

use ndarray::{Array, Array2, Array3, Dimension};
use rand_distr::{Distribution, Normal};
use starfit::io::{fits, npy};

use super::field::Field;
use crate::cli::{Ran, folder, starfit};
use crate::common::{read_csv, rng};

fn fit(folder: &Path, options: &[&str]) -> Ran {
    starfit(
        folder,
        &[&["fit", "--backend", "cpu", "-o", "out.csv"], options].concat(),
    )
}

fn field() -> Array2<f64> {
    Field::new((90, 120), 5, (5e3, 3e4), 24.0, 3.0, 11).expose(200.0, 1.0, 5.0)
}

fn write_npy<D: Dimension>(path: &Path, array: &Array<f32, D>) {
    ndarray_npy::write_npy(path, array).unwrap();
}

#[test]
fn colours_first_are_fitted_and_colours_last_refused() {
    let folder = folder();
    let image = field();
    for n in [3, 4, 5] {
        let planes = Array3::from_shape_fn((n, 90, 120), |(_, y, x)| image[[y, x]] as f32);
        fits::write_stack(folder.path().join("first.fits"), &planes, &[]).unwrap();
        let ran = fit(folder.path(), &["first.fits"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(read_csv(&folder.path().join("out.csv")).len(), 5 * n);
        let colours = match n {
            3 => "first.fits: 3 planes are taken for the colours red, green, blue, fitted one",
            4 => {
                "first.fits: 4 planes are taken for the colours red, green, blue, luminance, fitted"
            }
            _ => "first.fits: a cube of 5 planes, fitted one",
        };
        assert!(ran.stderr.contains(colours), "{}", ran.stderr);
    }
    for n in [1, 3, 4] {
        let planes = Array3::from_shape_fn((90, 120, n), |(y, x, _)| image[[y, x]] as f32);
        fits::write_stack(folder.path().join("last.fits"), &planes, &[]).unwrap();
        npy::write_stack(folder.path().join("last.npy"), &planes).unwrap();
        let all: [&[&str]; 3] = [&["last.fits"], &["last.fits", "--cutouts"], &["last.npy"]];
        for args in all {
            let ran = fit(folder.path(), args);
            assert_eq!(ran.code, 2, "{}", ran.stderr);
            assert!(
                ran.stderr.contains("the axes look transposed")
                    && ran.stderr.contains("np.moveaxis(array, -1, 0)")
                    && ran.stderr.contains(&format!("(90, 120, {n})")),
                "{}",
                ran.stderr
            );
        }
        let ran = starfit(
            folder.path(),
            &["show", "last.fits", "--at", "3", "3", "--plane", "0"],
        );
        assert!(
            ran.code == 2 && ran.stderr.contains("look transposed"),
            "{}",
            ran.stderr
        );
    }
    // Negative controls: two columns and few rows are no colours.
    for shape in [(90, 120, 2), (90, 9, 3), (9, 120, 3)] {
        fits::write_stack(folder.path().join("a.fits"), &Array3::ones(shape), &[]).unwrap();
        let ran = fit(folder.path(), &["a.fits"]);
        assert!(
            !ran.stderr.contains("transposed"),
            "{shape:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn flattened_cutouts_and_images_are_no_cutout() {
    let folder = folder();
    let noise = Normal::new(0.0, 3.0).unwrap();
    let mut rng = rng(3);
    let stack = Array3::from_shape_fn((10, 13, 13), |(_, y, x)| {
        let r2 = (y as f64 - 6.2).powi(2) + (x as f64 - 5.9).powi(2);
        (800.0 * (-r2 / 4.0).exp() + noise.sample(&mut rng)) as f32
    });
    let flat = stack.clone().into_shape_with_order((10, 169)).unwrap();
    write_npy(&folder.path().join("flat.npy"), &flat);
    let ran = fit(folder.path(), &["flat.npy"]);
    assert_eq!(ran.code, 2);
    insta::assert_snapshot!(ran.stderr.trim(), @r"
    error: flat.npy: shape: expected cutouts, (n, height, width), found (10, 169)
    hint: 10 flattened cutouts of 13 x 13 are array.reshape(10, 13, 13) in numpy; one cutout of this shape is array[None]
    ");
    let flat = flat.mapv(f64::from);
    let f32s = fits::PixelType::F32;
    fits::write_image(folder.path().join("flat.fits"), &flat, f32s, &[]).unwrap();
    let ran = fit(folder.path(), &["flat.fits", "--cutouts"]);
    assert!(
        ran.code == 2 && ran.stderr.contains("array.reshape(10, 13, 13)"),
        "{}",
        ran.stderr
    );
    // What the hint says is right.
    npy::write_stack(folder.path().join("stack.npy"), &stack).unwrap();
    assert_eq!(fit(folder.path(), &["stack.npy"]).code, 0);
    let rows = read_csv(&folder.path().join("out.csv"));
    assert!(rows.len() == 10 && rows.iter().all(|row| (row["x"] - 5.9).abs() < 0.1));
    // One cutout is one, and an array with all its axes is what it says.
    let one = stack.index_axis(ndarray::Axis(0), 0).to_owned();
    write_npy(&folder.path().join("one.npy"), &one);
    assert_eq!(fit(folder.path(), &["one.npy"]).code, 0);
    assert_eq!(read_csv(&folder.path().join("out.csv")).len(), 1);
    write_npy(
        &folder.path().join("wide.npy"),
        &Array3::<f32>::ones((1, 5, 25)),
    );
    assert!(
        !fit(folder.path(), &["wide.npy"])
            .stderr
            .contains("expected cutouts")
    );

    write_npy(
        &folder.path().join("image.npy"),
        &Array2::<f32>::ones((300, 400)),
    );
    let ran = fit(folder.path(), &["image.npy"]);
    assert_eq!(ran.code, 2);
    insta::assert_snapshot!(ran.stderr.trim(), @r"
    error: image.npy: shape: expected cutouts, (n, height, width), found (300, 400)
    hint: an image is fitted as FITS: fits.writeto('image.fits', array); one cutout of this shape is array[None] in numpy
    ");
}
