#!/bin/sh
# Promise: the static file is one file, no larger than promised, and serves where nothing else is: the steps of
# scripts/Dockerfile, taken by hand, lead to a folder in which it runs as nobody. As root, or where a user may make
# namespaces. For the processors of small machines, armv7 and aarch64, it does so too; here qemu-user plays these. The
# packages hold these files; dpkg installs, removes and purges them. tests/debian.sh tries them where systemd runs.
set -eu
cd "$(dirname "$0")/.."

# With everything the page needs, without store and Redis; with musl and with a glibc that scripts/static/without-stdio.c
# knows. Another one brings 0.55 MB more of its own.
MOST_BYTES=1750000
MOST_BYTES_WITH_UNKNOWN_GLIBC=2350000

fail() { echo "tests/package.sh: $*" >&2 && exit 1; }

folder=$(mktemp -d)
server='' listener=''
trap '[ -z "$server$listener" ] || kill $server $listener 2>/dev/null || true; rm -r "$folder"' EXIT

# Waits until a command succeeds: `wait_for WHAT COMMAND`.
wait_for() {
    what=$1 tries=0
    shift
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -le 600 ] || fail "late: $what; its log: $(cat "$folder/log")"
        sleep 0.05
    done
}

runs() { grep -q 'Running at' "$folder/log"; }
is_heard_by_one() { curl -s "$host/health" | grep -q '"listeners":1,'; }

# Starts what is tried, with its store in the file $kept, and sets $host. `run [ARGUMENT...]` becomes the tried file, whose
# settings are in the environment.
start() {
    : >"$folder/log"
    (ALOUD_BIND=127.0.0.1:0 ALOUD_STORE=$kept && export ALOUD_BIND ALOUD_STORE && run 2>"$folder/log") &
    server=$!
    wait_for 'it runs' runs
    host=$(sed -n 's/.*Running at //p' "$folder/log")
}

# Asks it whether it is well.
check() { (run --check --bind "$host"); }

# Ends it, and looks whether it has ended well.
stop() {
    kill "$server"
    wait "$server" || fail "it ended with $?; its log: $(cat "$folder/log")"
    server=
}

# It serves, shows the page, is heard, keeps what was said, and knows whether it is well.
serves() {
    start
    [ -z "$user" ] || [ "$(stat -c %u "/proc/$server")" = "${user%:*}" ] || fail 'it runs as somebody else'
    curl -s -H 'Accept: text/html' "$host/" | grep -qi '<!doctype html>' || fail 'it shows no page'
    curl -sN "$host/listen" >"$folder/heard" &
    listener=$!
    wait_for 'it has a listener' is_heard_by_one
    [ "$(curl -s "$host/say" -d message=alone)" = ok. ] || fail 'it does not take a message'
    check || fail 'its check finds it ill'
    stop
    wait "$listener" || fail 'its listener saw no proper end'
    listener=
    [ "$(tr -d '\r\n' <"$folder/heard")" = alone ] || fail "its listener heard $(cat "$folder/heard")"

    start
    [ "$(curl -s "$host/said" | tr -d '\r\n')" = alone ] || fail 'it has not kept what was said'
    stop
    if check 2>"$folder/complaint"; then
        fail 'its check finds it well though it is gone'
    fi
    grep -q "^aloud: the server at $host is not well (Connection refused " "$folder/complaint" || fail "it complains with: $(cat "$folder/complaint")"
}

file=$(scripts/build-static.sh)
size=$(stat -c %s "$file")
most=$MOST_BYTES
case $file in *-gnu*) ${CC:-cc} -fsyntax-only scripts/static/without-stdio.c || most=$MOST_BYTES_WITH_UNKNOWN_GLIBC ;; esac
echo "$file: $size bytes, of at most $most"
[ "$size" -le $most ] || fail 'too many'

# The package for a processor, and the static file in it.
scripts/package.sh >"$folder/packages"
deb_for() { grep "_$1\.deb\$" "$folder/packages"; }
for arch in amd64 arm64 armhf; do
    dpkg-deb -x "$(deb_for $arch)" "$folder/$arch"
    echo "$(deb_for $arch): $(stat -c %s "$(deb_for $arch)") bytes, aloud $(stat -c %s "$folder/$arch/usr/bin/aloud")"
    [ "$(dpkg-deb -f "$(deb_for $arch)" Architecture)" = $arch ] || fail "the package is not for $arch"
done
cksum "$(deb_for amd64)" >"$folder/sums"
scripts/package.sh amd64 >/dev/null
cksum "$(deb_for amd64)" | cmp - "$folder/sums" || fail 'its bytes differ the second time'

# dpkg in a folder, without systemd: `in_folder ARGUMENT...`.
mkdir -p "$folder/root/var/lib/dpkg" && touch "$folder/root/var/lib/dpkg/status"
in_folder() { dpkg --root="$folder/root" --force-script-chrootless --force-not-root --force-depends "$@" >"$folder/dpkg" 2>&1; }
in_folder -i "$(deb_for amd64)" || fail "dpkg does not install it: $(cat "$folder/dpkg")"
[ -L "$folder/root/etc/systemd/system/sockets.target.wants/aloud.socket" ] || fail 'systemd will not listen for it'
sed -i 's/^#ALOUD_QUEUE=.*/ALOUD_QUEUE=1000/' "$folder/root/etc/aloud.env"
mkdir -p "$folder/root/var/lib/aloud" && echo said >"$folder/root/var/lib/aloud/store"
in_folder -i "$(deb_for amd64)" || fail "dpkg does not upgrade it: $(cat "$folder/dpkg")"
grep -q ^ALOUD_QUEUE=1000 "$folder/root/etc/aloud.env" || fail 'an upgrade forgets the settings'
for program in aloud aloud-beat aloud-hear; do
    "$folder/root/usr/bin/$program" --help | grep -q "^usage: $program " || fail "$program calls itself otherwise"
    man --warnings -l "$folder/root/usr/share/man/man1/$program.1.gz" 2>&1 >/dev/null | { ! grep .; } || fail "$program(1) is no page"
done
in_folder --remove aloud || fail "dpkg does not remove it: $(cat "$folder/dpkg")"
[ -f "$folder/root/etc/aloud.env" ] || fail 'a removal takes the settings away'
in_folder --purge aloud || fail "dpkg does not purge it: $(cat "$folder/dpkg")"
left=$(cd "$folder/root" && find . -path ./var/lib/dpkg -prune -o ! -type d -print)
[ "$left" = ./var/lib/aloud/store ] || fail "a purge leaves $left"

file=$folder/amd64/usr/bin/aloud
context=$folder/context image=$folder/image
mkdir -p "$image" "$context/empty" && cp "$file" "$context/"

# A word of the form ["A", "B"] as A B.
words() { tr -d '[]",' ; }

while read -r instruction rest; do
    case $instruction in
    COPY)
        owner=0:0
        case $rest in --chown=*) owner=${rest%% *} rest=${rest#* } && owner=${owner#--chown=} ;; esac
        to=$image${rest#* }
        mkdir -p "${to%/*}" && cp -r "$context/${rest% *}" "$to"
        [ "$(id -u)" != 0 ] || chown -R "$owner" "$to"
        ;;
    USER) user=$rest ;;
    HEALTHCHECK) health=$(echo "${rest##*CMD }" | words) ;;
    ENTRYPOINT) entry=$(echo "$rest" | words) ;;
    FROM) [ "$rest" = scratch ] || fail "the image is made from $rest" ;;
    EXPOSE | '#'* | '') ;;
    *) fail "scripts/Dockerfile says $instruction, which this test cannot do" ;;
    esac
done <scripts/Dockerfile
[ "$(find "$image" -type f | wc -l)" = 1 ] || fail 'more than one file is in the image'
[ "$health" = "$entry --check" ] || fail "the image is checked with $health"
# The owners too, which only root can give.
if [ "$(id -u)" = 0 ]; then
    list() { (cd "$1" && find . -mindepth 1 -printf '%P %m %U\n' | LC_ALL=C sort); }
    mkdir "$folder/packed" && tar -xpf "$(grep 'amd64\.image' "$folder/packages")" -C "$folder/packed"
    [ "$(list "$image")" = "$(list "$folder/packed")" ] || fail "the packed root differs: $(list "$folder/packed")"
fi
chmod 755 "$folder" "$image"

run() {
    if [ "$(id -u)" = 0 ]; then
        exec chroot --userspec="$user" "$image" "$entry" "$@"
    fi
    exec unshare --map-root-user chroot "$image" "$entry" "$@"
}
kept=/var/lib/aloud/store
[ "$(id -u)" = 0 ] || user=''
serves
[ "$(stat -c %a "$image$kept")" = 600 ] || fail 'others may read what it keeps'

for machine in arm:armhf aarch64:arm64; do
    emulator=qemu-${machine%:*} file=$folder/${machine#*:}/usr/bin/aloud
    command -v "$emulator" >/dev/null || fail "$emulator is missing; run scripts/install-test-tools.sh"
    run() { exec "$emulator" "$file" "$@"; }
    kept=$folder/${machine%:*} user=''
    serves
done
