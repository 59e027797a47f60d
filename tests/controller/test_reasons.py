"""Every reason that the controller gives has its sentence, and every sentence its reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

import controller
from controller import compile as compiler
from controller.compile.reasons import REASONS
from tests.controller.test_compile_goldens import CASES, OPTIONS, documents

FOLDER = Path(controller.__file__).parent
_WORD = re.compile("[A-Z][A-Za-z]+")
_COMPOUND = re.compile("[A-Z][a-z]+(?:[A-Z]+[a-z]+)+")
NO_REASONS = {
    *(
        "ApiError",
        "BearerToken",
        "CancelOnMatch",
        "ClusterRole",
        "ConfigMap",
        "DoesNotExist",
        "EndSession",
        "EndpointSlice",
        "ExposeRule",
    ),
    *("ExternalName", "GatewayClass", "GatewayHTTPListenerIsolation", "GatewayInfrastructurePropagation"),
    *("LabelSelector", "ListenerStatus", "LoadBalancer", "NodePort", "NotIn", "PathPrefix", "ReferenceGrant"),
    *(
        "RefuseTurn",
        "RegularExpression",
        "ReplaceFullPath",
        "ReplacePrefixMatch",
        "RequestHeaderModifier",
        "RequestRedirect",
    ),
    *("ResponseHeaderModifier", "TokenReview", "UpstreamRule"),
}
"""Words of other kinds: of the API, and what modules offer."""


def words() -> Iterator[str]:
    """All texts in the controller's code that are one word in capitals, but for the list of reasons itself."""
    for path in FOLDER.rglob("*.py"):
        if path.name != "reasons.py":
            tree = ast.parse(path.read_text("utf-8"))
            texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
            yield from (text for text in texts if isinstance(text, str) and _WORD.fullmatch(text))


def test_every_word_in_the_code_that_may_be_a_reason_is_listed() -> None:
    compounds = {word for word in words() if _COMPOUND.fullmatch(word)}
    assert compounds - NO_REASONS - REASONS.keys() == set()
    assert compounds >= NO_REASONS


def test_every_reason_that_is_listed_is_given() -> None:
    assert REASONS.keys() - set(words()) == set()


@pytest.mark.parametrize("case", CASES)
def test_every_condition_of_the_goldens_has_a_reason_that_is_listed(case: str) -> None:
    compiled = compiler.compile(documents(case), **OPTIONS.get(case, {}))
    for status in compiled.statuses:
        of_parts = [
            *(each.conditions for each in status.ancestors),
            *(each.conditions for each in status.parents),
            *(each.conditions for each in status.listeners),
        ]
        for condition in chain(status.conditions, *of_parts):
            assert condition.reason in REASONS


def test_sentences_are_sentences() -> None:
    assert list(REASONS) == sorted(REASONS)
    assert [text for text in REASONS.values() if not text.endswith(".") or not text[0].isupper()] == []
