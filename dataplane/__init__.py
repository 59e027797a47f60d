"""What carries traffic. It is given a table in which everything is decided, and asks nobody else.

    accept ─ match route ─ authenticate ─ limits ─ pick provider ─ open upstream ─ first event ─ answer ─ relay ─ settle

    table/       the contract: what is served, as whoever decides hands it over (pure)
    snapshot     a table made ready for look-ups (pure), in `slices` (pure)
    server       the data port: a request goes through its `stages` in order
    routing      which route, and how its path is handled (pure; with `patterns`)
    callers/     who asks: keys, tokens and their issuers; `jwks` is how key sets are read (pure)
    guarding     which guardrails hold for a caller, and which may be asked for (pure)
    models       which models a caller may use, by the name alone (pure)
    revocation   whether they would still be let in (pure)
    exchange     one request on its way: all that was decided about it; `services` is what all of them share
    http/        HTTP, from the client's connection to the answer: completions, models and passthrough
    limits/      how much callers may take, and have taken: in this process, or in all that share a store
    guardrails/  what may be said: what is wrong with a text, and what may be seen of it (pure)
    realtime/    realtime sessions
    dialogue/    the WebSocket mode of the Responses API
    affinity/    what a provider keeps is found again by whoever made it (pure)
    upstreams/   which provider, what it is sent, and the connections to it
    judges/      who else judges what is said, and what is told of that
    dialects/    how providers speak (pure)
    metering/    what was used, by whom, and what it cost
    telemetry/   metrics, traces and logs by OpenTelemetry; `tracing` says what of, `guard` that no fault there matters
    process/     start, drain, stop; how much room there is; the log
    deadline     one deadline that moves with every request, for the connections of both sides
    admin        the port for operators: health, metrics, table, sessions
    errors       every refusal of our own, in one catalogue; `faults` is what they say of providers (pure)

A stage refuses by raising `errors.Refusal`; the server turns it into the answer. Whatever is under way keeps the
snapshot that it began with.
"""
