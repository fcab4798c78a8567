#!/bin/sh
# Runs a command for each message that an aloud server is told, one at a time and in order. Comes back by itself and
# misses nothing that the server keeps. Needs a POSIX shell and curl: dash, bash, mksh and busybox (OpenWrt) run it.
set -u

usage() {
    cat <<'END'
usage: hear.sh [OPTIONS] HOST[/CHANNEL] -- COMMAND [ARGUMENT...]

  hear.sh localhost:4000 -- cat                                 prints each line
  hear.sh --state builds localhost:4000/build -- ./on-build     goes on where it stopped, also after a restart

  HOST        where aloud listens, such as localhost:4000 or https://aloud.example.org, or the URL of its /listen
  CHANNEL     hears this channel and all below it, or several, a,b [every one]
  --event     only these events, as in ci,deploy; '*' for every one
  --status    only messages with this status, as in bad or bad,warn
  --since     starts with what was said since then: all, 10m (s, m, h, d), or an id [now]
  --state     a file that remembers the last message whose command has ended; it wins over --since
  --token     the server's --listen-token; @FILE reads it from a file [ALOUD_LISTEN_TOKEN]
  --silence   after so many seconds without a sign of life the connection counts as dead [40]

COMMAND gets the line NAME MESSAGE on its standard input, and in its environment ALOUD_ID, ALOUD_TIME, ALOUD_EVENT,
ALOUD_CHANNEL, ALOUD_NAME, ALOUD_MESSAGE and ALOUD_STATUS. A command that fails is told, and the next one runs.
Ends by a signal, after the command that runs; exits 1 when the server refuses it for good, 2 on bad usage.
END
}

say() {
    printf 'hear.sh: %s\n' "$1" >&2
}

wrong() {
    say "$1; hear.sh --help shows how"
    exit 2
}

event='' status='' place='' state='' silence=40
token=${ALOUD_LISTEN_TOKEN:-}
unset ALOUD_LISTEN_TOKEN # the command has no use for it
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage && exit 0 ;;
    --event | --status | --since | --state | --token | --silence)
        [ -n "${2:-}" ] || wrong "$1 has no value"
        case $1 in
        --event) event=$2 ;; --status) status=$2 ;; --since) place=$2 ;;
        --state) state=$2 ;; --token) token=$2 ;; --silence) silence=$2 ;;
        esac
        shift 2
        ;;
    --) break ;;
    -*) wrong "there is no option $1" ;;
    *) break ;;
    esac
done
if [ $# -lt 3 ] || [ "$2" != -- ]; then
    wrong 'it takes HOST[/CHANNEL] -- COMMAND'
fi
server=${1%/}
shift 2
case $silence in *[!0-9]* | 0*) wrong "\"$silence\" is no whole number of seconds" ;; esac
command -v curl >/dev/null || { say 'curl is missing; install it'; exit 1; }
command -v "$1" >/dev/null || wrong "there is no command $1"

# From HOST/CHANNEL to the URLs. After a scheme, the first slash begins the channel.
scheme=''
case $server in *://*) scheme=${server%%://*}:// server=${server#*://} ;; esac
case $server in *[!]A-Za-z0-9_.,/:@%~[-]*) wrong "\"$server\" is no HOST/CHANNEL" ;; esac
channel=''
case $server/ in
*/listen/*) channel=${server##*/listen} server=${server%/listen*} ;;
*/*/) channel=/${server#*/} server=${server%%/*} ;;
esac
server=$scheme$server

# The place: an id, or at the start what --since says. Written in place and in one piece, as all ids are of one length;
# by `echo`, as mksh has no `printf` of its own and would start a process for each message.
remember() {
    place=$1
    [ -z "$state" ] || echo "$place" 1<>"$state" || say "$state cannot be written; after a restart this comes again"
}
if [ -n "$state" ] && [ -s "$state" ]; then
    IFS= read -r place <"$state" || place=''
    case $place in '' | *[!0-9]*) say "$state holds no id; give another --state"; exit 1 ;; esac
elif [ -n "$state" ]; then
    printf '' >>"$state" || exit 1
fi

# What comes from curl is read from a pipe with a name, so that the commands are run by this very process and end with
# it. Beside it lies the pulse: which curl is listened to, and how many lines have come.
folder=$(mktemp -d) || exit 1
curl='' watcher='' sleeper='' lines=0 busy='' stopped=''
mkfifo "$folder/stream" || exit 1
tab=$(printf '\t')
carriage_return=$(printf '\r')

pulse() {
    echo "$1" 1<>"$folder/pulse"
}
pulse ''

hang_up() {
    exec 3<&-
    [ -z "$curl" ] || { kill "$curl" && wait "$curl"; } 2>/dev/null
    curl=''
}
tidy() {
    trap - EXIT
    hang_up
    kill "$watcher" ${sleeper:+"$sleeper"} 2>/dev/null
    rm -rf "$folder"
}
trap tidy EXIT

# At a signal the command that runs may end first, and its message is remembered unless it failed. Then this ends too.
stop() {
    stopped=$1
    [ -z "$busy" ] || return 0
    tidy
    trap - "$1"
    kill -s "$1" $$
}
trap 'stop HUP' HUP
trap 'stop INT' INT
trap 'stop TERM' TERM

# Kills a curl that is silent for too long, and tidies up when this process has been killed. curl's own --speed-limit
# cannot: to it a sign of life, one byte every 15 seconds, is no byte a second.
watch() {
    last='' quiet=0
    while sleep $(((silence + 3) / 4)); do
        IFS= read -r now <"$folder/pulse" || now=''
        if ! kill -0 $$; then
            kill "${now% *}"
            rm -rf "$folder"
            return
        fi
        quiet=$((quiet + 1))
        case $now in '' | *busy) quiet=0 ;; "$last") ;; *) quiet=0 ;; esac
        last=$now
        [ $quiet -lt 4 ] || { kill "${now% *}" && quiet=0; }
    done
}
watch >/dev/null 2>&1 </dev/null &
watcher=$!

quoted() {
    rest=$1 text=''
    while [ -n "$rest" ]; do
        char=${rest%"${rest#?}"}
        rest=${rest#?}
        case $char in [\"\\]) text=$text\\ ;; esac
        text=$text$char
    done
    printf '%s' "$text"
}

# Asks for a URL, with arguments for curl, and reads the head of the answer: its code, its type and its id. The token
# goes in by standard input: arguments are for all on this machine to see. Its file is read each time, as it may change.
ask() {
    secret=$token
    case $token in
    @*) secret=$(cat "${token#@}") || secret='' ;;
    esac
    config=''
    [ -z "$secret" ] || config="header = \"Authorization: Bearer $(quoted "${secret%"$carriage_return"}")\""
    # Opened first for both, the pipe makes neither end wait for the other, which a signal could cut short.
    # shellcheck disable=SC2094 # it is a pipe
    exec 4<>"$folder/stream" 3<"$folder/stream" 5>"$folder/stream" 4<&-
    printf '%s\n' "$config" |
        curl --config - -sSiN --get --globoff --suppress-connect-headers --connect-timeout "$silence" "$@" >&5 5>&- 3<&- &
    curl=$!
    exec 5>&-
    code='' type='' id=''
    pulse "$curl $lines"
    while IFS= read -r line <&3; do
        line=${line%"$carriage_return"}
        case $line in
        HTTP/*) code=${line#* } code=${code%% *} ;;
        [Cc]ontent-[Tt]ype:*) type=${line#*:} type=${type# } ;;
        [Aa]loud-[Ii]d:*) id=${line#*:} id=${id# } ;;
        '') case $code in 1??) ;; *) break ;; esac ;;
        esac
    done
    case $code in
    200 | '' | 408 | 429 | 5??) return ;;
    esac
    IFS= read -r line <&3
    say "$server answers $code: ${line:-nothing more}"
    exit 1
}

strange() {
    say "$server sends ${type:-nothing}, and not what was said; is it an aloud?"
    exit 1
}

# Reads lines until the stream ends. Fields are cut out by the shell itself, which takes no process and no eval. `read`
# alone would not do: with a tab as IFS it skips empty fields.
hear() {
    while IFS= read -r line <&3; do
        lines=$((lines + 1))
        wait=1
        pulse "$curl $lines"
        case $line in
        '')
            # All that was asked for has come, and there was nothing.
            [ -z "$newest" ] || { remember "$newest"; newest=''; }
            continue
            ;;
        "$tab"*)
            line=${line%"$tab"}
            say "${line##*"$tab"}"
            continue
            ;;
        esac
        split "$line"
        busy=yes
        pulse "$curl busy" # the command may take its time
        if run "$@"; then
            remember "$id"
        else
            failure=$?
            [ -n "$stopped" ] || { say "the command for message $id has failed with $failure" && remember "$id"; }
        fi
        busy=''
        [ -z "$stopped" ] || stop "$stopped"
        newest=''
        pulse "$curl $lines"
    done
}

split() {
    rest=$1
    id=${rest%%"$tab"*} rest=${rest#*"$tab"}
    time=${rest%%"$tab"*} rest=${rest#*"$tab"}
    kind=${rest%%"$tab"*} rest=${rest#*"$tab"}
    on=${rest%%"$tab"*} rest=${rest#*"$tab"}
    standing=${rest##*"$tab"} rest=${rest%"$tab"*}
    name=${rest%%"$tab"*}
    if [ ${#name} -lt 2000 ]; then
        text=${rest#*"$tab"}
    else
        text=$(printf '%s\n' "$rest" | cut -f 2) # the shell would take seconds
    fi
}

# In a shell of its own, so that the environment and an `exec` of the command's are not ours.
run() (
    exec 3<&-
    export ALOUD_ID="$id" ALOUD_TIME="$time" ALOUD_EVENT="$kind" ALOUD_CHANNEL="$on"
    export ALOUD_NAME="$name" ALOUD_MESSAGE="$text" ALOUD_STATUS="$standing"
    exec "$@" <<END
$name${name:+${text:+ }}$text
END
)

wait=1 newest=''
while :; do
    if [ -z "$newest" ]; then
        case $place in
        '' | *[!0-9]*)
            # The id to come back with, should nothing be heard until then. No event is called "-": no thing is listed.
            ask "$server/now$channel?event=-"
            hang_up
            case $code,$id in 200, | 200,*[!0-9]*) strange ;; esac
            newest=$id
            [ -z "$newest" ] || [ -n "$place" ] || remember "$newest"
            ;;
        esac
    fi
    if [ -n "$place" ]; then
        ask "$server/listen$channel" --data-urlencode as=tsv --data-urlencode "since=$place" \
            ${event:+--data-urlencode "event=$event"} ${status:+--data-urlencode "status=$status"}
        case $code,$type in
        200,text/tab-separated-values*) hear "$@" ;;
        200,*) strange ;;
        esac
        hang_up
    fi
    pulse ''
    case $code in '') why='gives no answer' ;; 200) why='has ended the stream' ;; *) why="answers $code" ;; esac
    say "$server $why; comes back in $wait s"
    sleep $wait >/dev/null 2>&1 &
    sleeper=$!
    wait $sleeper # unlike sleep itself, this ends at a signal
    sleeper=''
    wait=$((wait * 2))
    [ $wait -le 30 ] || wait=30
done
