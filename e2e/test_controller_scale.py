"""A cluster that is large for a test; `make bench-apply` measures one that is twenty times as large."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.access import Cluster
from scale import figures, scaled

BACKENDS, RULES, CHANGES = 100, 250, 3


@pytest.mark.usefixtures("tidegate_crds", "gateway_api")
def test_all_of_it_is_served_and_changes_are_used(cluster: Cluster, tmp_path: Path) -> None:
    with scaled(cluster, tmp_path) as scale:
        found = figures(scale, BACKENDS, RULES, CHANGES)
        assert found["served"] == (BACKENDS + 1, RULES + 1)
        assert len(found["changes"]) == CHANGES
        scale.cluster.kubectl(
            "wait", "--for=condition=Programmed", "-n", scale.namespace, "tgb", "--all", "--timeout=60s"
        )
