"""Whatever stands in the files: a finding or a sentence, never a traceback, and never a value that may be a key."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from tests.importing.cases import CASES, ENVIRONMENT, problems, text_of
from tidegate import yaml_text
from tidegate.importing import reading, writing
from tidegate.importing.reading import Imported, Unreadable
from tidegate.importing.report import Finding, Step, Steps, written

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, after in zip("abcdefg", "bcdefgh", strict=True)
)
SECRET = "sk-c0ffee-that-nobody-may-read"
ODD: tuple[object, ...] = (
    None,
    True,
    7,
    -1.5,
    1e300,
    "",
    "text",
    "*",
    "os.environ/",
    [],
    {},
    [7],
    [[]],
    [{}],
    {"x": 7},
    {"": {}},
)


def documents(name: str) -> list[object]:
    return [each.content for each in yaml_text.parse(text_of(name))]


def imported(contents: list[object]) -> Imported | None:
    text = writing.text(each if isinstance(each, dict) else {"": each} for each in contents)
    refused = ""
    try:
        return reading.imported({"odd.yaml": text}, None, ENVIRONMENT, "default")
    except Unreadable as why:
        refused = str(why)
    assert SECRET not in refused
    return None


def places(value: object, steps: Steps = ()) -> Iterator[Steps]:
    """Of everything in it."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, entry in inside:
        yield (*steps, step)
        yield from places(entry, (*steps, step))


def at(value: object, steps: Steps) -> object:
    for step in steps:
        value = value[step]  # type: ignore[index]
    return value


def put(contents: list[object], steps: Steps, value: object) -> list[object]:
    changed = copy.deepcopy(contents)
    *above, last = steps
    at(changed, tuple(above))[last] = value  # type: ignore[index]
    return changed


def covers(finding: Finding, steps: Steps) -> bool:
    return any(finding.path == written(steps[:end]) for end in range(1, len(steps) + 1))


@pytest.mark.parametrize("name", CASES)
def test_wrong_types_are_findings(name: str) -> None:
    contents = documents(name)
    for number, steps in enumerate(list(places(contents))):
        odd = ODD[number % len(ODD)]
        found = imported(put(contents, steps, odd))
        # Of LiteLLM everything is written here; of resources, what was wrong may be still.
        reason = "" if name.startswith("litellm") else "Invalid"
        told = problems(found, reason) if found else []
        assert not [each for each in told if each.startswith(("Backend", "Policy"))], (steps, odd)


@pytest.mark.parametrize("name", CASES)
def test_what_nobody_knows_is_named(name: str) -> None:
    """A field that is added anywhere is in the report, or a field above it is."""
    for document in documents(name):
        for steps in [(), *places(document)]:
            if isinstance(at(document, steps), dict):
                place: tuple[Step, ...] = (*steps, "of_tomorrow")
                found = imported(put([document], (0, *place), "as it was"))
                kept = found is None or "of_tomorrow: as it was" in writing.text(found.objects)
                assert kept or (found and any(covers(each, place) for each in found.findings)), place


@pytest.mark.parametrize("name", CASES)
def test_no_finding_holds_a_value(name: str) -> None:
    contents = documents(name)
    for steps in places(contents):
        if isinstance(at(contents, steps), str) and steps[-1] not in ("apiVersion", "kind"):
            found = imported(put(contents, steps, SECRET))
            if found is not None:
                assert SECRET not in "".join(map(str, found.findings)), steps
                assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is nothing in these files"),
        ("# a comment alone\n", "there is nothing in these files"),
        ("just text\n", "x.yaml:1: is no mapping"),
        ("- a\n- b\n", "x.yaml:1: is no mapping"),
        ("model_list: [\n", "x.yaml:2:1"),
        ("model_list: [a, a]\nmodel_list: []\n", 'the key "model_list" is used twice, first on line 1'),
        ("model_list: " + "[" * 80 + "]" * 80, "is nested more than 64 levels deep"),
        (BOMB, "stands for more than 1000000 values"),
        ("model_list: !!python/object:os.system x\n", "has a tag that is not supported"),
        ("model_list: \x07\n", "has a control character"),
        ("kind: AgentgatewayBackend\n", "is no configuration that can be imported"),
        ("services: {}\n", "is no configuration that can be imported"),
        ("binds: []\n", "is agentgateway's own file"),
        ("model_list: []\n---\napiVersion: v1\nkind: Secret\n", "import them one after the other"),
    ],
)  # fmt: skip
def test_what_cannot_be_read(text: str, why: str) -> None:
    with pytest.raises(Unreadable) as raised:
        reading.imported({"x.yaml": text}, None, {}, "default")
    assert why in str(raised.value)


def test_lost_indentation_is_told() -> None:
    """Text that was copied from a page is YAML still, and means nothing."""
    text = (
        "model_list:\n- model_name: voice\nlitellm_params:\nmodel: openai/gpt-realtime\nmodel_info:\nmode: realtime\n"
    )
    found = reading.imported({"x.yaml": text}, None, {}, "default")
    assert found.objects == []
    [told] = [str(each) for each in found.findings if each.path == "model_list[0]"]
    assert told.startswith("x.yaml:2: model_list[0]: dropped: has no litellm_params")
    assert "indented" in told


def test_ten_thousand_models() -> None:
    entry = "- model_name: m-{0}\n  litellm_params: {{model: openai/m-{0}, api_key: os.environ/KEY_{1}}}\n"
    text = "model_list:\n" + "".join(entry.format(number, number % 100) for number in range(10_000))
    found = reading.imported({"x.yaml": text}, None, {}, "default")
    backends = [each for each in found.objects if each["kind"] == "Backend"]
    names = [model["name"] for each in backends for model in each["spec"]["models"]]  # type: ignore[index]
    assert sorted(names) == sorted(f"m-{number}" for number in range(10_000))
    assert problems(found) == []


def test_a_model_of_many_targets() -> None:
    entry = "- model_name: m\n  litellm_params: {{model: openai/m-{0}, api_key: os.environ/KEY}}\n"
    text = "model_list:\n" + "".join(entry.format(number) for number in range(20))
    found = reading.imported({"x.yaml": text}, None, {}, "default")
    assert [each.path for each in found.findings if "at most 16 targets" in each.message] == [
        f"model_list[{number}]" for number in (16, 17, 18, 19)
    ]
    assert problems(found) == []


def test_several_files_are_one_configuration() -> None:
    one = "model_list:\n- model_name: a\n  litellm_params: {model: gpt-5}\nlitellm_settings: {request_timeout: 5}\n"
    two = "model_list:\n- model_name: b\n  litellm_params: {model: gpt-5}\nlitellm_settings: {request_timeout: 9}\n"
    found = reading.imported({"one.yaml": one, "two.yaml": two}, None, {}, "ai")
    assert [model["name"] for model in found.objects[0]["spec"]["models"]] == ["a", "b"]  # type: ignore[index]
    assert found.objects[0]["spec"]["timeouts"] == {"response": "5s"}  # type: ignore[index]
    [told] = [str(each) for each in found.findings if each.path == "litellm_settings.request_timeout"]
    assert told.startswith("two.yaml:4: litellm_settings.request_timeout: dropped: ")
    assert "of one.yaml comes first" in told
    assert problems(found) == []


@pytest.mark.parametrize(
    "value", ["y", "1e3", "017", "~", "null", "1:30", "2024-10-01", "", "a: b", "# c", "é", "\x1b[0m", "'"]
)
def test_text_is_written_so_that_it_stays_text(value: str) -> None:
    [parsed] = yaml_text.parse(writing.text([{"key": value, value or "x": [value]}]))
    assert parsed.content == {"key": value, value or "x": [value]}
