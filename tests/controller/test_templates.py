"""`${…}` in header values: the cases that a whole Policy cannot show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.compile import templates
from dataplane.table import Variable


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\0b"])
def test_line_breaks_are_refused_also_where_the_api_did_not(text: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        templates.parse(text)


def test_neighbouring_literals_are_one_part() -> None:
    assert templates.parse("a$$b${model}c$$") == ("a$b", Variable(source="model"), "c$")


@given(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126)))
def test_any_text_can_be_written_literally(text: str) -> None:
    assert "".join(map(str, templates.parse(text.replace("$", "$$")))) == text


@given(st.text("${}.abcmodel requst:headry", max_size=30))
def test_whatever_is_written_is_understood_or_refused_with_a_reason(text: str) -> None:
    try:
        parts = templates.parse(text)
    except ValueError as error:
        parts = (str(error),)
    assert all(parts)
