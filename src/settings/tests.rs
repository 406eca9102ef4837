use super::*;
use serde_json::json;

#[test]
fn brackets_alone_are_an_extension_of_each_input() {
    let parse = |text: &str| Companion::parse(Path::new(text)).map_err(drop);
    let own = |hdu| FitsPath {
        path: PathBuf::new(),
        hdu: Some(hdu),
    };
    let named = |version| own(HduName::Name("ERR".into(), version));
    assert_eq!(parse("[ERR]"), Ok(named(None)));
    assert_eq!(parse("[ERR,2]"), Ok(named(Some(2))));
    assert_eq!(parse("[3]"), Ok(own(HduName::Number(3))));
    assert_eq!(
        parse("a.fits[ERR]"),
        FitsPath::parse("a.fits[ERR]").map_err(drop)
    );
    assert_eq!(parse("[x]y.fits"), Ok(PathBuf::from("[x]y.fits").into()));
    assert!(parse("[]").is_err() && parse("[,1]").is_err());
}

#[test]
fn what_a_run_wrote_is_understood() {
    let settings = Settings::from_json(&json!({
        "model": "moffat", "estimator": "poisson", "weights": "unit", "fits_pixels": true,
        "bias": 100.5, "mask": {"path": "/a/mask.fits", "bytes": 7, "modified": -3, "hdu": ["DQ", 2], "bits": 5},
        "variance": {"path": "v.npy", "bytes": 8, "modified": 9, "hdu": null},
    }));
    assert_eq!(settings.model.map(Model::name), Some("moffat"));
    assert_eq!(settings.estimator, Estimator::Poisson);
    assert!(!settings.measure.weighted && settings.measure.one_based && !settings.cutouts);
    assert_eq!(
        (settings.measure.bias, settings.first_pixel()),
        (100.5, 1.0)
    );
    let (mask, rule) = settings.mask.unwrap();
    assert_eq!(rule, MaskRule::Bits(5));
    assert_eq!(mask.own_extension(), None);
    assert_eq!(mask.path.hdu, Some(HduName::Name("DQ".into(), Some(2))));
    assert_eq!((mask.bytes, mask.modified), (7, -3));
    let (noise, kind) = settings.noise.unwrap();
    assert_eq!((noise.path.hdu, kind), (None, NoisePlane::Variance));
}

#[test]
fn planes_in_the_file_of_the_image_are_understood() {
    let settings = Settings::from_json(&json!({
        "mask": {"path": null, "hdu": ["DQ", null], "bits": ["DO_NOT_USE"]},
        "variance": {"path": null, "hdu": 2, "kind": "error"},
    }));
    let (mask, rule) = settings.mask.unwrap();
    assert_eq!(rule, MaskRule::Named(vec!["DO_NOT_USE".into()]));
    assert_eq!(
        mask.own_extension(),
        Some(&HduName::Name("DQ".into(), None))
    );
    let (noise, kind) = settings.noise.unwrap();
    assert_eq!(noise.own_extension(), Some(&HduName::Number(2)));
    assert_eq!(kind, NoisePlane::Error);
}

#[test]
fn anything_else_is_the_default() {
    for json in [
        json!(null),
        json!([1]),
        json!({"model": 3, "mask": "x", "bias": "y", "weights": {}}),
        json!({"mask": {"path": "x", "hdu": [1]}}),
        json!({"mask": {"path": null, "hdu": null}}),
    ] {
        let settings = Settings::from_json(&json);
        assert!(settings.model.is_none() && settings.mask.is_none() && settings.measure.weighted);
        assert_eq!(settings.measure.bias, 0.0);
    }
}
