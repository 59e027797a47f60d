"""How OpenSSL gets a key that is on no disk, or for a moment in a file of its owner's."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest

from controller import certificates
from tests.controller.test_certificates import handshake


@pytest.mark.parametrize("platform", [sys.platform, "darwin"])
def test_a_certificate_is_shown_on_every_platform(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    authorities = certificates.kept(None, now)
    shown = certificates.new_serving(authorities.signing, ["localhost"], [], now)
    monkeypatch.setattr(sys, "platform", platform)
    handshake(shown, authorities.config()["ca.crt"], "localhost")
