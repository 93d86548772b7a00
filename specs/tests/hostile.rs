//! Files that are not specs, by accident or on purpose: each is refused quickly, with a reason.

#![expect(clippy::unwrap_used, reason = "helpers of tests can panic like the tests")]

mod reader;

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;
use stackdrop_specs::{LONGEST_SPEC, Spec, schema};

/// A snapshot without the expression that made it.
macro_rules! snapshot {
    ($text:expr) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!($text) })
    };
}

fn reported(bytes: &[u8]) -> String {
    let errors = Spec::read(bytes).unwrap_err();
    let lines: Vec<String> = errors
        .problems()
        .iter()
        .map(|p| format!("{}:{} {} | {}", p.line, p.column, p.message, p.expected))
        .collect();
    lines.join("\n")
}

fn utf16(text: &str, mark: bool, big: bool) -> Vec<u8> {
    let units = mark.then_some(0xFEFF).into_iter().chain(text.encode_utf16());
    units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

/// A line for each number.
fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().join("\n") + "\n"
}

fn alias_bomb(levels: usize) -> String {
    let mut bomb = "stack: shop\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..levels {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb += format!("a{level}: &a{level} [{aliases}]\n").as_str();
    }
    bomb
}

/// Files that are not specs, by name.
fn hostile() -> BTreeMap<&'static str, Vec<u8>> {
    BTreeMap::from([
        ("empty", vec![]),
        ("blank", b" \n\n\t\n".to_vec()),
        ("comments only", b"# nothing\n---\n# here\n".to_vec()),
        ("byte order mark only", b"\xEF\xBB\xBF".to_vec()),
        ("binary", b"\x7FELF\x02\x01\x01\x00\x00\x00".to_vec()),
        ("gzip", b"\x1F\x8B\x08\x00\x00\x00\x00\x00".to_vec()),
        ("zero bytes", vec![0; 64]),
        ("latin-1", b"stack: shop\ntags: { caf\xE9: yes }\n".to_vec()),
        ("utf-16 with mark", utf16("stack: shop\n", true, false)),
        ("utf-16 without mark", utf16("stack: shop\n", false, true)),
        ("terminal escape", b"stack: \"shop\x1B[2J\"\n".to_vec()),
        ("huge", vec![b'#'; LONGEST_SPEC + 1]),
        ("several documents", b"stack: shop\n---\nstack: shop\n".to_vec()),
        ("duplicate keys", b"stack: shop\nstack: stop\n".to_vec()),
        ("alias bomb", alias_bomb(40).into_bytes()),
        ("small alias bomb", alias_bomb(5).into_bytes()),
        ("deep lists", format!("stack: {}", "[".repeat(30_000)).into_bytes()),
        ("deep maps", lines(200, |n| format!("{}a:", " ".repeat(n))).into_bytes()),
        ("deep blocks", format!("stack: shop\nx:\n  {}a", "- ".repeat(20_000)).into_bytes()),
        ("many values", format!("stack: shop\nservices: [{}]", "1,".repeat(20_000)).into_bytes()),
        ("many anchors", lines(200, |n| format!("a{n}: &a{n} x")).into_bytes()),
        ("merge of nothing", b"<<: 1\nstack: shop\n".to_vec()),
        ("long key", format!("stack: shop\n? {}\n: x\n", "k".repeat(30_000)).into_bytes()),
        ("html", b"<!DOCTYPE html><html><body>Access Denied</body></html>".to_vec()),
        ("a spec's listing", b"specs/shop.yaml".to_vec()),
        ("include", b"stack: !include /etc/passwd\n".to_vec()),
        ("property", b"stack: ${HOME}\n".to_vec()),
    ])
}

#[test]
fn hostile_files() {
    let text: String = hostile().iter().fold(String::new(), |text, (name, bytes)| {
        let problems = reported(bytes);
        assert!(problems.len() < 4096, "{name}: {problems}");
        format!("{text}## {name}\n{problems}\n\n")
    });
    snapshot!(text);
}

#[test]
fn a_file_with_too_many_problems_lists_the_first_hundred() {
    let text = lines(2000, |n| format!("unknown{n}: {n}"));
    let errors = Spec::read(text.as_bytes()).unwrap_err();
    assert_eq!((errors.problems().len(), errors.more()), (100, 1901));
    assert!(errors.to_string().ends_with("\nand 1901 more\n"));
}

#[test]
fn harmless_variants_are_accepted() {
    for text in [
        "\u{FEFF}stack: shop\n",
        "stack: shop\r\ntags:\r\n  a: b\r\n",
        "%YAML 1.2\n---\nstack: shop\n...\n",
        "{\"stack\": \"shop\"}",
        "stack: shop",
        "x-y: &x { image: nginx }\n",
    ] {
        let read = Spec::read(text.as_bytes());
        assert_eq!(read.is_ok(), !text.starts_with("x-y"), "{text}: {read:?}");
    }
    let spec = Spec::read(ALIASES.as_bytes()).unwrap();
    assert_eq!(spec.services["a"], spec.services["c"]);
    assert_eq!((spec.services["b"].cpu, spec.services["b"].memory, spec.services["b"].count), (512, 1024, 1));
}

/// A text field keeps the text of a number or boolean without quotes.
#[test]
fn plain_numbers_keep_their_text() {
    let text = "stack: shop\ntags: { version: 1.10, cost: 0755 }\nservices: { web: { image: nginx, command: [sleep, 1_000], environment: { A: 1e3, B: no, C: true, D: 0x10 } } }\ndatabase: { version: 17.10 }\n";
    let spec = Spec::read(text.as_bytes()).unwrap();
    assert_eq!(spec.tags.values().collect::<Vec<_>>(), ["0755", "1.10"]);
    assert_eq!(spec.services["web"].command, ["sleep", "1_000"]);
    assert_eq!(spec.services["web"].environment.values().collect::<Vec<_>>(), ["1e3", "no", "true", "0x10"]);
    assert_eq!(spec.database.unwrap().version, "17.10");
}

const SHOP: &str = include_str!("../shop.yaml");
const PRIVATE: &str = include_str!("../private.yaml");
const MINIMAL: &str = include_str!("../minimal.yaml");
const ALIASES: &str =
    "stack: shop\nservices:\n  a: &a { image: nginx, cpu: 512 }\n  b: { <<: *a, count: 1 }\n  c: *a\n";

/// The input of every step contains the spec, so its size counts with all aliases expanded.
#[test]
fn a_small_file_that_expands_to_a_large_spec_is_refused() {
    let values = lines(4, |n| format!("      LONG{n}: {}", "x".repeat(3000)));
    let others = lines(9, |n| format!("  more{n}: *web"));
    let text =
        format!("stack: shop\nservices:\n  web: &web\n    image: nginx\n    environment:\n{values}{others}");
    assert!(text.len() < LONGEST_SPEC / 3);
    let problems = reported(text.as_bytes());
    assert!(problems.contains("bytes") && problems.contains("alias"), "{problems}");
    reader::holds_for(text.as_bytes()).unwrap();
}

/// The longest time for reading a file and reporting its problems.
const READ_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// The most expensive files of the maximum size take well under a second; a Lambda function has sixty. The limit is high
/// enough for a busy machine, and low enough to detect a time that grows with the square of the size.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test measures the time of reading")]
fn the_largest_files_are_read_in_seconds() {
    for (name, piece) in [
        ("keys", "k{n}: v\n"),
        ("list", "- {n}\n"),
        ("quoted", "\"\\u00e9{n}\": 'it''s'\n"),
        ("anchors", "a{n}: &a{n} x\n"),
        ("flow", "[{n},\n"),
        ("question", "? {n}\n"),
        ("folded", "k{n}: >\n a\n\n b\n"),
        ("comment", "#{n}\n"),
        ("tabs", "\t{n}\n"),
    ] {
        let mut text = "stack: shop\n".to_owned();
        for n in 0.. {
            let more = piece.replace("{n}", &n.to_string());
            if text.len() + more.len() > LONGEST_SPEC {
                break;
            }
            text += &more;
        }
        assert!(text.len() > LONGEST_SPEC - 64, "{name}");
        let begun = std::time::Instant::now();
        reader::holds_for(text.as_bytes()).unwrap_or_else(|broken| panic!("{name}: {broken}"));
        let took = begun.elapsed();
        assert!(took < READ_TIME_MAX, "{name} took {took:?}");
    }
}

/// Valid and nearly valid texts for the checks of single values: names, patterns, schedules, sizes.
fn any_text() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "[a-z0-9*?-]{1,8}(\\.[a-z0-9*?-]{1,8}){1,3}",
        "[/*?][A-Za-z0-9_.$/~\"'@:+&*?-]{0,12}",
        "rate\\([1-9][0-9]{0,2} (minutes?|hours?|days?)\\)",
        "cron\\([0-5]?[0-9] ([01]?[0-9]|\\*/[1-9]) (\\?|L|1W|[1-9]) (\\*|JAN-MAR) (\\?|2#1|MON) \\*\\)",
        "(db\\.)?[a-z][0-9][a-z]{0,2}\\.(nano|micro|[2-9]?xlarge|metal)",
        "1[2-9](\\.[0-9]{1,3})?",
        "[1-5][0-9]{2}([,-][1-5][0-9]{2}){0,2}",
        "[a-z_][a-z0-9_]{0,8}|[a-z][a-z0-9]{0,3}(-[a-z0-9]{1,3}){0,3}",
        "(ghcr\\.io/)?[a-z]{1,5}(/[a-z._-]{1,5})?(:[a-z0-9.]{1,5})?",
        "arn:aws:(acm|secretsmanager):eu-central-1:123456789012:(certificate/|secret:)[a-z0-9-]{1,8}(:k::)?",
        "arn:aws:ssm:eu-central-1:123456789012:parameter/?[a-z0-9/._:-]{1,12}",
        "Z[A-Z0-9]{4,12}",
    ])
    .prop_flat_map(|pattern| pattern)
}

/// Values for any place of a spec, most of them invalid.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0_u32..70_000).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        any_text().prop_map(Value::from),
        prop_oneof![Just("10.0.0.0/16"), Just("single"), Just("host"), Just("17"), Just("/*"), Just("nginx")]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        let key = prop_oneof![
            Just("path".to_owned()),
            Just("image".to_owned()),
            Just("min".to_owned()),
            Just("schedule".to_owned()),
            Just("allow".to_owned()),
            "[a-zA-Z]{1,8}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..5).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// The JSON pointers of all values in a spec.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                places(inner, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                places(inner, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// The reader's guarantees for any bytes, for proptest.
fn sensible(bytes: &[u8]) -> Result<(), TestCaseError> {
    reader::holds_for(bytes).map_err(TestCaseError::fail)
}

/// Valid and hostile texts, which the tests mutate.
fn corpus() -> Vec<Vec<u8>> {
    let hostile = hostile().into_values();
    let right = [SHOP, PRIVATE, MINIMAL, ALIASES].map(|text| text.as_bytes().to_vec());
    hostile.chain(right).collect()
}

/// One mutation of a fuzzer.
#[derive(Debug, Clone)]
enum Mutation {
    Cut(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
    Flip(prop::sample::Index, u8),
    Repeat(prop::sample::Index, usize, usize),
    Splice(prop::sample::Index, prop::sample::Index, prop::sample::Index, usize),
}

impl Mutation {
    fn any() -> impl Strategy<Value = Self> {
        let place = any::<prop::sample::Index>;
        let token = prop::sample::select(vec![
            "&a ",
            "*a",
            "<<: ",
            "- ",
            ": ",
            "\n",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "'",
            "|\n",
            ">-\n",
            "!!str ",
            "? ",
            "#",
            "---\n",
            "...\n",
            "%YAML 1.2\n",
            "\t",
            "~",
            "null",
            "0x10",
            "1e999",
            "\u{85}",
            "\u{FEFF}",
            "\u{2028}",
        ]);
        prop_oneof![
            (place(), 0..64_usize).prop_map(|(at, count)| Self::Cut(at, count)),
            (place(), token).prop_map(|(at, token)| Self::Insert(at, token.as_bytes().to_vec())),
            (place(), prop::collection::vec(any::<u8>(), 1..8))
                .prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            (place(), any::<u8>()).prop_map(|(at, byte)| Self::Flip(at, byte)),
            (place(), 1..200_usize, 1..40_usize)
                .prop_map(|(at, count, times)| Self::Repeat(at, count, times)),
            (place(), place(), place(), 1..400_usize)
                .prop_map(|(at, file, from, count)| Self::Splice(at, file, from, count)),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let within = |at: &prop::sample::Index, length: usize| at.index(length + 1);
        let stretch = |of: &[u8], from: usize, count: usize| of[from..(from + count).min(of.len())].to_vec();
        match self {
            Self::Cut(at, count) => {
                let at = within(at, bytes.len());
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Self::Insert(at, more) => {
                let at = within(at, bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Flip(at, byte) => {
                let at = within(at, bytes.len());
                if let Some(there) = bytes.get_mut(at) {
                    *there ^= byte;
                }
            }
            Self::Repeat(at, count, times) => {
                let at = within(at, bytes.len());
                let again = stretch(bytes, at, *count).repeat(*times);
                bytes.splice(at..at, again);
            }
            Self::Splice(at, file, from, count) => {
                let (at, file) = (within(at, bytes.len()), &corpus[file.index(corpus.len())]);
                bytes.splice(at..at, stretch(file, within(from, file.len()), *count));
            }
        }
    }
}

/// A text of the corpus with a few mutations.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let corpus = corpus();
    let seed = any::<prop::sample::Index>();
    (seed, prop::collection::vec(Mutation::any(), 1..6)).prop_map(move |(seed, mutations)| {
        let mut bytes = corpus[seed.index(corpus.len())].clone();
        for mutation in &mutations {
            mutation.apply(&mut bytes, &corpus);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        sensible(&bytes)?;
    }

    #[test]
    fn mutated_files_never_panic(bytes in mutated()) {
        sensible(&bytes)?;
    }

    #[test]
    fn arbitrary_yaml_never_panics(text in "[ -~\n\t\u{e9}\u{1F980}&*!|>'\"%@`{}\\[\\],?:#-]{0,200}") {
        sensible(text.as_bytes())?;
    }

    #[test]
    fn a_spec_with_missing_parts_has_sensible_problems(start in 0..SHOP.len(), length in 0_usize..200, more in "[ a-z:\n\\[\\]{}*&0-9'-]{0,12}") {
        let mut bytes = SHOP.as_bytes().to_vec();
        bytes.splice(start..(start + length).min(SHOP.len()), more.into_bytes());
        sensible(&bytes)?;
    }

    #[test]
    fn a_spec_with_an_unexpected_value_has_sensible_problems(
        private in any::<bool>(), place in any::<prop::sample::Index>(), strange in any_value(),
    ) {
        let mut spec = serde_json::to_value(Spec::read(if private { PRIVATE } else { SHOP }.as_bytes()).unwrap()).unwrap();
        let mut all = Vec::new();
        places(&spec, "", &mut all);
        *spec.pointer_mut(&all[place.index(all.len())]).unwrap() = strange;
        sensible(&serde_json::to_vec(&spec).unwrap())?;
        sensible(&serde_json::to_vec_pretty(&spec).unwrap())?;
    }

    /// The schema is never stricter than the reader, so editors show no false errors.
    #[test]
    fn the_schema_accepts_everything_that_the_reader_accepts(
        private in any::<bool>(), place in any::<prop::sample::Index>(), strange in any_value(),
    ) {
        let mut spec = serde_json::to_value(Spec::read(if private { PRIVATE } else { SHOP }.as_bytes()).unwrap()).unwrap();
        let mut all = Vec::new();
        places(&spec, "", &mut all);
        *spec.pointer_mut(&all[place.index(all.len())]).unwrap() = strange;
        if let Ok(read) = Spec::read(&serde_json::to_vec(&spec).unwrap()) {
            let wrong = jsonschema::validate(&schema(), &spec).err().map(|error| error.to_string());
            prop_assert_eq!(wrong, None);
            let again = serde_json::to_vec(&read).unwrap();
            prop_assert_eq!(Spec::read(&again).unwrap(), read);
        }
    }
}
