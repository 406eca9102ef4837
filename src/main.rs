//! The command-line program: parses, runs, prints what went wrong, sets the exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
