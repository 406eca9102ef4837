//! Figures: pictures with their captions, in the page and as files.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::html::Html;
use super::svg::Svg;
use crate::error::{Error, Result};
use crate::io::replace_file;

/// One picture and how to read it.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    /// What it shows, in the name of its file.
    pub(super) name: String,
    pub(super) title: String,
    /// How to read it.
    pub(super) caption: String,
    pub(super) svg: Svg,
    /// Where its title leads to.
    pub(super) href: Option<String>,
    pub(super) layout: Layout,
}

/// How much room a figure has on a wide page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// All of the width.
    Wide,
    /// Half of it.
    Half,
    /// Half of it, and as high as two others.
    Tall,
    /// A third of it.
    Third,
}

impl Figure {
    pub(super) fn new(name: &str, title: &str, caption: impl Into<String>, svg: Svg) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            caption: caption.into(),
            svg,
            href: None,
            layout: Layout::Half,
        }
    }

    pub(super) fn with(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    pub(super) fn write(&self, html: &mut Html) {
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

/// A folder of figures; no two have the same name, and none leaves the folder.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    path: &'a Path,
    /// In lower case, as some file systems do not tell cases apart.
    taken: HashSet<String>,
}

impl<'a> Folder<'a> {
    /// Opens a folder, which is made where it is missing.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub(super) fn open(path: &'a Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(|error| Error::io(path, error))?;
        Ok(Self {
            path,
            taken: HashSet::new(),
        })
    }

    /// Writes a figure of the image of that name.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub(super) fn write(&mut self, image: &str, figure: &Figure) -> Result<()> {
        let path = self.path.join(self.file_name(image, &figure.name));
        replace_file(&path, |out| {
            let written = out.write_all(figure.svg.file().as_bytes());
            written.map_err(|error| Error::io(&path, error))
        })
    }

    pub(super) fn written(&self) -> usize {
        self.taken.len()
    }

    fn file_name(&mut self, image: &str, figure: &str) -> String {
        let stem = safe(image);
        let mut name = format!("{stem}-{figure}.svg");
        let mut number = 2;
        while !self.taken.insert(name.to_lowercase()) {
            name = format!("{stem}-{number}-{figure}.svg");
            number += 1;
        }
        name
    }
}

/// A name as that of a file: letters, digits, points, dashes and underscores, `m13.fits[0]` as
/// `m13.fits-0`.
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
    use super::*;

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
        let names = ["a[0]", "a[0]", "A[0]", "a 0"].map(|image| folder.file_name(image, "map"));
        let expected = [
            "a-0-map.svg",
            "a-0-2-map.svg",
            "A-0-3-map.svg",
            "a-0-4-map.svg",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_folder_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/figures");
        let figure = Figure::new("map", "Map", "A map.", Svg::new(10.0, 10.0, "map"));
        Folder::open(&path)
            .unwrap()
            .write("a.fits[0]", &figure)
            .unwrap();
        let svg = fs::read_to_string(path.join("a.fits-0-map.svg")).unwrap();
        assert!(svg.starts_with("<?xml") && svg.trim_end().ends_with("</svg>"));
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(Folder::open(&folder.path().join("file")).is_err());
    }
}
