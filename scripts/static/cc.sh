#!/bin/sh
# The linker of scripts/build-static.sh for glibc: $ALOUD_CC, given $ALOUD_WITHOUT_STDIO (see without-stdio.c) before
# all else. Where that does not go, because a feature needs the rest of glibc, it links as usual. By its name Rust knows
# what kind of linker it is.
"$ALOUD_CC" "$ALOUD_WITHOUT_STDIO" "$@" 2>/dev/null || exec "$ALOUD_CC" "$@"
