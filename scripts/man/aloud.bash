# Completion of aloud for bash; made by tests/manual.rs. Goes into /usr/share/bash-completion/completions/aloud.
_aloud() {
    case $3 in
    --log) mapfile -t COMPREPLY < <(compgen -W 'off error warn info debug trace' -- "$2") ;;
    --check | --help | --version) mapfile -t COMPREPLY < <(compgen -W '--bind --socket-mode --max-listeners --max-per-address --trust-proxy --queue --history --history-bytes --things --store --redis --heartbeat --idle --max-body --say-token --listen-token --tokens --hook-secret --allow-origin --log --check --help --version' -- "$2") ;;
    --*) COMPREPLY=() ;;
    *) mapfile -t COMPREPLY < <(compgen -W '--bind --socket-mode --max-listeners --max-per-address --trust-proxy --queue --history --history-bytes --things --store --redis --heartbeat --idle --max-body --say-token --listen-token --tokens --hook-secret --allow-origin --log --check --help --version' -- "$2") ;;
    esac
}
complete -F _aloud aloud
