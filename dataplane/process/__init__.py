"""What a gateway has as a process: its life, the room that it has, and what it writes.

    lifecycle    what there is from start to stop: port, sessions, upstream connections, timers
    drain        how it is emptied before it stops, in phases
    overload     what is refused when there is no room; `memory` says how much there is, `files` how many descriptors
    room         the share of it that unfinished messages and bodies may take
    complaints   what callers are told, and whoever runs the gateway must mend
    pulse        what happens every so often
    pace         what comes in storms, done a little at a time; `gently` does what is long beside the loop, in slices
    revocations  who is connected and must go when a key is revoked (`dataplane.revocation` is the rule)
    beside       what nobody waits for; `threads`: what takes long to work out
    garbage      collections, kept away from what is there to stay
    logs         the log; `outlet` carries its lines to streams that may be slow, full, or read by nobody

`server.Gateway` drives it.
"""
