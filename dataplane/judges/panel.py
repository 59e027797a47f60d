"""All who judge, for all requests and sessions of the process.

Whoever judges may be slow or away: each guardrail has a bounded number of questions under way, each question a bounded
time, and a failure is an answer like another, which says what is to become of the text by what its Policy declared.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import structlog

from dataplane.errors import Refusal
from dataplane.guard import Guard
from dataplane.guardrails.judge import TOO_LARGE, Answer, Direction, Hit, passes
from dataplane.judges.about import About
from dataplane.judges.asking import ModerationQuestion, Nonsense, Question, TooLarge, WebhookQuestion, longest_answer
from dataplane.judges.post import TooLong, Unanswered, post
from dataplane.process.complaints import Seldom
from dataplane.snapshot import Snapshot
from dataplane.table import Guardrail
from dataplane.upstreams.pool import Pool
from dataplane.upstreams.request import bare_key
from dataplane.upstreams.target import Reach

AT_ONCE = 256
"""Questions of one guardrail that may be under way."""
PAUSE = 0.05
"""Seconds before one is asked once more."""

log = structlog.get_logger("tidegate.guardrail")


class NotJudged(Exception):
    """`reason` in a word, for metrics; the message for whoever runs the gateway. Neither has anything of the text."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Meter(Protocol):
    """What is counted; see `dataplane.metering.meter.Meter`."""

    def guardrail_found(
        self, policy: str, guardrail: str, direction: str, action: str, mode: str, findings: int
    ) -> None: ...

    def guardrail_failed(self, policy: str, guardrail: str, reason: str, outcome: str) -> None: ...

    def guardrail_asked(self, policy: str, guardrail: str, kind: str, seconds: float) -> None: ...


class Panel:
    """`current`: the snapshot that is served now; `now`: a clock, in seconds."""

    def __init__(self, pool: Pool, meter: Meter, current: Callable[[], Snapshot], now: Callable[[], float]) -> None:
        self._pool, self._meter, self._current = pool, meter, current
        self._seldom = Seldom(now)
        self._guard = Guard()
        self._under_way: Counter[tuple[str, str]] = Counter()

    def found(self, hits: tuple[Hit, ...], about: About, said: Direction, place: str) -> None:
        """Count and log what was found at a place."""
        for hit in hits:
            rule, mode = hit.guardrail, "shadow" if hit.shadow else "enforce"
            with self._guard:
                self._meter.guardrail_found(rule.policy, rule.name, said, hit.action, mode, hit.findings)
                log.info(
                    "guardrail",
                    guardrail=rule.name,
                    policy=rule.policy,
                    rule=hit.rule,
                    place=place,
                    direction=said,
                    action=hit.action,
                    mode=mode,
                    findings=hit.findings,
                    **_told(about),
                )

    def failed(self, guardrail: Guardrail, reason: str, message: str) -> None:
        """Count a text, or speech, that the guardrail was to judge and never saw, and log why, now and then."""
        self._failed(guardrail, NotJudged(reason, message))

    async def ask(
        self, guardrail: Guardrail, text: str, about: About, said: Direction, place: str, snapshot: Snapshot
    ) -> Answer:
        """What is said of the text. Raises nothing."""
        whose = guardrail.policy, guardrail.name
        if self._under_way[whose] >= AT_ONCE:
            return self._failed(guardrail, NotJudged("busy", f"{AT_ONCE} questions are under way"))
        self._under_way[whose] += 1
        try:
            return await self._timed(guardrail, text, about, said, place, snapshot)
        except NotJudged as failure:
            return self._failed(guardrail, failure)
        except Exception:
            log.exception("a guardrail failed", guardrail=guardrail.name, policy=guardrail.policy)
            return self._failed(guardrail, NotJudged("internal", "the gateway is at fault; see the error before"))
        finally:
            self._under_way[whose] -= 1
            if not self._under_way[whose]:
                del self._under_way[whose]

    async def _timed(
        self, guardrail: Guardrail, text: str, about: About, said: Direction, place: str, snapshot: Snapshot
    ) -> Answer:
        """Raises NotJudged."""
        question, kind, seconds = _question(guardrail, text, about, said, place)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(seconds):
                return await self._asked(question, seconds, snapshot)
        except TimeoutError:
            raise NotJudged("timeout", f"no answer within {seconds:g} s") from None
        finally:
            with self._guard:
                self._meter.guardrail_asked(guardrail.policy, guardrail.name, kind, loop.time() - begun)

    async def _asked(self, question: Question, seconds: float, snapshot: Snapshot) -> Answer:
        """Raises NotJudged, TimeoutError."""
        status, body = await self._posted(question, seconds, snapshot)
        if status != 200:
            hint = "; redirects are not followed: name the address that they lead to" if 300 <= status < 400 else ""
            raise NotJudged("status", f"it answered {status}{hint}")
        try:
            return question.read(body)
        except Nonsense as error:
            raise NotJudged("nonsense", f"in its answer, {error}") from None

    async def _posted(self, question: Question, seconds: float, snapshot: Snapshot) -> tuple[int, bytes]:
        """An answer, of the last attempt that may be made. Raises NotJudged, TimeoutError."""
        most, left = longest_answer(question.body), question.retries
        reach, credential = self._reach(question, snapshot), _credential(question, snapshot)
        while True:
            try:
                status, body = await post(
                    self._pool, question.url, reach, credential, question.body, seconds=seconds, most=most
                )
                if status < 500 or not left:
                    return status, body
            except Unanswered as error:
                if not left:
                    raise NotJudged("unreachable", str(error)) from None
            except TooLong:
                raise NotJudged("nonsense", f"its answer is over {most} bytes") from None
            left -= 1
            await asyncio.sleep(PAUSE)

    def _reach(self, question: Question, snapshot: Snapshot) -> Reach:
        """Pods come and go while a session keeps the snapshot that it began with."""
        if not question.endpoints:
            return Reach(question.networks)
        known = self._current().endpoints.get(question.endpoints)
        return Reach((), snapshot.endpoints[question.endpoints] if known is None else known)

    def _failed(self, guardrail: Guardrail, failure: NotJudged) -> Answer:
        outcome = "open" if passes(guardrail, failure.reason) else "closed"
        policy, name = guardrail.policy, guardrail.name
        with self._guard:
            self._meter.guardrail_failed(policy, name, failure.reason, outcome)
            if self._seldom.due(policy, name, failure.reason):
                log.warning(
                    "a guardrail could not judge; such lines come once a minute",
                    guardrail=name,
                    policy=policy,
                    reason=failure.reason,
                    error=str(failure),
                    outcome=outcome,
                )
        return Answer(failed=failure.reason)


def _question(
    guardrail: Guardrail, text: str, about: About, said: Direction, place: str
) -> tuple[Question, str, float]:
    """With its kind, and the seconds that it may take. Raises NotJudged."""
    try:
        if guardrail.webhook is not None:
            return WebhookQuestion(guardrail, text, about, said, place), "webhook", guardrail.webhook.timeout
        if guardrail.moderation is not None:
            return ModerationQuestion(guardrail.moderation, text), "moderation", guardrail.moderation.timeout
    except TooLarge as error:
        raise NotJudged(TOO_LARGE, str(error)) from None
    raise ValueError("a guardrail that is judged here is asked of somebody else")


def _credential(question: Question, snapshot: Snapshot) -> str:
    """What stands in the field Authorization. Raises NotJudged."""
    if not question.secret:
        return ""
    try:
        return f"Bearer {bare_key(snapshot.secrets, question.secret)}"
    except Refusal as refusal:
        raise NotJudged("credential", refusal.message) from None


def _told(about: About) -> dict[str, object]:
    """For the log."""
    caller = about.caller
    return {
        "session" if about.realtime else "request": about.id,
        "route": about.route,
        "backend": about.backend,
        "caller": {"namespace": caller.namespace, "key": caller.key, "team": caller.team},
    }
