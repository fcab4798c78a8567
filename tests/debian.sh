#!/bin/sh
# Promise: on a clean Debian, with systemd running, the package is installed, serves, is upgraded, removed and purged, and
# leaves nothing but what was said. For arm64 and armhf too; there qemu plays the processor, of aloud alone.
#
#   tests/debian.sh [OLD.deb]
#
# Run by hand: as root, with debootstrap, systemd-container and qemu-user-static, on a machine that reaches a mirror of
# Debian. scripts/test.sh runs tests/package.sh, which needs none of these. The roots stay in target/debian, to be used
# again. With OLD.deb, a package of 0.1, the upgrade from that is tried too: its store is refused, and stays.
set -eu
cd "$(dirname "$0")/.."

fail() { echo "tests/debian.sh: $*" >&2 && exit 1; }

old=${1:-}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
roots=$PWD/${CARGO_TARGET_DIR:-target}/debian packages=${CARGO_TARGET_DIR:-target}/packages
mirror=${MIRROR:-http://deb.debian.org/debian}
mkdir -p "$roots"
container='' folder=$(mktemp -d)
trap '[ -z "$container" ] || kill $container 2>/dev/null || true; wait; rm -rf "$folder"' EXIT

# A clean root of a release, with systemd and curl: what a small server has.
make_root() {
    [ ! -f "$roots/$1/made" ] || return 0
    rm -rf "${roots:?}/$1"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,adduser,curl,man-db "$1" "$roots/$1" "$mirror" >/dev/null
    touch "$roots/$1/made"
}

# Boots a copy of it, without a network but its own loopback.
boot() {
    rm -rf "$folder/root"
    cp -a --reflink=auto "$roots/$1" "$folder/root"
    cp "$packages"/*.deb "$folder/root/root/"
    [ -z "$old" ] || cp "$old" "$folder/root/root/old.deb"
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --keep-unit --register=no --private-network \
        --machine="aloud-$1" --directory="$folder/root" --boot >"$folder/log" 2>&1 </dev/null &
    container=$!
    tries=0
    until leader=$(pgrep -P "$container" -x systemd) &&
        inside systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; do
        tries=$((tries + 1))
        [ $tries -le 300 ] || fail "$1 does not boot: $(tail -3 "$folder/log")"
        sleep 0.2
    done
}

# Runs something in the booted container.
inside() {
    nsenter --target "$leader" --mount --uts --ipc --net --pid --root --wd \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

halt() {
    inside systemctl poweroff --no-block
    wait "$container" || true
    container=''
}

# All files that a package or its scripts could have touched.
files() {
    others="! -path var/lib/dpkg/* ! -path var/lib/systemd/* ! -path var/lib/apt/*"
    # shellcheck disable=SC2086 # they are words
    (cd "$folder/root" && set -f && find etc usr var/lib -xdev $others | LC_ALL=C sort)
}

is() {
    what=$1 expected=$2 found=$(shift 2 && "$@" 2>&1) || true
    [ "$found" = "$expected" ] || fail "$what: $found, not $expected; $(inside journalctl -u aloud.service -n 20 --no-pager)"
}

for suite in bookworm trixie; do
    make_root $suite
    boot $suite
    files >"$folder/before"
    if [ -n "$old" ]; then
        inside dpkg -i /root/old.deb >/dev/null
        is 'old says' ok. inside curl -s localhost:4000/say -d message=old
        is 'old kept' old inside sh -c 'curl -s localhost:4000/said?since=all | tr -d "\r"'
        inside dpkg -i "/root/aloud_${version}_amd64.deb" >/dev/null
        tries=0
        until inside journalctl -u aloud.service --no-pager | grep 'kept by aloud before 0.2; take what it holds out'; do
            tries=$((tries + 1))
            [ $tries -le 100 ] || fail "the old store is not refused: $(inside journalctl -u aloud.service -n 20 --no-pager)"
            sleep 0.1
        done | tail -1
        inside systemctl stop aloud.socket aloud.service
        inside mv /var/lib/private/aloud/store /var/lib/private/aloud/store.old
        inside systemctl reset-failed aloud.socket aloud.service
        inside systemctl start aloud.socket
    else
        inside dpkg -i "/root/aloud_${version}_amd64.deb"
    fi
    is 'socket' active inside systemctl is-active aloud.socket
    is 'it says' ok. inside curl -s localhost:4000/say -d message=kept
    is 'who serves' aloud inside stat -c %U "/proc/$(inside systemctl show -p MainPID --value aloud.service)"
    is 'the check' '' inside aloud --check
    inside sh -c 'echo ALOUD_SAY_TOKEN=speak >>/etc/aloud.env'
    inside dpkg -i --force-confdef "/root/aloud_${version}_amd64.deb" >/dev/null # the same once more is an upgrade too
    is 'it has kept' kept inside sh -c 'curl -s localhost:4000/said?since=all | tr -d "\r"'
    is 'its settings stay' '401' inside curl -s -o /dev/null -w '%{http_code}' localhost:4000/say -d message=x
    is 'a beat' ok. inside env ALOUD_SAY_TOKEN=speak aloud-beat localhost:4000 web1
    is 'units' '' inside systemd-analyze verify /usr/lib/systemd/system/aloud.socket /usr/lib/systemd/system/aloud.service
    is 'failed units' '' inside sh -c 'systemctl list-units --failed --plain --no-legend | grep aloud'
    inside man -w aloud-hear >/dev/null
    # An administrator has aloud listen itself, and an upgrade does not bring the socket back.
    inside sh -c 'systemctl disable --now aloud.socket; systemctl enable aloud.service aloud-beat.timer; systemctl restart aloud.service' 2>/dev/null
    inside dpkg -i --force-confdef "/root/aloud_${version}_amd64.deb" >/dev/null
    is 'the socket' disabled inside systemctl is-enabled aloud.socket
    is 'the service' active inside systemctl is-active aloud.service
    inside dpkg --remove aloud >/dev/null
    is 'after the removal' inactive inside systemctl is-active aloud.service
    is 'its settings' 640 inside stat -c %a /etc/aloud.env
    inside dpkg --purge aloud
    files >"$folder/after"
    is 'its user' '' inside getent passwd aloud
    left=$(comm -13 "$folder/before" "$folder/after" | tr '\n' ' ')
    case "$left" in *etc/* | *usr/*) fail "$suite: the purge leaves $left" ;; esac
    echo "$suite: left after the purge: $left"
    for arch in arm64 armhf; do
        inside dpkg --add-architecture $arch
        inside dpkg --force-architecture --force-depends -i "/root/aloud_${version}_$arch.deb" >/dev/null
        emulator=qemu-$(echo $arch | sed 's/arm64/aarch64/; s/armhf/arm/')-static
        cp "$(command -v "$emulator")" "$folder/root/usr/bin/"
        inside mkdir -p /etc/systemd/system/aloud.service.d
        printf '[Service]\nExecStart=\nExecStart=/usr/bin/%s /usr/bin/aloud\nSystemCallFilter=\nMemoryDenyWriteExecute=no\n' \
            "$emulator" >"$folder/root/etc/systemd/system/aloud.service.d/qemu.conf"
        inside systemctl daemon-reload
        is "$arch says" ok. inside curl -s --max-time 60 localhost:4000/say -d message=$arch
        is "$arch keeps" $arch inside sh -c 'curl -s localhost:4000/said?since=1m | tail -1 | tr -d "\r"'
        inside dpkg --purge aloud:$arch >/dev/null
        echo "$suite: $arch installed, served, purged"
    done
    halt
done
