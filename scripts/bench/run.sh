#!/bin/sh
# Measures aloud against its peers and the floor: installs what is missing, builds everything, runs the suite.
# Arguments go to suite.py: --quick, --rounds N, --only SCENARIO, --servers A,B (see README.md).
set -eu
bench=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$bench/../.." && pwd)

# Debian's names of what the peers need, each with a file it brings.
missing=
[ -x /usr/bin/go ] || missing="$missing golang-go"
[ -x /usr/sbin/nginx ] || missing="$missing nginx"
[ -f /usr/lib/nginx/modules/ngx_nchan_module.so ] || missing="$missing libnginx-mod-nchan"
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "run.sh: please install:$missing" >&2
        exit 1
    fi
    apt-get update -qq
    # Only the program nginx is wanted: in runlevel 1 its package does not start the service.
    # shellcheck disable=SC2086
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi

if [ -f "$root/Cargo.toml" ]; then
    cargo build --release --quiet --manifest-path "$root/Cargo.toml"
else
    echo "run.sh: no aloud to build yet, measuring the peers alone" >&2
fi
for crate in load peers/axum peers/axum-sqlite peers/floor; do
    cargo build --release --quiet --locked --manifest-path "$bench/$crate/Cargo.toml" --target-dir "$bench/target"
done
(cd "$bench/peers/go" && go build -trimpath -ldflags='-s -w' -o "$bench/target/release/go-peer" .)

ulimit -n "$(ulimit -Hn)"
aloud="${CARGO_TARGET_DIR:-$root/target}/release/aloud"
exec python3 "$bench/suite.py" --aloud "$aloud" "$@"
