"""Reading YAML strictly: what is refused, where, and what becomes of the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tidegate.scalars import SCALARS
from tidegate import yaml_text
from tidegate.yaml_scalars import Scalar
from tidegate.yaml_text import NotYaml, Parsed

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
)

REFUSED = {
    "a: 1\nb:\n  c: 1\n  c: 2": (4, 3, 'the key "c" is used twice, first on line 3: keep one'),
    "a: &x {b: 1}\nc:\n  <<: *x": (3, 3, "merge keys (<<) are not supported: write the fields out"),
    "1: a": (1, 1, "a key is not text: put it in quotes"),
    "on: a": (1, 1, "a key is not text: put it in quotes"),
    "? [a]\n: b": (1, 3, "a key is not text: put it in quotes"),
    "a: [1\nb: 2": (2, 2, "did not find expected ',' or ']'"),
    "a:\n\t- b": (2, 1, "found character that cannot start any token"),
    "a: b\nc: \x01": (2, 4, "has a control character"),
    "a: *b": (1, 4, 'there is no anchor "b" before this alias'),
    "&a [*a]": (1, 5, 'there is no anchor "a" before this alias'),
    "a: !!binary aGk=": (1, 4, "has a tag that is not supported: write plain text"),
    "a: !mine {b: 1}": (1, 4, "has a tag that is not supported: write it without"),
    "a: !!int secret": (1, 4, "is no number, true or false: put it in quotes if it is text"),
    "a: !!bool secret": (1, 4, "is no number, true or false: put it in quotes if it is text"),
    "[" * 100_000: (1, 66, "is nested more than 64 levels deep"),
    LAUGHS: (6, 45, "stands for more than 1000000 values, aliases included"),
    'a: "b': (1, 6, "found unexpected end of stream"),
}


@pytest.mark.parametrize(("text", "place_and_message"), REFUSED.items(), ids=range(len(REFUSED)))
def test_refused_with_its_place(text: str, place_and_message: tuple[int, int, str]) -> None:
    with pytest.raises(NotYaml) as caught:
        yaml_text.parse(text)
    assert (caught.value.line, caught.value.column, str(caught.value)) == place_and_message


def test_documents_are_counted_as_people_count_them() -> None:
    assert [
        (each.index, each.content) for each in yaml_text.parse("# words\n---\na: 1\n---\n# nothing\n---\nb: 2\n")
    ] == [
        (1, {"a": 1}),
        (3, {"b": 2}),
    ]


def test_every_field_and_entry_knows_its_line() -> None:
    (parsed,) = yaml_text.parse("a:\n  b:\n  - c: 1\n  - d\ne: {f: 2}\n")
    assert parsed.lines == {
        (): 1,
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "b", 0): 3,
        ("a", "b", 0, "c"): 3,
        ("a", "b", 1): 4,
        ("e",): 5,
        ("e", "f"): 5,
    }


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_plain_text_means_what_it_means_to_kubectl(text: str, value: Scalar) -> None:
    (parsed,) = yaml_text.parse(f"a: {text}")
    assert repr(parsed.content) == repr({"a": value})


@pytest.mark.parametrize("text", ['a: "yes"', "a: '017'", "a: !!str 1e3", 'a: ! "1:30"'])
def test_quoted_text_is_text(text: str) -> None:
    (parsed,) = yaml_text.parse(text)
    assert parsed.content == {"a": text.split()[-1].strip("\"'")}


def test_a_number_without_end_is_none_that_anybody_means() -> None:
    (parsed,) = yaml_text.parse(f"a: [{'9' * 5000}, .inf, -.INF]")
    assert parsed.content == {"a": [float("inf"), float("inf"), float("-inf")]}


def test_scalars_are_those_of_kubernetes() -> None:
    text = "[a, 1, 1.5, true, null, 2026-01-31, '1', 2026-01-31T12:00:00Z, ~, no, '']"
    assert yaml_text.parse(text)[0].content == [
        "a",
        1,
        1.5,
        True,
        None,
        "2026-01-31",
        "1",
        "2026-01-31T12:00:00Z",
        None,
        False,
        "",
    ]


def test_aliases_are_copies() -> None:
    (parsed,) = yaml_text.parse("a: &x {b: [1]}\nc: *x\nd: *x")
    assert parsed.content == {"a": {"b": [1]}, "c": {"b": [1]}, "d": {"b": [1]}}
    assert isinstance(parsed.content, dict)
    assert parsed.content["c"] is not parsed.content["d"]


@given(st.text(st.sampled_from(list("ab:-[]{}&*!'\"|>#? \n,<1")), max_size=60))
def test_anything_is_read_or_refused(text: str) -> None:
    try:
        found = yaml_text.parse(text)
    except NotYaml as refused:
        found = []
        place = (refused.line, refused.column)
    else:
        place = (1, 1)
    assert all(isinstance(each, Parsed) for each in found)
    assert min(place) >= 1
