//! What is in pages and figures, and what none may have.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

/// Whether all that is drawn is somewhere; pixels are letters in which any word may be.
pub(super) fn is_numbers(markup: &str) -> bool {
    let mut parts = markup.split(";base64,");
    let first = parts.next().unwrap();
    let others = parts.map(|part| part.split_once('"').unwrap().1);
    let mut all = [first].into_iter().chain(others);
    all.all(|part| !part.contains("NaN") && !part.contains("inf\"") && !part.contains(">inf"))
}

/// What a page has that it may not: anything that is fetched or runs, a link to nowhere, a name
/// given twice, markup that does not end.
pub(super) fn complaint(page: &str) -> Option<String> {
    let (tags, error) = tags(page);
    if error.is_some() {
        return error;
    }
    let (mut ids, mut links) = (HashSet::new(), HashSet::new());
    for (name, attributes) in tags {
        if matches!(
            name.as_str(),
            "script" | "img" | "iframe" | "object" | "embed" | "form"
        ) {
            return Some(format!("an element {name}"));
        }
        for (attribute, value) in attributes {
            match attribute.as_str() {
                "id" if !ids.insert(value.clone()) => {
                    return Some(format!("{value} is there twice"));
                }
                "href" if value.starts_with('#') => {
                    links.insert(value[1..].to_owned());
                }
                "href" if value.starts_with("data:") => {}
                "href" | "src" | "srcset" | "action" | "xlink:href" => {
                    return Some(format!("{attribute}={value}"));
                }
                _ if attribute.starts_with("on") => return Some(format!("{attribute}={value}")),
                "style" if value.contains("url") => return Some(format!("{attribute}={value}")),
                _ => {}
            }
        }
    }
    if page.contains("@import") || page.contains("url(") {
        return Some("a style that fetches".to_owned());
    }
    links
        .into_iter()
        .find(|link| !ids.contains(link))
        .map(|link| format!("{link} is nowhere"))
}

type Tag = (String, Vec<(String, String)>);

/// The elements of HTML as this program writes it, or of XML, and what is wrong with it.
fn tags(text: &str) -> (Vec<Tag>, Option<String>) {
    /// Elements of HTML that have no end, and those whose end may be left out.
    const SINGLE: [&str; 4] = ["meta", "link", "br", "!DOCTYPE"];
    const OPEN: [&str; 4] = ["th", "td", "tr", "p"];
    let is_xml = text.starts_with("<?xml");
    let text = if is_xml {
        text.split_once("?>").unwrap().1
    } else {
        text
    };
    let (mut tags, mut open): (Vec<Tag>, Vec<String>) = Default::default();
    let mut rest = text;
    let wrong = |tags, what: String| (tags, Some(what));
    while let Some(at) = rest.find(['<', '&']) {
        if rest[at..].starts_with('&') {
            let end = rest[at..].find(';').unwrap_or(0);
            let name = &rest[at + 1..(at + end).max(at + 1)];
            if !matches!(name, "amp" | "lt" | "gt" | "quot") && !name.starts_with('#') {
                return wrong(tags, format!("an entity {name:?}"));
            }
            rest = &rest[at + 1..];
            continue;
        }
        let Some(length) = rest[at..].find('>') else {
            return wrong(tags, "a tag without an end".to_owned());
        };
        let tag = &rest[at + 1..at + length];
        rest = &rest[at + length + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            while !is_xml
                && open
                    .last()
                    .is_some_and(|last| last != name && OPEN.contains(&last.as_str()))
            {
                open.pop();
            }
            if open.pop().as_deref() != Some(name) {
                return wrong(tags, format!("</{name}> of what is not open"));
            }
            continue;
        }
        let (tag, is_single) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let (name, mut given) = tag.split_once(' ').unwrap_or((tag, ""));
        let name = name.trim();
        let mut attributes: Vec<(String, String)> = Vec::new();
        while name != "!DOCTYPE" && !given.trim().is_empty() {
            let Some((attribute, value)) = given.split_once('=') else {
                return wrong(tags, format!("{given:?} in <{name}>"));
            };
            let quoted = value
                .strip_prefix('"')
                .and_then(|value| value.split_once('"'));
            let (value, after) = match quoted {
                Some(quoted) => quoted,
                None if !is_xml => value.split_once(' ').unwrap_or((value, "")),
                None => return wrong(tags, format!("{given:?} in <{name}>")),
            };
            let attribute = attribute.trim().to_owned();
            if attributes.iter().any(|(known, _)| *known == attribute) {
                return wrong(tags, format!("two {attribute} in <{name}>"));
            }
            attributes.push((attribute, value.to_owned()));
            given = after;
        }
        tags.push((name.to_owned(), attributes));
        if name == "style" {
            // Not markup.
            rest = rest.find("</style>").map_or("", |end| &rest[end + 8..]);
        } else if !is_single && (is_xml || !SINGLE.contains(&name)) {
            open.push(name.to_owned());
        }
    }
    open.retain(|name| is_xml || !OPEN.contains(&name.as_str()));
    let error = (!open.is_empty()).then(|| format!("{open:?} do not end"));
    (tags, error)
}

/// The figures of a folder by name; each is XML and needs nothing else.
pub(super) fn figures(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let figures = files.map(|file| {
        let name = file.file_name().into_string().unwrap();
        let svg = fs::read_to_string(file.path()).unwrap();
        assert!(name.ends_with(".svg") && svg.starts_with("<?xml"), "{name}");
        let (found, error) = tags(&svg);
        assert_eq!(error, None, "{name}");
        assert_eq!(
            found.iter().filter(|(name, _)| name == "a").count(),
            0,
            "{name}"
        );
        assert_eq!(complaint(&svg), None, "{name}");
        assert!(!svg.contains("var(") && is_numbers(&svg), "{name}");
        (name, svg)
    });
    figures.collect()
}

#[test]
fn what_no_page_may_have_is_seen() {
    assert!(is_numbers("<a href=\"data:;base64,NaN\"/>"));
    assert!(!is_numbers("<a href=\"data:;base64,x\" x=\"NaN\"/>") && !is_numbers("x=\"-inf\""));
    let good = "<p id=\"a\">1 &lt; 2 <a href=\"#a\">a</a><br>x</p>";
    assert_eq!(complaint(good), None);
    for bad in [
        "<script>x</script>",
        "<img src=\"http://x/y.png\">",
        "<a href=\"http://x\">x</a>",
        "<a href=\"#b\">x</a>",
        "<p id=\"a\"></p><p id=\"a\"></p>",
        "<p onclick=\"x\"></p>",
        "<b>x",
        "<b>x</i></b>",
        "<p>&nbsp</p>",
        "<style>@import 'x'</style>",
        "<p style=\"background:url(x)\"></p>",
        "<p",
    ] {
        assert!(complaint(bad).is_some(), "{bad}");
    }
    for bad in [
        "<a><b></a></b>",
        "<a x=1/>",
        "<a x=\"1\" x=\"2\"/>",
        "<a>&bad;</a>",
        "<a>",
    ] {
        assert!(
            tags(&format!("<?xml version=\"1.0\"?>{bad}")).1.is_some(),
            "{bad}"
        );
    }
}
