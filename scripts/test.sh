#!/bin/sh
# Passes all tests on a Debian machine with a Rust toolchain: installs what is missing (apt, when root), then checks
# formatting, lints, docs, and runs every test: unit, model, end to end.
set -eu
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

# The tests hold a thousand connections open.
ulimit -n "$(ulimit -Hn)"

step tools
scripts/install-test-tools.sh

# The last part of a release build keeps one processor busy and leaves the others idle, and the end-to-end tests wait most
# of the time: these builds run beside the steps that do not need them. A step that needs one waits for cargo's lock.
mkdir -p target
{
    cargo test --quiet --release --test tests --no-run
    RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom \
        cargo test --quiet --release --no-default-features --lib --no-run
    nice -n 19 scripts/build-static.sh
    nice -n 19 scripts/package.sh
    CARGO_TARGET_DIR=target/lesson cargo test --quiet --manifest-path scripts/lesson/Cargo.toml --no-run
    CARGO_TARGET_DIR=scripts/bench/target cargo test --quiet --manifest-path scripts/bench/load/Cargo.toml --no-run
} >target/builds.log 2>&1 &
builds=$!
trap 'kill $builds 2>/dev/null || true' EXIT

step formatting
cargo fmt --check

step lints
cargo clippy --all-targets --quiet -- -D warnings

step docs
RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --document-private-items --quiet

step 'no async runtime in the tree'
if cargo tree --edges normal | grep -E '\b(tokio|async-std|smol|futures-executor)\b'; then
    echo 'an async runtime has crept in' >&2
    exit 1
fi

step 'unit tests and examples'
cargo test --quiet --lib --bins
cargo test --quiet --doc

step 'what must hold for every input'
cargo test --quiet --test properties
tests/fuzz/run.sh runs 20000

step 'model checks of the hand-over'
RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom cargo test --quiet --release --no-default-features --lib model

# Most of these tests wait for something most of the time, so there are more of them at once than cores.
threads=$((2 * $(nproc)))

step 'end to end'
cargo test --quiet --release --test tests -- --test-threads $threads

if command -v valkey-server >/dev/null; then
    step 'the tests of Redis, with Valkey'
    ALOUD_TEST_REDIS=valkey-server cargo test --quiet --release --test tests relay -- --test-threads $threads
fi

step 'the builds beside'
wait $builds || {
    cat target/builds.log >&2
    exit 1
}

step 'the lesson: twins, a naive program, exercises'
CARGO_TARGET_DIR=target/lesson cargo test --quiet --manifest-path scripts/lesson/Cargo.toml

step 'the static files and the packages, alone in a folder and for ARM'
tests/package.sh

step 'the load generator of the benchmarks'
CARGO_TARGET_DIR=scripts/bench/target cargo test --quiet --manifest-path scripts/bench/load/Cargo.toml

step 'churn, for a moment'
scripts/soak.sh 10

step 'the demo'
scripts/demo.sh
