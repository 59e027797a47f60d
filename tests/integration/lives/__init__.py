"""Sessions by the thousand, each a script drawn from a seed, and the books that must agree at the end.

line      one client connection, of which a script says every byte
life      one session: its line, what it was meant to come to, and what was seen of it
states    what is under way when the end comes
ends      how sessions end: by the client, by the upstream, by the gateway; each says what must be written of it
plan      which of all that a session does: the mix
world     the gateway, the simulated provider, and what both have written
tap       what the provider sent, message by message
tape      what the meter was told, to be played to another
oracle    what `/metrics` must say of it all
"""
