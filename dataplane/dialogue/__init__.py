"""The WebSocket mode of the Responses API: one connection, on which responses are asked for one after the other.

    messages   what a client may send, and how it is told of errors; pure
    socket     I/O: one WebSocket as messages
    opening    I/O: the first message decides the provider; what it does not take goes to the next one
    lanes      the responses that are under way, and what was used; account: what is told of that
    dialogue   I/O: one connection, from its 101 on: each request is authorised, each response metered
    guarding   what guardrails let pass, of what is asked and of what is said; strands: lanes do not wait for each other
    service    I/O: all connections of the process: whether there is room for one more, and their end

The client is answered first, since its first message names the model. The connection stays with the provider that took
that message, for what was said last is kept there with the connection.
Source: https://platform.openai.com/docs/guides/websocket-mode, and openai-python 3.52, types/responses.
"""
