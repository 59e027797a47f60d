"""What carries traffic. It is given a table in which everything is decided, and asks nobody else.

    accept ─ match route ─ authenticate ─ limits ─ pick provider ─ open upstream ─ first event ─ answer ─ relay ─ settle

    table        the contract: what is served, as whoever decides hands it over
    snapshot     a table made ready for look-ups (pure)
    server       the data port and the first stages, in order; `connection`, `accept` and `http` are its client side
    lifecycle    what a gateway has from start to stop; `port` its socket and connections, `drain` how it is emptied
    overload     what is refused when there is no room (`memory` says how much there is)
    routing      which route, and how its path is handled (pure; with `paths`, `query`, `patterns`)
    callers      who asks (pure)
    exchange     one request on its way: all that was decided about it
    headers      which fields cross, in both directions, and how Policies change them (pure)
    upstreams/   which provider, what it is sent, and the connections to it
    completions  chat completions: body read, model renamed, usage metered (`chat` and `sse` are pure)
    passthrough  everything else, streamed both ways; `tunnel` and `splice` for its WebSockets
    realtime/    realtime sessions; `handover` takes their connections, and those of tunnels, from aiohttp
    dialects/    how providers speak (pure)
    metering/    what was used, by whom, and what it cost
    tracing      what a trace is made from
    telemetry/   metrics, traces and logs by OpenTelemetry
    errors       every refusal of our own, in one catalogue

A stage refuses by raising `errors.Refusal`; the server turns it into the answer. Whatever is under way keeps the
snapshot that it began with.
"""
