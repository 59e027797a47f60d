"""What `tidegate explain` says about a request, line by line; the configurations are the compiler's goldens."""

from __future__ import annotations

import pytest

from controller import compile as compiler
from controller.compile import Compiled
from crds.structural import as_mapping
from dataplane.table import HeaderOps, HeaderValue, OnRevoke, SessionLimits, Variable
from tests.controller.test_compile_goldens import OPTIONS, documents
from tidegate import wording
from tidegate.explain import Request, explain


def compiled(case: str) -> Compiled:
    return compiler.compile(documents(case), **OPTIONS.get(case, {}))


def test_everything_that_holds_is_told_in_the_order_in_which_it_is_done() -> None:
    told = explain(compiled("policy-levels"), Request("/v1/realtime?x=1", model="gpt-realtime"))
    assert told.served
    assert (
        told.text
        == """\
GET /v1/realtime?x=1
Route ai/openai#realtime: any host, paths that begin with /v1/realtime

Backend ai/voice
  Replaced        telemetry of Policy ai/route by Policy ai/backend-new (on the narrower Backend ai/voice)
  Path            /v1/realtime is Realtime
  Callers         everybody (no Policy asks for a key)
  Allowed models  gpt-* (Policy ai/route)
  Model           gpt-realtime; the Backend declares no models, so every name goes on as it is
  Provider        one (1 of 2 requests): ws://a/v1/realtime?x=1&model=gpt-realtime, as gpt-realtime
  Provider        two (1 of 2 requests): ws://b/v1/realtime?x=1&model=gpt-realtime, as gpt-realtime
  Balance         LeastActive: the fewest sessions under way, by weight
  Timeouts        connect 5s, handshake 10s, firstEvent 1s (the defaults)
  Request         set x-level to "route" (Policy ai/route)
  Request         set x-level to "younger" (Policy ai/backend-new)
  Request         set x-level to "oldest" (Policy ai/backend-old)
  Request         two: set x-level to "provider" (Policy ai/provider)
  Session limits  idle 30m, duration 3h, maxMessage 24Mi, maxFragments 65536 (the defaults)
  Logged events   response.done (Policy ai/backend-new)"""
    )


CASES: list[tuple[str, Request, str]] = [
    ("well-known-paths", Request("/v1/x"), "404 undeclared_path: Backend ai/local does not serve /v1/x."),
    ("well-known-paths", Request("/../x"), "400 invalid_path: The path has dot segments"),
    ("exposure", Request("/nowhere"), "404 unknown_host: No route serves /nowhere. There are: ai/hosts, "),
    ("exposure", Request("/v1/realtime?model=x", host="a.example.com"), "host a.example.com, *.b.example.com, "),
    ("exposure", Request("/voice/v2/v1/realtime?model=x"), "ws://a/v1/realtime?model=x, as x"),
    ("models-and-providers", Request("/v1/realtime", model="voice"), "openai (90 of 100 requests): wss://api.openai"),
    ("models-and-providers", Request("/v1/realtime?model=openai/x"), "openai: wss://api.openai.com/v1/realtime?model=x"),
    ("models-and-providers", Request("/v1/realtime"), "eu (1 of 2 requests): wss://eu.api.openai.com/v1/realtime"),
    ("models-and-providers", Request("/v1/realtime?intent=transcription"), "v1/realtime?intent=transcription"),
    ("models-and-providers", Request("/v1/realtime?model=vioce"), "404 model_not_found: Backend ai/voice does not"),
    ("models-and-providers", Request("/v1/chat/completions", method="POST", model="voice"), "https://api.openai.com/v1"),
    ("well-known-paths", Request("/v1/realtime"), "400 missing_model: No model is named"),
    ("well-known-paths", Request("/v1/responses", method="POST"), "400 missing_model: No model is named"),
    ("well-known-paths", Request("/v1/responses", method="POST", model="x"), "/v1/responses is Responses"),
    ("well-known-paths", Request("/v1/responses/resp_1"), "it is asked of the domain that made it, and of no other"),
    ("suffix-routes", Request("/ai/everything/v1/files"), "/v1/files is Passthrough"),
    ("suffix-routes", Request("/ai/everything/v1/realtime/sessions"), "403 path_not_allowed: /v1/realtime/sessions"),
    ("missing-secrets", Request("/v1/realtime?model=x"), "empty is never asked: spec.providers[4].auth.secretRef"),
    ("duplicates", Request("/ai/voice/v1/realtime"), "500 configuration_error: Backend ai/voice cannot be served"),
    ("authentication-missing", Request("/ai/voice/v1/realtime"), "401 authentication_not_configured: "),
    ("callers", Request("/v1/realtime?model=x"), "  Caller          some caller whom this lets in; name a key with"),
    ("callers", Request("/v1/realtime?model=x", caller="digest"), "digest of team support, in namespace ai"),
    ("callers", Request("/v1/realtime", caller="nobody"), "401 invalid_api_key: No key is called nobody; there are: "),
    ("tokens", Request("/v1/realtime?model=x"), "with or without a key or a token, in the header x-gateway-key (Po"),
    ("tokens", Request("/v1/realtime?model=x"), "keys: ci-bot; tokens of https://idp.example.com, https://inline.exam"),
    ("tokens", Request("/v1/realtime?model=x", caller="ci-bot"), "  Caller          ci-bot, in namespace ai\n"),
    ("tokens", Request("/v1/realtime?model=x", caller="alice"), "alice, in namespace ai, by a token of https://idp.e"),
    ("tokens", Request("/v1/realtime?model=x", caller="alice"), "whose claim department names the team (it is not k"),
    ("policy-conflicts", Request("/v1/realtime", model="x"), "authentication of Policy ai/fixed-too by Policy"),
    ("unenforceable", Request("/ai/unread/v1/realtime?model=x"), "403 model_not_allowed: Policy ai/few-models"),
    ("unenforceable", Request("/ai/byok/v1/realtime"), "500 configuration_error: Policy ai/keys-needed cannot hold"),
    ("invalid-policies", Request("/v1/realtime"), "Not in force    Policy ai/template: spec.transformation"),
    ("invalid-httproute", Request("/typo"), "500 configuration_error: HTTPRoute ai/rules: spec.rules[0]"),
    ("templates", Request("/v1/realtime", model="x"), 'set x-plain to "costs $$5" (Policy ai/all-variables)'),
    ("templates", Request("/v1/realtime", model="x"), 'set x-header to "<${request.header.x-team}>"'),
    ("httproute-problems", Request("/shares/v1/realtime", model="x"), "Backend ai/vioce (1 of 7 requests)\n  Answer"),
    ("session-limits", Request("/calls/v1/realtime", model="gpt-5"), "Sessions        at most 200 at a time in each g"),
    ("session-limits", Request("/calls/v1/realtime", model="gpt-5"), "connect 1s500ms, handshake 10s, firstEvent 2s ("),
    ("session-limits", Request("/calls/v1/chat/completions", model="gpt-5"), "connect 1s500ms, response 10m, idle 1h"),
    ("suffix-routes", Request("/ai/everything/v1/files"), "connect 5s, handshake 10s, response 2m, idle 5m (the def"),
    ("telemetry-subjects", Request("/v1/realtime", model="x"), "error (Policy ai/route-override, for team support)"),
    ("telemetry-subjects", Request("/v1/realtime", model="x", caller="ci-bot"), "error (Policy ai/route-override"),
    ("guardrails", Request("/v1/realtime?model=x"), "all-of-it: pii (card, email, phone, iban, ssn, key) in Input and"),
    ("guardrails", Request("/v1/realtime?model=x"), "Flag in Shadow, so nothing is done (Policy ai/everybody)"),
    ("guardrails", Request("/v1/realtime?model=x"), "no-secrets: regex (project, ticket) in Output; Block of the turn"),
    ("guardrails", Request("/v1/realtime?model=x"), "in Output; Block of the turn alone; audio Hold (Policy ai/"),
    ("guardrails", Request("/v1/realtime?model=x"), "what http://guard.test:8000/judge says in Input and Output; Mask"),
    ("guardrails", Request("/v1/realtime?model=x"), "what https://guard.test says in Input and Output; Flag; Open on "),
    ("guardrails", Request("/v1/realtime?model=x"), "what https://api.openai.com/v1 says in Input and Output; Block; "),
    ("guardrails", Request("/v1/realtime?model=x"), "keywords (rival, a rival's name) in Input; Block; only where it "),
    ("guardrails", Request("/v1/realtime?model=x&guardrails=words", caller="ci-bot"), "/v1/realtime?model=x, as x"),
    ("guardrails", Request("/v1/realtime?guardrails=wods"), "400 unknown_guardrail: There is no guardrail wods for yo"),
    ("guardrails-unseen", Request("/ai/rest/v1/x"), "Block (Policy ai/on-rest), which sees nothing here, since the p"),
    ("guardrails-alike", Request("/v1/realtime?model=x"), "Block (Policy ai/youngest)"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "request_", "line"), CASES)
def test_told(case: str, request_: Request, line: str) -> None:
    assert line in explain(compiled(case), request_).text


def test_the_match_that_holds_is_told() -> None:
    request = Request(
        "/v1/realtime?model=gpt-realtime", host="voice.example.com", headers={"X-Team": "support", "x-tier": "gold"}
    )
    assert (
        "the path /v1/realtime, method GET, header x-team = support, header x-tier matching gold|silver, "
        "query parameter model = gpt-realtime"
    ) in explain(compiled("httproute"), request).text


def test_parts_for_other_callers_are_left_out_when_the_caller_is_known() -> None:
    text = explain(compiled("telemetry-subjects"), Request("/v1/realtime", model="x", caller="ci-bot")).text
    assert text.count("Logged events") == 1


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (
            Request("/calls/v1/realtime", model="gpt-5"),
            [
                "idle 30m, duration 2h, maxMessage 24Mi, maxFragments 65536 (Policy ai/long-calls, for team support)",
                "idle 1m30s, duration 3h, maxMessage 500000, maxFragments 65536 (Policy ai/narrow)",
            ],
        ),
        (
            Request("/calls/v1/realtime", model="gpt-5", caller="ci-bot"),
            ["idle 30m, duration 2h, maxMessage 24Mi, maxFragments 65536 (Policy ai/long-calls, for team support)"],
        ),
        (
            Request("/fixed/v1/realtime", model="gpt-5"),
            ["idle 30m, duration 3h, maxMessage 24Mi, maxFragments 1 (Policy ai/fixed)"],
        ),
        (
            Request("/ai/usual/v1/realtime", model="gpt-5"),
            ["idle 30m, duration 3h, maxMessage 64Ki, maxFragments 65536 (Policy ai/nothing-to-limit)"],
        ),
        (Request("/calls/v1/chat/completions", model="gpt-5"), []),
    ],
)
def test_the_limits_of_a_session_are_told(request_: Request, told: list[str]) -> None:
    lines = explain(compiled("session-limits"), request_).text.splitlines()
    assert [line.removeprefix("  Session limits  ") for line in lines if line.startswith("  Session limits")] == told


def test_callers_whom_no_policy_names_have_the_defaults() -> None:
    others = ("narrow", "second", "broad")
    objects = [each for each in documents("session-limits") if as_mapping(each["metadata"])["name"] not in others]
    text = explain(compiler.compile(objects), Request("/calls/v1/realtime", model="gpt-5")).text
    assert "idle 30m, duration 3h, maxMessage 24Mi, maxFragments 65536 (the defaults, for the others)" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.1, "100ms"), (1.5, "1s500ms"), (3600, "1h"), (5430, "1h30m30s"), (86_400, "24h")]
)
def test_durations_are_told_as_they_are_written(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


def test_parts_for_callers_are_left_out_where_nobody_shows_a_key() -> None:
    text = explain(compiled("policy-levels"), Request("/v1/realtime", model="gpt-realtime")).text
    assert "Policy ai/rule" not in text


def test_changes_are_told_in_the_order_in_which_they_are_made() -> None:
    ops = HeaderOps(
        remove=("x-gone",),
        set=(HeaderValue(name="x-set", value=("a$", Variable(source="request.query", name="q"))),),
        add=(HeaderValue(name="x-add", value=(Variable(source="model"),)),),
    )
    assert list(wording.changes(ops)) == [
        "remove x-gone",
        'set x-set to "a$$${request.query.q}"',
        'add x-add "${model}"',
    ]


def test_long_lists_are_cut() -> None:
    assert wording.joined("abcdefghijkl") == "a, b, c, d, e, f, g, h, i, j and 2 more"


@pytest.mark.parametrize(
    ("case", "request_", "served"),
    [
        ("missing-secrets", Request("/v1/realtime?model=x"), True),
        ("duplicates", Request("/ai/guarded/v1/realtime?model=x"), False),
        ("httproute-problems", Request("/nothing/v1/realtime?model=x"), False),
        ("httproute-problems", Request("/shares/v1/realtime?model=x"), True),
    ],
)
def test_served_means_that_some_provider_would_be_asked(case: str, request_: Request, *, served: bool) -> None:
    assert explain(compiled(case), request_).served is served


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "/ai/relayed/v1/files",
            ["  WebSockets      origins https://app.example.com, http://localhost:3000, onRevoke "],
        ),
        ("/calls/v1/realtime?model=x", []),
    ],
)
def test_who_may_open_a_websocket_is_told(path: str, told: list[str]) -> None:
    lines = explain(compiled("session-limits"), Request(path)).text.splitlines()
    found = [line for line in lines if line.startswith("  WebSockets")]
    assert [line.removesuffix("EndSession (Policy ai/pages)") for line in found] == told


def test_limits_that_are_not_as_usual_are_told() -> None:
    limits = SessionLimits(origins=("https://a.test",), on_revoke=OnRevoke.END)
    assert wording.limit_words(limits).endswith("maxFragments 65536, origins https://a.test, onRevoke EndSession")
    assert wording.socket_words(SessionLimits()) == ""


def test_metrics_by_key_are_told() -> None:
    request = Request("/v1/realtime?model=x", caller="ci-bot")
    lines = explain(compiled("telemetry-subjects"), request).text.splitlines()
    assert [line for line in lines if "Metrics" in line or "Logged events" in line] == [
        "  Logged events   error (Policy ai/route-override, for team support)"
    ]
    alone = explain(compiled("telemetry-subjects"), Request("/v1/realtime?model=x")).text
    assert "  Metrics         by the caller's key, too (Policy ai/a-for-bot, for key ci-bot)" in alone
