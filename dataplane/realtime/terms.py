"""What the handshake agreed on; fixed for the session's life."""

from __future__ import annotations

from dataclasses import dataclass

from dataplane.guardrails.judge import Guard
from dataplane.metering.usage import Caller
from dataplane.table import Model, ModelAllow


@dataclass(frozen=True, slots=True)
class Terms:
    """Whose session it is, with which model, in which shape."""

    id: str
    route: str
    backend: str
    caller: Caller
    provider: str
    provider_kind: str
    public_model: str
    """The name that the client knows; empty where the session began without a model, to transcribe."""
    upstream_model: str
    """The name that the upstream knows."""
    any_model: bool = False
    """The provider overrides whatever model is named."""
    beta: bool = False
    """The client declared the beta shape, and is to get it."""
    mends: bool = True
    """What clients say in the beta shape is turned into GA's for this provider."""
    bills_time: bool = False
    """The provider bills the session's time, not its tokens."""
    binary_audio: bool = False
    """The provider takes audio as binary messages."""
    log_events: frozenset[str] = frozenset()
    """Event types to log, or `*`."""
    allow: tuple[ModelAllow, ...] = ()
    """Which models the caller may name inside the session. Empty: any, but for its own model."""
    models: tuple[Model, ...] = ()
    """The Backend's, of whose names the upstream may know none."""
    admits: bool = False
    """Do turns begin only once somebody says that they may?"""
    guards: tuple[Guard, ...] = ()
    """What judges what is said."""
    by_key: bool = False
    """Do metrics name the caller's key?"""

    def logs(self, kind: str) -> bool:
        """Are events of this type to be logged?"""
        return kind in self.log_events or "*" in self.log_events
