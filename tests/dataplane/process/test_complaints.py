"""What whoever runs the gateway must mend is told in the log, once a minute."""

from __future__ import annotations

from structlog.testing import capture_logs

from dataplane.errors import Refusal
from dataplane.process.complaints import INTERVAL, Complaints


def test_once_in_a_while_for_each_backend() -> None:
    clock = [0.0]
    complaints = Complaints(lambda: clock[0])
    rejected, limited = Refusal("upstream_credential_rejected", "No."), Refusal("model_not_found", "No.")
    with capture_logs() as logs:
        for now in (0.0, 1.0, INTERVAL - 1, INTERVAL + 1):
            clock[0] = now
            for name in ("ai/a", "ai/b"):
                complaints.hear(rejected, name)
                complaints.hear(limited, name)
    assert [line["backend"] for line in logs] == ["ai/a", "ai/b"] * 2
    assert {(line["log_level"], line["code"]) for line in logs} == {("warning", "upstream_credential_rejected")}
