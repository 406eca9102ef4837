//! Colours, defined once: variables of a light and a dark set in the page, and the light set, on white,
//! in files.

use std::fmt::Write as _;

/// Name of each colour, and the colour in light and in dark.
const COLORS: [(&str, &str, &str); 11] = [
    ("ink", "#1a1d21", "#e8e6e1"),
    ("muted", "#63676e", "#a0a5ad"),
    ("line", "#b9bdc4", "#50565f"),
    ("grid", "#e8eaed", "#2b2f36"),
    ("paper", "#ffffff", "#15171b"),
    ("card", "#f5f6f8", "#1d2025"),
    ("target", "#fff1c2", "#4a3d12"),
    ("accent", "#2467b3", "#6fb0f5"),
    ("bar", "#6f9fd0", "#4a7fb8"),
    ("second", "#c03f0c", "#ff9757"),
    ("link", "#1d5fae", "#86bdf7"),
];

const PAGE: &str = include_str!("page.css");
const PLOT: &str = include_str!("plot.css");

/// The style sheet of the page.
pub(in crate::report) fn page_css() -> String {
    let set =
        |pick: fn(&(&str, &str, &str)) -> String| -> String { COLORS.iter().map(pick).collect() };
    let light = set(|(name, light, _)| format!("--{name}:{light};"));
    let dark = set(|(name, _, dark)| format!("--{name}:{dark};"));
    format!(
        ":root{{color-scheme:light dark;{light}}}\n\
         @media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{PAGE}{PLOT}"
    )
}

/// The style sheet of a figure that is a file of its own.
pub(in crate::report) fn file_css() -> String {
    let mut css = PLOT.to_owned();
    for (name, light, _) in COLORS {
        css = css.replace(&format!("var(--{name})"), light);
    }
    css
}

/// The colour of a value from 0 to 1, dark to bright (viridis, by S. van der Walt and N. Smith, at
/// eight places, straight lines between them), and the colour of text on it.
pub(in crate::report) fn color_of(value: f64) -> (String, &'static str) {
    const VIRIDIS: [[f64; 3]; 8] = [
        [68.0, 1.0, 84.0],
        [70.0, 51.0, 127.0],
        [54.0, 92.0, 141.0],
        [39.0, 127.0, 142.0],
        [31.0, 161.0, 135.0],
        [74.0, 194.0, 109.0],
        [159.0, 218.0, 58.0],
        [253.0, 231.0, 37.0],
    ];
    let place = value.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let at = (place as usize).min(VIRIDIS.len() - 2);
    let share = place - at as f64;
    let [r, g, b] =
        std::array::from_fn(|k| VIRIDIS[at][k] + share * (VIRIDIS[at + 1][k] - VIRIDIS[at][k]));
    // Luma of ITU-R BT.601.
    let is_bright = 0.299 * r + 0.587 * g + 0.114 * b > 120.0;
    let mut color = String::from("#");
    for part in [r, g, b] {
        // Writing to a text cannot fail.
        let _ = write!(color, "{:02x}", part.round() as u8);
    }
    (color, if is_bright { "#111" } else { "#fff" })
}

#[cfg(test)]
mod tests {
    use crate::report::draw::theme::*;

    #[test]
    fn a_file_has_no_variables() {
        assert!(page_css().contains("var(--ink)") && page_css().contains("--ink:"));
        let css = file_css();
        assert!(!css.contains("var(") && css.contains("#1a1d21"), "{css}");
        // It is put into XML as it is.
        assert!(!css.contains(['<', '&']));
    }

    #[test]
    fn colors_go_from_dark_to_bright() {
        assert_eq!(color_of(0.0), ("#440154".to_owned(), "#fff"));
        assert_eq!(color_of(1.0), ("#fde725".to_owned(), "#111"));
        assert_eq!(color_of(-3.0), color_of(0.0));
        assert_eq!(color_of(7.0), color_of(1.0));
        assert_eq!(color_of(f64::NAN).0.len(), 7);
    }
}
