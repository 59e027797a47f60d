"""Guardrails for tests, as a table has them."""

from __future__ import annotations

from typing import Literal

from dataplane.guardrails.judge import Guard, Judge, ready
from dataplane.table.guardrails import Guardrail, Keywords, Moderation, Pattern, Pii, PiiKind, Regex

Action = Literal["block", "mask", "flag"]
ALL: tuple[PiiKind, ...] = ("card", "email", "phone", "iban", "ssn", "key")


def words(
    *words: str,
    action: Action = "mask",
    whole: bool = True,
    ignore_case: bool = True,
    shadow: bool = False,
    name: str = "no-words",
) -> Guard:
    found = Keywords(words=words, whole_words=whole, ignore_case=ignore_case)
    return ready(_rule(name, action, shadow=shadow).model_copy(update={"keywords": found}))


def patterns(*patterns: str, action: Action = "mask", shadow: bool = False, name: str = "no-pattern") -> Guard:
    found = Regex(patterns=tuple([Pattern(name=f"p{index}", pattern=each) for index, each in enumerate(patterns)]))
    return ready(_rule(name, action, shadow=shadow).model_copy(update={"regex": found}))


def pii(*kinds: PiiKind, action: Action = "mask", shadow: bool = False) -> Guard:
    return ready(_rule("no-data", action, shadow=shadow).model_copy(update={"pii": Pii(kinds=kinds or ALL)}))


def remote(action: Action = "block") -> Guard:
    asked = Moderation(url="http://127.0.0.1:1/v1", secret="", model="m")
    return ready(_rule("moderated", action).model_copy(update={"moderation": asked}))


def judge(*guards: Guard) -> Judge:
    return Judge(guards, "output")


def _rule(name: str, action: Action, *, shadow: bool = False) -> Guardrail:
    return Guardrail(policy="ai/p", name=name, input=True, output=True, action=action, shadow=shadow)
