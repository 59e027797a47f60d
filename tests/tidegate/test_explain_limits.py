"""What `tidegate explain` says of limits, of keys that have expired, and of callers whose team only a token tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from controller import compile as compiler
from tests.tidegate import files
from tidegate.documents import Documents
from tidegate.explain import Explanation, Request, explain
from tidegate.explain_limits import Counted

CHAT, REALTIME = "/v1/chat/completions", "/v1/realtime"
SECRET = """\
---
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: ai}
stringData:
  laptop: a-key-of-a-laptop
  gone: '{"key": "another-key", "expires": "2020-01-31T12:00:00Z"}'
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: callers, namespace: ai}
spec:
  targetRefs: [{group: tidegate.dev, kind: Backend, name: voice}]
  authentication: {keys: [{secretRef: {name: keys}}]}
"""
LIMITS = """\
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: budget, namespace: ai}
spec:
  targetRefs: [{group: tidegate.dev, kind: Backend, name: voice}]
  POLICY
"""
TOKENS = """\
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: callers, namespace: ai}
spec:
  targetRefs: [{group: tidegate.dev, kind: Backend, name: voice}]
  authentication:
    jwt:
    - issuer: https://idp.test
      audiences: [a]
      jwks: {url: "https://idp.test/jwks"}
      claims: {team: department}
"""
REQUESTS = "requests: [{max: 3, per: Month}]"
OPEN = [{"policy": "ai/budget", "limit": "sessions", "subject": "caller:ai/laptop", "used": 0, "reserved": 1}]
CENT = 'spend: [{usd: "0.01", per: Day}]'


@pytest.fixture
def explained(tmp_path: Path) -> Callable[..., Explanation]:
    def asked(
        path: str,
        model: str,
        key: str = "laptop",
        limits: str = "sessions: 9",
        counted: Counted = (),
        secret: str = SECRET,
        policy: str = "",
    ) -> Explanation:
        file = tmp_path / "voice.yaml"
        more = LIMITS.replace("POLICY", policy or f"limits: {{{limits}}}")
        file.write_text(files.voice("http://127.0.0.1:9", secret, more))
        loaded = Documents(files.ENVIRONMENT).load([file])
        assert loaded.errors == ()
        compiled = compiler.compile(loaded.contents, open_by_default=True)
        return explain(compiled, Request(path, model=model, caller=key), counted)

    return asked


def spent(limit: str, used: int) -> Counted:
    return [{"policy": "ai/budget", "limit": limit, "subject": "caller:ai/laptop", "used": used, "reserved": 0}]


def heard(source: str) -> Counted:
    """Counted by all processes (fleet) or, while the store does not answer, by one."""
    return [{**each, "source": source} for each in spent("requests/Month", 1)]


def rest(used: int, *, takes_new: bool) -> list[dict[str, object]]:
    """Counted of all for whom there was no room to be counted by themselves."""
    of_all = {"policy": "ai/budget", "limit": "requests/Month", "subject": "rest", "used": used, "reserved": 0}
    return [{**of_all, "takes_new": takes_new}]


def test_a_key_that_has_expired_opens_nothing(explained: Callable[..., Explanation]) -> None:
    told = explained(CHAT, "gpt-5", key="gone")
    assert not told.served
    assert told.text.endswith("  Answer          401 invalid_api_key: The key gone has expired: 2020-01-31T12:00:00Z.")


def test_policies_for_a_team_that_only_the_token_tells_are_named(explained: Callable[..., Explanation]) -> None:
    for_team = "subjects: [{team: support}, {key: boss}]\n  limits: {sessions: 1}\n  models: {allow: [gpt-5]}"
    told = explained(CHAT, "other", key="alice", secret=TOKENS, policy=for_team).text
    (said,) = [line for line in told.splitlines() if line.startswith("  Not decided")]
    assert "Policy ai/budget, for " in said
    assert said.endswith(": it holds as well if the token names such a team")
    assert "Not decided" not in explained(CHAT, "gpt-5", key="boss", secret=TOKENS, policy=for_team).text
    assert "Not decided" not in explained(CHAT, "gpt-5", key="laptop", policy=for_team).text


@pytest.mark.parametrize(
    ("path", "model", "limits", "counted", "answer"),
    [
        (CHAT, "nobody-knows", CENT, (), "403 model_not_priced: Policy ai/budget limits what may be spent, and"),
        (REALTIME, "gpt-realtime", CENT, (), "403 limit_too_low: Policy ai/budget allows caller ai/laptop 0.01 USD"),
        (CHAT, "gpt-5", REQUESTS, spent("requests/Month", 3), "429 limit_exceeded: Policy ai/budget allows caller"),
        (CHAT, "gpt-5", f"scope: Fleet, {REQUESTS}", spent("requests/Month", 3), "429 limit_exceeded: Policy"),
        (CHAT, "gpt-5", f"whenStoreFails: Refuse, scope: Fleet, {REQUESTS}", heard("local"), "503 limits_unavailable"),
        (REALTIME, "gpt-realtime", "sessions: 1", OPEN, "429 limit_exceeded: Policy ai/budget allows caller"),
        ("/v1/models", "", REQUESTS, spent("requests/Month", 3), "429 limit_exceeded: Policy ai/budget"),
        (CHAT, "gpt-5", REQUESTS, rest(3, takes_new=True), "429 limit_exceeded: Policy ai/budget"),
    ],
)
def test_what_limits_refuse_is_refused(
    explained: Callable[..., Explanation], path: str, model: str, limits: str, counted: Counted, answer: str
) -> None:
    told = explained(path, model, limits=limits, counted=counted)
    assert not told.served
    assert f"  Answer          {answer}" in told.text


@pytest.mark.parametrize(
    ("path", "model", "limits", "counted"),
    [
        (CHAT, "gpt-5-mini", CENT, ()),
        (CHAT, "nobody-knows", f"onUnpriced: Allow, {CENT}", ()),
        (CHAT, "gpt-5", REQUESTS, spent("requests/Month", 2)),
        (CHAT, "gpt-5", "sessions: 1", OPEN),
        (CHAT, "gpt-5", REQUESTS, rest(3, takes_new=False)),
        (CHAT, "gpt-5", REQUESTS, [*rest(3, takes_new=True), *spent("requests/Month", 2)]),
        (CHAT, "gpt-5", f"scope: Fleet, whenStoreFails: Refuse, {REQUESTS}", ()),
        (CHAT, "gpt-5", f"scope: Fleet, whenStoreFails: Refuse, {REQUESTS}", heard("fleet")),
        (CHAT, "gpt-5", f"scope: Fleet, whenStoreFails: CountLocally, {REQUESTS}", heard("local")),
        (CHAT, "gpt-5", f"whenStoreFails: Refuse, {REQUESTS}", heard("local")),
    ],
)
def test_what_has_room_is_served(
    explained: Callable[..., Explanation], path: str, model: str, limits: str, counted: Counted
) -> None:
    told = explained(path, model, limits=limits, counted=counted)
    assert told.served
    assert "Answer" not in told.text


def test_what_is_left_of_callers_who_are_counted_together(explained: Callable[..., Explanation]) -> None:
    told = explained(CHAT, "gpt-5", limits=REQUESTS, counted=rest(2, takes_new=True)).text
    assert "  Left            1 of 3 requests per Month, for all callers for whom there was no room" in told
    told = explained(CHAT, "gpt-5", limits=REQUESTS, counted=rest(2, takes_new=False)).text
    assert "  Left            3 of 3 requests per Month, for caller ai/laptop: 0 used" in told
    counted = [*rest(2, takes_new=True), *spent("requests/Month", 1)]
    told = explained(CHAT, "gpt-5", limits=REQUESTS, counted=counted).text
    assert "  Left            2 of 3 requests per Month, for caller ai/laptop: 1 used" in told


def test_of_nobody_limits_are_not_asked(explained: Callable[..., Explanation]) -> None:
    assert explained(CHAT, "nobody-knows", key="", limits=CENT).served
