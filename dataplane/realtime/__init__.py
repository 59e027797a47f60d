"""Realtime sessions: one WebSocket of a client, one of an upstream, and what must be true in between.

    frames     WebSocket frame heads, control frames and close codes (RFC 6455), as plain functions
    gate       one per direction: follows frames, decides what is read, what streams, what is refused
    events     strict JSON of client events: no duplicate keys, no lenient spellings
    session    what is true of one session: model, turns in flight, usage, why it ends
    endings    the one table of how sessions end: event, close code, metric label
    relay      joins two gates and a session: bytes of either leg in, actions out
    handshake  I/O: dial the upstream first, wait for its first event, then answer the client's upgrade
    legs       I/O: two asyncio protocols that feed a relay and carry out its actions

Everything but the last two is free of sockets, asyncio and clocks. After the handshake bytes go on as they came;
a message is taken apart only where its type is on the watch list of its direction.
"""
