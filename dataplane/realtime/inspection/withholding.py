"""Responses that have begun before it is known whether they may: what the session does with them."""

from __future__ import annotations

from typing import Protocol


class Withholding(Protocol):
    """Of one session; whoever judges what the model says."""

    def hold(self, response_id: str) -> None:
        """Show nothing of this response, from now on."""

    def release(self, response_id: str) -> None:
        """Show it, and what was held of it."""

    def refuse(self, response_id: str) -> None:
        """Cancel it, and show nothing of it."""

    def spurn(self) -> None:
        """Refuse the answer that the server owes to what the user said, if it begins all the same."""
