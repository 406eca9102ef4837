use super::*;

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
    assert!(
        error.to_string().contains("found a, b") && error.hint().unwrap().contains("x_image")
    );
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
