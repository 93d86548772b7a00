//! The template's wiring: what starts what, which events are kept, who is notified. The checks detect every mistake in it.

mod checks; // what must be true of an installation
mod mistakes; // mistakes in a template that a check must detect

use stackdrop::installation::TEMPLATE;

use checks::Check;
pub(crate) use checks::{in_operation, where_events_start_nothing};
use mistakes::{MISTAKES, Mistake, without_boundary};

/// The template with a mistake.
fn mistaken(mistake: &Mistake) -> String {
    let Mistake { what, within, from, to, .. } = mistake;
    let start = if within.is_empty() { 0 } else { TEMPLATE.find(&format!("\n  {within}:\n")).unwrap() + 1 };
    let rest = &TEMPLATE[start..];
    let end = if within.is_empty() { rest.len() } else { end_of_resource(rest) };
    let (part, after) = rest.split_at(end);
    assert!(part.contains(from), "{what}: {within} has no {from:?}");
    format!("{}{}{after}", &TEMPLATE[..start], part.replacen(from, to, 1))
}

/// The position of the next resource or section.
fn end_of_resource(text: &str) -> usize {
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        if number > 0 && indent <= 2 && !line.trim().is_empty() && !line.trim().starts_with('#') {
            return at;
        }
        at += line.len();
    }
    at
}

#[tokio::test(start_paused = true)]
async fn the_template_passes_every_check() {
    for check in Check::ALL {
        assert_eq!(check.violation(TEMPLATE).await, None, "{check:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_mistake_in_the_wiring_is_detected() {
    let mut undetected = Vec::new();
    for mistake in MISTAKES {
        if mistake.check.violation(&mistaken(mistake)).await.is_none() {
            undetected.push(format!("{}: {}", mistake.within, mistake.what));
        }
    }
    assert_eq!(undetected, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_role_without_the_permissions_boundary_is_detected() {
    let mistakes = without_boundary(TEMPLATE);
    assert!(mistakes.len() > 3, "{}", mistakes.len());
    for text in mistakes {
        assert!(Check::RolesAreBounded.violation(&text).await.is_some());
    }
}
