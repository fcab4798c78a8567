# Completion of aloud for fish; made by tests/manual.rs. Goes into /usr/share/fish/vendor_completions.d/aloud.fish.
function __aloud_secret
    set -l word (string replace -r '^--[a-z-]*=' '' -- (commandline -ct))
    string match -q '@*' -- $word; or return
    for path in (__fish_complete_path (string sub -s 2 -- $word))
        echo @$path
    end
end
complete -c aloud -f
complete -c aloud -l bind -x -d 'address and port; :4000 is every interface, v6 and v4; unix:PATH a socket file; port 0 picks one'
complete -c aloud -l socket-mode -x -d 'the permissions of the socket file, in octal; who may write to it may connect'
complete -c aloud -l max-listeners -x -d 'the most who may listen at once, or what the open-file limit allows if less; past it, "full"'
complete -c aloud -l max-per-address -x -d 'the most connections from one address, at most half of all; if not given, this machine\'s own has half'
complete -c aloud -l trust-proxy -x -d 'proxies whose Forwarded or X-Forwarded-For says who the client is: addresses, networks, unix'
complete -c aloud -l queue -x -d 'messages that may wait for one listener; one that falls further behind is hung up on'
complete -c aloud -l history -x -d 'messages kept for those who come back or ask for what was said; the oldest goes first'
complete -c aloud -l history-bytes -x -d 'the most that the messages kept may weigh together'
complete -c aloud -l things -x -d 'the most things of which the newest word is kept, see /now'
complete -c aloud -l store -r -F -d 'keeps what was said in this file, across restarts; without it, in memory'
complete -c aloud -l redis -x -d 'shares what is said with other servers: redis://[:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS'
complete -c aloud -l heartbeat -x -d 'seconds of silence after which a listener gets a sign of life'
complete -c aloud -l idle -x -d 'a connection silent for so many seconds between requests is closed'
complete -c aloud -l max-body -x -d 'largest body /say takes'
complete -c aloud -l say-token -x -a '(__aloud_secret)' -d 'what has to be shown to say something; @FILE reads it from a file'
complete -c aloud -l listen-token -x -a '(__aloud_secret)' -d 'what has to be shown to hear or see what was said; @FILE reads it from a file'
complete -c aloud -l tokens -r -F -d 'a file of tokens, read again when it changes: one TOKEN say|listen|both [CHANNEL] a line'
complete -c aloud -l hook-secret -x -a '(__aloud_secret)' -d 'what webhooks have to prove that they know, any text; @FILE reads it from a file; may come more than once'
complete -c aloud -l allow-origin -x -d 'which web pages may use the server: every one, or those of these origins (CORS)'
complete -c aloud -l log -x -a 'off error warn info debug trace' -d 'off, error, warn, info, debug or trace; goes to stderr'
complete -c aloud -l check -d 'asks the server at --bind whether it is well; exit 0 if it is, 1 if not'
complete -c aloud -l help -d 'prints what there is, and ends'
complete -c aloud -l version -d 'prints the version, and ends'
