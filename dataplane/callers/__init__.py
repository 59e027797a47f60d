"""Who asks, and how that was proved.

credentials  where real clients put a key, and the one that a request has (pure)
index        the callers of a table, by the digests of their keys, or by those who vouch for them (pure)
tokens       those who vouch: JWTs, verified once and remembered (pure); `keys` are what they are verified with (pure)
proof        what remains of a credential that was accepted, to be asked about later (pure)
expiry       keys that have expired, or will soon (pure)
refresh      keeps the keys of issuers fresh; `fetch` gets them
"""

from dataplane.callers.credentials import HEADERS, QUERY, Credentials, credentials, key_in
from dataplane.callers.index import CallerIndex, applies
from dataplane.callers.proof import NOBODY, Admitted, Proof
from dataplane.callers.tokens import KeyUnknown

__all__ = [
    "HEADERS",
    "NOBODY",
    "QUERY",
    "Admitted",
    "CallerIndex",
    "Credentials",
    "KeyUnknown",
    "Proof",
    "applies",
    "credentials",
    "key_in",
]
