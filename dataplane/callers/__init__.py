"""Who asks, and how that was proved.

credentials  where real clients put a key, and the one that a request has (pure)
index        the callers of a table, by the digests of their keys, or by those who vouch for them (pure)
tokens       those who vouch: JWTs, verified once and remembered (pure); `keys` are what they are verified with (pure)
proof        what remains of a credential that was accepted, to be asked about later (pure)
applying     which blocks of Policies are for a caller (pure)
expiry       keys that have expired, or will soon (pure)
refresh      keeps the keys of issuers fresh; `fetch` gets them
"""

from dataplane.callers.applying import applies, applying
from dataplane.callers.credentials import HEADERS, QUERY, Credentials, credentials, key_in
from dataplane.callers.index import CallerIndex
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
    "applying",
    "credentials",
    "key_in",
]
