# Completion of aloud for bash; made by tests/manual.rs. Goes into /usr/share/bash-completion/completions/aloud.
_aloud() {
    # Bash would split the line at = and : and @ too.
    local line=${COMP_LINE:0:COMP_POINT} flag word file
    word=${line##*[[:space:]]}
    flag=${line%"$word"} flag=${flag%"${flag##*[![:space:]]}"} flag=${flag##*[[:space:]]}
    case $word in --*=*) flag=${word%%=*} word=${word#*=} ;; esac
    case $flag:$word in
    --log:*) mapfile -t COMPREPLY < <(compgen -W 'off error warn info debug trace' -- "$word") ;;
    --store:* | --tokens:* | --bind:unix:* | --redis:unix:*) compopt -o default ;;
    --say-token:@* | --listen-token:@* | --hook-secret:@*)
        while read -r file; do
            [ ! -d "$file" ] || { file+=/ && compopt -o nospace; }
            COMPREPLY+=("@$(printf %q "$file")")
        done < <(compgen -f -- "${word#@}")
        ;;
    --check:* | --help:* | --version:* | [!-]*) mapfile -t COMPREPLY < <(compgen -W '--bind --socket-mode --max-listeners --max-per-address --trust-proxy --queue --history --history-bytes --things --store --redis --heartbeat --idle --max-body --say-token --listen-token --tokens --hook-secret --allow-origin --log --check --help --version' -- "$word") ;;
    esac
}
complete -F _aloud aloud
