//! Whatever bytes somebody uploads as a spec: see `specs/tests/reader`, whose property `cargo test` tries as well.
//!
//! `cargo +nightly fuzz run read_spec fuzz/corpus/read_spec specs -- -max_len=70000 -timeout=5` (the specs are seeds;
//! a file that takes longer than five seconds counts as a crash).

#![no_main]

#[path = "../../specs/tests/reader/mod.rs"]
mod reader;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = reader::holds_for(bytes) {
        panic!("{broken}");
    }
});
