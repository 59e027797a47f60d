"""HTTP, from the client's connection to the answer.

    port         a socket that clients connect to (`listener`), and the requests that are under way; `ports` has all of
                 them: the own one, and those that listeners of Gateways want
    certificates what clients are shown on the ports of Gateways, by the name that they ask for
    proxies      load balancers that are believed whom they speak for (pure); `proxied` reads their PROXY headers, by
                 `proxy_protocol` (pure), from a connection that was just accepted
    connection   a client's connection: one request after the other, each in its turn and in time
    parser       requests from bytes, strictly (pure); `wire` is the way back (pure)
    head         what a request's head says, and whether it says one thing only (pure)
    message      a request as the stages see it: head, body as it comes, connection
    accept       where a request wants to go (pure)
    redirects    where it is sent instead (pure)
    client       the client's side of a request: the body that it sends, the answers that it gets
    origins      which pages may open WebSockets (pure)
    headers      which fields cross, in both directions, and how Policies change them (pure)
    paths, query  what is compared is normalised, what is sent upstream is what the client wrote (pure)
    completions  chat completions: body read, model renamed, usage metered (`chat` and `sse` are pure)
    responding   the Responses API (`responses` and `background` are pure); over a WebSocket it is `dataplane.dialogue`
    reading      what is read here is asked for so that it can be read
    jury         guardrails of a request: who judges its texts; `spoken` those that come in pieces, `speech` what is
                 said aloud; `refused`: responses that nobody goes on from (pure)
    guarded      answers under guardrails (`chat_guarded`, `responses_guarded`: what they look like)
    turn         the one record that a request leaves that a model worked for; `outcome` is what its answer said (pure)
    models       what a caller may use, from the Backend or from what a provider lists
    passthrough  everything else, streamed both ways; `tunnels`, `tunnel` and `splice` for its WebSockets
    relay        an upstream's answer, piece by piece, as it comes
    handover     takes connections of WebSockets away from HTTP

Realtime sessions begin here too: their handshake is a request like others.
"""
