"""HTTP, from the client's connection to the answer.

    port         the socket that clients connect to, and the requests that are under way
    connection   a client's connection: aiohttp's, with the bounds that aiohttp lacks
    accept       what a request's head says, and whether it says one thing only
    client       the client's side of a request: the body that it sends, the answers that it gets
    headers      which fields cross, in both directions, and how Policies change them (pure)
    paths, query  what is compared is normalised, what is sent upstream is what the client wrote (pure)
    completions  chat completions: body read, model renamed, usage metered (`chat` and `sse` are pure)
    passthrough  everything else, streamed both ways; `tunnels`, `tunnel` and `splice` for its WebSockets
    relay        an upstream's answer, piece by piece, as it comes
    handover     takes connections of WebSockets away from aiohttp

Realtime sessions begin here too: their handshake is a request like others.
"""
