//! Pictures of lines, as a part of the page or as a file of its own.

use std::fmt::Write as _;

use crate::report::draw::theme;
use crate::xml::escaped;

/// A picture: elements in a box of `width` by `height`.
#[derive(Debug, Clone)]
pub(in crate::report) struct Svg {
    width: f64,
    height: f64,
    /// Description of the picture, for those who hear it.
    label: String,
    body: String,
}

impl Svg {
    pub(in crate::report) fn new(width: f64, height: f64, label: impl Into<String>) -> Self {
        Self {
            width,
            height,
            label: label.into(),
            body: String::new(),
        }
    }

    pub(in crate::report) fn height(&self) -> f64 {
        self.height
    }

    /// Adds markup of whole elements.
    pub(in crate::report) fn push(&mut self, elements: &str) {
        self.body.push_str(elements);
    }

    pub(in crate::report) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let _ = write!(
            self.body,
            "<path class=\"{class}\" d=\"M{} {}L{} {}\"/>",
            short(from.0),
            short(from.1),
            short(to.0),
            short(to.1)
        );
    }

    pub(in crate::report) fn path(&mut self, class: &str, path: &str) {
        let _ = write!(self.body, "<path class=\"{class}\" d=\"{path}\"/>");
    }

    /// Adds text whose baseline begins, is centred or ends at a place by its class.
    pub(in crate::report) fn text(&mut self, class: &str, (x, y): (f64, f64), text: &str) {
        let _ = write!(
            self.body,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>",
            short(x),
            short(y),
            escaped(text)
        );
    }

    /// Adds a mark with a tooltip, and with a link to `href` where there is one.
    pub(in crate::report) fn mark(&mut self, element: &str, title: &str, href: Option<&str>) {
        if let Some(href) = href {
            let _ = write!(self.body, "<a href=\"{}\">", escaped(href));
        }
        if title.is_empty() {
            let _ = write!(self.body, "<{element}/>");
        } else {
            let name = element.split(' ').next().unwrap_or(element);
            let title = escaped(title);
            let _ = write!(self.body, "<{element}><title>{title}</title></{name}>");
        }
        if href.is_some() {
            self.body.push_str("</a>");
        }
    }

    /// Writes the picture as a part of the page.
    pub(in crate::report) fn inline(&self) -> String {
        format!(
            "<svg class=\"plot\" viewBox=\"0 0 {} {}\" role=\"group\" aria-label=\"{}\">{}</svg>",
            short(self.width),
            short(self.height),
            escaped(&self.label),
            self.body
        )
    }

    /// Writes the picture as a file, with colours that work on white.
    pub(in crate::report) fn file(&self) -> String {
        let (width, height) = (short(self.width), short(self.height));
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" width=\"{width}\" \
             height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n<title>{}</title>\n\
             <style>{}</style>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n{}\n</svg>\n",
            escaped(&self.label),
            theme::file_css(),
            self.body
        )
    }
}

/// A coordinate to a hundredth, without zeros at its end.
pub(in crate::report) fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0" } else { text }.to_owned()
}

#[cfg(test)]
mod tests {
    use crate::report::draw::svg::*;

    #[test]
    fn coordinates_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (-0.001, "0"),
            (12.0, "12"),
            (100.0, "100"),
            (1.254, "1.25"),
            (-3.1, "-3.1"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn what_is_said_is_text() {
        let hostile = "</title><script>alert(1)</script>\" onload=\"x";
        let mut svg = Svg::new(100.0, 50.0, hostile);
        svg.text("tick", (1.0, 2.0), hostile);
        svg.mark("circle r=\"2\"", hostile, Some(hostile));
        for text in [svg.inline(), svg.file()] {
            assert!(
                !text.contains("<script>") && !text.contains("\" onload"),
                "{text}"
            );
            assert!(text.contains("&lt;script&gt;"));
        }
    }
}
