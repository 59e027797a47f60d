"""Durations, sizes and bounds of Backends and Policies in the table's terms: seconds and bytes, defaults filled in."""

from __future__ import annotations

import crds.backend
import crds.session
from crds.quantities import seconds, size
from dataplane import table

_USUAL_PORTS = {"http": ":80", "https": ":443"}


def timeouts(written: crds.backend.Timeouts | None) -> table.Timeouts:
    """How long providers are waited for."""
    said = written.model_dump(exclude_none=True, by_alias=False) if written else {}
    return table.Timeouts.model_validate({name: seconds(duration) for name, duration in said.items()})


def balance(written: crds.backend.Balance | None) -> table.Balance:
    """How requests are shared."""
    if written is None:
        return table.Balance()
    sticky = written.sticky
    header = (sticky.header or "").lower() if sticky else ""
    by = "" if sticky is None else "header" if header else "caller"
    return table.Balance(strategy=written.strategy or "", sticky=by, header=header)


def health(written: crds.backend.Health | None) -> table.Health:
    """When a provider that fails is left out."""
    default = table.Health()
    if written is None:
        return default
    return table.Health(
        eject_after=written.eject_after or default.eject_after,
        eject_for=seconds(written.eject_for) if written.eject_for else default.eject_for,
        eject_for_most=seconds(written.eject_for_most) if written.eject_for_most else default.eject_for_most,
    )


def session_limits(
    written: crds.session.SessionLimits | None, policy: str, subjects: tuple[table.Subject, ...]
) -> table.SessionLimits | None:
    """What a session may take. One block holds whole, so the rest are defaults, and no other Policy's."""
    if written is None:
        return None
    default = table.SessionLimits()
    return table.SessionLimits(
        policy=policy,
        subjects=subjects,
        idle=seconds(written.idle) if written.idle else default.idle,
        duration=seconds(written.duration) if written.duration else default.duration,
        max_message=size(written.max_message) if written.max_message else default.max_message,
        max_fragments=written.max_fragments or default.max_fragments,
        origins=tuple(dict.fromkeys(map(_without_usual_port, written.origins or ()))),
        on_revoke=table.OnRevoke(written.on_revoke) if written.on_revoke else default.on_revoke,
    )


def _without_usual_port(origin: str) -> str:
    """As browsers send it: without the port that its scheme has anyway."""
    scheme = origin.partition(":")[0]
    return origin.removesuffix(_USUAL_PORTS[scheme]) if scheme in _USUAL_PORTS else origin
