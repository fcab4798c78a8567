#!/bin/sh
# Makes one file that needs nothing else, not even a C library: copy it to any Linux machine and start it.
#
#   scripts/build-static.sh [TARGET] [CARGO FLAGS]
#
# TARGET is x86_64-unknown-linux-gnu if none is given: built with what Debian and Rust bring (cargo, gcc, libc6-dev).
# For another machine its Rust library and Debian's cross compiler have to be there, and this script names what is not:
#
#   aarch64-unknown-linux-gnu       rustup target add aarch64-unknown-linux-gnu;      apt install gcc-aarch64-linux-gnu
#   armv7-unknown-linux-gnueabihf   rustup target add armv7-unknown-linux-gnueabihf;  apt install gcc-arm-linux-gnueabihf
#
# It holds the default of no cargo feature: what needs a store or Redis is left out (add `--features store`).
# The last line printed is the file's path. In it `--bind` takes numbers rather than names: glibc looks names up with
# libraries of the machine it runs on, where there may be none.
set -eu
cd "$(dirname "$0")/.."

target=${1:-x86_64-unknown-linux-gnu}
[ $# -eq 0 ] || shift

case $target in
x86_64-unknown-linux-gnu) linker=cc package=gcc ;;
aarch64-unknown-linux-gnu) linker=aarch64-linux-gnu-gcc package=gcc-aarch64-linux-gnu ;;
armv7-unknown-linux-gnueabihf) linker=arm-linux-gnueabihf-gcc package=gcc-arm-linux-gnueabihf ;;
*)
    echo "$0: no linker is known for $target; give one of those in the head of this script" >&2
    exit 2
    ;;
esac
if [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then
    echo "$0: Rust has no library for $target; rustup target add $target" >&2
    exit 1
fi
if ! command -v "$linker" >/dev/null; then
    echo "$0: $linker is missing; apt install $package" >&2
    exit 1
fi

# A target named explicitly keeps these flags from the build's own tools, which stay dynamic. Without position
# independence the file is a quarter smaller and its pages need no relocation at the start.
export RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static -C linker=$linker"
cargo build --release --quiet --target "$target" --no-default-features "$@" >&2

file=${CARGO_TARGET_DIR:-target}/$target/release/aloud
if ldd "$file" >/dev/null 2>&1; then
    echo "$0: $file is dynamic all the same" >&2
    exit 1
fi
echo "$file"
