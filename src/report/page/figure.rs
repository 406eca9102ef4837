//! Figures: pictures with their captions, in the page and as files.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::io::replace_file;
use crate::report::draw::svg::Svg;
use crate::report::page::html::Html;

/// One picture with its title and caption.
#[derive(Debug, Clone)]
pub(in crate::report) struct Figure {
    /// Subject of the picture, in the name of its file.
    pub(in crate::report) name: String,
    pub(in crate::report) title: String,
    /// Caption that says how to read the picture.
    pub(in crate::report) caption: String,
    pub(in crate::report) svg: Svg,
    /// Place that the title leads to.
    pub(in crate::report) href: Option<String>,
    pub(in crate::report) layout: Layout,
}

/// How much room a figure has on a wide page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Layout {
    /// All of the width of the page.
    Wide,
    /// Half of the width.
    Half,
    /// Half of the width, and as high as two others.
    Tall,
    /// A third of the width.
    Third,
}

impl Figure {
    pub(in crate::report) fn new(
        name: &str,
        title: &str,
        caption: impl Into<String>,
        svg: Svg,
    ) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            caption: caption.into(),
            svg,
            href: None,
            layout: Layout::Half,
        }
    }

    pub(in crate::report) fn with(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    pub(in crate::report) fn write(&self, html: &mut Html) {
        let class = match self.layout {
            Layout::Wide => "wide",
            Layout::Half => "half",
            Layout::Tall => "tall-figure",
            Layout::Third => "third",
        };
        html.open("figure", &[("class", class)]);
        html.open("h4", &[]);
        match &self.href {
            Some(href) => html.element("a", &[("href", href)], &self.title),
            None => html.text(&self.title),
        };
        html.close("h4");
        html.push(&self.svg.inline());
        html.element("figcaption", &[], &self.caption);
        html.close("figure");
    }
}

/// A folder of figures; no two images share the beginning of their files' names, and no file leaves
/// the folder.
#[derive(Debug)]
pub(in crate::report) struct Folder<'a> {
    path: &'a Path,
    /// Beginnings of names, in lower case, as some file systems do not tell cases apart.
    taken: HashSet<String>,
    written: usize,
}

impl<'a> Folder<'a> {
    /// Opens a folder, which is made where it is missing.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub(in crate::report) fn open(path: &'a Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(|error| Error::io(path, error))?;
        Ok(Self {
            path,
            taken: HashSet::new(),
            written: 0,
        })
    }

    /// Writes all figures of the image of this name.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub(in crate::report) fn write(&mut self, image: &str, figures: &[Figure]) -> Result<()> {
        let stem = self.stem(image);
        for figure in figures {
            let path = self.path.join(format!("{stem}-{}.svg", figure.name));
            replace_file(&path, |out| {
                let written = out.write_all(figure.svg.file().as_bytes());
                written.map_err(|error| Error::io(&path, error))
            })?;
            self.written += 1;
        }
        Ok(())
    }

    pub(in crate::report) fn written(&self) -> usize {
        self.written
    }

    /// Beginning of the names of an image's files, which no other image has.
    fn stem(&mut self, image: &str) -> String {
        let safe = safe(image);
        let mut stem = safe.clone();
        let mut number = 2;
        while !self.taken.insert(stem.to_lowercase()) {
            stem = format!("{safe}-{number}");
            number += 1;
        }
        stem
    }
}

/// Makes a name safe for files: letters, digits, points, dashes and underscores, `m13.fits-0` for
/// `m13.fits[0]`.
fn safe(name: &str) -> String {
    const LONGEST: usize = 100;
    let mut safe = String::new();
    for c in name.chars().take(LONGEST) {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => safe.push(c),
            // No two points: nothing that looks like a folder above.
            '.' if !safe.ends_with(['.', '-']) => safe.push(c),
            _ if !safe.ends_with('-') => safe.push('-'),
            _ => {}
        }
    }
    let safe = safe.trim_matches(['.', '-']);
    if safe.is_empty() { "image" } else { safe }.to_owned()
}

#[cfg(test)]
mod tests {
    use crate::report::page::figure::*;

    #[test]
    fn names_of_files_are_safe_and_their_own() {
        for (name, expected) in [
            ("m13.fits[0]", "m13.fits-0"),
            ("cube.fits[0][2]", "cube.fits-0-2"),
            ("../../etc/passwd", "etc-passwd"),
            ("..", "image"),
            ("", "image"),
            ("<script>.fits", "script-fits"),
            ("a b\u{202e}ü\0.fits", "a-b-fits"),
            ("-rf", "rf"),
        ] {
            assert_eq!(safe(name), expected, "{name}");
        }
        assert!(safe(&"x".repeat(1000)).len() <= 100);
        let folder = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(folder.path()).unwrap();
        let names = ["a[0]", "a[0][2]", "a[0]", "A[0]", "a 0"].map(|image| folder.stem(image));
        assert_eq!(names, ["a-0", "a-0-2", "a-0-3", "A-0-4", "a-0-5"]);
    }

    #[test]
    fn images_of_one_name_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let figure = |name: &str, label: &str| Figure::new(name, "", "", Svg::new(1.0, 1.0, label));
        let mut figures = Folder::open(folder.path()).unwrap();
        // Of the first there are no pixels.
        figures.write("m.fits", &[figure("map", "first")]).unwrap();
        let second = [figure("map", "second"), figure("image", "second")];
        figures.write("m.fits", &second).unwrap();
        assert_eq!(figures.written(), 3);
        for (name, label) in [
            ("m.fits-map.svg", "first"),
            ("m.fits-2-map.svg", "second"),
            ("m.fits-2-image.svg", "second"),
        ] {
            let svg = fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(svg.contains(label), "{name}");
        }
        assert!(!folder.path().join("m.fits-image.svg").exists());
    }

    #[test]
    fn a_folder_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/figures");
        let figure = Figure::new("map", "Map", "A map.", Svg::new(10.0, 10.0, "map"));
        Folder::open(&path)
            .unwrap()
            .write("a.fits[0]", &[figure])
            .unwrap();
        let svg = fs::read_to_string(path.join("a.fits-0-map.svg")).unwrap();
        assert!(svg.starts_with("<?xml") && svg.trim_end().ends_with("</svg>"));
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(Folder::open(&folder.path().join("file")).is_err());
    }
}
