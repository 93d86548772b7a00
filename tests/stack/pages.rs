//! The pages for contributors and reviewers name files, tests and other names in the code that exist.

use std::path::{Path, PathBuf};

/// The pages.
const PAGES: [&str; 4] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/contributing", "docs/security.md"];

/// The folders with which a path in a page begins.
const FOLDERS: [&str; 8] =
    ["docs/", "figures/", "functions/", "simulator/", "specs/", "src/", "statemachine/", "tests/"];

#[test]
fn pages_name_files_tests_and_identifiers_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code: String = FOLDERS
        .iter()
        .flat_map(|folder| files(&root.join(folder), "rs"))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let mut missing = Vec::new();
    for page in PAGES.iter().flat_map(|page| files(&root.join(page), "md")) {
        let text = std::fs::read_to_string(&page).unwrap();
        // Between two backticks: every other part.
        for name in text.split('`').skip(1).step_by(2) {
            let is_path = FOLDERS.iter().any(|folder| name.starts_with(folder)) && !name.contains("NAME");
            let exists = if is_path {
                root.join(name).exists()
            } else if is_test(name) {
                code.contains(&format!("fn {name}("))
            } else {
                !is_identifier(name) || code.contains(name)
            };
            if !exists {
                missing.push(format!("{}: {name}", page.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(missing.is_empty(), "these do not exist (any more):\n{}", missing.join("\n"));
}

/// Whether a name is that of a test: a sentence in snake case.
fn is_test(name: &str) -> bool {
    name.matches('_').count() >= 3 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// Whether a name is one in the code: a constant, or several words in snake case.
fn is_identifier(name: &str) -> bool {
    let is_in = |case: fn(&char) -> bool| name.chars().all(|c| case(&c) || c == '_');
    name.len() > 3 && is_in(char::is_ascii_uppercase) || name.contains('_') && is_in(char::is_ascii_lowercase)
}

/// The file, or the files in the folder, with this extension.
fn files(path: &Path, extension: &str) -> Vec<PathBuf> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        return entries.flat_map(|entry| files(&entry, extension)).collect();
    }
    let is_wanted = path.extension().is_some_and(|of| of == extension);
    if is_wanted { vec![path.to_owned()] } else { Vec::new() }
}
