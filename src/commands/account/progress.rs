//! How the progress of a deployment is shown: live lines on a terminal, a line for each finished step elsewhere, nothing
//! for programs.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::At;
use super::steps::{Step, Told};
use crate::commands::say;

/// How much of what a step waits for stands beside it.
const NOTE_CHARACTERS_MAX: usize = 90;

/// Shows progress.
pub(super) enum Progress {
    Quiet,
    Lines,
    Live { all: MultiProgress, steps: BTreeMap<String, ProgressBar> },
}

impl Progress {
    pub(super) fn new(at: &At) -> Self {
        if at.json {
            Self::Quiet
        } else if std::io::stderr().is_terminal() && std::io::stdout().is_terminal() {
            Self::Live { all: MultiProgress::new(), steps: BTreeMap::new() }
        } else {
            Self::Lines
        }
    }

    pub(super) fn show(&mut self, told: &Told) {
        match self {
            Self::Quiet => {}
            Self::Lines => {
                if let Told::Ended(step) = told {
                    say(&line(step));
                }
            }
            Self::Live { all, steps } => match told {
                Told::Began(step) => {
                    let bar = all.add(ProgressBar::new_spinner().with_style(style()));
                    bar.set_message(text(step));
                    bar.enable_steady_tick(Duration::from_millis(120));
                    steps.insert(step.name.clone(), bar);
                }
                Told::Waits(step) => {
                    if let Some(bar) = steps.get(&step.name) {
                        bar.set_message(text(step));
                    }
                }
                Told::Ended(step) => {
                    if let Some(bar) = steps.remove(&step.name) {
                        bar.finish_and_clear();
                    }
                    all.suspend(|| say(&line(step)));
                }
            },
        }
    }

    /// Takes away what is still shown of steps under way.
    pub(super) fn close(self) {
        if let Self::Live { steps, .. } = self {
            steps.values().for_each(ProgressBar::finish_and_clear);
        }
    }
}

fn style() -> ProgressStyle {
    // A template that is none is a mistake in this line; then the default one serves.
    ProgressStyle::with_template("{spinner} {wide_msg} {elapsed:>6}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn text(step: &Step) -> String {
    format!("{}  {}", name(step), note(step)).trim_end().to_owned()
}

fn line(step: &Step) -> String {
    let line = format!("{:>8.1} s {:>7.1} s  {:<22} {}", step.start, step.seconds, name(step), note(step));
    line.trim_end().to_owned()
}

fn name(step: &Step) -> String {
    if step.nested { format!("  {}", step.name) } else { step.name.clone() }
}

fn note(step: &Step) -> String {
    let text = match &step.failure {
        Some(failure) => format!("FAILED: {failure}"),
        None => step.note.clone(),
    };
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(NOTE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
