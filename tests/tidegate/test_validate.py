"""What `tidegate validate` says: places, conditions, and whether it is all right."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tidegate.documents import Documents
from tidegate.validate import Report, check

GOLDENS = Path(__file__).parents[1] / "controller" / "compile"

POLICIES = """\
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {name: voice}
spec: {providers: [{name: openai, openai: {}}]}
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: teams}
spec:
  targetRefs:
  - {group: tidegate.dev, kind: Backend, name: voice}
  transformation:
    request:
      set:
      - {name: x-team, value: "${caler.team}"}
"""

ALL_RIGHT = """\
Backend default/voice (policies.yaml #1)
  Accepted      True    The spec is valid.
  ResolvedRefs  True    Everything that the Backend refers to was found.
  Authenticated True    No credential is injected, so none is asked for.
  Ready         True    Ready to serve.
Policy default/teams (policies.yaml #2)
  Accepted      True    In force.
  Enforced      True    Enforced wherever it is in force.
2 objects, all accepted.
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(text: str) -> Report:
    Path("policies.yaml").write_text(text)
    return check(["policies.yaml"], Documents({}))


@pytest.mark.usefixtures("folder")
def test_all_right() -> None:
    report = checked(POLICIES.replace("caler", "caller"))
    assert report.text() == ALL_RIGHT
    assert report.ok


@pytest.mark.usefixtures("folder")
def test_an_error_has_file_document_field_and_line() -> None:
    report = checked(POLICIES)
    assert (
        "    policies.yaml #2: spec.transformation.request.set[0].value: unknown variable ${caler.team}; "
        "known: ${request.header.NAME}, ${request.query.NAME}, ${request.path}, ${model}, ${route}, ${backend}, "
        "${provider}, ${caller.key}, ${caller.team} (line 15)\n"
    ) in report.text()
    assert report.text().endswith("\nWrong: 1 of 2 objects.\n")
    assert not report.ok


@pytest.mark.usefixtures("folder")
def test_with_errors_in_files_nothing_is_said_about_objects() -> None:
    report = checked(POLICIES + "---\na: [\n")
    assert report.text() == (
        "policies.yaml:18:1: did not find expected node content\n"
        "1 error in the files; nothing is said about objects until there is none.\n"
    )
    assert not report.ok


@pytest.mark.usefixtures("folder")
def test_several_errors_of_one_object_are_several_lines_with_their_own_places() -> None:
    text = POLICIES.replace("targetRefs:", "targetRef: x\n  targetRefs:").replace("openai: {}", "openai: {}, urll: x")
    lines = checked(text).text().splitlines()
    assert any(line.endswith("(line 4)") and "spec.providers[0].urll" in line for line in lines)
    assert any(line.endswith("(line 10)") and "spec.targetRef:" in line for line in lines)


@pytest.mark.usefixtures("folder")
def test_errors_of_a_policy_are_not_placed_in_its_backend() -> None:
    text = POLICIES.replace("targetRefs:", "targetRef: x\n  targetRef2: y\n  targetRefs:")
    text = text.replace("openai: {}", "openai: {}, auth: {secretRef: {name: s}}")
    text += "---\n{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {Authorization: x}}\n"
    lines = checked(text).text().splitlines()
    (told,) = [line for line in lines if "without it this would be unguarded" in line]
    assert "spec.targetRef: " in told
    assert "; spec.targetRef2: " in told
    assert not any("#1: spec.targetRef" in line for line in lines)


@pytest.mark.usefixtures("folder")
def test_a_policy_that_closes_a_backend_says_so_and_so_does_the_backend() -> None:
    limited = POLICIES.replace("caler", "caller") + "  limits: {sesions: 2}\n"
    lines = [line.strip() for line in checked(limited).text().splitlines()]
    (told,) = [line for line in lines if line.startswith("Ready")]
    assert told.startswith("Ready         False   Requests are answered 500: Policy default/teams is not accepted")
    assert any("requests there are answered 500" in line for line in lines)


@pytest.mark.usefixtures("folder")
def test_yaml_to_apply_can_be_copied_and_helps() -> None:
    text = POLICIES.replace("caler.team", "route").replace("openai: {}", "openai: {}, auth: {secretRef: {name: s}}")
    text += "---\n{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {Authorization: x}}\n"
    report = checked(text)
    assert report.ok
    assert report.text().endswith("\n2 objects, all accepted, but not all Ready.\n")
    told = report.text()
    yaml = told[told.index("apiVersion:") : told.index("  Ready ")]
    assert "all accepted." in checked(f"{text}---\n{yaml}").text()


@pytest.mark.usefixtures("folder")
def test_nothing_of_ours() -> None:
    report = checked("apiVersion: v1\nkind: ConfigMap\n")
    assert report.ok
    assert report.text().startswith("policies.yaml #1: ConfigMap of v1 is skipped; ")
    assert report.text().endswith("\nThere is no Backend, Policy or HTTPRoute in these files.\n")


def test_several_targets_are_told_apart_and_duplicates_are_all_placed() -> None:
    text = check([GOLDENS / "unknown-targets.in.yaml"]).text()
    assert "\n  on Backend ai/vioce\n    Accepted      False   TargetNotFound\n" in text
    assert "\n  on Backend ai/voice\n    Accepted      True    In force.\n" in text
    text = check([GOLDENS / "duplicates.in.yaml"]).text()
    for place in ("#1", "#2"):
        assert f"duplicates.in.yaml {place}: 2 different documents have this name" in text


@pytest.mark.parametrize("path", sorted(GOLDENS.glob("*.in.yaml")), ids=lambda path: path.name)
def test_json_says_the_same_and_no_secret(path: Path) -> None:
    report = check([path], Documents({}))
    told = orjson.loads(report.json())
    assert told["ok"] is report.ok
    assert [each["name"] for each in told["objects"]] == [each.status.name for each in report.objects]
    assert all(place["line"] > 0 for each in told["objects"] for place in each["places"])
    assert "sk-" not in report.text()
    assert b"sk-" not in report.json()


CALLERS = """\
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: callers}
spec:
  targetRefs: [{group: tidegate.dev, kind: Backend, name: voice}]
  authentication: {keys: [{secretRef: {name: keys}}]}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData:
  laptop: "k3y-of-it"
  old: '{"key": "a-long-and-random-key", "expires": "2026-01-31T12:00:00Z"}'
  next: '{"key": "another-long-and-random-key", "expires": "2026-02-05T12:00:00Z"}'
  later: '{"key": "one-more-long-and-random-key", "expires": "2026-03-01T12:00:00Z"}'
"""
FEBRUARY = 1_769_904_000.0


@pytest.mark.usefixtures("folder")
def test_keys_that_expire_or_are_weak_are_named_and_not_shown() -> None:
    Path("policies.yaml").write_text(POLICIES.replace("caler", "caller") + CALLERS)
    report = check(["policies.yaml"], Documents({}), now=lambda: FEBRUARY)
    expired = 'Secret default/keys, entry "old" (2026-01-31T12:00:00Z): the key has expired, and opens nothing any more'
    soon = 'Secret default/keys, entry "next" (2026-02-05T12:00:00Z): the key expires soon: replace it'
    assert f"\n{soon}\n{expired}: replace or remove it\n3 objects, all accepted.\n" in report.text()
    weak = 'Enforced wherever it is in force. Weak keys: Secret default/keys, entry "laptop". '
    assert f"Enforced      True    {weak}" in report.text()
    assert orjson.loads(report.json())["warnings"] == list(report.warnings)
    assert report.ok
    for told in (report.text(), report.json().decode()):
        assert not any(key in told for key in ("k3y-of-it", "long-and-random"))


@pytest.mark.usefixtures("folder")
def test_a_subject_that_nobody_is_has_its_line_and_so_has_what_holds_all_the_same() -> None:
    budget = POLICIES.partition("---\n")[2].replace("name: teams", "name: budget").partition("  transformation")[0]
    more = "  subjects: [{key: laptp}]\n  limits: {tokens: [{max: 8192, per: Day}]}\n"
    report = checked(f"{POLICIES.replace('caler', 'caller')}{CALLERS}---\n{budget}{more}")
    assert (
        "  Enforced      False   NoSuchCallers\n"
        '    policies.yaml #5: spec.subjects[0].key: nobody who comes here is called "laptp"; did you mean "laptop"? '
        "(there is: laptop, later, next, old) (line 39)\n"
        "    policies.yaml #5: spec.limits: Turns at a time, by each process, of one Caller: "
        "8192 tokens per Day: at most 2. "
    ) in report.text()
    assert not report.ok
