#!/bin/sh
# Makes one file that needs nothing else, not even a C library: copy it to any Linux machine and start it.
#
#   scripts/build-static.sh [TARGET] [CARGO FLAGS]
#
# Without a TARGET it is built for x86_64: with musl, where Rust has its library (1.5 MB), else with what every Debian
# with Rust has, glibc (1.7 MB; 2.25 MB with a glibc that scripts/static/without-stdio.c does not know). For another
# target its Rust library and Debian's cross compiler have to be there, and this script names what is not:
#
#   x86_64-unknown-linux-musl       rustup target add x86_64-unknown-linux-musl
#   x86_64-unknown-linux-gnu        apt install gcc libc6-dev
#   aarch64-unknown-linux-gnu       rustup target add aarch64-unknown-linux-gnu;      apt install gcc-aarch64-linux-gnu
#   armv7-unknown-linux-gnueabihf   rustup target add armv7-unknown-linux-gnueabihf;  apt install gcc-arm-linux-gnueabihf
#
# It is built for size (the profile `small`). The figures of the README are those of the ordinary build; musl's allocator has
# one lock for all threads, so a big machine is better off with that.
#
# No cargo feature is in it unless you say so: `--features store`, with or without a TARGET before it, gives it --store.
# Where a server shall keep what is said, and scripts/Dockerfile and scripts/systemd/aloud.service want that, it is needed.
# With glibc `--bind` takes numbers and `localhost`
# rather than names: glibc looks names up with libraries of the machine it runs on. The last line printed is the file's path.
set -eu
cd "$(dirname "$0")/.."

flags=${RUSTFLAGS:-}

# Whether Rust has a library for a target.
has() {
    # shellcheck disable=SC2086 # they are words
    [ -d "$(rustc $flags --print target-libdir --target "$1")" ]
}

target=
case ${1:--} in
-*) ;;
*) target=$1 && shift ;;
esac
if [ -z "$target" ]; then
    target=x86_64-unknown-linux-gnu
    ! has x86_64-unknown-linux-musl || target=x86_64-unknown-linux-musl
fi

case $target in
x86_64-unknown-linux-musl) linker=cc package=gcc ;;
x86_64-unknown-linux-gnu) linker=cc package=gcc ;;
aarch64-unknown-linux-gnu) linker=aarch64-linux-gnu-gcc package=gcc-aarch64-linux-gnu ;;
armv7-unknown-linux-gnueabihf) linker=arm-linux-gnueabihf-gcc package=gcc-arm-linux-gnueabihf ;;
*)
    echo "$0: no linker is known for $target; give one of those in the head of this script" >&2
    exit 2
    ;;
esac
if ! has "$target"; then
    echo "$0: Rust has no library for $target; rustup target add $target" >&2
    exit 1
fi
if ! command -v "$linker" >/dev/null; then
    echo "$0: $linker is missing; apt install $package" >&2
    exit 1
fi

directory=${CARGO_TARGET_DIR:-target}/$target
mkdir -p "$directory"

# Without the parts of glibc that never run, where this glibc is known.
case $target in
*-gnu*)
    ALOUD_CC=$linker
    ALOUD_WITHOUT_STDIO=$(realpath "$directory")/without-stdio.o
    export ALOUD_CC ALOUD_WITHOUT_STDIO
    if $linker -Os -c scripts/static/without-stdio.c -o "$ALOUD_WITHOUT_STDIO" 2>/dev/null; then
        linker=$PWD/scripts/static/cc.sh
    fi
    ;;
esac

# A target named explicitly keeps these flags from the build's own tools, which stay dynamic. Without position
# independence the file is smaller and its pages need no relocation at the start; what it costs is that its code lies at
# the same address every time.
export RUSTFLAGS="$flags -C target-feature=+crt-static -C relocation-model=static -C linker=$linker"
cargo build --profile small --quiet --target "$target" --no-default-features "$@" >&2

# scripts/Dockerfile copies it with its owner, because an image of one file has nothing that could make a folder.
mkdir -p "$directory/small/empty"

file=$directory/small/aloud
if readelf --program-headers "$file" | grep -q INTERP; then
    echo "$0: $file is dynamic all the same" >&2
    exit 1
fi
echo "$file"
