//! The template's wiring: who starts what, what becomes of events, who is told. Each mistake in it is noticed.

mod checks; // what somebody would notice
mod mistakes; // what may be wrong in a template

use stackdrop::installation::TEMPLATE;

use checks::Check;
pub(crate) use checks::{in_operation, where_events_start_nothing};
use mistakes::{MISTAKES, Mistake, without_boundary};

/// The template with a mistake in it.
fn mistaken(mistake: &Mistake) -> String {
    let Mistake { what, within, from, to, .. } = mistake;
    let start = if within.is_empty() { 0 } else { TEMPLATE.find(&format!("\n  {within}:\n")).unwrap() + 1 };
    let rest = &TEMPLATE[start..];
    let end = if within.is_empty() { rest.len() } else { end_of_resource(rest) };
    let (part, after) = rest.split_at(end);
    assert!(part.contains(from), "{what}: {within} has no {from:?}");
    format!("{}{}{after}", &TEMPLATE[..start], part.replacen(from, to, 1))
}

/// Where the next resource or section begins.
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
    let mut unnoticed = Vec::new();
    for mistake in MISTAKES {
        if mistake.check.violation(&mistaken(mistake)).await.is_none() {
            unnoticed.push(mistake.what);
        }
    }
    assert_eq!(unnoticed, Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn a_role_without_the_permissions_boundary_is_detected() {
    let mistakes = without_boundary(TEMPLATE);
    assert!(mistakes.len() > 3, "{}", mistakes.len());
    for text in mistakes {
        assert!(Check::RolesAreBounded.violation(&text).await.is_some());
    }
}
