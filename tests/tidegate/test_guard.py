"""`tidegate guard`: what becomes of a text, what each guardrail found, and who could not be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dataplane.judges.asked import Asked
from tests.tidegate.processes import Result, run

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "guardrails.yaml")
POLICY = """\
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {{name: guards, namespace: ai}}
spec:
  targetRefs: [{{group: tidegate.dev, kind: Backend, name: elsewhere}}]
  guardrails:
{guardrails}
---
apiVersion: v1
kind: Secret
metadata: {{name: judge, namespace: ai}}
stringData: {{Authorization: "${{JUDGE_KEY}}"}}
"""


async def guard(*arguments: str, stdin: str = "") -> Result:
    return await run("guard", *arguments, stdin=stdin, OPENAI_API_KEY="sk-x", JUDGE_KEY="sk-judge")


def policy(folder: Path, *guardrails: str) -> str:
    path = folder / "policy.yaml"
    path.write_text(POLICY.format(guardrails="\n".join(f"  - {{{each}}}" for each in guardrails)))
    return str(path)


async def test_what_becomes_of_each_text_and_what_was_found() -> None:
    done = await guard(
        "-f", EXAMPLE, "my card is 4111 1111 1111 1111", "write to ada@example.com on ABC-12 and ABC-13", "hello"
    )
    assert done.out == (
        "blocked  Guardrail blocked this request: never send payment data or keys here\n"
        "  ai/guards no-cards: card: block\n"
        "masked   write to [EMAIL] on ABC-12 and ABC-13\n"
        "  ai/guards no-addresses: email: mask\n"
        "  ai/guards tickets: ticket (2 times): block, in the shadow\n"
        "passes\n"
    )
    assert done.code == 1


async def test_what_holds_for_some_is_said_so(tmp_path: Path) -> None:
    given = policy(tmp_path, "name: pay, keywords: {words: [salary]}, action: Block, optional: true")
    path = Path(given)
    path.write_text(path.read_text().replace("  guardrails:", "  subjects: [{team: interns}]\n  guardrails:"))
    done = await guard("-f", given, "salary")
    assert done.out.splitlines()[1] == "  ai/guards pay: words[0]: block, for some callers, if asked for"


async def test_lines_of_stdin() -> None:
    done = await guard("-f", EXAMPLE, "--direction", "output", stdin="hello\r\n\nada@example.com")
    assert (done.code, done.out) == (0, "passes\n" * 3)
    done = await guard("-f", EXAMPLE, "--direction", "output", stdin="hello\nBluebird ships in May\n")
    assert (done.code, done.out.splitlines()[1:]) == (
        1,
        [
            "blocked  Guardrail blocked this request: secrets: keywords",
            "  ai/guards secrets: words[0]: block, if asked for",
        ],
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            '["sal\\u0061ry", "pay"]',
            ["blocked  Guardrail blocked this request: pay: keywords", "  ai/guards pay: words[0]: block"],
        ),
        ('{"to": "ada\\u0040example.com"}', ['masked   {"to":"[EMAIL]"}', "  ai/guards mail: email: mask"]),
        ('["ada@example.com", "bob@example.com"]', [
            'masked   ["[EMAIL]","[EMAIL]"]', "  ai/guards mail: email (2 times): mask",
        ]),
        ('["ABC", "ABC"]', ["passes", "  ai/guards tickets: t (2 times): flag"]),
        ('{"a": 1, "a": 2}', [
            "blocked  Guardrail blocked this request: pay: unreadable",
            "  all: not judged: a key appears twice in one object",
        ]),
    ],
)  # fmt: skip
async def test_what_is_in_json_is_judged_as_in_a_gateway(tmp_path: Path, text: str, lines: list[str]) -> None:
    given = policy(
        tmp_path,
        "name: pay, keywords: {words: [salary]}, action: Block",
        "name: mail, pii: {kinds: [Email]}, action: Mask",
        "name: tickets, regex: {patterns: [{name: t, pattern: ABC}]}, action: Flag",
    )
    done = await guard("-f", given, text)
    assert done.out.splitlines() == lines


async def test_a_webhook_is_asked_about_what_masks_have_left(tmp_path: Path) -> None:
    async with Asked({"action": "mask", "text": "[EMAIL] and [it]", "rule": "birds"}) as server:
        given = policy(
            tmp_path,
            f'name: ours, webhook: {{url: "{server.url}", auth: {{secretRef: {{name: judge}}}}}}, action: Mask',
            "name: mail, pii: {kinds: [Email]}, action: Mask",
        )
        done = await guard("-f", given, "ada@example.com and Bluebird")
        assert server.bodies[0] == {
            "text": "[EMAIL] and Bluebird",
            "direction": "input",
            "guardrail": "ours",
            "policy": "ai/guards",
            "place": "text",
            "model": "",
            "route": "",
            "backend": "",
            "caller": {"namespace": "", "key": "", "team": ""},
            "id": "guard",
            "realtime": False,
        }
        assert server.requests[0].headers["Authorization"] == "Bearer sk-judge"
    assert done.out.splitlines() == [
        "masked   [EMAIL] and [it]",
        "  ai/guards mail: email: mask",
        "  ai/guards ours: birds: mask",
    ]
    assert done.code == 0


@pytest.mark.parametrize(
    ("on_failure", "code", "first"),
    [("Closed", 1, "blocked  Guardrail blocked this request: ours: not_judged"), ("Open", 0, "passes")],
)
async def test_who_does_not_answer(tmp_path: Path, on_failure: str, code: int, first: str) -> None:
    async with Asked() as server:
        url = server.url
    given = policy(tmp_path, f'name: ours, webhook: {{url: "{url}"}}, action: Block, onFailure: {on_failure}')
    done = await guard("-f", given, "hello")
    assert done.out.splitlines() == [first, "  ai/guards ours: not judged: unreachable"]
    assert done.code == code
    assert done.err.startswith("ai/guards ours could not judge: 127.0.0.1:")
    assert done.err.endswith("cannot be reached: connection refused\n")


@pytest.mark.parametrize(("on_failure", "code"), [("Closed", 1), ("Open", 0)])
async def test_who_cannot_be_asked_from_here(tmp_path: Path, on_failure: str, code: int) -> None:
    service = f"name: ours, webhook: {{service: {{name: judge, port: 80}}}}, action: Block, onFailure: {on_failure}"
    done = await guard("-f", policy(tmp_path, service, "name: mail, pii: {}, action: Flag"), "hello")
    assert (done.code, done.out) == (code, "passes\n  ai/guards ours: not tried\n")
    assert "policy.yaml #1: spec.guardrails[0].webhook.service: a Service exists in a cluster only" in done.err


async def test_secrets_that_nobody_here_needs_may_want_their_variables() -> None:
    done = await run("guard", "-f", EXAMPLE, "hello")
    assert (done.code, done.out, done.err) == (0, "passes\n", "")


async def test_a_variable_of_who_is_asked_is_named(tmp_path: Path) -> None:
    judge = "name: ours, webhook: {url: 'http://127.0.0.1:1', auth: {secretRef: {name: judge}}}, action: Block"
    done = await run("guard", "-f", policy(tmp_path, judge), "hello")
    assert (done.code, done.out) == (1, "passes\n  ai/guards ours: not tried\n")
    assert 'entry "Authorization" is empty' in done.err
    assert done.err.endswith("Not set, and taken for empty: JUDGE_KEY\n")


async def test_what_is_written_wrongly_has_its_line(tmp_path: Path) -> None:
    done = await guard("-f", policy(tmp_path, "name: a, keyword: {words: [b]}, action: Block"), "hello")
    told = 'policy.yaml #1: spec.guardrails[0].keyword: unknown field "keyword"; did you mean "keywords"? (line 7)'
    assert told in done.err


@pytest.mark.parametrize(
    ("guardrails", "said"),
    [
        ("name: out, pii: {}, action: Block, directions: [Output]", "no guardrail in these files judges input."),
        ('name: re, regex: {patterns: [{name: p, pattern: "(?=a)"}]}, action: Block', "RE2 does not take"),
        ("name: a", "these files cannot be used"),
    ],
)
async def test_files_that_say_nothing_of_it(tmp_path: Path, guardrails: str, said: str) -> None:
    done = await guard("-f", policy(tmp_path, guardrails), "hello")
    assert (done.code, done.out) == (1, "")
    assert said in done.err


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = await guard("-f", str(tmp_path / "none.yaml"), "hello")
    assert done.code == 1
    assert "these files cannot be used" in done.err
