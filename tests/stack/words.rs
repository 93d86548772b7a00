//! Texts for people use the terms of ARCHITECTURE.md: old or unclear words do not return.

use std::path::{Path, PathBuf};

/// Files, and folders of files, that people read as a whole.
const TEXTS: [&str; 10] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "docs",
    "template.yaml",
    "statemachine/deploy.asl.json",
    "specs/minimal.yaml",
    "specs/private.yaml",
    "specs/shop.yaml",
    "specs/stack.schema.json",
];

/// Folders of source code, of which people read the messages and the documentation: string literals and doc comments.
const SOURCES: [&str; 6] =
    ["src", "figures/src", "functions/src", "simulator/src", "specs/src", "statemachine/src"];

/// Words that are not used, and what to write instead. A `*` stands for any ending.
const WORDS: [(&[&str], &str); 26] = [
    (&["settl*"], "wait until stable"),
    (&["tidy*", "tidi*"], "prune"),
    (&["undo", "undoes", "undoing", "undone", "undid"], "roll back"),
    (&["gone back to", "goes back to", "go back to", "went back to"], "roll back to, deploy again"),
    (&["take* away", "taken away", "took away", "taking away"], "delete"),
    (&["put right", "puts right", "putting right"], "repair"),
    (&["what is left", "nothing is left", "leftover*"], "remaining resources"),
    (&["stand in the way", "stands in the way"], "blocks; not owned by the stack"),
    (&["stackdrop:role"], "stackdrop:logical-id"),
    (&["declined"], "rejected"),
    (&["whoever", "strangers", "astray"], "the noun: who or what it is"),
    (&["wish*", "asked for by hand", "by-hand"], "manual request"),
    (&["storm*", "weather"], "chaos test, random faults"),
    (&["ledger"], "call log"),
    (&["seam", "seams"], "connector"),
    (&["happening*"], "event"),
    (&["told", "stirred"], "notified, reported"),
    (&["doomed", "beyond help"], "failed permanently"),
    (&["holders"], "dependents"),
    (&["surroundings"], "dependencies"),
    (&["goes by", "go by", "went by"], "uses, deploys"),
    (&["goes on", "go on", "going on", "went on"], "continue"),
    (&["look after", "looks after", "looked after", "looking after"], "repair, roll back"),
    (&["is to be", "are to be", "was to be", "shall"], "must, or the plain verb"),
    (&["has no longer", "have no longer"], "no longer has"),
    (&["anew", "by and by"], "again, over time"),
];

#[test]
fn old_words_do_not_return() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &Path| std::fs::read_to_string(file).unwrap();
    let mut found = Vec::new();
    for file in TEXTS.iter().flat_map(|text| files(&root.join(text), &["md", "yaml", "json"])) {
        found.extend(old_words(root, &file, &read(&file)));
    }
    for file in SOURCES.iter().flat_map(|source| files(&root.join(source), &["rs"])) {
        found.extend(old_words(root, &file, &for_people(&read(&file))));
    }
    assert!(found.is_empty(), "write these in the terms of ARCHITECTURE.md:\n{}", found.join("\n"));
}

/// The file, or the files in the folder, with one of these extensions.
fn files(path: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        return entries.iter().flat_map(|entry| files(entry, extensions)).collect();
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if extensions.contains(&extension) { vec![path.to_owned()] } else { Vec::new() }
}

/// A line for each old word in a text.
fn old_words(root: &Path, file: &Path, text: &str) -> Vec<String> {
    let file = file.strip_prefix(root).unwrap().display();
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.to_lowercase();
        for (words, instead) in WORDS {
            found.extend(words.iter().filter(|word| contains(&line, word)).map(|word| {
                format!("{file}:{}: \"{}\"; instead: {instead}", number + 1, word.trim_end_matches('*'))
            }));
        }
    }
    found
}

/// Whether a line in lower case contains a word or phrase. Letters, digits, `_` and `/` make words, so the name of a test
/// and the path of a file are one word each.
fn contains(line: &str, phrase: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '/';
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !(is_word(c) || "*:-".contains(c)))
            .map(|word| word.trim_matches([':', '-']).to_owned())
            .filter(|word| !word.is_empty())
            .collect()
    };
    let (line, phrase) = (words(line), words(phrase));
    let same = |word: &String, wanted: &String| match wanted.strip_suffix('*') {
        Some(start) => word.starts_with(start),
        None => word == wanted,
    };
    line.windows(phrase.len()).any(|part| part.iter().zip(&phrase).all(|(word, wanted)| same(word, wanted)))
}

/// Source code with everything blanked out but its string literals and doc comments. Lines stay where they are.
fn for_people(code: &str) -> String {
    let mut shown = String::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let (length, is_shown) = if rest.starts_with("///") || rest.starts_with("//!") {
            (rest.find('\n').unwrap_or(rest.len()), true)
        } else if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if let Some(length) = raw_string(rest) {
            (length, true)
        } else if first == '"' {
            (string(rest), true)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            (3, false)
        } else {
            (first.len_utf8(), false)
        };
        let (part, after) = rest.split_at(length);
        if is_shown {
            shown += part;
        } else {
            shown.extend(part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    shown
}

/// The length of the string literal with which the code begins.
fn string(code: &str) -> usize {
    let mut escaped = false;
    let end = code.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(code.len(), |(at, _)| at + 1)
}

/// The length of the raw string literal with which the code begins, if it does.
fn raw_string(code: &str) -> Option<usize> {
    let hashes = code.strip_prefix('r')?.chars().take_while(|c| *c == '#').count();
    let start = 1 + hashes;
    code[start..].starts_with('"').then_some(())?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(code[start + 1..].find(&end).map_or(code.len(), |at| start + 1 + at + end.len()))
}

#[test]
fn words_are_found_in_any_case_and_only_as_whole_words() {
    assert!(contains("it takes all of it away", "away") && contains("it takes away", "take* away"));
    assert!(contains("`stackdrop:role`.", "stackdrop:role"));
    assert!(contains("tidying up", "tidy*"));
    assert!(contains("it is to be kept", "is to be"));
    assert!(!contains("the_undo_deletes", "undo") && !contains("undocumented", "undo"));
    assert!(!contains("`tests/stack/undo.rs`", "undo"));
    assert!(!contains("this is tobe", "is to be"));
}

#[test]
fn only_messages_and_documentation_are_read_in_source_code() {
    let code =
        "/// Doc.\nlet storm = 1; // storm\nlet text = \"a \\\" message\";\nlet quote = '\"';\nr#\"raw\"#\n";
    let shown = for_people(code);
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    assert_eq!(lines, ["/// Doc.", "", "\"a \\\" message\"", "", "r#\"raw\"#"]);
}
