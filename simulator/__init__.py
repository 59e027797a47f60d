"""Doubles of providers (OpenAI; Azure and xAI, which are like it and not the same), with a ledger of what they billed.

`tidegate simulate`, the demo, the tests and the load runs use it as their upstream: faithful enough that the
vendor's own SDKs parse every event, deterministic given its inputs, and as wrong or slow as a scenario says.

    server        Simulator: start, stop, and what was received
    ├─ azure_api  Azure's paths, keys and statuses                              (I/O)
    ├─ http_api   chat completions, models, embeddings, files, the ledger       (I/O)
    │   └─ chat       one completion: body in, reply or chunks out
    ├─ judges_api  the moderation API, and a webhook that judges texts         (I/O)
    │   └─ moderation  the words that are flagged
    ├─ responses_api  the Responses API                                         (I/O)
    │   └─ stored_responses   one response: body in, answer or events out; what is stored, and whose
    ├─ reply      an answer that is billed as it is sent                        (I/O)
    ├─ realtime   the WebSocket pump                                            (I/O)
    │   ├─ wire           frames on their way out, as badly as asked for        (I/O)
    │   ├─ handshake      who may open a session
    │   ├─ beta, xai      a conversation in others' words; xAI's is billed by time
    │   └─ conversation   one session: client events in, server events out
    │       ├─ session, items, speech   what a session holds
    │       ├─ responses, answers       what a response reads, and says
    │       ├─ turns                    the script of one response
    │       ├─ mishaps                  what breaks a turn off, and where
    │       └─ timeline                 scripts played side by side; the clock is an argument
    └─ passthrough  echoes and a download, to see what a relay does             (I/O)
    usage, ledger   what a turn costs, and the book of it
    scenarios       named misbehaviour, chosen by the client or by a file

Only the files marked I/O know sockets, asyncio or a clock. The rest is plain code: a test of a session is a
dialogue, and the order of events is the same every time. A turn is booked just before its usage is sent, so
whoever has seen the usage finds it in `GET /_ledger`, whose totals are what a correct meter must reach. A turn whose
end was never sent is booked too, apart: with what it was billed, which a meter can only estimate.
"""
