"""Guardrails of Policies in the table's terms. What those that ask somebody lead to is looked up by `judges`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, get_args

import crds.guardrails
from crds import FieldError, Invalid
from crds.quantities import seconds
from dataplane import table
from dataplane.guardrails.judge import ready

FIELD: Final = "spec.guardrails"
_ACTIONS: Final[dict[str, Literal["block", "mask", "flag"]]] = {"Block": "block", "Mask": "mask", "Flag": "flag"}
_AUDIO: Final[dict[str, Literal["cancel", "hold", "pass"]]] = {
    "CancelOnMatch": "cancel",
    "Hold": "hold",
    "Pass": "pass",
}
_PII: Final[dict[str, table.PiiKind]] = {kind.capitalize(): kind for kind in get_args(table.PiiKind)}
_UNKNOWN: Final = ("invalid perl operator", "invalid escape sequence")
"""How RE2 begins to speak of what others would take."""
_LACKING: Final = "; RE2 has neither look-around nor back-references"


def guardrails(
    written: Sequence[crds.guardrails.Guardrail], policy: str, subjects: tuple[table.Subject, ...]
) -> tuple[table.Guardrail, ...]:
    """What may be said, but for who is asked to judge it. Raises Invalid for words and patterns that cannot be
    looked for."""
    if errors := [error for index, each in enumerate(written) for error in _faults(each, f"{FIELD}[{index}]")]:
        raise Invalid(errors)
    found = tuple(_guardrail(each, policy, subjects) for each in written)
    # What a data plane would refuse the whole table for must cost nobody but whoever wrote it.
    if errors := [error for index, each in enumerate(found) for error in _unusable(each, f"{FIELD}[{index}]")]:
        raise Invalid(errors)
    return found


def _faults(written: crds.guardrails.Guardrail, at: str) -> Iterator[FieldError]:
    """What would be found in every text, or cannot be looked for."""
    for index, word in enumerate(written.keywords.words if written.keywords else ()):
        if not any(each.isprintable() and not each.isspace() for each in word):
            yield FieldError(
                f"{at}.keywords.words[{index}]", "has no character that can be seen; write a word, or none"
            )
    for index, each in enumerate(written.regex.patterns if written.regex else ()):
        field = f"{at}.regex.patterns[{index}].pattern"
        try:
            if table.matcher(each.pattern)(""):
                yield FieldError(field, "is found in a text of nothing, and so in every one; have it match something")
        except ValueError as error:
            lacking = _LACKING if str(error).startswith(_UNKNOWN) else ""
            yield FieldError(field, f"RE2 does not take this regular expression: {error}{lacking}")


def _unusable(guardrail: table.Guardrail, at: str) -> Iterator[FieldError]:
    try:
        ready(guardrail)
    except ValueError as error:
        yield FieldError(f"{at}.{'regex' if guardrail.regex else 'keywords'}", str(error))


def _guardrail(written: crds.guardrails.Guardrail, policy: str, subjects: tuple[table.Subject, ...]) -> table.Guardrail:
    return table.Guardrail(
        policy=policy,
        subjects=subjects,
        name=written.name,
        input="Input" in written.directions,
        output="Output" in written.directions,
        keywords=_keywords(written.keywords),
        regex=_regex(written.regex),
        pii=_pii(written.pii),
        webhook=_webhook(written.webhook),
        moderation=_moderation(written.open_a_i_moderation),
        action=_ACTIONS[written.action],
        shadow=written.mode == "Shadow",
        audio=_AUDIO[written.audio],
        refuse_turn=written.on_block == "RefuseTurn",
        open=written.on_failure == "Open",
        optional=written.optional,
        reason=written.reason or "",
    )


def _keywords(written: crds.guardrails.Keywords | None) -> table.Keywords | None:
    if written is None:
        return None
    return table.Keywords(words=written.words, whole_words=written.whole_words, ignore_case=written.ignore_case)


def _regex(written: crds.guardrails.Regex | None) -> table.Regex | None:
    if written is None:
        return None
    return table.Regex(patterns=tuple(table.Pattern(name=each.name, pattern=each.pattern) for each in written.patterns))


def _pii(written: crds.guardrails.Pii | None) -> table.Pii | None:
    return table.Pii(kinds=tuple(_PII[kind] for kind in written.kinds or _PII)) if written else None


def _webhook(written: crds.guardrails.Webhook | None) -> table.Webhook | None:
    if written is None:
        return None
    return table.Webhook(url=written.url or "", timeout=seconds(written.timeout), retries=written.retries)


def _moderation(written: crds.guardrails.OpenAIModeration | None) -> table.Moderation | None:
    if written is None:
        return None
    return table.Moderation(
        url=written.url.rstrip("/"),
        secret="",
        model=written.model,
        categories=written.categories or (),
        timeout=seconds(written.timeout),
    )
