"""Providers: which one takes a request, what it is sent, and how it is reached.

choose   which provider and which of its models (pure)
request  address and header fields of the upstream request (pure)
connect  addresses that may be dialled, raw connections, the pool of HTTP connections (I/O)
"""
