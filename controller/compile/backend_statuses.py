"""What is said about Backends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

import crds
from controller.compile.backends import Compiled, has_no_endpoint, resolved
from controller.compile.exposure import Unserved
from controller.compile.names import some
from controller.compile.objects import Identity, Read
from controller.compile.routes import Link
from controller.compile.statuses import CLOSED, Condition, Status, false, not_accepted, status, summed, true, unknown
from dataplane.table import AuthenticationMode, authentication_yaml

LEAD = "add spec.expose, or an HTTPRoute that names it."


def backend_status(
    backend: Read[crds.Backend],
    compiled: Compiled,
    unserved: Unserved | None,
    links: Sequence[Link],
    keyless: Set[Identity],
    *,
    open_by_default: bool,
) -> Status:
    """The status of one Backend. `unserved`: where it is not served, though it says so; `links` lead to it; `keyless`:
    Policies that have no key that a caller could show."""
    if backend.value is None:
        conditions = [not_accepted(backend), unknown("ResolvedRefs"), unknown("Authenticated")]
    else:
        conditions = [
            false("Accepted", *unserved) if unserved else _accepted(links),
            resolved(compiled),
            _authenticated(backend, compiled, links, keyless, open_by_default),
        ]
    own = [link for link in links if link.route.startswith(f"{backend.identity.namespace}/")]
    return status(backend.identity, *conditions, _ready(conditions, compiled, _is_led_to(links), own))


def _is_led_to(links: Sequence[Link]) -> bool:
    return any(link.route for link in links)


def _accepted(links: Sequence[Link]) -> Condition:
    return true(
        "Accepted", "The spec is valid." if _is_led_to(links) else f"The spec is valid. Nothing leads here: {LEAD}"
    )


def _ready(conditions: Sequence[Condition], compiled: Compiled, led_to: bool, links: Sequence[Link]) -> Condition:
    """The sum of the others, if a request is served on any way here: where a Policy closes all, none is, nor where no
    provider has an endpoint. One that nothing leads to yet is ready for what comes. Of `links`, those of the Backend's
    own namespace: what closes the routes of others is theirs to know."""
    said = summed(conditions)
    if said.status != "True":
        return said
    closed = {link.route: link.closed for link in links if link.closed}
    if closed and all(link.closed for link in links):
        return false("Ready", CLOSED, f"Requests are answered 500: {'; '.join(sorted(set(closed.values())))}")
    if not_ready := has_no_endpoint(compiled):
        return false("Ready", "NoEndpoints", f"No provider can be called. {not_ready}")
    if closed:
        told = some([f"{route}: {why}" for route, why in sorted(closed.items())], "; ")
        return true("Ready", f"Ready to serve, but on some routes requests are answered 500: {told}")
    return said if led_to else true("Ready", f"Ready to serve, but nothing leads here yet: {LEAD}")


def _authenticated(
    backend: Read[crds.Backend],
    compiled: Compiled,
    links: Sequence[Link],
    keyless: Set[Identity],
    open_by_default: bool,
) -> Condition:
    anonymous = [link for link in links if _lets_nobody_in_particular_in(link)]
    lost = [told for link in anonymous for told in _lost(link)]
    asks = any(link.combined.authenticator and not _lets_nobody_in_particular_in(link) for link in links)
    if not compiled.injects and not lost and not asks:
        return true("Authenticated", "No credential is injected, so none is asked for.", "NothingInjected")
    if closed := next((link for link in links if link.closed and not link.combined.authenticator), None):
        return false("Authenticated", "PolicyNotAccepted", f"Requests are answered 500: {closed.closed}")
    undecided = [link for link in links if link.undecided]
    if not undecided:
        if anonymous:
            return true("Authenticated", _anonymous(anonymous, lost, links), "Anonymous")
        return _with_keys(links, keyless)
    how_to = authentication_yaml(backend.identity.path)
    if open_by_default:
        message = f"Open, since this gateway is on loopback. Elsewhere callers get 401 until you apply:\n{how_to}"
        return true("Authenticated", message, "OpenOnLoopback")
    where = ", ".join(sorted({link.route for link in undecided if link.route}))
    message = (
        "A credential is injected, and no Policy says how callers authenticate, so they get 401"
        f"{' on ' + where if where else ''}. Apply a Secret with your own keys, and this Policy:\n{how_to}"
    )
    return false("Authenticated", "NoPolicy", message)


def _with_keys(links: Sequence[Link], keyless: Set[Identity]) -> Condition:
    """Where callers show keys everywhere, and of some Policies there may be none."""
    open_ = [link for link in links if not link.closed]
    shut = [(link, each.policy) for link in open_ if (each := link.combined.authenticator) and each.policy in keyless]
    if not shut:
        return true("Authenticated", "A Policy says how callers authenticate.")
    policies = sorted({policy for _, policy in shut})
    routes = sorted({link.route for link, _ in shut if link.route})
    where = f" on {some(routes)}" if routes and len(shut) < len(open_) else ""
    how_to = "; ".join(f"kubectl --namespace {each.namespace} describe tgp {each.name}" for each in policies)
    message = (
        f"No key of {' and '.join(map(str, policies))} can be used, so every caller gets 401{where}; its condition "
        f"Enforced says why: {how_to}"
    )
    if len(shut) == len(open_):
        return false("Authenticated", "NoKeys", message)
    return true("Authenticated", f"A Policy says how callers authenticate. {message}")


def _lets_nobody_in_particular_in(link: Link) -> bool:
    """Whether somebody without a key may come this way because a Policy says so."""
    authenticator = link.combined.authenticator
    written = authenticator and authenticator.authentication
    return bool(written and written.mode is not AuthenticationMode.REQUIRED and not link.closed)


def _lost(link: Link) -> Iterator[str]:
    """Policies that ask for a key and do not hold, since the one that does not ask wins."""
    for loss in link.combined.lost:
        written = loss.loser.authentication
        if loss.block == "authentication" and written and written.mode is AuthenticationMode.REQUIRED:
            yield f"{loss.loser.policy}, which requires a key, does not hold: it is replaced by {loss.why}."


def _anonymous(open_: Sequence[Link], lost: Sequence[str], links: Sequence[Link]) -> str:
    by: dict[Identity, AuthenticationMode] = {}
    for link in open_:
        if (authenticator := link.combined.authenticator) and authenticator.authentication:
            by[authenticator.policy] = authenticator.authentication.mode
    routes = sorted({link.route for link in open_ if link.route})
    where = f" on {some(routes)}" if routes and len(open_) < len(links) else ""
    who = {AuthenticationMode.NONE: "everybody in", AuthenticationMode.OPTIONAL: "in whoever shows no key"}
    told = [f"{policy} lets {who[mode]}{where} (mode: {mode.value})." for policy, mode in sorted(by.items())]
    names = " and ".join(map(str, sorted(by)))
    to_close = f"remove authentication from {names}" if lost else f"write mode: Required, with keys, into {names}"
    return " ".join([*told, *sorted(set(lost)), f"To let in only callers with a key, {to_close}."])
