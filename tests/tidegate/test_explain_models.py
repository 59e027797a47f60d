"""What `tidegate explain` says about models is what the data plane does: for any pattern, any name, any caller."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller import compile as compiler
from controller.compile import Compiled
from dataplane.callers import applying
from dataplane.errors import Refusal
from dataplane.metering.usage import Caller
from dataplane.models import names
from dataplane.table import ModelAllow
from tests.dataplane.upstreams.choosing import choose
from tidegate.explain import Explanation, Request, explain

TARGET = {"group": "tidegate.dev", "kind": "Backend", "name": "voice"}
KEYS = {"helpdesk": "support", "boss": "sales"}
SUBJECTS: list[dict[str, str] | None] = [None, {"team": "support"}, {"key": "boss"}, {"team": "nobody"}]


def policy(name: str, **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "Policy",
        "metadata": {"name": name, "namespace": "ai"},
        "spec": {"targetRefs": [TARGET], **spec},
    }


def authentication() -> list[dict[str, object]]:
    secrets: list[dict[str, object]] = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": team, "namespace": "ai"},
            "stringData": {key: key * 3},
        }
        for key, team in KEYS.items()
    ]
    keys = [{"secretRef": {"name": team}, "team": team} for team in KEYS.values()]
    return [*secrets, policy("callers", authentication={"keys": keys})]


def served(declared: list[str], limits: list[tuple[dict[str, str] | None, list[str]]], default: str = "") -> Compiled:
    """A Backend with these public names, and a Policy for each limit: for whom, and what is allowed."""
    spec: dict[str, object] = {"providers": [{"name": "a", "custom": {}, "url": "http://a.example/v1"}], "expose": {}}
    if default:
        spec["providers"][0]["defaultModel"] = default  # type: ignore[index]
    if declared:
        spec["models"] = [{"name": name, "targets": [{"provider": "a"}]} for name in declared]
    backend = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": "voice", "namespace": "ai"},
        "spec": spec,
    }
    policies = [
        policy(f"p{number}", models={"allow": allow}, **({"subjects": [subject]} if subject else {}))
        for number, (subject, allow) in enumerate(limits)
    ]
    compiled = compiler.compile([backend, *authentication(), *policies])
    assert all(status.conditions[0].status == "True" for status in compiled.statuses), compiled.statuses
    return compiled


CHARACTERS = string.ascii_lowercase[:4] + "/-."
TEXT = st.text(CHARACTERS, max_size=4)
EXACT = st.text(CHARACTERS, min_size=1, max_size=4) | st.sampled_from(["gpt-5", "anthropic/claude-next"])
PATTERNS = EXACT | st.builds("{}*{}".format, TEXT, TEXT) | st.just("anthropic/*")
LISTS = st.lists(PATTERNS, min_size=1, max_size=3, unique=True)
LIMITS = st.lists(st.tuples(st.sampled_from(SUBJECTS), LISTS), max_size=3)
NAMES = EXACT | st.text(string.printable, max_size=6).filter(lambda name: "*" not in name)


@dataclass
class Asked:
    """One caller of a compiled Backend."""

    compiled: Compiled
    key: str

    @property
    def allow(self) -> tuple[ModelAllow, ...]:
        caller = Caller("ai", self.key, KEYS[self.key])
        [forward] = self.compiled.table.routes[0].forwards
        return tuple(applying(forward.policies.models, caller))

    def served(self, model: str) -> str:
        """What the data plane does with the name: a code, or nothing where it serves it."""
        try:
            choose(self.compiled.table.backends[0], model, lambda: 0.0, self.allow)
        except Refusal as refusal:
            return refusal.code
        return ""

    def explained(self, model: str, path: str = "/ai/voice/v1/chat/completions", method: str = "POST") -> Explanation:
        return explain(self.compiled, Request(path, method=method, model=model, caller=self.key))


def code(explanation: Explanation) -> str:
    """Of the refusal that is told, if one is."""
    told = re.search(r"^  Answer          [0-9]+ (\w+):", explanation.text, re.MULTILINE)
    assert (told is None) == explanation.served
    return told[1] if told else ""


@settings(deadline=None, max_examples=150)
@given(st.lists(PATTERNS, max_size=3, unique=True), LIMITS, NAMES, st.sampled_from([*KEYS]), EXACT | st.just(""))
@example([], [(None, ["anthropic/*"])], "anthropic/claude-that-came-out-today", "boss", "")
@example(["voice", "secret"], [(None, ["voice"])], "secret", "boss", "secret")
def test_explain_and_the_data_plane_agree_on_any_name(
    declared: list[str], limits: list[tuple[dict[str, str] | None, list[str]]], name: str, key: str, default: str
) -> None:
    asked = Asked(served(declared, limits, default), key)
    for model in (name, ""):
        told = asked.explained(model)
        assert code(told) == asked.served(model), told.text


@settings(deadline=None, max_examples=100)
@given(st.lists(PATTERNS, min_size=1, max_size=3, unique=True), LIMITS, st.sampled_from([*KEYS]))
def test_explain_lists_what_the_data_plane_lists(
    declared: list[str], limits: list[tuple[dict[str, str] | None, list[str]]], key: str
) -> None:
    asked = Asked(served(declared, limits), key)
    told = asked.explained("", "/ai/voice/v1/models", "GET").text.splitlines()[-1]
    listed = names(asked.compiled.table.backends[0].models, asked.allow)
    assert told == f"  Answer          {', '.join(listed) or 'no model'}"
    for name in listed:
        assert asked.served(name) == ""


def test_a_pattern_allows_a_name_that_no_catalogue_knows() -> None:
    asked = Asked(served([], [({"team": "sales"}, ["anthropic/*"])]), "boss")
    assert asked.served("anthropic/claude-that-came-out-today") == ""
    assert asked.served("claude-that-came-out-today") == "model_not_allowed"
    assert asked.explained("anthropic/claude-that-came-out-today").served


@pytest.mark.parametrize(
    ("path", "method", "key", "lines"),
    [
        (
            "/ai/voice/v1/models",
            "GET",
            "helpdesk",
            [
                "  Path            /v1/models is Models",
                "  Callers         with a key (Policy ai/callers; keys: boss, helpdesk)",
                "  Caller          helpdesk of team support, in namespace ai",
                "  Allowed models  voice, gpt-5 (Policy ai/p0, for team support)",
                "  Answer          voice, gpt-5",
            ],
        ),
        ("/ai/voice/v1/models", "HEAD", "boss", ["  Answer          voice, secret"]),
        (
            "/ai/voice/v1/models",
            "GET",
            "",
            [
                "  Allowed models  voice, gpt-5 (Policy ai/p0, for team support)",
                "  Answer          voice, secret; fewer for a caller whom a Policy above limits",
            ],
        ),
        (
            "/ai/voice/v1/models",
            "POST",
            "boss",
            ["  Answer          405 method_not_allowed: Models are listed by GET."],
        ),
        ("/ai/voice/v1/models/gpt-5", "GET", "helpdesk", ["  Answer          that there is gpt-5"]),
        (
            "/ai/voice/v1/models/secret",
            "GET",
            "helpdesk",
            [
                "  Answer          403 model_not_allowed: Policy ai/p0, for team support does not allow",
            ],
        ),
        (
            "/ai/voice/v1/models/x",
            "GET",
            "boss",
            [
                "  Answer          404 model_not_found: Backend ai/voice does not know x; it has: voice",
            ],
        ),
    ],
)
def test_the_list_of_models_is_explained(path: str, method: str, key: str, lines: list[str]) -> None:
    compiled = served(["voice", "secret", "gpt-*"], [({"team": "support"}, ["voice", "gpt-5"])])
    told = explain(compiled, Request(path, method=method, caller=key))
    for line in lines:
        assert f"\n{line}" in told.text
    assert told.served == (lines[-1][18].isalpha())


@pytest.mark.parametrize(
    ("limits", "path", "answer"),
    [
        ([], "/v1/models", "as the provider says it"),
        ([(None, ["gpt-*"])], "/v1/models", "what is allowed of what the provider says"),
        ([(None, ["gpt-*"])], "/v1/models/gpt-5", "as the provider says it"),
    ],
)
def test_who_is_asked_for_models_is_explained(
    limits: list[tuple[dict[str, str] | None, list[str]]], path: str, answer: str
) -> None:
    told = Asked(served([], limits), "boss").explained("", f"/ai/voice{path}", "GET")
    assert told.served
    assert f"  Provider        a: http://a.example{path}" in told.text.splitlines()
    assert told.text.endswith(f"  Answer          {answer}")


def test_what_may_be_named_inside_a_session_is_explained() -> None:
    asked = Asked(served([], [(None, ["whisper-*"])]), "boss")
    told = asked.explained("", "/ai/voice/v1/realtime?intent=transcription", "GET")
    assert told.served
    assert "  Allowed models  whisper-* (Policy ai/p0)" in told.text
    told = asked.explained("", "/ai/voice/v1/realtime?intent=transcription&model=o1", "GET")
    assert code(told) == "model_not_allowed"
