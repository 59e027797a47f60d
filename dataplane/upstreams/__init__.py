"""Providers: which one takes a request, what it is sent, and how it is reached.

choose   which provider and which of its models (pure)
health   how a provider is doing, by what became of what it was asked (pure)
unhealthy  of which Backends no provider is healthy (pure)
pools    how all of them are doing, and a request's way from one to the next
request  address and header fields of the upstream request (pure)
target   the origin and the request target of a URL (pure)
parser   an HTTP answer, from bytes (pure)
connect  raw connections, to addresses that may be dialled (I/O)
send     one HTTP request, on a `connection` of the `pool`, and the `response` to it (I/O)
opening  the upstream's half of a WebSocket handshake (pure)
egress   the proxy that leads out of the network, with `tunnelling` through it (pure)
identities    TLS contexts of providers that have their own (I/O); `tls_failures` is why a handshake failed (pure)
"""
