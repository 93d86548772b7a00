//! The floors of the functions: a file imports only from its own floor and the floors below, without cycles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The floors of `functions/src`, from top to bottom.
const FLOORS: [&[&str]; 6] = [
    &["bin", "lib", "program", "workflow"],
    &["steps"],
    &["components"],
    &["contract"],
    &["deployment"],
    &["aws"],
];

/// The floors that are flat: their modules, too, import each other in one direction only.
const FLAT: [&str; 3] = ["contract", "deployment", "aws"];

/// The imports of a source file: its own module path, and the module paths that it names.
struct Imports {
    file: PathBuf,
    module: Vec<String>,
    named: BTreeSet<Vec<String>>,
}

fn sources(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// `components/network/vpc.rs` is `components::network::vpc`.
fn module_of(root: &Path, file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(root).unwrap().with_extension("");
    let mut module: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// The paths after each `crate::` in a text. A list in braces gives one path for each entry.
fn named_in(text: &str) -> BTreeSet<Vec<String>> {
    let mut named = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        if text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        expand(&text[at + "crate::".len()..], &[], &mut named);
    }
    named
}

/// Reads one path, or a list of paths in braces, and returns the text after it.
fn expand<'t>(text: &'t str, prefix: &[String], named: &mut BTreeSet<Vec<String>>) -> &'t str {
    let mut rest = text.trim_start();
    let mut path = prefix.to_vec();
    loop {
        if let Some(list) = rest.strip_prefix('{') {
            rest = list;
            loop {
                rest = expand(rest, &path, named).trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
                match rest.strip_prefix('}') {
                    Some(after) => return after,
                    None if rest.is_empty() => return rest,
                    None => {}
                }
            }
        }
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if length == 0 {
            return rest.get(1..).unwrap_or_default();
        }
        if rest[..length] != *"self" {
            path.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
        match rest.strip_prefix("::") {
            Some(after) => rest = after,
            None => break,
        }
    }
    named.insert(path);
    rest
}

fn imports(root: &Path) -> Vec<Imports> {
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).unwrap();
        let code: String =
            text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let module = module_of(root, &file);
        assert!(!hides_imports(&module, &code), "{}: write `crate::` instead of `super::`", file.display());
        Imports { module, named: named_in(&code), file }
    };
    sources(root).into_iter().map(read).collect()
}

/// Whether a file imports a neighbour by `super::`, where the tests here would not see it.
fn hides_imports(module: &[String], code: &str) -> bool {
    let product = code.split("#[cfg(test)]").next().unwrap_or_default();
    let has_neighbours =
        module.len() == 2 && (module[0] == "components" || FLAT.contains(&module[0].as_str()));
    code.contains("super::super") || has_neighbours && product.contains("super::")
}

fn functions() -> Vec<Imports> {
    imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/src"))
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn functions_import_only_from_their_own_floor_and_below() {
    let mut wrong = Vec::new();
    for Imports { file, module, named } in functions() {
        let own = floor_of(&module[0]).unwrap_or_else(|| panic!("{} is on no floor", file.display()));
        for path in named {
            if let Some(floor) = floor_of(&path[0])
                && floor < own
            {
                wrong.push(format!("{} imports {}, which is above it", file.display(), path.join("::")));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn components_do_not_import_each_other() {
    let mut wrong = Vec::new();
    for Imports { file, module, named } in functions() {
        if module[0] != "components" || module.len() < 2 {
            continue;
        }
        let others = named.iter().filter(|path| path[0] == "components" && path.get(1) != module.get(1));
        wrong.extend(others.map(|path| format!("{} imports {}", file.display(), path.join("::"))));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn modules_of_a_flat_floor_form_no_cycle() {
    for floor in FLAT {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for Imports { module, named, .. } in functions().into_iter().filter(|it| it.module[0] == floor) {
            let Some(own) = module.get(1) else { continue };
            let others = named.iter().filter(|path| path[0] == floor).filter_map(|path| path.get(1));
            edges.entry(own.clone()).or_default().extend(others.filter(|other| *other != own).cloned());
        }
        assert_eq!(cycle(edges), BTreeSet::new(), "in functions/src/{floor}");
    }
}

/// The cycles: what remains after modules whose imports are all gone are removed, again and again.
fn cycle(mut edges: BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    loop {
        let remaining: BTreeSet<String> = edges.keys().cloned().collect();
        let before = edges.len();
        edges.retain(|_, imported| imported.iter().any(|module| remaining.contains(module)));
        if edges.len() == before {
            return edges.into_keys().collect();
        }
    }
}

#[test]
fn a_cycle_is_found() {
    let edges = |pairs: &[(&str, &str)]| {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        edges
    };
    assert_eq!(cycle(edges(&[("a", "b"), ("b", "c")])), BTreeSet::new());
    assert!(cycle(edges(&[("a", "b"), ("b", "c"), ("c", "a")])).contains("b"));
    let named = named_in(
        "use crate::aws::{Aws, error::{Answer, StepError}};\nlet x = crate::deployment::bucket::read;",
    );
    let named: Vec<String> = named.into_iter().map(|path| path.join("::")).collect();
    assert_eq!(
        named,
        ["aws::Aws", "aws::error::Answer", "aws::error::StepError", "deployment::bucket::read"]
    );
}
