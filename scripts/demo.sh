#!/bin/sh
# Shows it: a server, two listeners, one speaker, and what each of them prints.
set -eu
cd "$(dirname "$0")/.."

cargo build --release --quiet
folder=$(mktemp -d)
target/release/aloud --bind 127.0.0.1:0 --log debug 2>"$folder/log" &
server=$!
trap 'kill $server 2>/dev/null || true; rm -r "$folder"' EXIT

until grep -q 'Running at' "$folder/log"; do sleep 0.05; done
host=$(sed -n 's/.*Running at //p' "$folder/log")

curl -sN "$host/listen" >"$folder/lines" &
lines=$!
curl -sN "$host/listen?as=json" >"$folder/json" &
json=$!
until [ "$(grep -c ' listens' "$folder/log")" = 2 ]; do sleep 0.05; done

for message in 'Hi' 'is anybody there?' 'then I can say what I want'; do
    printf "\$ curl %s/say -d 'name=Florian' -d 'message=%s'\n" "$host" "$message"
    curl -s "$host/say" -d name=Florian --data-urlencode "message=$message"
    echo
done

kill "$server" # ends the streams properly, so that the listeners end too
wait "$lines" "$json"
printf '\n$ curl -sN %s/listen\n' "$host"
cat "$folder/lines"
printf "\n\$ curl -sN '%s/listen?as=json'\n" "$host"
cat "$folder/json"
