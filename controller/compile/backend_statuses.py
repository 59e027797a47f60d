"""What is said about Backends."""

from __future__ import annotations

from collections.abc import Sequence

import crds
from controller.compile.backends import Compiled, resolved
from controller.compile.objects import Read
from controller.compile.routes import Link
from controller.compile.statuses import Condition, Status, false, not_accepted, ready, status, true, unknown
from dataplane.table import authentication_yaml


def backend_status(
    backend: Read[crds.Backend], compiled: Compiled, conflict: str, links: Sequence[Link], *, open_by_default: bool
) -> Status:
    """The status of one Backend. `conflict`: where it is not served, though it says so; `links` lead to it."""
    if backend.value is None:
        conditions = [not_accepted(backend), unknown("ResolvedRefs"), unknown("Authenticated")]
    else:
        conditions = [
            false("Accepted", "HostnameConflict", conflict) if conflict else true("Accepted", "The spec is valid."),
            resolved(compiled.problems),
            _authenticated(backend, compiled, links, open_by_default),
        ]
    return status(backend.identity, *conditions, ready(conditions))


def _authenticated(
    backend: Read[crds.Backend], compiled: Compiled, links: Sequence[Link], open_by_default: bool
) -> Condition:
    if not compiled.injects:
        return true("Authenticated", "No credential is injected, so none is asked for.", "NothingInjected")
    if closed := next((link for link in links if link.closed and not link.combined.authenticator), None):
        return false("Authenticated", "PolicyNotAccepted", f"Requests are answered 500: {closed.closed}")
    undecided = [link for link in links if link.undecided]
    if not undecided:
        return true("Authenticated", "A Policy says how callers authenticate.")
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
