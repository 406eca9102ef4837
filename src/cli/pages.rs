//! `starfit completions` and `starfit man`: the options as shells and `man` read them.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use starfit::Error;

/// For which shell.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  starfit completions bash > ~/.local/share/bash-completion/completions/starfit
  starfit completions zsh > ~/.zfunc/_starfit
  starfit completions fish > ~/.config/fish/completions/starfit.fish")]
pub(super) struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// Where to.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  starfit man ~/.local/share/man/man1
  starfit man . && man ./starfit-fit.1")]
pub(super) struct ManArgs {
    /// Folder to write starfit.1, starfit-fit.1 and the others to; made if it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes a script that completes the words of `command` in a shell.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<()> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    Ok(stdout().write_all(&script)?)
}

/// Writes the pages of `command` and of its subcommands.
pub(super) fn man(args: &ManArgs, command: Command) -> Result<()> {
    let fail = |path: &Path, error| Error::io(path, error);
    let folder = &args.folder;
    std::fs::create_dir_all(folder).map_err(|error| fail(folder, error))?;
    for (name, page) in pages(command)? {
        let path = folder.join(name);
        std::fs::write(&path, page).map_err(|error| fail(&path, error))?;
    }
    Ok(())
}

/// Names and contents of the pages.
fn pages(command: Command) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let commands = std::iter::once(&command).chain(command.get_subcommands());
    commands.map(|command| page(command.clone())).collect()
}

fn page(command: Command) -> std::io::Result<(String, Vec<u8>)> {
    let extra = command.get_after_long_help().or(command.get_after_help());
    let extra = extra.map_or_else(String::new, ToString::to_string);
    let (has_commands, has_version) = (command.has_subcommands(), command.get_version().is_some());
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    sections(&extra).to_writer(&mut page)?;
    if has_version {
        man.render_version_section(&mut page)?;
    }
    Ok((man.get_filename(), page))
}

/// Text after the options: lines that end in a colon are headings, the lines below stay as they are.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::new();
    let mut is_open = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_suffix(':') {
            Some(heading) if !line.starts_with(' ') => {
                if is_open {
                    roff.control("fi", []);
                }
                roff.control("SH", [heading.to_uppercase().as_str()]);
                roff.control("nf", []);
                is_open = true;
            }
            _ => {
                roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
        }
    }
    if is_open {
        roff.control("fi", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    /// The text of a page, without the marks of fonts and the backslashes.
    fn plain(page: &[u8]) -> String {
        let text = String::from_utf8(page.to_vec()).unwrap();
        let fonts = text
            .replace("\\fB", "")
            .replace("\\fI", "")
            .replace("\\fR", "");
        fonts
            .replace("\\-", "-")
            .replace("\\*(Aq", "'")
            .replace("\\*(", "")
    }

    #[test]
    fn man_pages_name_every_option_and_example() {
        let pages = pages(command()).unwrap();
        let mut command = command().disable_help_subcommand(true);
        command.build();
        let commands: Vec<&Command> = command.get_subcommands().collect();
        assert_eq!(pages.len(), 1 + commands.len());
        for command in commands {
            let name = format!("starfit-{}.1", command.get_name());
            let (_, page) = pages.iter().find(|(found, _)| *found == name).unwrap();
            let page = plain(page);
            for long in command.get_arguments().filter_map(|arg| arg.get_long()) {
                assert!(page.contains(&format!("--{long}")), "{name}: --{long}");
            }
            assert!(!page.contains("--none-such"));
            let help = command.get_after_long_help().map(ToString::to_string);
            let help = help.unwrap_or_else(|| panic!("{name}: no examples"));
            assert!(help.starts_with("Examples:\n  starfit "), "{name}");
            assert!(
                page.contains(".SH EXAMPLES\n.nf\nstarfit "),
                "{name}: {page}"
            );
        }
        let (_, page) = &pages[0];
        assert!(plain(page).contains("starfit-fit(1)"), "{}", plain(page));
    }

    #[test]
    fn completions_know_every_command_and_option() {
        for shell in [
            Shell::Bash,
            Shell::Zsh,
            Shell::Fish,
            Shell::PowerShell,
            Shell::Elvish,
        ] {
            let mut command = command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "starfit", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in command.get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}");
                for long in command.get_arguments().filter_map(|arg| arg.get_long()) {
                    assert!(script.contains(long), "{shell}: {long}");
                }
            }
            assert!(!script.contains("none-such"));
        }
    }
}
