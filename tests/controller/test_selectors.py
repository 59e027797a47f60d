"""Label selectors as Kubernetes has them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from controller.compile import LabelSelector

LABELS = {"team": "voice", "tier": "gold"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({}, True),
        ({"matchLabels": {"team": "voice", "tier": "gold"}}, True),
        ({"matchLabels": {"team": "voice", "zone": "a"}}, False),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["chat", "voice"]}]}, True),
        ({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["voice"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, False),
        (
            {
                "matchLabels": {"team": "voice"},
                "matchExpressions": [
                    {"key": "zone", "operator": "DoesNotExist"},
                    {"key": "tier", "operator": "In", "values": ["silver"]},
                ],
            },
            False,
        ),
    ],
)
def test_all_of_it_must_hold(selector: dict[str, object], matches: bool) -> None:
    assert LabelSelector.model_validate(selector).matches(LABELS) is matches


@pytest.mark.parametrize(
    "expression",
    [
        {"key": "a", "operator": "In"},
        {"key": "a", "operator": "Exists", "values": ["x"]},
        {"key": "a", "operator": "Is", "values": ["x"]},
        {"key": "", "operator": "Exists"},
    ],
)
def test_what_is_no_selector(expression: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LabelSelector.model_validate({"matchExpressions": [expression]})
