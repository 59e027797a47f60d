"""Who asks, and how that was proved. Pure.

credentials  where real clients put a key, and the one that a request has
proof        what remains of a credential that was accepted, to be asked about later
index        the callers of a table, by the digests of their keys
"""

from dataplane.callers.credentials import HEADERS, QUERY, Credentials, credentials, key_in
from dataplane.callers.index import CallerIndex, applies
from dataplane.callers.proof import NOBODY, Admitted, Proof

__all__ = [
    "HEADERS",
    "NOBODY",
    "QUERY",
    "Admitted",
    "CallerIndex",
    "Credentials",
    "Proof",
    "applies",
    "credentials",
    "key_in",
]
