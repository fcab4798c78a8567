#!/usr/bin/env bash
# Runs the fuzzers, one after the other:
#   tests/fuzz/run.sh runs 20000            so many inputs each, as scripts/test.sh does
#   tests/fuzz/run.sh seconds 3600 gate     by hand: so long, only these
# What they find interesting is kept in target/found and built upon the next time. What fails is kept in artifacts, and
# printed; copy it to corpus when it is mended.
set -euo pipefail
cd "$(dirname "$0")"

case "${1:-}" in
    runs) limit="-runs=${2:?how many}" ;;
    seconds) limit="-max_total_time=${2:?how many}" ;;
    *) sed -n '2,6s/^# //p' "$0" >&2 && exit 2 ;;
esac
shift 2
[ $# -gt 0 ] || set -- gate form multipart frame

# Seconds for one input; a thousand times what the slowest takes.
timeout=20

for target in "$@"; do
    options=("$limit" "-timeout=$timeout" -print_final_stats=1 -max_len=4096)
    [ ! -f "$target.dict" ] || options+=("-dict=$target.dict")
    mkdir -p "target/found/$target"
    log=target/found/$target.log
    if ! cargo +nightly fuzz run --fuzz-dir . "$target" "target/found/$target" "corpus/$target" -- "${options[@]}" \
        >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        exit 1
    fi
    inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "$target: $inputs inputs, no crash, no hang, no disagreement"
done
