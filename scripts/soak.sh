#!/bin/sh
# Churns a server and looks whether memory, threads and descriptors are in the end what they were in the beginning:
#   scripts/soak.sh          ten minutes; draws scripts/soak.svg
#   scripts/soak.sh 10       so many seconds; draws target/soak/soak.svg, as scripts/test.sh does
# Exits 1 where something has grown, or a steady listener has missed a message.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --quiet
mkdir -p target/soak
exec python3 scripts/soak.py target/release/aloud "${1:-600}" target/soak
