"""Endpoints: where the pods of a Service are. They come and go more often than all else, and have a section of their
own for that."""

from __future__ import annotations

from dataplane.table.entry import Frozen


class EndpointSet(Frozen):
    """The pods behind one port of one Service that are ready."""

    id: str
    """`namespace/service:port`."""
    addresses: tuple[str, ...] = ()
    """`10.1.2.3:8000` or `[fd00::1]:8000`, sorted. Empty: none is ready."""
