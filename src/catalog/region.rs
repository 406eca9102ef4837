//! Regions of SAOImage DS9: the stars as circles and ellipses to lay over an image.
//!
//! One file has one system of coordinates: ICRS where the first image has a WCS, and then every image
//! must have one; else the pixels of the first image, which is then the only image.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use rayon::prelude::*;

use super::output::Output;
use super::{CatalogWriter, ImageInfo, Row, RunInfo};
use crate::error::{Error, Result};
use crate::wcs::Wcs;

/// Rows that one thread makes into text at a time.
const CHUNK: usize = 256;

/// A region file that takes its place only when it is complete.
#[derive(Debug)]
pub(super) struct RegionWriter {
    output: Output,
    /// Name of the file, for messages.
    file: String,
    /// Coordinates of the first pixel's centre in the rows.
    first: f64,
    version: String,
    /// How the regions are written, once there is an image.
    system: Option<System>,
    /// WCS of the image in hand.
    wcs: Option<Wcs>,
    /// The system and the bytes written before the image in hand.
    before: (Option<System>, u64),
    written: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Icrs,
    Image,
}

impl RegionWriter {
    /// Opens the output; nothing is written to it yet.
    pub(super) fn create(path: &Path, run: &RunInfo) -> Result<Self> {
        let one_based = run.settings.get("fits_pixels") == Some(&true.into());
        Ok(Self {
            output: Output::open(path)?,
            file: path.display().to_string(),
            first: if one_based { 1.0 } else { 0.0 },
            version: run.version.clone(),
            system: None,
            wcs: None,
            before: (None, 0),
            written: 0,
        })
    }

    fn write_text(&mut self, text: &str) -> Result<()> {
        let written = self.output.write_all(text.as_bytes());
        written.map_err(|error| self.output.error(error))?;
        self.written += text.len() as u64;
        Ok(())
    }

    /// The system for an image after the images before it.
    fn system_of(&self, image: &ImageInfo) -> Result<System> {
        let refuse = |what: &str| {
            let hint = "write a file for each image, or solve the images for their WCS first";
            Err(Error::Unsupported {
                file: self.file.clone(),
                what: format!("{what}, {}, among regions of several images", image.name),
                hint: Some(hint.into()),
            })
        };
        match (self.system, &image.wcs) {
            (None, Some(_)) | (Some(System::Icrs), Some(_)) => Ok(System::Icrs),
            (None, None) => Ok(System::Image),
            (Some(System::Icrs), None) => refuse("an image without WCS"),
            (Some(System::Image), _) => refuse("an image after one without WCS"),
        }
    }
}

impl CatalogWriter for RegionWriter {
    fn begin(&mut self, image: &ImageInfo, _n_stars: usize) -> Result<()> {
        let system = self.system_of(image)?;
        self.before = (self.system, self.written);
        if self.system.is_none() {
            let name = match system {
                System::Icrs => "icrs",
                System::Image => "image",
            };
            self.write_text(&format!(
                "# Region file format: DS9 version 4.1\n\
                 # starfit {}: radii and half axes are one FWHM, crosses have no fit\n\
                 global color=green\n{name}\n",
                self.version
            ))?;
            self.system = Some(system);
        }
        let read = |text: &String| {
            Wcs::from_text(text).map_err(|why| Error::Malformed {
                file: image.name.clone(),
                field: "WCS".into(),
                expected: "a supported one".into(),
                found: why.to_string(),
                hint: None,
            })
        };
        self.wcs = image.wcs.as_ref().map(read).transpose()?;
        // A name is on one line.
        let name = image.name.replace(char::is_control, " ");
        self.write_text(&format!("# image {name}\n"))
    }

    fn add(&mut self, rows: &[Row]) -> Result<()> {
        let (wcs, first) = (self.wcs.as_ref(), self.first);
        let parts = rows.par_chunks(CHUNK).map(|rows| {
            let regions = rows.iter().filter_map(|row| region(row, first, wcs));
            regions.collect::<String>()
        });
        let parts: Vec<String> = parts.collect();
        parts.iter().try_for_each(|part| self.write_text(part))
    }

    fn end(&mut self) -> Result<()> {
        let flushed = self.output.flush();
        flushed.map_err(|error| self.output.error(error))
    }

    fn undo(&mut self) -> Result<()> {
        let (system, written) = self.before;
        if self.output.truncate(written)? {
            (self.system, self.written) = (system, written);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.output.persist()
    }

    fn abandon(self: Box<Self>) -> Result<()> {
        // Dropping a temporary file removes it.
        Ok(())
    }
}

/// An ellipse: half axes and the angle of the longer one, degrees, from the direction of columns
/// to that of rows, or from west to north.
#[derive(Debug, Clone, Copy)]
struct Ellipse {
    major: f64,
    minor: f64,
    angle: f64,
}

impl Ellipse {
    /// The ellipse of a star by its fit, pixels.
    fn of(row: &Row) -> Option<Self> {
        let fwhm = row.get("fwhm")?;
        let axes = row.get("fwhm_major").zip(row.get("fwhm_minor"));
        let (major, minor) = axes.unwrap_or((fwhm, fwhm));
        Some(Self {
            major,
            minor,
            angle: row.get("theta").unwrap_or(0.0),
        })
    }

    /// The ellipse on the sky, degrees; by the derivatives of (ra cos dec, dec) by x and y.
    fn on_sky(self, jacobian: [[f64; 2]; 2]) -> Self {
        let (sin, cos) = self.angle.to_radians().sin_cos();
        // Columns: the half axes.
        let axes = [
            [self.major * cos, -self.minor * sin],
            [self.major * sin, self.minor * cos],
        ];
        let [east, north] = jacobian;
        let row = |[a, b]: [f64; 2]| [0, 1].map(|k| a * axes[0][k] + b * axes[1][k]);
        let (west, north) = (row(east.map(|value| -value)), row(north));
        let square = |a: [f64; 2], b: [f64; 2]| a[0] * b[0] + a[1] * b[1];
        let (p, q, r) = (
            square(west, west),
            square(west, north),
            square(north, north),
        );
        let half = ((p - r) / 2.0).hypot(q);
        let mean = (p + r) / 2.0;
        Self {
            major: (mean + half).sqrt(),
            minor: (mean - half).max(0.0).sqrt(),
            angle: (2.0 * q).atan2(p - r).to_degrees() / 2.0,
        }
    }
}

/// The name of a star, else its number, in braces or quotes as DS9 reads them.
fn label(row: &Row) -> String {
    let Some(name) = &row.name else {
        return format!("{{{}}}", row.id);
    };
    let name = name.replace(char::is_control, " ");
    match (name.contains(['{', '}']), name.contains('"')) {
        (false, _) => format!("{{{name}}}"),
        (true, false) => format!("\"{name}\""),
        // DS9 has no third kind of quotes.
        (true, true) => format!("{{{}}}", name.replace('{', "(").replace('}', ")")),
    }
}

/// The line of a star; a star without a position has none.
fn region(row: &Row, first: f64, wcs: Option<&Wcs>) -> Option<String> {
    let (x, y) = (row.get("x")? - first, row.get("y")? - first);
    let mut ellipse = Ellipse::of(row);
    let is_round = row.get("fwhm_major").is_none();
    let (place, unit, scale) = match wcs {
        Some(wcs) => {
            let sky = wcs.to_sky(x, y)?;
            let jacobian = wcs.jacobian(x, y);
            ellipse = ellipse
                .zip(jacobian)
                .map(|(ellipse, jacobian)| ellipse.on_sky(jacobian));
            (format!("{:.8},{:.8}", sky.ra, sky.dec), "\"", 3600.0)
        }
        None => (format!("{:.4},{:.4}", x + 1.0, y + 1.0), "", 1.0),
    };
    let mut line = String::new();
    let size = |value: f64| format!("{:.4}{unit}", value * scale);
    let written = match ellipse {
        None => write!(line, "point({place}) # point=x color=red"),
        Some(Ellipse { major, minor, .. }) if is_round => {
            write!(line, "circle({place},{}) #", size((major * minor).sqrt()))
        }
        Some(Ellipse {
            major,
            minor,
            angle,
        }) => {
            let (major, minor) = (size(major), size(minor));
            write!(line, "ellipse({place},{major},{minor},{angle:.3}) #")
        }
    };
    written
        .and_then(|()| writeln!(line, " text={}", label(row)))
        .ok()?;
    Some(line)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use insta::assert_snapshot;

    use super::*;
    use crate::catalog::create;
    use crate::catalog::tests::{image, row_at, run};

    /// North is up and east left, 0.36 arcseconds a pixel.
    const PLAIN: &str = "CTYPE1='RA---TAN'\nCTYPE2='DEC--TAN'\nCRVAL1=150.0\nCRVAL2=60.0\n\
        CRPIX1=51.0\nCRPIX2=41.0\nCDELT1=-1E-4\nCDELT2=1E-4";

    fn rows(first: f64) -> Vec<Row> {
        let mut rows: Vec<Row> = (0..3)
            .map(|id| row_at(id, 50.0 + first, 40.0 + 10.0 * id as f64 + first))
            .collect();
        rows[0].set("fwhm", 2.5);
        rows[1].set("fwhm", 3.0);
        rows[1].set("fwhm_major", 4.5);
        rows[1].set("fwhm_minor", 2.0);
        rows[1].set("theta", 30.0);
        rows
    }

    fn with_wcs(name: &str, wcs: &str) -> ImageInfo {
        ImageInfo {
            wcs: Some(wcs.into()),
            ..image(name)
        }
    }

    fn written(images: &[ImageInfo], first: f64) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.reg");
        let mut run = run("gaussian");
        run.settings = serde_json::json!({ "fits_pixels": first == 1.0 });
        let mut catalog = create(&path, &run)?;
        for image in images {
            catalog.write(image, &rows(first))?;
        }
        catalog.finish()?;
        Ok(fs::read_to_string(path).unwrap())
    }

    #[test]
    fn pixels_count_from_one() {
        let text = written(&[image("a.fits")], 0.0).unwrap();
        assert_snapshot!(text, @r"
        # Region file format: DS9 version 4.1
        # starfit 1.2.3: radii and half axes are one FWHM, crosses have no fit
        global color=green
        image
        # image a.fits[0]
        circle(51.0000,41.0000,2.5000) # text={0}
        ellipse(51.0000,51.0000,4.5000,2.0000,30.000) # text={1}
        point(51.0000,61.0000) # point=x color=red text={2}
        ");
        assert_eq!(written(&[image("a.fits")], 1.0).unwrap(), text);
    }

    #[test]
    fn names_are_texts() {
        for (name, expected) in [
            ("HD 1", "{HD 1}"),
            ("a {b}", "\"a {b}\""),
            ("\"a\" {b}\n", "{\"a\" (b) }"),
        ] {
            let mut row = row_at(7, 1.0, 2.0);
            assert_eq!(label(&row), "{7}");
            row.name = Some(name.into());
            assert_eq!(label(&row), expected);
        }
    }

    #[test]
    fn the_sky_where_there_is_one() {
        let images = [with_wcs("a.fits", PLAIN), with_wcs("b.fits", PLAIN)];
        let text = written(&images, 0.0).unwrap();
        assert_snapshot!(text, @r#"
        # Region file format: DS9 version 4.1
        # starfit 1.2.3: radii and half axes are one FWHM, crosses have no fit
        global color=green
        icrs
        # image a.fits[0]
        circle(150.00000000,60.00000000,0.9000") # text={0}
        ellipse(150.00000000,60.00100000,1.6200",0.7200",30.000) # text={1}
        point(150.00000000,60.00200000) # point=x color=red text={2}
        # image b.fits[0]
        circle(150.00000000,60.00000000,0.9000") # text={0}
        ellipse(150.00000000,60.00100000,1.6200",0.7200",30.000) # text={1}
        point(150.00000000,60.00200000) # point=x color=red text={2}
        "#);
        // A mirrored image shows the same sky the other way round.
        let mirrored = PLAIN.replace("-1E-4", "1E-4");
        let text = written(&[with_wcs("a.fits", &mirrored)], 0.0).unwrap();
        assert!(text.contains("1.6200\",0.7200\",-30.000)"), "{text}");
    }

    #[test]
    fn images_that_do_not_go_together_are_refused() {
        let (sky, none) = (with_wcs("a.fits", PLAIN), image("b.fits"));
        for (images, what) in [
            (
                [sky.clone(), none.clone()],
                "an image without WCS, b.fits[0]",
            ),
            (
                [none.clone(), sky],
                "an image after one without WCS, a.fits[0]",
            ),
            (
                [none.clone(), none],
                "an image after one without WCS, b.fits[0]",
            ),
        ] {
            let error = written(&images, 0.0).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.reg");
        let mut catalog = create(&path, &run("gaussian")).unwrap();
        catalog.begin(&image("c.fits"), 3).unwrap();
        catalog.add(&rows(0.0)).unwrap();
        catalog.undo().unwrap();
        catalog
            .write(&with_wcs("a.fits", PLAIN), &rows(0.0))
            .unwrap();
        catalog.finish().unwrap();
        let expected = written(&[with_wcs("a.fits", PLAIN)], 0.0).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }
}
