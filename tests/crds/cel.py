"""The part of CEL that our rules use, so that they can be held against the Python checks without an API server."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

Scope = Mapping[str, object]
Expression = Callable[[Scope], object]

_TOKEN = re.compile(r"""\s*(r"[^"]*"|'[^']*'|\d+|\w+|&&|\|\||[=!<>]=|[-!<>?:.,()\[\]])""")
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def evaluate(rule: str, value: object) -> bool:
    """Whether `value`, as `self`, obeys the rule. A field that is not there is a KeyError, as it is in CEL."""
    parser = _Parser(rule)
    expression = parser.ternary()
    assert parser.peek() == "", f"not understood from {parser.peek()} on: {rule}"
    result = expression({"self": value})
    assert isinstance(result, bool)
    return result


class _Parser:
    def __init__(self, rule: str) -> None:
        self.tokens: list[str] = []
        place = 0
        while place < len(rule):
            token = _TOKEN.match(rule, place)
            assert token, f"no token at {rule[place:]}"
            self.tokens.append(token[1])
            place = token.end()

    def peek(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self, *wanted: str) -> str:
        assert not wanted or self.peek() in wanted, f"{wanted} wanted at {self.tokens}"
        return self.tokens.pop(0)

    def ternary(self) -> Expression:
        condition = self.any_of()
        if self.peek() != "?":
            return condition
        self.take()
        yes = self.ternary()
        self.take(":")
        no = self.ternary()
        return lambda scope: yes(scope) if condition(scope) else no(scope)

    def any_of(self) -> Expression:
        parts = [self.all_of()]
        while self.peek() == "||":
            self.take()
            parts.append(self.all_of())
        return parts[0] if len(parts) == 1 else lambda scope: any(part(scope) for part in parts)

    def all_of(self) -> Expression:
        parts = [self.comparison()]
        while self.peek() == "&&":
            self.take()
            parts.append(self.comparison())
        return parts[0] if len(parts) == 1 else lambda scope: all(part(scope) for part in parts)

    def comparison(self) -> Expression:
        left = self.unary()
        if self.peek() not in _COMPARE:
            return left
        compare = _COMPARE[self.take()]
        right = self.unary()
        return lambda scope: compare(left(scope), right(scope))  # type: ignore[arg-type]

    def unary(self) -> Expression:
        if self.peek() == "!":
            self.take()
            inner = self.unary()
            return lambda scope: not inner(scope)
        expression = self.primary()
        while self.peek() == ".":
            self.take()
            expression = self.member(expression, self.take())
        return expression

    def primary(self) -> Expression:
        token = self.take()
        if token == "(":
            inner = self.ternary()
            self.take(")")
            return inner
        if token == "[":
            entries = self.arguments("]")
            return lambda scope: [entry(scope) for entry in entries]
        if token[0] in "'r" and token[-1] in "'\"":
            text = token.removeprefix("r")[1:-1]
            return lambda _: text
        if token.isdigit():
            return lambda _: int(token)
        if self.peek() == "(":
            self.take()
            return self.function(token)
        return lambda scope: scope[token]

    def function(self, name: str) -> Expression:
        if name == "size":
            (of,) = self.arguments(")")
            return lambda scope: len(of(scope))  # type: ignore[arg-type]
        if name in _NUMBERS:
            (of,) = self.arguments(")")
            return lambda scope: _NUMBERS[name](str(of(scope)))
        assert name == "has", name
        *path, last = self.tokens[: self.tokens.index(")")]
        assert path[-1] == "."
        self.tokens[: len(path) + 1] = path[:-1]
        holder = self.unary()
        self.take(")")
        return lambda scope: last in holder(scope)  # type: ignore[operator]

    def member(self, of: Expression, name: str) -> Expression:
        if self.peek() != "(":
            return lambda scope: of(scope)[name]  # type: ignore[index]
        self.take()
        if name in ("all", "exists", "exists_one"):
            return self.macro(of, name)
        arguments = self.arguments(")")
        if name == "compareTo":
            return lambda scope: _compared(of(scope), arguments[0](scope))
        return lambda scope: _METHODS[name](str(of(scope)), *(str(argument(scope)) for argument in arguments))

    def macro(self, of: Expression, name: str) -> Expression:
        variable = self.take()
        self.take(",")
        test = self.ternary()
        self.take(")")

        def count(scope: Scope) -> tuple[int, int]:
            results = [bool(test({**scope, variable: entry})) for entry in of(scope)]  # type: ignore[attr-defined]
            return sum(results), len(results)

        if name == "all":
            return lambda scope: len(set(count(scope))) == 1
        if name == "exists":
            return lambda scope: count(scope)[0] > 0
        return lambda scope: count(scope)[0] == 1

    def arguments(self, end: str) -> list[Expression]:
        found: list[Expression] = []
        while self.peek() != end:
            found.append(self.ternary())
            if self.peek() == ",":
                self.take()
        self.take(end)
        return found


_NANOSECONDS = {"h": 3_600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "µs": 10**3, "ns": 1}
_MULTIPLES: dict[str, Decimal | int] = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "m": Decimal("0.001"),
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
}


def _duration(text: str) -> Decimal:
    """Nanoseconds, as Go's time.ParseDuration reads them; an error in CEL is a ValueError here."""
    part = r"(\d+\.?\d*|\.\d+)(h|ms|m|s|us|µs|ns)"
    if not re.fullmatch(f"[-+]?({part})+", text):
        raise ValueError(text)
    return sum((Decimal(number) * _NANOSECONDS[unit] for number, unit in re.findall(part, text)), Decimal(0))


def _quantity(text: str) -> Decimal:
    """A resource.Quantity of Kubernetes, as far as its suffixes go here."""
    found = re.fullmatch(r"([-+]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|m|k|M|G|)", text)
    if not found:
        raise ValueError(text)
    return Decimal(found[1]) * _MULTIPLES[found[2]]


def _compared(left: object, right: object) -> int:
    assert isinstance(left, Decimal)
    assert isinstance(right, Decimal)
    return (left > right) - (left < right)


_NUMBERS: dict[str, Callable[[str], Decimal]] = {"duration": _duration, "quantity": _quantity}
_METHODS: dict[str, Callable[..., object]] = {
    # RE2's "$" is the very end, Python's also allows a line feed before it.
    "matches": lambda text, pattern: re.search(re.sub(r"\$$", r"\\Z", pattern), text) is not None,
    "contains": lambda text, part: part in text,
    "startsWith": str.startswith,
    "lowerAscii": str.lower,
}
