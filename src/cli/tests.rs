//! The examples that users see.

use super::*;

/// The commands in a text: what a shell would give to starfit in each line that runs it.
fn commands(text: &str) -> Vec<Vec<String>> {
    const ENDS: [&str; 5] = ["|", "&&", ";", ">", "<"];
    let lines = text
        .lines()
        .map(|line| line.trim().replace("cargo run --release --", "starfit"));
    let words = lines.filter_map(|line| shlex::split(&line));
    words
        .filter_map(|words| {
            let is_variable = |word: &&String| word.starts_with(settings::PREFIX);
            let words = words.iter().skip_while(is_variable);
            let words = words.take_while(|word| !ENDS.contains(&word.as_str()));
            let words: Vec<String> = words.cloned().collect();
            (words.first()? == "starfit").then_some(words)
        })
        .collect()
}

/// The fault of a command line, if any. What is missing may be in a file that the example names, and
/// settings are printed without.
fn fault(words: &[String]) -> Option<String> {
    let error = command().try_get_matches_from(words).err()?;
    let excuses = |word: &String| word == "--config" || word == "--print-config";
    let is_missing = error.kind() == clap::error::ErrorKind::MissingRequiredArgument;
    let is_excused = is_missing && words.iter().any(excuses);
    (error.use_stderr() && !is_excused).then(|| error.to_string())
}

#[test]
fn examples_of_help_are_right() {
    let program = command();
    let mut n = 0;
    for command in std::iter::once(&program).chain(program.get_subcommands()) {
        let help = command.get_after_long_help().map(ToString::to_string);
        let examples = commands(&help.unwrap_or_default());
        assert!(!examples.is_empty(), "{}: no example", command.get_name());
        for example in examples {
            assert_eq!(fault(&example), None, "{example:?}");
            n += 1;
        }
    }
    assert!(n > 20, "{n}");
}

#[test]
fn examples_of_the_documents_are_right() {
    let documents = [
        include_str!("../../README.md"),
        include_str!("../../docs/fitting.md"),
        include_str!("../../docs/catalogue.md"),
    ];
    let blocks = |text: &'static str| text.split("```").skip(1).step_by(2);
    let blocks = documents.into_iter().flat_map(blocks);
    let blocks = blocks.filter_map(|block| block.strip_prefix("sh\n"));
    let examples: Vec<Vec<String>> = blocks.flat_map(commands).collect();
    assert!(examples.len() > 40, "{}", examples.len());
    for example in examples {
        assert_eq!(fault(&example), None, "{example:?}");
    }
}

#[test]
fn wrong_examples_would_be_seen() {
    for line in [
        "starfit fit a.fits --treshold 5",
        "starfit fit",
        "STARFIT_MODEL=moffat starfit fitt a.fits | head",
        "starfit query a.db --box 1 2 3 # four",
        "starfit fit --config a.toml --treshold 8",
        "cargo run --release -- fit a.fits --model none",
    ] {
        let [example] = commands(line).try_into().unwrap();
        assert!(fault(&example).is_some(), "{line}");
    }
    assert_eq!(
        commands("  starfit fit 'a b' -o - | head # x"),
        [["starfit", "fit", "a b", "-o", "-"]]
    );
    assert!(commands("cargo test\n# starfit fit\n").is_empty());
}

#[test]
fn options_are_told_apart() {
    command().debug_assert();
}
