# List the recipes.
default:
    @just --list

# Run everything that CI runs.
check:
    .ci/run

# Rehearse the example spec.
rehearse *ARGS:
    cargo run -- rehearse specs/shop.yaml {{ARGS}}

# Run the tests.
test *ARGS:
    cargo test {{ARGS}}

# Serve a simulated account with the example deployed.
simulate:
    cargo run -- simulate --after specs/shop.yaml

# Check the dependencies: duplicates, licenses and sources (needs cargo-deny).
deny:
    cargo deny check bans licenses sources

# Check the dependencies for security advisories (needs cargo-deny; downloads the advisory database).
advisories:
    cargo deny check advisories

# Run chaos tests.
chaos *ARGS:
    cargo run -- chaos {{ARGS}}

# Fuzz the reader of specs (needs nightly Rust and cargo-fuzz); `just fuzz 600` runs for ten minutes.
fuzz SECONDS="60":
    mkdir -p fuzz/corpus/read_spec
    cargo +nightly fuzz run read_spec fuzz/corpus/read_spec specs -- -max_len=70000 -timeout=5 -max_total_time={{SECONDS}}

# Print how soon each incident is told, and the last words.
waits:
    cargo test --workspace --test stack -- waits --nocapture

# Check the template with SAM (needs the SAM CLI).
template:
    sam validate --lint

# Try small mistakes in a copy of the project: do the tests notice them? (an hour; docs/contributing/test-the-tests.md)
mutants *ARGS:
    python3 tests/mutants/run.py {{ARGS}}
