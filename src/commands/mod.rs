//! The commands and their output.

mod account;
mod chaos;
mod exit_codes;
mod rehearse;
mod simulate;
mod text;
mod validate;
mod watch;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches};
use stackdrop_functions::deployment::outcome::exit_code;
use stackdrop_specs::Spec;

/// Drop a spec in S3; get a running stack.
#[derive(Debug, clap::Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check a spec and print every problem in it.
    Validate(validate::Validate),
    /// Deploy a spec into a simulated AWS account: the steps, their durations, the resources and their cost.
    Rehearse(rehearse::Rehearse),
    /// Upload a spec and follow its deployment to the end.
    Deploy(account::deploy::Deploy),
    /// Show what a deployment would change, its cost and its duration; nothing is changed.
    Plan(account::plan::Plan),
    /// Show the status of a stack.
    Status(account::status::Status),
    /// List the deployments and plans of a stack, newest first.
    History(account::history::History),
    /// Show the logs of a stack's services.
    Logs(account::logs::Logs),
    /// Approve the plan that awaits approval.
    Approve(account::answer::Approve),
    /// Reject the plan that awaits approval.
    Reject(account::answer::Reject),
    /// Destroy a stack: delete all its resources.
    Destroy(account::destroy::Destroy),
    /// Serve a simulated AWS account on a loopback port, for the AWS CLI and any SDK.
    Simulate(simulate::Simulate),
    /// Run chaos tests: rehearsals with random faults, duplicate events and stopped executions, one for each seed.
    Chaos(chaos::Chaos),
}

/// Runs the command of the process's arguments.
pub(crate) fn run() -> ExitCode {
    let arguments = command_line().get_matches();
    let result = match Arguments::from_arg_matches(&arguments) {
        Ok(Arguments { command }) => command.run(),
        // Prints the usage and ends the process with `USAGE`, as clap does for every usage error.
        Err(error) => error.format(&mut command_line()).exit(),
    };
    result.unwrap_or_else(|error| {
        print_error(&format!("error: {error:#}"));
        ExitCode::from(exit_code::USAGE)
    })
}

/// The command line, with the exit codes at the end of every command's help.
fn command_line() -> clap::Command {
    let command = Arguments::command().after_help(exit_codes::help());
    command.mut_subcommands(|subcommand| {
        let more = subcommand.get_after_help().map(|more| format!("\n\n{more}")).unwrap_or_default();
        subcommand.after_help(exit_codes::help() + &more)
    })
}

impl Command {
    fn run(self) -> Result<ExitCode> {
        match self {
            Self::Validate(validate) => validate.run(),
            Self::Rehearse(rehearse) => rehearse.run(),
            Self::Deploy(deploy) => deploy.run(),
            Self::Plan(plan) => plan.run(),
            Self::Status(status) => status.run(),
            Self::History(history) => history.run(),
            Self::Logs(logs) => logs.run(),
            Self::Approve(approve) => approve.run(),
            Self::Reject(reject) => reject.run(),
            Self::Destroy(destroy) => destroy.run(),
            Self::Simulate(simulate) => simulate.run(),
            Self::Chaos(chaos) => chaos.run(),
        }
    }
}

/// The text of a spec file and its spec. If the spec is invalid, prints its problems and returns the exit code.
fn read_spec(path: &Path) -> Result<std::result::Result<(String, Spec), ExitCode>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    match Spec::read(&bytes) {
        Ok(spec) => {
            let text = String::from_utf8(bytes);
            let text = text.with_context(|| format!("cannot read {}: it is not UTF-8", path.display()))?;
            Ok(Ok((text, spec)))
        }
        Err(errors) => {
            print_error(&errors.render(&path.display().to_string()));
            Ok(Err(ExitCode::from(exit_code::REJECTED)))
        }
    }
}

/// Prints a document for programs.
fn print_json(document: &impl serde::Serialize) -> Result<()> {
    print(&serde_json::to_string_pretty(document).context("cannot write the JSON document")?);
    Ok(())
}

/// Prints a line to standard output. A closed pipe (`| head`) is not an error.
fn print(line: &str) {
    print_to(&mut std::io::stdout().lock(), line);
}

/// Prints a line to standard error.
fn print_error(line: &str) {
    print_to(&mut std::io::stderr().lock(), line);
}

/// The text without characters that could hide or reorder what else is on the screen: texts of a spec are those of its author.
fn visible(text: &str) -> String {
    let hides = |character: char| {
        character.is_control() && !matches!(character, '\n' | '\t')
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let shown = |character: char| {
        if hides(character) { character.escape_unicode().to_string() } else { character.to_string() }
    };
    text.chars().map(shown).collect()
}

fn print_to(out: &mut impl Write, line: &str) {
    let line = visible(line.trim_end_matches('\n'));
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        // A failed write cannot be reported anywhere else.
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spec_contains_cannot_hide_a_line() {
        assert_eq!(visible("a\tb\n\u{e9}"), "a\tb\n\u{e9}");
        assert_eq!(visible("x\u{1b}[1A\u{1b}[2K\r\u{202e}y"), "x\\u{1b}[1A\\u{1b}[2K\\u{d}\\u{202e}y");
    }

    #[test]
    fn the_help_of_every_command_lists_the_exit_codes() {
        command_line().debug_assert();
        let mut command = command_line();
        command.build();
        for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
            let help = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with(&exit_codes::help()), "{}: {help}", subcommand.get_name());
        }
    }
}
