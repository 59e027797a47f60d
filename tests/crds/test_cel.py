"""The stand-in for CEL, since the agreement of both sides rests on it."""

import pytest

from tests.crds.cel import evaluate


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ("has(self.a) && !has(self.b)", {"a": 1}, True),
        ("[has(self.a), has(self.b)].exists_one(x, x)", {"a": 1, "b": 1}, False),
        ("self.a == 'x' ? self.b == 1 : self.b == 2", {"a": "y", "b": 2}, True),
        ("self.all(k, k == '*' || k.startsWith('/'))", {"/a": 0, "*": 0}, True),
        ("self.all(k, k.startsWith('/'))", {}, True),
        ("self.exists(k, k.startsWith('/'))", {}, False),
        ("self.all(a, self.exists_one(b, a.n.lowerAscii() == b.n.lowerAscii()))", [{"n": "A"}, {"n": "a"}], False),
        ('self.matches(r"^(a\'b)$")', "a'b", True),
        ('self.matches(r"^(a)$")', "a\n", False),
        ("size(self.l) >= 2 || (self.n != 3 && self.n < 3)", {"l": [], "n": 4}, False),
        ("duration(self) >= duration('1m30s')", "90s", True),
        ("duration(self) < duration('1h')", "59m60s1ms", False),
        ("quantity(self).compareTo(quantity('1Ki')) >= 0", "1023", False),
        ("quantity(self).compareTo(quantity('1M')) == 0", "1000k", True),
    ],
)  # fmt: skip
def test_it_reads_rules_as_cel_does(rule: str, value: object, expected: bool) -> None:
    assert evaluate(rule, value) is expected


def test_a_missing_field_is_an_error() -> None:
    with pytest.raises(KeyError):
        evaluate("self.a == 'x'", {})


@pytest.mark.parametrize("rule", ["duration(self) > duration('1s')", "quantity(self).compareTo(quantity('1')) > 0"])
def test_what_is_no_number_is_an_error(rule: str) -> None:
    with pytest.raises(ValueError, match="soon"):
        evaluate(rule, "soon")
