"""What is said about Policies, one target at a time: what holds, what lost to whom, and what cannot be enforced."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from controller.compile import limits, subjects
from controller.compile.names import some
from controller.compile.objects import Identity, Objects
from controller.compile.policies import Attached, Attachments
from controller.compile.routes import Link
from controller.compile.secrets import LEAST
from controller.compile.statuses import Ancestor, Condition, Status, Target, false, not_accepted, status, true
from controller.compile.subjects import Known
from dataplane.table import OnRevoke

Place = tuple[Identity, Target]

_KEYS = "spec.authentication.keys"
_SPEECH = (
    "In realtime sessions, what users say aloud is judged by its transcript: where there is none, Block refuses the "
    "turn unless onFailure is Open, and Mask, Flag and Shadow see nothing."
)
_NO_SESSIONS = "and no Backend here has a path of type Realtime: declare one in its spec.routes, or remove the block"
_OF_SESSIONS = {
    "session": f"spec.session: these are limits of realtime sessions, {_NO_SESSIONS}",
    "telemetry": f"spec.telemetry.logEvents: these are events of realtime sessions, {_NO_SESSIONS}",
}
"""Blocks that do nothing but for realtime sessions, and what is said where there are none."""


class Record:
    """What became of Policies on every way through the gateway, by Policy and target."""

    def __init__(self, links: Iterable[Link], *, has_store: bool) -> None:
        self.has_store = has_store
        self.held: dict[Place, set[str]] = defaultdict(set)
        self.lost: dict[Place, dict[tuple[str, str], list[str]]] = defaultdict(lambda: defaultdict(list))
        """Routes, by block and by what happened to it there."""
        self.unenforced: dict[Place, dict[str, str]] = defaultdict(dict)
        """Reason, by message."""
        self.sessions: dict[Place, dict[str, bool]] = defaultdict(dict)
        """By block that is about realtime sessions: whether they can come any way there."""
        self.heard: set[Place] = set()
        """Where guardrails judge what is said to realtime sessions."""
        self.callers: dict[Identity, set[Known | None]] = defaultdict(set)
        """Of Policies for some callers: who may come the ways on which they hold; None: that is not known."""
        self.reaching: dict[tuple[str, str], set[Known | None]] = defaultdict(set)
        """The same of a Backend, which its provider's Policies need: (namespace, name)."""
        for link in links:
            self._add(link)

    def _add(self, link: Link) -> None:
        if link.backend:
            namespace, _, name = link.backend.partition("/")
            self.reaching[namespace, name].add(link.callers)
        for attached, block in link.combined.held:
            place = (attached.policy, attached.target)
            if attached.has_subjects:
                self.callers[attached.policy].add(link.callers)
            self.held[place].add(block)
            if block == "guardrails" and link.has_sessions and any(each.input for each in attached.guardrails):
                self.heard.add(place)
            if block in _OF_SESSIONS and not _logs_nothing(attached, block):
                reached = link.has_sockets if _is_for_sockets(attached, block) else link.has_sessions
                self.sessions[place][block] = reached or self.sessions[place].get(block, False)
        for loss in link.combined.lost:
            self.lost[loss.loser.policy, loss.loser.target][loss.block, loss.why].append(link.route)
        for each in link.unenforced:
            self.unenforced[each.attached.policy, each.attached.target].setdefault(each.message, each.reason)


def _logs_nothing(attached: Attached, block: str) -> bool:
    """Telemetry that logs no events holds everywhere."""
    telemetry = attached.blocks.telemetry
    return block == "telemetry" and telemetry is not None and not telemetry.log_events


def _is_for_sockets(attached: Attached, block: str) -> bool:
    """Origins and revocation hold for WebSockets of Passthrough paths, too."""
    session = attached.blocks.session
    return block == "session" and session is not None and bool(session.origins or session.on_revoke is OnRevoke.END)


def policy_statuses(
    objects: Objects, attachments: Attachments, links: Sequence[Link], *, has_store: bool
) -> list[Status]:
    """The status of every Policy. `has_store`: is there one for the fleet's counters?"""
    record = Record(links, has_store=has_store)
    attached: dict[Identity, list[Attached]] = defaultdict(list)
    for target in sorted(attachments.at):
        for each in attachments.at[target]:
            attached[each.policy].append(each)
    return [
        _status(policy.identity, attached[policy.identity], objects, attachments, record)
        for policy in objects.policies.values()
    ]


def _status(
    policy: Identity, attached: Sequence[Attached], objects: Objects, attachments: Attachments, record: Record
) -> Status:
    conditions: dict[Target, tuple[Condition, Condition]] = {}
    for target, accepted in attachments.rejected.get(policy, {}).items():
        conditions[target] = (accepted, _because_of(accepted, closed=attachments.is_closed_by(policy, target)))
    for each in attached:
        accepted = _accepted((policy, each.target), record)
        enforced = _enforced(each, objects, attachments, record)
        conditions[each.target] = (accepted, enforced if accepted.status == "True" else _because_of(accepted))
    ancestors = [Ancestor(target, conditions[target]) for target in sorted(conditions)]
    broken = objects.policies[policy.namespace, policy.name]
    if broken.value is None:
        accepted = not_accepted(broken)
        closed = any(attachments.is_closed_by(policy, target) for target in conditions)
        return status(policy, accepted, _because_of(accepted, closed=closed), ancestors=ancestors)
    return status(policy, *_summary(ancestors), ancestors=ancestors)


def _accepted(place: Place, record: Record) -> Condition:
    held, lost = record.held.get(place, set()), record.lost.get(place, {})
    told = [
        _loss(block, why, sorted(set(routes)), partly=block in held) for (block, why), routes in sorted(lost.items())
    ]
    if lost and not held:
        advice = "Write both into one Policy, remove one of the two, or attach this one to something that is its alone."
        return false("Accepted", "Conflicted", f"Nothing of this Policy holds: {'; '.join(told)}. {advice}")
    if told:
        return true("Accepted", f"In force, except: {'; '.join(told)}.")
    return true("Accepted", "In force.")


def _enforced(attached: Attached, objects: Objects, attachments: Attachments, record: Record) -> Condition:
    place, written = (attached.policy, attached.target), attached.blocks.limits
    problems = list(attachments.key_problems.get(place[0], []))
    judged = attachments.judged.get(place[0])
    problems += judged.problems if judged else []
    problems += [(reason, message) for message, reason in sorted(record.unenforced.get(place, {}).items())]
    problems += [("NoSuchCallers", message) for message in _nobody(attached, objects, record)]
    absent = [block for block, found in sorted(record.sessions.get(place, {}).items()) if not found]
    problems += [("NoSessions", _OF_SESSIONS[block]) for block in absent]
    if written and written.fleet and not record.has_store:
        problems.append(("StoreMissing", limits.store_missing(written)))
    weak = _weak(attachments.weak_keys.get(place[0], []))
    notes = {
        "spec.limits": limits.bound(written, has_store=record.has_store) if written else "",
        "spec.guardrails": " ".join(judged.notes if judged else ()),
        _KEYS: weak,
    }
    if problems:
        told = [message for _, message in problems] + [f"{field}: {note}" for field, note in notes.items() if note]
        return false("Enforced", problems[0][0], "; ".join(told))
    speech = _SPEECH if place in record.heard else ""
    told = ["Enforced wherever it is in force.", *filter(None, [*notes.values(), speech])]
    return true("Enforced", " ".join(told), "WeakKeys" if weak else "")


def _nobody(attached: Attached, objects: Objects, record: Record) -> Iterator[str]:
    """What is to be said of subjects that are nobody. Other namespaces' callers are no subjects; see `routes`."""
    target, ways = attached.target, record.callers.get(attached.policy, set())
    if target.kind == "Backend" and target.section:
        ways = ways | record.reaching.get((target.namespace, target.name), set())
    if None not in ways:
        own = [each for each in ways if each and each.namespace == attached.policy.namespace]
        yield from subjects.nobody(attached.blocks.spec.subjects, own, target.namespace, objects.instead)


def _weak(entries: Sequence[str]) -> str:
    if not entries:
        return ""
    return (
        f"Weak keys: {some(entries)}. Keys shorter than {LEAST} characters, or of one character again and again, are "
        "found by trying; make others: openssl rand -base64 32"
    )


def _because_of(accepted: Condition, *, closed: bool = False) -> Condition:
    instead = " It guards what it targets, so requests there are answered 500 until it is accepted." if closed else ""
    return false("Enforced", accepted.reason, f"Not enforced, since it is not accepted; see Accepted.{instead}")


def _loss(block: str, why: str, routes: Sequence[str], *, partly: bool) -> str:
    where = f" on {', '.join(routes)}" if partly and any(routes) else ""
    return f"{block}{where} is replaced by {why}"


def _summary(ancestors: Sequence[Ancestor]) -> tuple[Condition, ...]:
    """Accepted and Enforced of the whole Policy: what is wrong on any target is said here too."""
    return tuple(_sum(ancestors, index) for index in (0, 1))


def _sum(ancestors: Sequence[Ancestor], index: int) -> Condition:
    told = [(ancestor.ref, ancestor.conditions[index]) for ancestor in ancestors]
    # A Policy that lost on one target and holds on another is in force.
    counted = [each for each in told if each[1].reason != "Conflicted"] or told
    wrong = [each for each in counted if each[1].status != "True"]
    first = (wrong or counted)[0][1]
    if len({condition.message for _, condition in wrong or told}) == 1:
        return first
    messages = [f"{ref}: {condition.message}" for ref, condition in wrong or told]
    return Condition(first.type, first.status, first.reason, "; ".join(messages))
