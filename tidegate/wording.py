"""Entries of the table in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from dataplane.callers.credentials import words
from dataplane.limits import subjects
from dataplane.limits.windows import written
from dataplane.limits.wording import figure, quantity
from dataplane.table import (
    Authentication,
    AuthenticationMode,
    CallerLimits,
    CallerSet,
    Guardrail,
    HeaderOps,
    Limit,
    Match,
    NameMatch,
    OnRevoke,
    SessionLimits,
    Template,
)

_PATHS = {"exact": "the path", "prefix": "paths that begin with", "regex": "paths that match"}
_SHOWN = 10


def joined(names: Collection[str]) -> str:
    """`a, b and 3 more`: a list that stays short."""
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def match_words(match: Match) -> str:
    """What a request must have."""
    parts = [f"{_PATHS[match.path_kind]} {match.path}"]
    parts += [f"method {match.method}"] if match.method else []
    parts += [f"header {_named(header)}" for header in match.headers]
    parts += [f"query parameter {_named(parameter)}" for parameter in match.query]
    return ", ".join(parts)


def changes(ops: HeaderOps) -> Iterator[str]:
    """Each change of header fields, in the order in which they are made."""
    for name in ops.remove:
        yield f"remove {name}"
    for header in ops.set:
        yield f'set {header.name} to "{template(header.value)}"'
    for header in ops.add:
        yield f'add {header.name} "{template(header.value)}"'


def credential_words(authentication: Authentication, callers: Iterable[CallerSet]) -> str:
    """What callers show, and where: `with a key or a token, in the header x-gateway-key`. `callers`: of the table."""
    admitted = [each for each in callers if each.id in authentication.callers]
    keys = not admitted or any(each.issuer is None for each in admitted)
    tokens = any(each.issuer for each in admitted)
    what = " or ".join(name for name, shown in (("a key", keys), ("a token", tokens)) if shown)
    how = "with" if authentication.mode is AuthenticationMode.REQUIRED else "with or without"
    return f"{how} {what}" + (f", in {words(authentication.location)}" if authentication.location else "")


def limit_words(limits: SessionLimits) -> str:
    """What a session may take, each limit by its name in a Policy."""
    bounds = [
        f"idle {duration(limits.idle)}, duration {duration(limits.duration)}",
        f"maxMessage {amount(limits.max_message)}, maxFragments {limits.max_fragments}",
    ]
    return ", ".join([*bounds, *filter(None, [socket_words(limits)])])


def socket_words(limits: SessionLimits) -> str:
    """What of it holds for any WebSocket, if it is not as usual."""
    said = [f"origins {joined(limits.origins)}"] if limits.origins else []
    return ", ".join([*said, *([f"onRevoke {limits.on_revoke}"] if limits.on_revoke is OnRevoke.END else [])])


def guardrail_words(guardrail: Guardrail) -> str:
    """What it looks for, where, and what it does: `no-cards: pii (card, key) in Input and Output; Block`."""
    where = [name for name, judged in (("Input", guardrail.input), ("Output", guardrail.output)) if judged]
    turn = " of the turn alone" if guardrail.refuse_turn and guardrail.action == "block" else ""
    doing = [guardrail.action.capitalize() + turn + (" in Shadow, so nothing is done" if guardrail.shadow else "")]
    judge = guardrail.webhook or guardrail.moderation
    if judge:
        goes_on = guardrail.open or guardrail.shadow or guardrail.action == "flag"
        doing.append(f"{'Open' if goes_on else 'Closed'} on failure, within {duration(judge.timeout)}")
    if guardrail.output and guardrail.audio != "cancel":
        doing.append(f"audio {guardrail.audio.capitalize()}")
    if guardrail.optional:
        doing.append(f"only where it is asked for, by ?guardrails={guardrail.name}")
    return f"{guardrail.name}: {_looked_for(guardrail)} in {' and '.join(where)}; {'; '.join(doing)}"


def _looked_for(guardrail: Guardrail) -> str:
    if guardrail.keywords:
        return f"keywords ({joined(guardrail.keywords.words)})"
    if guardrail.regex:
        return f"regex ({joined([each.name for each in guardrail.regex.patterns])})"
    if guardrail.pii:
        return f"pii ({joined(guardrail.pii.kinds)})"
    judge = guardrail.webhook or guardrail.moderation
    return f"what {judge.url} says" if judge else "nothing"


def budget_words(limits: CallerLimits) -> str:
    """How much callers may take, and whose use is added up."""
    told = []
    for limit in limits.limits:
        when = f"per {limit.per}" if limit.per else "at a time"
        told.append(f"{quantity(limit, limit.max)} {when}")
    if any(limit.kind in ("tokens", "spend") for limit in limits.limits):
        told.append(f"{limits.reserve} tokens set aside for each turn")
    scope = "all processes together" if limits.fleet else "each process"
    whose = "all that it applies to" if limits.counted_by == "Policy" else f"each {limits.counted_by}"
    return f"{', '.join(told)}; of {whose}, counted by {scope}"


def left_words(limit: Limit, whose: str, counted: Mapping[str, object]) -> str:
    """How much a subject has left, by what a gateway has counted of it; nothing, where it has counted nothing."""
    used, reserved = (_number(counted.get(name)) for name in ("used", "reserved"))
    most = _number(counted.get("max")) or limit.max
    end = _number(counted.get("window_end"))
    left = f"{figure(limit, max(0, most - used - reserved))} of {quantity(limit, most)}"
    taken = [f"{figure(limit, used)} used"] if limit.per else []
    taken.append(f"{figure(limit, reserved)} {'set aside' if limit.per else 'open'}")
    anew = [f"anew at {written(end)}"] if end else []
    when = f" per {limit.per}" if limit.per else ""
    return (
        f"{left}{when}, for {subjects.words(whose)}: {', '.join([*taken, *anew])} ({counted.get('source') or 'local'})"
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def duration(seconds: float) -> str:
    """As the Gateway API writes it: `1h30m`."""
    left, parts = round(seconds * 1000), []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)):
        number, left = divmod(left, size)
        parts += [f"{number}{unit}"] if number else []
    return "".join(parts) or "0s"


def amount(size: int) -> str:
    """Bytes as Kubernetes writes them: `24Mi`."""
    for unit, each in (("Mi", 1 << 20), ("Ki", 1 << 10)):
        if size % each == 0:
            return f"{size // each}{unit}"
    return str(size)


def template(value: Template) -> str:
    """A header value as it is written in a Policy."""
    return "".join(
        part.replace("$", "$$") if isinstance(part, str) else f"${{{part.source}{part.name and '.' + part.name}}}"
        for part in value
    )


def _named(match: NameMatch) -> str:
    return f"{match.name} {'matching' if match.regex else '='} {match.value}"
