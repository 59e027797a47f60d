"""Realtime sessions: one WebSocket of a client, one of an upstream, and what must be true in between.

    frames     WebSocket frame heads, control frames and close codes (RFC 6455), as plain functions
    gate       one per direction: follows frames, decides what is read, what streams, what is refused
               (fragments: which frames may come now; kept: what it keeps until it can; long: frames that go on before
               they are whole; audio: the proof that a message is nothing else; steps: what comes out)
    events     strict JSON of client events: no duplicate keys, no lenient spellings
    session    what becomes of each message of one session, and what follows (terms, effects)
    listening  which of the upstream's messages are read, and which go on unread
    noting     what either side's events say of the session, and what it has used by that
    names      the models that are named inside one session: which the client may name, what either side calls them
    turns      which turns are due and under way, and what was seen of each
    admission  turns that may begin only once somebody says so; `turnstile` (I/O) asks the caller's limits
    detection  who answers when the user falls silent: the server by itself, or the gateway in its place
    speech     what the user says: who is talking, what is yet to be transcribed
    inspection  guardrails inside the session; `jury` (I/O) asks whoever else judges
    account    one record for each turn and transcription, and their sums
    endings    the one table of how sessions end: event, close code, metric label
    relay      joins two gates and a session: bytes of either leg in, actions out
    outbox     frames of our own, which go between those that are relayed, or wait until they fit
    watch      the clocks of a session: does each leg live, does anything pass, how long may it last
    timing     how long users wait, and how long turns take
    legs       I/O: one connection, and how it is ended when its peer does not
    live       I/O: two legs and the relay between them; carries out what that decides
    clocks     I/O: when the watch is asked, and what it asks for
    hooks      where the effects of a live session go
    handshake  I/O: dial the upstream first, wait for its first event, then answer the client's upgrade
    service    I/O: all sessions of the process, and what the meter and the tracer are told (entry, attempt)

What comes before `legs` is free of sockets, asyncio and clocks. After the handshake bytes go on as they came; a
message is taken apart only where its type is on the watch list of its direction.
"""
