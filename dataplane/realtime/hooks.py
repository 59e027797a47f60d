"""Where a live session's effects go: what it used, how its turns go, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dataplane.realtime.actions import Ended
from dataplane.realtime.effects import Admit, Ask, Found, Listen, Logged, Metered, Missed, Progress, Released, Unmetered

if TYPE_CHECKING:
    from dataplane.realtime.live import LiveSession


class Hooks(Protocol):
    """Whoever is told of them. `live`: the session."""

    def metered(self, live: LiveSession, effect: Metered) -> None: ...

    def unmetered(self, live: LiveSession, effect: Unmetered) -> None: ...

    def logged(self, live: LiveSession, effect: Logged) -> None: ...

    def progressed(self, live: LiveSession, effect: Progress) -> None: ...

    def asked(self, live: LiveSession, effect: Admit) -> None:
        """A turn is to be admitted, or refused: `live` waits for either."""

    def released(self, live: LiveSession, effect: Released) -> None: ...

    def found(self, live: LiveSession, effect: Found | Missed) -> None:
        """Guardrails have found something, or one did not judge."""

    def judge(self, live: LiveSession, effect: Ask | Listen) -> None:
        """Somebody else is to judge a text, or has so much time to say it: `live` waits for the answer."""

    def carried(self, live: LiveSession) -> None:
        """More may have gone over the wires. Comes every `Limits.ping` seconds or oftener."""

    def ended(self, live: LiveSession, effect: Ended) -> None: ...


Told = Metered | Unmetered | Logged | Progress | Admit | Released | Found | Missed | Ask | Listen


def report(hooks: Hooks, live: LiveSession, effect: Told) -> None:
    """Tell of one effect."""
    match effect:
        case Metered():
            hooks.metered(live, effect)
        case Unmetered():
            hooks.unmetered(live, effect)
        case Logged():
            hooks.logged(live, effect)
        case Admit():
            hooks.asked(live, effect)
        case Released():
            hooks.released(live, effect)
        case Found() | Missed():
            hooks.found(live, effect)
        case Ask() | Listen():
            hooks.judge(live, effect)
        case _:
            hooks.progressed(live, effect)
