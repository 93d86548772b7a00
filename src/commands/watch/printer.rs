//! Shows steps: live lines on a terminal, one line for each step that has ended elsewhere, nothing for programs.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Progress, Step};
use crate::commands::print;

/// The length at which a note is cut off; the report after the last step has the whole of a failure.
const NOTE_CHARACTERS_MAX: usize = 100;

/// Shows steps.
#[derive(Debug)]
pub(in crate::commands) enum Printer {
    /// Prints nothing.
    Quiet,
    /// Prints each step when it ends.
    Lines,
    /// Prints each step when it ends, and shows those that run.
    Live {
        /// The lines of the running steps.
        lines: MultiProgress,
        /// The line of each running step.
        running: BTreeMap<String, ProgressBar>,
    },
}

impl Printer {
    /// The printer for a deployment in real time.
    pub(in crate::commands) fn live(json: bool) -> Self {
        if json {
            Self::Quiet
        } else if std::io::stderr().is_terminal() && std::io::stdout().is_terminal() {
            Self::Live { lines: MultiProgress::new(), running: BTreeMap::new() }
        } else {
            Self::Lines
        }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        match (self, progress) {
            (Self::Quiet, _) | (Self::Lines, Progress::Started(_) | Progress::Waiting(_)) => {}
            (Self::Lines, Progress::Ended(step)) => print(&line(step)),
            (Self::Live { lines, running }, Progress::Started(step)) => {
                let bar = lines.add(ProgressBar::new_spinner().with_style(style()));
                bar.set_message(running_line(step));
                bar.enable_steady_tick(Duration::from_millis(120));
                running.insert(step.name.clone(), bar);
            }
            (Self::Live { running, .. }, Progress::Waiting(step)) => {
                if let Some(bar) = running.get(&step.name) {
                    bar.set_message(running_line(step));
                }
            }
            (Self::Live { lines, running }, Progress::Ended(step)) => {
                if let Some(bar) = running.remove(&step.name) {
                    bar.finish_and_clear();
                }
                lines.suspend(|| print(&line(step)));
            }
        }
    }

    /// Clears the lines of the steps that still run.
    pub(super) fn close(self) {
        if let Self::Live { running, .. } = self {
            running.values().for_each(ProgressBar::finish_and_clear);
        }
    }
}

fn style() -> ProgressStyle {
    // An invalid template is a mistake in this line; the default style shows the same steps.
    ProgressStyle::with_template("{spinner} {wide_msg} {elapsed:>6}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn running_line(step: &Step) -> String {
    format!("{}  {}", name(step), shortened(&step.note)).trim_end().to_owned()
}

/// The line of a step that has ended.
fn line(step: &Step) -> String {
    let note = match &step.failure {
        Some(failure) => format!("FAILED: {}", shortened(failure)),
        None => shortened(&step.note),
    };
    let line = format!("{:>8.1} s {:>7.1} s  {:<22} {note}", step.start, step.seconds, name(step));
    line.trim_end().to_owned()
}

fn name(step: &Step) -> String {
    if step.nested { format!("  {}", step.name) } else { step.name.clone() }
}

/// The first line of a text, cut off where a terminal would wrap it.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(NOTE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> Step {
        Step {
            name: "Network".into(),
            nested: false,
            start: 3.1,
            seconds: 19.24,
            note: "waiting for the subnets\nand more".into(),
            failure: None,
        }
    }

    #[test]
    fn a_line_has_the_start_the_duration_the_name_and_the_last_wait() {
        assert_eq!(line(&step()), "     3.1 s    19.2 s  Network                waiting for the subnets");
        let nested = Step { nested: true, note: String::new(), ..step() };
        assert_eq!(line(&nested), "     3.1 s    19.2 s    Network");
    }

    #[test]
    fn a_failure_replaces_the_last_wait_and_is_cut_off() {
        let failed = Step { failure: Some("x".repeat(200)), ..step() };
        let expected = format!("FAILED: {}…", "x".repeat(NOTE_CHARACTERS_MAX));
        assert!(line(&failed).ends_with(&expected), "{}", line(&failed));
    }
}
