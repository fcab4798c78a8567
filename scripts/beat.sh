#!/bin/sh
# Tells an aloud server that this machine lives, with its load, memory, disk and uptime. Needs a POSIX shell, curl, and
# Linux for the figures: it runs under dash, bash and busybox (OpenWrt).
set -u

usage() {
    cat <<'END'
usage: beat.sh [--every S | --next S] [--note TEXT] [--disk FOLDER] SERVER [HOST]

  beat.sh localhost:4000                 beats once
  beat.sh --every 30 localhost:4000      beats every 30 seconds, until it is ended
  beat.sh --next 60 localhost:4000       beats once and says that the next one comes in 60 seconds: for cron

  SERVER    where aloud listens, such as localhost:4000 or https://aloud.example.org
  HOST      what this machine is called; its own name unless you give one
  --note    a few words that are shown with it
  --disk    a folder on the disk that is told about [/]

ALOUD_SAY_TOKEN in the environment is the server's --say-token, where it has one; @FILE reads it from a file.
Exits 0 when the server has taken the beat, 1 when not, 2 on bad usage. With --every it complains and goes on.
END
}

wrong() {
    echo "beat.sh: $1; beat.sh --help shows how" >&2
    exit 2
}

every='' next='' note='' folder=/
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage && exit 0 ;;
    --every | --next | --note | --disk)
        [ $# -gt 1 ] || wrong "$1 has no value"
        case $1 in --every) every=$2 ;; --next) next=$2 ;; --note) note=$2 ;; --disk) folder=$2 ;; esac
        shift 2
        ;;
    -*) wrong "there is no option $1" ;;
    *) break ;;
    esac
done
case $every$next in *[!0-9]*) wrong "\"$every$next\" is no whole number of seconds" ;; esac
[ -z "$every" ] || [ "$every" -gt 0 ] || wrong '--every 0 never ends'
[ $# -eq 1 ] || [ $# -eq 2 ] || wrong 'it takes a SERVER, and perhaps a HOST'
command -v curl >/dev/null || { echo 'beat.sh: curl is missing; install it' >&2; exit 1; }

server=${1%/}
host=${2:-}
[ -n "$host" ] || read -r host </proc/sys/kernel/hostname || host=$(uname -n)
# In a URL some characters end the name, and another host would beat.
case $host in *[!A-Za-z0-9_.-]*) wrong "\"$host\" is no host name: it takes A-Z a-z 0-9 _ . -" ;; esac

# Adds a figure to the curl configuration that `beat` writes, where there is one. Values are quoted as curl reads them.
figure() {
    [ -z "$2" ] || printf 'data-urlencode = "%s=%s"\n' "$1" "$(quoted "$2")"
}

quoted() {
    rest=$1
    while [ -n "$rest" ]; do
        char=${rest%"${rest#?}"}
        rest=${rest#?}
        case $char in [\"\\]) printf '\\%s' "$char" ;; "$line_break") printf '\\n' ;; *) printf '%s' "$char" ;; esac
    done
}
line_break='
'
carriage_return=$(printf '\r')

# KiB as bytes, five digits at a time: a shell may count no further than 2^31.
bytes() {
    digits=$1 carry=0 last=''
    while [ ${#digits} -gt 5 ]; do
        first=${digits%?????}
        part=$(((1${digits#"$first"} - 100000) * 1024 + carry)) # behind a 1, because 0 would make it octal
        carry=$((part / 100000)) part=$((part % 100000 + 100000))
        digits=$first last=${part#1}$last
    done
    printf %s "$((digits * 1024 + carry))$last"
}

memory() {
    total='' available='' free=0
    while read -r key value _; do
        case $key in
        MemTotal:) total=$value ;;
        MemAvailable:) available=$value ;;
        MemFree: | Buffers: | Cached:) free=$((free + value)) ;; # what kernels before 3.14 tell instead
        esac
    done </proc/meminfo
    [ -n "$total" ] || return
    figure mem_total "$(bytes "$total")"
    figure mem_used "$(bytes $((total - ${available:-$free})))"
}

# The names of the device and of the folder may hold blanks. Between them stand total, used, available and a percentage.
disk() {
    df -P -k "$folder" 2>/dev/null | {
        read -r _ && read -r line || exit 0
        set -f
        # shellcheck disable=SC2086 # they are words
        set -- $line
        while [ $# -gt 4 ]; do
            case $1$2$3,$4$5 in
            *[!0-9]*,*) ;;
            *,[0-9]*%/*) figure disk_total "$(bytes "$1")" && figure disk_used "$(bytes "$2")" && break ;;
            esac
            shift
        done
    }
}

figures() {
    figure every "${every:-$next}"
    [ ! -r /proc/uptime ] || { read -r up _ </proc/uptime && figure up "$up"; }
    [ ! -r /proc/loadavg ] || {
        read -r one five fifteen _ </proc/loadavg
        figure load1 "$one" && figure load5 "$five" && figure load15 "$fifteen"
    }
    [ ! -r /proc/meminfo ] || memory
    disk
    figure note "$note"
}

# The token goes in by standard input, like everything else: arguments are for all on this machine to see. Its file is
# read for each beat, so that it may change.
beat() {
    token=${ALOUD_SAY_TOKEN:-}
    case $token in
    @*) token=$(cat "${token#@}" 2>&1) || { echo "beat.sh: the token cannot be read ($token)" >&2; return 1; } ;;
    esac
    answer=$({
        figures
        [ -z "$token" ] || printf 'header = "Authorization: Bearer %s"\n' "$(quoted "${token%"$carriage_return"}")"
    } | curl -sS --globoff --max-time 10 --config - --write-out '%{http_code}' --request POST "$server/beat/$host" 2>&1)
    said=$(printf %s "${answer%???}")
    case $answer in
    *200) echo "$said" ;;
    *) echo "beat.sh: $said" >&2 && return 1 ;;
    esac
}

if [ -z "$every" ]; then
    beat
    exit
fi
while :; do
    beat >/dev/null
    sleep "$every"
done
