//! Files of the inputs of a run: patterns that no shell has expanded, folders, and inputs that are
//! named twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};
use glob::{MatchOptions, Pattern};
use starfit::Error;
use starfit::io::fits::FitsPath;

use crate::cli::summary;

/// Endings of the images that are taken from a folder, each also with `.gz` after it.
const ENDINGS: [&str; 4] = ["fits", "fit", "fts", "fz"];

/// Lists each input once, with the files of patterns that no shell has expanded and the images of
/// folders; a pattern may end in an extension, `'night/*.fits[1]'`, and so may a folder.
pub(super) fn expand(inputs: &[PathBuf]) -> Vec<Result<PathBuf>> {
    let all = inputs
        .iter()
        .flat_map(|input| expand_one(input).unwrap_or_else(|error| vec![Err(error)]))
        .collect();
    let (once, again) = each_once(all);
    if let Some(words) = again.words() {
        tracing::warn!("{words}");
    }
    once
}

fn expand_one(input: &Path) -> Result<Vec<Result<PathBuf>>> {
    if input.is_dir() {
        return Ok(images_of(input)?.into_iter().map(Ok).collect());
    }
    let text = input.to_str().filter(|_| !input.exists());
    let split = text.and_then(|text| text.strip_suffix(']')?.rsplit_once('['));
    let with_hdu = |mut path: PathBuf| match split {
        Some((_, hdu)) => {
            path.as_mut_os_string().push(format!("[{hdu}]"));
            path
        }
        None => path,
    };
    let file = split.map(|(file, _)| file).or(text).unwrap_or_default();
    if !file.is_empty() && Path::new(file).is_dir() {
        let images = images_of(Path::new(file))?.into_iter();
        return Ok(images.map(|path| Ok(with_hdu(path))).collect());
    }
    if !file.contains(['*', '?']) || Path::new(file).exists() {
        return Ok(vec![Ok(input.to_owned())]);
    }
    let mut paths = Vec::new();
    for path in matches(file)? {
        let path = path?;
        if path.is_dir() {
            paths.extend(images_of(&path)?.into_iter().map(|path| Ok(with_hdu(path))));
        } else {
            paths.push(Ok(with_hdu(path)));
        }
    }
    if paths.is_empty() {
        return Err(Error::Option {
            option: format!("INPUT {}", input.display()),
            expected: "a file, a folder or a pattern of files".into(),
            found: "no file that matches".into(),
            hint: missing_folder(Path::new(file)),
        }
        .into());
    }
    Ok(paths)
}

/// Paths that a pattern matches, in the order of the names. Folders that exist as they are written are
/// no pattern, whatever brackets are in their names; brackets are no pattern either where nothing
/// matches them as a choice of letters.
fn matches(pattern: &str) -> Result<Vec<glob::GlobResult>> {
    let find = |pattern: &str| -> Result<Vec<_>> {
        // Names that begin with a dot are left out, as in a shell: macOS puts such files beside others
        // on other disks.
        let options = MatchOptions {
            require_literal_leading_dot: true,
            ..MatchOptions::new()
        };
        let paths = glob::glob_with(pattern, options);
        let paths = paths.with_context(|| format!("{pattern}: not a pattern"))?;
        Ok(paths.collect())
    };
    let (folder, rest) = existing_part(Path::new(pattern)).unwrap_or_default();
    // Both are parts of a text.
    let (folder, rest) = (folder.to_string_lossy(), rest.to_string_lossy());
    let in_folder = |rest: &str| match folder.is_empty() {
        true => rest.to_owned(),
        false => {
            let end = if folder.ends_with(std::path::MAIN_SEPARATOR) {
                ""
            } else {
                "/"
            };
            format!("{}{end}{rest}", Pattern::escape(&folder))
        }
    };
    let found = find(&in_folder(&rest));
    if rest.contains('[') && !found.as_ref().is_ok_and(|found| !found.is_empty()) {
        let literal = rest
            .replace('[', "\u{0}")
            .replace(']', "[]]")
            .replace('\u{0}', "[[]");
        return find(&in_folder(&literal));
    }
    found
}

/// Message about the folder of a pattern that does not exist.
fn missing_folder(pattern: &Path) -> Option<String> {
    let (folder, rest) = existing_part(pattern)?;
    let mut rest = rest.components();
    let missing = rest.next()?.as_os_str().display();
    // The last part is the pattern of the files.
    rest.next()?;
    Some(match folder.as_os_str().is_empty() {
        true => format!("there is no folder {missing} here"),
        false => format!("there is no folder {missing} in {}", folder.display()),
    })
}

/// The folders at the front of a path that exist, and the rest, which does not begin with one.
fn existing_part(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut folder = PathBuf::new();
    let mut components = path.components();
    loop {
        let rest = components.as_path().to_owned();
        let longer = folder.join(components.next()?);
        if !longer.is_dir() {
            return Some((folder, rest));
        }
        folder = longer;
    }
}

/// The images of a folder in the order of their names, without those that are hidden.
fn images_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let fail = |error: io::Error| Error::io(folder, error);
    let mut images = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if is_image(&path) && !path.is_dir() {
            images.push(path);
        }
    }
    images.sort();
    if images.is_empty() {
        return Err(Error::Option {
            option: format!("INPUT {}", folder.display()),
            expected: format!(
                "a folder with files that end in .{}, or these with .gz",
                ENDINGS.join(", .")
            ),
            found: "none".into(),
            hint: Some(format!(
                "folders in it are not searched; a pattern takes files of any name: '{}'",
                folder.join("*").display()
            )),
        }
        .into());
    }
    Ok(images)
}

fn is_image(path: &Path) -> bool {
    let Some(name) = path.file_name() else {
        return false;
    };
    let name = name.to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    !name.starts_with('.')
        && name
            .rsplit_once('.')
            .is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

/// Inputs that are named more than once.
#[derive(Debug, Default, PartialEq)]
struct Again {
    /// Names of each input the second time, and the first time.
    named: Vec<(PathBuf, PathBuf)>,
}

impl Again {
    fn words(&self) -> Option<String> {
        const LISTED: usize = 3;
        let listed = self.named.iter().take(LISTED).map(|(again, first)| {
            if again == first {
                format!("{}", again.display())
            } else {
                format!("{} (also named {})", again.display(), first.display())
            }
        });
        let listed = listed.collect::<Vec<_>>().join(", ");
        let more = match self.named.len() {
            0 => return None,
            n if n > LISTED => format!(" and {}", summary::count(n - LISTED, "other input")),
            _ => String::new(),
        };
        Some(format!("{listed}{more}: given more than once, fitted once"))
    }
}

/// Keeps every input once, where it is named first: the same HDU of the same file, however it is named.
fn each_once(inputs: Vec<Result<PathBuf>>) -> (Vec<Result<PathBuf>>, Again) {
    let mut first = HashMap::new();
    let (mut once, mut again) = (Vec::new(), Again::default());
    for input in inputs {
        if let Ok(path) = &input
            && let Ok(parsed) = FitsPath::parse(path)
            && let Ok(file) = parsed.path.canonicalize()
        {
            match first.entry((file, parsed.hdu.map(|hdu| hdu.to_string().to_lowercase()))) {
                Entry::Occupied(known) => {
                    let known: &PathBuf = known.get();
                    if again.named.iter().all(|(again, _)| again != path) {
                        again.named.push((path.clone(), known.clone()));
                    }
                    continue;
                }
                Entry::Vacant(free) => {
                    free.insert(path.clone());
                }
            }
        }
        once.push(input);
    }
    (once, again)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, and the names of what inputs in it are, or the error.
    fn expanded(files: &[&str], inputs: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let root = format!("{}/", folder.path().display());
        let inputs: Vec<PathBuf> = inputs
            .iter()
            .map(|input| folder.path().join(input))
            .collect();
        let found = expand(&inputs).into_iter();
        let name = |input: Result<PathBuf>| match input {
            Ok(path) => path.display().to_string(),
            Err(error) => error.to_string(),
        };
        found.map(|input| name(input).replace(&root, "")).collect()
    }

    #[test]
    fn brackets_of_folders_that_exist_are_no_pattern() {
        let files = ["M31 [Ha]/a.fits", "M31 [Ha]/b.fits", "M31 H/c.fits"];
        let both = ["M31 [Ha]/a.fits", "M31 [Ha]/b.fits"];
        assert_eq!(expanded(&files, &["M31 [Ha]/*.fits"]), both);
        assert_eq!(
            expanded(&files, &["M31 [Ha]/*.fits[1]"]),
            ["M31 [Ha]/a.fits[1]", "M31 [Ha]/b.fits[1]"]
        );
        assert_eq!(expanded(&files, &["M31 [Ha]/[b]*.fits"]), both[1..]);
        // Where there is no such folder, brackets are a choice of letters.
        assert_eq!(
            expanded(&files[2..], &["M31 [HO]/*.fits"]),
            ["M31 H/c.fits"]
        );
        // Behind a star they may be letters of a name all the same.
        assert_eq!(expanded(&files, &["M3? [Ha]/*.fits"]), ["M31 H/c.fits"]);
        assert_eq!(expanded(&files[..2], &["M3? [Ha]/*.fits"]), both);
        assert_eq!(
            expanded(&["a [R] 1.fits"], &["a [R] *.fits"]),
            ["a [R] 1.fits"]
        );
    }

    #[test]
    fn a_pattern_without_a_match_says_how_far_its_folders_exist() {
        let message = expanded(&["night/a.fits"], &["night/*.fit"]);
        let expected = "INPUT night/*.fit: expected a file, a folder or a pattern of files, \
                        found no file that matches";
        assert_eq!(message, [expected]);
        let error = expand(&[PathBuf::from("no such folder/*.fits")])
            .pop()
            .unwrap();
        let error = error.unwrap_err();
        let hint = error.downcast_ref::<Error>().and_then(Error::hint);
        let expected = "there is no folder no such folder here";
        assert_eq!(hint, Some(expected));
    }

    #[test]
    fn a_folder_is_its_images_in_the_order_of_names() {
        let files = [
            "night/b.FITS",
            "night/a.fits.gz",
            "night/c.fit",
            "night/d.fts",
            "night/e.fits.fz",
            "night/notes.txt",
            "night/stack.npy",
            "night/.hidden.fits",
            "night/table.csv.gz",
            "night/deeper/f.fits",
            "night/g.fits/h.fits",
        ];
        let images = [
            "night/a.fits.gz",
            "night/b.FITS",
            "night/c.fit",
            "night/d.fts",
            "night/e.fits.fz",
        ];
        assert_eq!(expanded(&files, &["night"]), images);
        assert_eq!(expanded(&files, &["night/"]), images);
        assert_eq!(expanded(&files, &["nig*"]), images);
        assert_eq!(expanded(&files, &["night/*.fits"]), ["night/g.fits/h.fits"]);
        let first = &expanded(&files, &["night/[SCI]"])[0];
        assert_eq!(first, "night/a.fits.gz[SCI]");
        let message = expanded(&["empty/notes.txt"], &["empty"]);
        assert_eq!(
            message,
            [
                "INPUT empty: expected a folder with files that end in .fits, .fit, .fts, .fz, or \
              these with .gz, found none"
            ]
        );
    }

    #[test]
    fn each_input_is_taken_once_however_it_is_named() {
        let files = ["night/a.fits", "night/b.fits"];
        let both = ["night/a.fits", "night/b.fits"];
        let inputs = [
            "night/a.fits",
            "night/*.fits",
            "night",
            "night/../night/b.fits",
        ];
        assert_eq!(expanded(&files, &inputs), both);
        // Another HDU is another input; what is not there is named each time.
        let inputs = [
            "night/a.fits",
            "night/a.fits[1]",
            "night/a.fits[sci]",
            "night/a.fits[SCI]",
        ];
        assert_eq!(expanded(&files, &inputs), inputs[..3]);
        assert_eq!(
            expanded(&files, &["x.fits", "x.fits"]),
            ["x.fits", "x.fits"]
        );
    }

    #[test]
    fn what_is_given_twice_is_named() {
        let again = |names: &[&str]| Again {
            named: names
                .iter()
                .map(|name| (PathBuf::from(name), PathBuf::from("a")))
                .collect(),
        };
        assert_eq!(again(&[]).words(), None);
        let words = again(&["a"]).words().unwrap();
        assert_eq!(words, "a: given more than once, fitted once");
        let words = again(&["./a", "b", "c", "d", "e"]).words().unwrap();
        assert_eq!(
            words,
            "./a (also named a), b (also named a), c (also named a) and 2 other inputs: given \
             more than once, fitted once"
        );
    }
}
