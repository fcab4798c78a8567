#!/usr/bin/env bash
# Installs what the tests run beside the server: from Debian's packages (as root) curl and its like, proxies, Redis,
# Prometheus and its Alertmanager, browsers, shells, qemu and compilers for ARM; from npm and PyPI what tests/readers
# lists; Rust's libraries for ARM; and what builds the fuzzers. Where everything is there it does nothing, at once.
set -euo pipefail
cd "$(dirname "$0")/../tests/readers"

missing=()
command -v curl >/dev/null || missing+=(curl)
command -v nc >/dev/null || missing+=(netcat-openbsd)
command -v slowhttptest >/dev/null || missing+=(slowhttptest)
command -v faketime >/dev/null || missing+=(faketime)
command -v jq >/dev/null || missing+=(jq)
[ -x /usr/sbin/nginx ] || missing+=(nginx)
[ -x /usr/sbin/haproxy ] || missing+=(haproxy)
[ -x /usr/sbin/varnishd ] || missing+=(varnish)
[ -x /usr/bin/redis-server ] || missing+=(redis-server)
# Debian's newer releases have Valkey too, on which the tests of Redis run once more.
[ -x /usr/bin/valkey-server ] || ! apt-cache show valkey-server >/dev/null 2>&1 || missing+=(valkey-server)
command -v prometheus-alertmanager >/dev/null && command -v amtool >/dev/null || missing+=(prometheus-alertmanager)
command -v prometheus >/dev/null || missing+=(prometheus)
command -v openssl >/dev/null || missing+=(openssl)
command -v man >/dev/null || missing+=(man-db groff-base)
command -v sqlite3 >/dev/null || missing+=(sqlite3)
command -v strace >/dev/null || missing+=(strace)
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
command -v busybox >/dev/null || missing+=(busybox)
command -v mksh >/dev/null || missing+=(mksh)
command -v shellcheck >/dev/null || missing+=(shellcheck)
[ -x /usr/bin/chromium ] || missing+=(chromium)
[ -x /usr/bin/firefox-esr ] || missing+=(firefox-esr)
command -v gzip >/dev/null || missing+=(gzip)
command -v qemu-arm >/dev/null && command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
command -v arm-linux-gnueabihf-gcc >/dev/null || missing+=(gcc-arm-linux-gnueabihf libc6-dev-armhf-cross)
command -v aarch64-linux-gnu-gcc >/dev/null || missing+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "missing for the tests; install as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    # No service is started: Debian's maintainer scripts ask this file first, and 101 forbids it.
    if ! [ -e /usr/sbin/policy-rc.d ]; then
        trap 'rm /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod +x /usr/sbin/policy-rc.d
    fi
    apt-get update
    apt-get install --yes --no-install-recommends ca-certificates "${missing[@]}"
fi

# Both folders remember by a copy of their list what they were made from.
if ! cmp --silent package-lock.json node_modules/made-from; then
    npm ci --no-audit --no-fund
    cp package-lock.json node_modules/made-from
fi
if ! cmp --silent requirements.txt venv/made-from || ! venv/bin/python -c ''; then
    python3 -m venv --clear venv
    venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
    cp requirements.txt venv/made-from
fi

# Rust's libraries for the processors of small machines, for which tests/package.sh builds.
for target in armv7-unknown-linux-gnueabihf aarch64-unknown-linux-gnu; do
    [ -d "$(rustc --print target-libdir --target $target)" ] && continue
    if ! command -v rustup >/dev/null; then
        echo "missing for tests/package.sh: Rust's library for $target; install rustup, which can bring it" >&2
        exit 1
    fi
    rustup target add $target
done

# The fuzzers are built with libFuzzer's instrumentation, which takes a nightly compiler; nothing else does.
if ! cargo +nightly --version >/dev/null 2>&1; then
    if ! command -v rustup >/dev/null; then
        echo "missing for the fuzzers: a nightly toolchain; install rustup, which can bring one" >&2
        exit 1
    fi
    rustup toolchain install nightly --profile minimal
fi
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked
