"""Who may have the table: gateways of this install, and nobody else, since secrets come with it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

KnowsPod = Callable[[str, str], bool]
"""Is the pod of this name and uid a gateway of this install, as far as is known now?"""

SCHEME = "bearer"


class Review(NamedTuple):
    """What the API server says of a token."""

    refusal: str = ""
    """Why it is not good; empty: it is."""
    user: str = ""
    """`system:serviceaccount:NAMESPACE:NAME` of a ServiceAccount."""
    pod: str = ""
    """The pod that the token is bound to, or empty."""
    uid: str = ""
    """Of that pod."""


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


def read(review: Mapping[str, object], audience: str) -> Review:
    """What a TokenReview says. Whatever is not as it should be is no proof."""
    status = _mapping(review.get("status"))
    if status.get("authenticated") is not True:
        return Review("the API server does not accept the token: it is not of this cluster, not for the audience "
                      f"{audience}, or has expired")  # fmt: skip
    if audience not in _texts(status.get("audiences")):
        return Review(f"the token is not for the audience {audience}")
    user = _mapping(status.get("user"))
    extra = _mapping(user.get("extra"))
    pod, uid = (_texts(extra.get(f"authentication.kubernetes.io/pod-{each}")) for each in ("name", "uid"))
    name = user.get("username")
    return Review("", name if isinstance(name, str) else "", "".join(pod[:1]), "".join(uid[:1]))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list | tuple) else []
