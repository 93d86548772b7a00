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

# Check the dependencies: licenses, advisories, duplicates (needs cargo-deny).
deny:
    cargo deny check

# Check the template with SAM (needs the SAM CLI).
template:
    sam validate --lint
