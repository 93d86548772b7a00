# List the recipes.
default:
    @just --list

# What CI runs.
check:
    .ci/run

# Rehearse the example.
rehearse *ARGS:
    cargo run -- rehearse specs/shop.yaml {{ARGS}}

# Run the tests.
test *ARGS:
    cargo test {{ARGS}}

# Serve a simulated account with the example deployed.
simulate:
    cargo run -- simulate --after specs/shop.yaml

# Dependencies: licences, advisories, duplicates (needs cargo-deny).
deny:
    cargo deny check

# Check the template as SAM does (needs the SAM CLI).
template:
    sam validate --lint
