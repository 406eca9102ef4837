use super::*;
use crate::error::Result;

fn read(text: &str, one_based: bool) -> Result<Vec<(f64, f64)>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Ok(read_stars(file.path(), one_based)?
        .stars
        .iter()
        .map(|star| (star.x, star.y))
        .collect())
}

#[test]
fn every_dialect_gives_the_same_stars() {
    let wanted = vec![(9.5, 19.0), (0.0, -1.0)];
    for text in [
        "x,y\n9.5,19\n0,-1\n",
        "id;y;x\n7;19;9.5\n8;-1;0\n",
        "\u{feff}X\tY\r\n9.5\t19\r\n0\t-1\r\n",
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: x, datatype: float64}\nid x y\n1 9.5 19\n2 0.0 -1.0\n",
        "x_centroid,y_centroid,flux\n9.5,19,3\n0,-1,4\n",
        "NUMBER,X_IMAGE,Y_IMAGE\n1,10.5,20\n2,1,0\n",
        "#   1 NUMBER  Running object number\n#   2 MAG_APER  Magnitudes [mag]\n#   4 X_IMAGE  x [pixel]\n#   5 Y_IMAGE  y [pixel]\n 1 12.0 12.1 10.5 20\n 2 13.0 13.1 1 0\n",
    ] {
        assert_eq!(read(text, false).unwrap(), wanted, "{text}");
    }
    assert_eq!(read("x,y\n10.5,20\n1,0\n", true).unwrap(), wanted);
    assert_ne!(read("x,y\n10.5,20\n1,0\n", false).unwrap(), wanted);
}

#[test]
fn a_missing_value_is_a_row_and_a_wrong_one_is_an_error() {
    let stars = read("x,y\n1,2\n,3\n", false).unwrap();
    assert!(stars[1].0.is_nan() && stars[1].1 == 3.0);
    let error = read("x,y\n1,2\n1,zwei\n", false).unwrap_err().to_string();
    assert!(
        error.ends_with("line 3, column y: expected a number, found \"zwei\""),
        "{error}"
    );
    let error = read("a,b\n1,2\n", false).unwrap_err();
    assert!(error.to_string().contains("found a, b") && error.hint().unwrap().contains("x_image"));
    assert!(read("", false).is_err());
    assert_eq!(read("x,y\n", false).unwrap(), []);
}

fn list(text: &str) -> StarList {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    read_stars(file.path(), false).unwrap()
}

#[test]
fn text_is_an_error_only_where_numbers_are_asked_for() {
    let list = list("image,x,y,Flux,fwhm\nm13.fits,1,2,300,\nm13.fits,3,4,,wide\n");
    let flux = list.column("flux").unwrap().unwrap();
    assert_eq!(list.value(flux, 0), 300.0);
    assert!(list.value(flux, 1).is_nan());
    assert_eq!(list.column("beta").unwrap(), None);
    for (name, wanted) in [
        (
            "fwhm",
            "line 3, column fwhm: expected a number, found \"wide\"",
        ),
        (
            "image",
            "line 2, column image: expected a number, found \"m13.fits\"",
        ),
    ] {
        let error = list.column(name).unwrap_err().to_string();
        assert!(error.ends_with(wanted), "{error}");
    }
}

#[test]
fn the_brightest_pixel_of_sextractor_is_no_bound() {
    let names = |text| {
        let columns = list(text).columns.into_iter();
        columns.map(|column| column.name).collect::<Vec<_>>()
    };
    assert_eq!(
        names("X_IMAGE,Y_IMAGE,FLUX_MAX,BACKGROUND\n1,2,3,4\n"),
        ["BACKGROUND"]
    );
    assert_eq!(names("x,y,FLUX_MAX\n1,2,3\n"), ["FLUX_MAX"]);
}

/// The five stars of `make_lists.py`, which are in all its files.
const X: [f64; 5] = [40.25, 101.5, 160.75, 70.0, 125.125];
const Y: [f64; 5] = [30.5, 60.25, 45.75, 120.0, 150.375];

fn shipped(name: &str) -> Result<StarList> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lists");
    read_stars(&folder.join(name), false)
}

fn names(list: &StarList) -> Vec<&str> {
    list.names
        .iter()
        .map(|name| name.as_deref().unwrap_or(""))
        .collect()
}

fn assert_pixels(list: &StarList, n: usize, what: &str) {
    assert_eq!(list.stars.len(), n, "{what}");
    assert!(list.has_pixels, "{what}");
    for (id, star) in list.stars.iter().enumerate() {
        assert_eq!((star.id, star.x, star.y), (id, X[id], Y[id]), "{what}");
    }
}

/// How far the places on the sky are from where the WCS of `make_lists.py` has the stars, pixels.
fn off_on_sky(list: &StarList) -> f64 {
    let wcs = crate::wcs::Wcs::from_text(
        "CTYPE1 = 'RA---TAN'\nCTYPE2 = 'DEC--TAN'\nCRVAL1 = 202.5\nCRVAL2 = 47.25\n\
         CRPIX1 = 100.5\nCRPIX2 = 100.5\nCDELT1 = -0.000555555555555556\n\
         CDELT2 = 0.000555555555555556",
    );
    let wcs = wcs.unwrap();
    let sky = list.sky.as_ref().unwrap().iter().enumerate();
    let off = sky.map(|(id, sky)| {
        let (x, y) = wcs.to_pixel(sky.ra, sky.dec).unwrap();
        (x - X[id]).hypot(y - Y[id])
    });
    off.fold(0.0, f64::max)
}

#[test]
fn what_astropy_and_numpy_write_is_read() {
    for name in [
        "table.fits",
        "table.fits[2]",
        "table.fits[CATALOG]",
        "tabledata.vot",
        "binary.vot",
        "binary2.vot",
        "blanks.ecsv",
        #[cfg(feature = "parquet")]
        "table.parquet",
    ] {
        let list = shipped(name).unwrap();
        assert_pixels(&list, 5, name);
        assert!(off_on_sky(&list) < 1e-6, "{name}");
        assert_eq!(
            names(&list),
            ["HD 1", "a & b", "<3>", "", "d \"e\""],
            "{name}"
        );
        let flux = list.column("flux").unwrap().unwrap();
        assert_eq!(list.value(flux, 2), 2e4, "{name}");
        assert!(list.value(flux, 1).is_nan(), "{name}");
        let n = list.column("n").unwrap().unwrap();
        let values: Vec<f64> = (0..5).map(|star| list.value(n, star)).collect();
        assert!(
            values[1].is_nan() && values[2..] == [2.0, 3.0, 4.0],
            "{name}: {values:?}"
        );
        assert_eq!(values[0], 60000.0, "{name}");
        if let Some(unsigned) = list.column("unsigned").unwrap() {
            assert_eq!(list.value(unsigned, 0), 60000.0, "{name}");
        }
        // Two numbers in a row are not one.
        assert_eq!(list.column("aper").unwrap(), None, "{name}");
    }
    // Without names the long ids are, to their last digit.
    let list = shipped("table.fits[SHORT]").unwrap();
    assert_pixels(&list, 2, "short");
    assert_eq!(names(&list), ["1576347223453786112", "1576347223453786115"]);
    for (name, said) in [
        ("table.fits[NOTES]", "x and y or ra and dec"),
        ("table.fits[0]", "expected a binary table"),
        ("table.fits[9]", "expected a binary table"),
        ("blanks.ecsv[1]", "a FITS file before the brackets"),
    ] {
        let error = shipped(name).unwrap_err();
        assert!(error.to_string().contains(said), "{name}: {error}");
    }
}

#[test]
fn sextractor_counts_from_one_in_fits_too() {
    let list = shipped("ldac.fits").unwrap();
    assert_pixels(&list, 5, "LDAC");
    assert!(off_on_sky(&list) < 1e-6);
    // NUMBER counts the rows; FLUX_MAX is no bound.
    assert!(list.names.is_empty() && list.column("flux_max").unwrap().is_none());
}

#[test]
fn columns_without_names_are_x_and_y() {
    for name in [
        "savetxt.txt",
        "savetxt_padded.txt",
        "savetxt_comma.txt",
        "savetxt_header.txt",
    ] {
        let list = shipped(name).unwrap();
        // Four digits are what the padded one has.
        assert_pixels(&list, 5, name);
        let has_flux = list.column("flux").unwrap().is_some();
        assert_eq!(has_flux, name == "savetxt_header.txt");
    }
    assert_eq!(read("1 2\n3 4\n", true).unwrap(), [(0.0, 1.0), (2.0, 3.0)]);
    assert!(read("1\n2\n", false).is_err());
    // A header of other words names nothing.
    assert_eq!(read("# a b\n1 2\n", false).unwrap(), [(1.0, 2.0)]);
    assert_eq!(read("# y x\n1 2\n", false).unwrap(), [(2.0, 1.0)]);
}

#[test]
fn regions_are_read() {
    for name in ["image.reg", "physical.reg"] {
        let list = shipped(name).unwrap();
        assert_pixels(&list, 5, name);
        assert_eq!(
            names(&list),
            ["HD 1", "a & b", "<3>", "", "d \"e\""],
            "{name}"
        );
    }
    for name in ["icrs.reg", "fk5.reg", "galactic.reg", "old_style.reg"] {
        let list = shipped(name).unwrap();
        assert!(
            !list.has_pixels && list.sky.as_ref().unwrap().len() == 5,
            "{name}"
        );
        // 1e-5 seconds of time are 4e-5 pixels.
        assert!(off_on_sky(&list) < 1e-4, "{name}: {}", off_on_sky(&list));
    }
    for (text, said) in [
        ("linear\ncircle(1,2,3)\n", "line 2"),
        (
            "image;circle(1,2,3)\nfk5;circle(1,2,3)\n",
            "all regions in pixels, or all on the sky",
        ),
        ("image\ncircle(1,zwei,3)\n", "two coordinates"),
        ("icrs\ncircle(1,95,3)\n", "two coordinates"),
        ("image\ncircle(1)\n", "a region with a centre"),
        ("image\nblob(1,2)\n", "a region or a system of coordinates"),
    ] {
        let error = read(text, false).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn names_are_kept_unless_they_count_the_rows() {
    for (text, expected) in [
        ("x,y,name\n1,2,a\n3,4,\n", vec!["a", ""]),
        ("x,y,id,name\n1,2,7,\n3,4,9,\n", vec!["7", "9"]),
        ("id,x,y\n0,1,2\n1,3,4\n", vec![]),
        ("id,x,y\n1,1,2\n2,3,4\n", vec![]),
        (
            "id,SOURCE_ID,x,y\n0,4611686018427387905,1,2\n1,6,3,4\n",
            vec!["4611686018427387905", "6"],
        ),
        ("NUMBER,x,y\n7,1,2\n8,3,4\n", vec!["7", "8"]),
        ("x,y\n1,2\n", vec![]),
    ] {
        assert_eq!(names(&list(text)), expected, "{text}");
    }
}

#[test]
fn damage_is_an_error_and_no_panic() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lists");
    let scratch = tempfile::tempdir().unwrap();
    for name in [
        "table.fits",
        "ldac.fits",
        "tabledata.vot",
        "binary.vot",
        "binary2.vot",
        "icrs.reg",
    ] {
        let whole = std::fs::read(folder.join(name)).unwrap();
        let path = scratch.path().join(name);
        for cut in (0..whole.len()).step_by(97) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let _ = read_stars(&path, false);
            let mut spoilt = whole.clone();
            spoilt[cut] = spoilt[cut].wrapping_add(13);
            std::fs::write(&path, &spoilt).unwrap();
            let _ = read_stars(&path, false);
        }
    }
    // Cut within its rows a table is an error, not a shorter list.
    let whole = std::fs::read(folder.join("table.fits")).unwrap();
    let path = scratch.path().join("cut.fits");
    std::fs::write(&path, &whole[..whole.len() - 2880 * 2]).unwrap();
    std::fs::write(scratch.path().join("binary.vot"), {
        let text = std::fs::read_to_string(folder.join("binary.vot")).unwrap();
        text.replacen(
            "<STREAM encoding=\"base64\">",
            "<STREAM encoding=\"base64\">AAAA",
            1,
        )
    })
    .unwrap();
    let shorter = read_stars(&scratch.path().join("binary.vot"), false);
    assert!(shorter.is_err(), "{shorter:?}");
    for (bytes, said) in [
        (&b"SQLite format 3\0"[..], "a database"),
        (b"\x93NUMPY\x01\0", "a .npy array"),
        (b"\x1f\x8bxx", "gzip"),
        (
            b"<?xml version='1.0'?><html/>",
            "a table with data in a VOTable",
        ),
        (b"x,y\n\xff,2\n", "other bytes"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = read_stars(&path, false).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

/// An image whose first pixel is at (202.5, 47.25) on the sky, moved by that many pixels.
fn image(shift: f64) -> crate::image::Image {
    let text = format!(
        "CTYPE1 = 'RA---TAN'\nCTYPE2 = 'DEC--TAN'\nCRVAL1 = 202.5\nCRVAL2 = 47.25\n\
         CRPIX1 = {:?}\nCRPIX2 = 100.5\nCDELT1 = -0.000555555555555556\n\
         CDELT2 = 0.000555555555555556",
        100.5 + shift
    );
    let mut image =
        crate::image::Image::from_pixels("a.fits[0]", ndarray::Array2::zeros((200, 200)));
    image.wcs = Some(crate::wcs::Wcs::from_text(&text).unwrap());
    image
}

#[test]
fn the_sky_counts_where_pixels_are_of_another_image() {
    let mut list = shipped("table.fits").unwrap();
    for (name, values) in [("x_min", X), ("Y_MAX", Y)] {
        list.columns.push(Column {
            name: name.into(),
            values: values.to_vec(),
            text: None,
        });
    }
    let x_of = |image: &crate::image::Image, wanted| {
        let list = list.on(image, wanted).unwrap();
        let bounds = list
            .column("x_min")
            .unwrap()
            .or(list.column("y_max").unwrap());
        (list.stars[0].x, bounds.is_some(), list.names.len())
    };
    let near = |found: (f64, bool, usize), x: f64, has_bounds: bool| {
        assert!((found.0 - x).abs() < 1e-5, "{found:?}");
        assert_eq!((found.1, found.2), (has_bounds, 5));
    };
    // Agreeing, a little off, and of another image.
    near(x_of(&image(0.0), None), X[0], true);
    near(x_of(&image(1.5), None), X[0], true);
    near(x_of(&image(30.0), None), X[0] + 30.0, false);
    // What the user says goes.
    near(x_of(&image(30.0), Some(Positions::Pixels)), X[0], true);
    near(x_of(&image(1.5), Some(Positions::Sky)), X[0] + 1.5, false);
    // Without a WCS there are pixels alone.
    let mut bare = image(30.0);
    bare.wcs = None;
    near(x_of(&bare, None), X[0], true);
    assert!(list.on(&bare, Some(Positions::Sky)).is_err());
    // A list has to have what is asked for.
    let pixels = StarList::from_stars(list.stars.clone());
    assert!(pixels.on(&image(0.0), Some(Positions::Sky)).is_err());
    let sky = StarList {
        has_pixels: false,
        ..list.clone()
    };
    assert!(sky.on(&image(0.0), Some(Positions::Pixels)).is_err());
    // Unknown places are NaN, and count for neither.
    let mut partly = list.clone();
    let places = partly.sky.as_mut().unwrap();
    (places[0].ra, places[0].dec) = (f64::NAN, f64::NAN);
    assert!(partly.on(&image(30.0), None).unwrap().stars[0].x.is_nan());
    assert_eq!(partly.on(&image(0.0), None).unwrap().stars[0].x, X[0]);
}

#[test]
fn columns_of_sky_without_places_are_none() {
    for text in [
        "x,y,ra,dec\n1,2,,\n",
        "x,y,ra,dec\n1,2,05:34:31,+22:00\n",
        "x,y,ra,dec\n1,2,-99,-99\n",
    ] {
        assert_eq!(list(text).sky, None, "{text}");
    }
    let both = list("x,y,ra,dec\n1,2,10,20\n3,4,,\n");
    assert!(both.has_pixels && both.sky.unwrap()[1].ra.is_nan());
}
