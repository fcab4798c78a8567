#!/bin/sh
# Promise: the static file is one file, no larger than promised, and serves where nothing else is: the steps of
# scripts/Dockerfile, taken by hand, lead to a folder in which it runs as nobody. As root, or where a user may make
# namespaces.
set -eu
cd "$(dirname "$0")/.."

# With everything the page needs, without store and Redis; with musl and with a glibc that scripts/static/without-stdio.c
# knows. Another one brings 0.55 MB more of its own.
MOST_BYTES=1500000
MOST_BYTES_WITH_UNKNOWN_GLIBC=2200000

fail() { echo "tests/package.sh: $*" >&2 && exit 1; }

file=$(scripts/build-static.sh)
size=$(stat -c %s "$file")
most=$MOST_BYTES
case $file in *-gnu*) ${CC:-cc} -fsyntax-only scripts/static/without-stdio.c || most=$MOST_BYTES_WITH_UNKNOWN_GLIBC ;; esac
echo "$file: $size bytes, of at most $most"
[ "$size" -le $most ] || fail 'too many'

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -r "$folder"' EXIT
mkdir "$folder/image"
: >"$folder/log"

# A word of the form ["A", "B"] as A B.
words() { tr -d '[]",' ; }

while read -r instruction rest; do
    case $instruction in
    COPY) cp "$(dirname "$file")/${rest% *}" "$folder/image${rest#* }" ;;
    USER) user=$rest ;;
    HEALTHCHECK) check=$(echo "${rest##*CMD }" | words) ;;
    ENTRYPOINT) entry=$(echo "$rest" | words) ;;
    FROM) [ "$rest" = scratch ] || fail "the image is made from $rest" ;;
    EXPOSE | '#'* | '') ;;
    *) fail "scripts/Dockerfile says $instruction, which this test cannot do" ;;
    esac
done <scripts/Dockerfile
[ "$(find "$folder/image" -type f | wc -l)" = 1 ] || fail 'more than one file is in the image'
chmod 755 "$folder" "$folder/image"

# Starts a command of the image in it, as its user.
in_image() {
    if [ "$(id -u)" = 0 ]; then
        exec chroot --userspec="$user" "$folder/image" "$@"
    fi
    exec unshare --map-root-user chroot "$folder/image" "$@"
}

# shellcheck disable=SC2086 # they are words
(ALOUD_BIND=127.0.0.1:0 in_image $entry 2>"$folder/log") &
server=$!
tries=0
until grep -q 'Running at' "$folder/log"; do
    tries=$((tries + 1))
    [ $tries -le 600 ] || fail "it does not start: $(cat "$folder/log")"
    sleep 0.05
done
host=$(sed -n 's/.*Running at //p' "$folder/log")
[ "$(id -u)" != 0 ] || [ "$(stat -c %u "/proc/$server")" = "${user%:*}" ] || fail 'it runs as somebody else'

curl -sN "$host/listen" >"$folder/heard" &
listener=$!
until curl -s "$host/health" | grep -q '"listeners":1,'; do sleep 0.05; done
[ "$(curl -s "$host/say" -d message=alone)" = ok. ] || fail 'it does not take a message'

# shellcheck disable=SC2086
(ALOUD_BIND=$host in_image $check) || fail 'the health check finds it ill'
kill "$server"
wait "$server" || fail "it ended with $?"
wait "$listener" || fail 'its listener saw no proper end'
server=
[ "$(tr -d '\r\n' <"$folder/heard")" = alone ] || fail "its listener heard $(cat "$folder/heard")"
# shellcheck disable=SC2086
if (ALOUD_BIND=$host in_image $check) 2>"$folder/complaint"; then
    fail 'the health check finds it well though it is gone'
fi
cat "$folder/complaint"
