"""Who may have the table: gateways of this install, and nobody else, since secrets come with it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from controller.push.reviews import Review

KnowsPod = Callable[[str, str], bool]
"""Is the pod of this name and uid a gateway of this install, as far as is known now?"""

SCHEME = "bearer"


class Pod(NamedTuple):
    """A gateway."""

    name: str
    uid: str


class Refusal(NamedTuple):
    """What whoever may not come in is answered."""

    status: int
    reason: str


def token_of(authorization: str) -> str:
    """The token of an Authorization header; empty where there is none."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == SCHEME else ""


def admitted(review: Review, account: str, knows: KnowsPod) -> Pod | Refusal:
    """The gateway that dials. `account`: the ServiceAccount of gateways, `NAMESPACE:NAME`."""
    if review.refusal:
        return Refusal(401, review.refusal)
    if review.user != f"system:serviceaccount:{account}":
        return Refusal(403, f"the token is not of the ServiceAccount of this install's gateways ({account})")
    if not review.pod or not review.uid:
        return Refusal(403, "the token is bound to no pod: use a projected one (serviceAccountToken)")
    if not knows(review.pod, review.uid):
        return Refusal(403, f"the pod {review.pod} is not known as a gateway of this install; if it is new, dial again")
    return Pod(review.pod, review.uid)
