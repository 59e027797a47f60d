"""The routes of the table: everything that is served, with the Policies that hold for each Backend there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from controller.compile.backends import Compiled
from controller.compile.callers import CLIENTS_OWN
from controller.compile.combine import Combined, combine
from controller.compile.exposure import Exposure, route_of
from controller.compile.httproutes import ServedRule, Share
from controller.compile.policies import Attached, Attachments
from controller.compile.statuses import Target
from controller.compile.subjects import NOBODY, Known
from controller.compile.transcribing import may_transcribe
from dataplane import table

LOCATION_NEEDED = "LocationNeeded"
NOBODY_ASKED = table.Authentication(policy="", mode=table.AuthenticationMode.NONE)
"""Where no Policy had to say how callers authenticate."""


@dataclass(frozen=True, slots=True)
class Unenforced:
    """A block that cannot hold where its Policy is attached."""

    attached: Attached
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Link:
    """One way through the gateway: a route and a Backend behind it. Statuses are made from these."""

    route: str
    backend: str
    combined: Combined
    unenforced: tuple[Unenforced, ...] = ()
    undecided: bool = False
    """A credential is injected and no Policy says how callers authenticate."""
    has_sessions: bool = True
    """Realtime sessions can come this way."""
    has_sockets: bool = True
    """So can WebSockets of Passthrough paths, or both."""
    closed: str = ""
    """Why nothing is served here although the Backend is good: a Policy that guards it is not accepted, or cannot."""
    callers: Known | None = None
    """Who may come this way; None where that is not known, since something is broken."""


@dataclass(slots=True)
class Routes:
    entries: list[table.Route] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    too_many: set[tuple[str, str]] = field(default_factory=set)
    """HTTPRoutes, by namespace and name, that are answered 500: older ones of their namespace take all its room."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every route is decided against."""

    backends: Mapping[str, Compiled]
    attachments: Attachments
    open_by_default: bool
    most: int | None = None
    """Bytes that the routes of one namespace may take; None: any number."""
    _combined: dict[tuple[Target, ...], Combined] = field(default_factory=dict)

    def combined(self, chain: tuple[Target, ...]) -> Combined:
        """See `combine`, which is asked once for all chains with Policies at the same targets, and one owner."""
        key = (*(target for target in chain if target in self.attachments.at), Target("", chain[-1].namespace, ""))
        if (found := self._combined.get(key)) is None:
            found = self._combined[key] = combine(chain, self.attachments)
        return found


def served_backend(exposure: Exposure, above: tuple[Target, ...] = ()) -> ServedRule:
    """An exposed Backend, as a rule that leads to it alone. `above`: what Policies of the whole fleet may target."""
    namespace, _, name = exposure.backend.partition("/")
    return ServedRule(route_of(exposure), exposure.age, (), (Share((namespace, name), 1),), above)


def build(served: list[ServedRule], around: Surroundings) -> Routes:
    """The table's routes in the order that decides between equal matches: the oldest first, ties by name; rules of
    one HTTPRoute as they are written."""
    routes = Routes()
    taken: Counter[str] = Counter()
    for rule in sorted(served, key=lambda rule: rule.age):
        _, namespace, name = rule.age
        full = around.most is not None and taken[namespace] >= around.most
        if full and rule.targets:
            routes.too_many.add((namespace, name))
        forwards = []
        for share in rule.shares:
            forward, link = _forward(rule, share, around, too_many(namespace) if full else "")
            forwards.append(forward)
            routes.links.append(link)
        if not rule.shares:
            routes.links.append(Link(rule.route.name, "", around.combined(rule.chain)))
        entry, size = table.weighed(rule.route.model_copy(update={"forwards": tuple(forwards)}))
        routes.entries.append(entry)
        taken[namespace] += size
    linked = {link.backend for link in routes.links}
    routes.links += [_unserved(name, around) for name in around.backends if name not in linked]
    return routes


def too_many(namespace: str) -> str:
    """Why routes are answered 500 though they are good."""
    return (
        f"the routes of namespace {namespace}, with the Policies that hold on each, take more of the table than a "
        "namespace may have; the oldest are served: remove some routes, backendRefs or Policies"
    )


def _forward(rule: ServedRule, share: Share, around: Surroundings, refused: str) -> tuple[table.Forward, Link]:
    """`refused`: why it is not served, whatever is said of it."""
    name = "/".join(share.backend)
    if share.error:  # it does not reach the Backend, so it says nothing about the Policies there
        forward = table.Forward(backend=name, weight=share.weight, error=f"{rule.targets[0]}: {share.error}")
        return forward, Link(rule.route.name, "", around.combined(rule.chain))
    backend = around.backends[name]
    chain = (*rule.chain, Target("Backend", *share.backend))
    combined = around.combined(chain)
    closed = refused or _closed(chain, around.attachments)
    if error := backend.entry.error or closed:
        forward = table.Forward(backend=name, weight=share.weight, error=error)
        callers = _callers_once_mended(chain, combined, around.attachments)
        return forward, Link(rule.route.name, name, combined, closed=closed, callers=callers)
    callers = _callers(combined, around.attachments)
    unenforced = tuple(_unenforced(backend, combined, callers))
    policies, undecided = _authenticated(backend, combined.policies, around.open_by_default)
    closed = _why_none_holds(unenforced)
    forward = table.Forward(
        backend=name,
        weight=share.weight,
        policies=table.PolicySet() if closed else _filtered(policies, (*rule.changes, *share.changes)),
        error=closed,
    )
    return forward, Link(
        rule.route.name,
        name,
        combined,
        unenforced,
        undecided,
        backend.has_sessions,
        backend.has_sockets,
        closed,
        callers,
    )


def _filtered(policies: table.PolicySet, changes: tuple[table.Transformation, ...]) -> table.PolicySet:
    """With what filters of the HTTPRoute change before Policies do."""
    if not changes:
        return policies
    return policies.model_copy(update={"transformations": (*changes, *policies.transformations)})


def _unserved(name: str, around: Surroundings) -> Link:
    """A Backend that no route leads to: its Policies are looked at all the same."""
    namespace, _, short = name.partition("/")
    target = Target("Backend", namespace, short)
    combined = around.combined((target,))
    backend = around.backends[name]
    _, undecided = _authenticated(backend, combined.policies, around.open_by_default)
    unknown = bool(backend.entry.error)
    return Link(
        "",
        name,
        combined,
        undecided=undecided,
        has_sessions=backend.has_sessions or unknown,
        has_sockets=backend.has_sockets or unknown,
        callers=_callers_once_mended((target,), combined, around.attachments),
    )


def _why_none_holds(unenforced: Sequence[Unenforced]) -> str:
    """Why nobody may be let in though all is accepted: credentials would be in one place."""
    conflict = next((each for each in unenforced if each.reason == LOCATION_NEEDED), None)
    return f"{conflict.attached.policy} cannot hold: {conflict.message}" if conflict else ""


def _closed(chain: tuple[Target, ...], attachments: Attachments) -> str:
    return next(filter(None, map(attachments.why_closed, chain)), "")


def _authenticated(backend: Compiled, policies: table.PolicySet, open_by_default: bool) -> tuple[table.PolicySet, bool]:
    """The policies with authentication decided, and whether a Policy is missing that would say so."""
    if policies.authentication is not None:
        return policies, False
    if backend.injects and not open_by_default:
        return policies, True
    return policies.model_copy(update={"authentication": NOBODY_ASKED}), backend.injects


def _callers(combined: Combined, attachments: Attachments) -> Known:
    """Who may come where this holds."""
    authenticator = combined.authenticator
    return attachments.known[authenticator.policy] if authenticator and _asks_for_keys(combined) else NOBODY


def _callers_once_mended(chain: tuple[Target, ...], combined: Combined, attachments: Attachments) -> Known | None:
    """Who may come here, be it broken for now; None: a Policy of the Backend's namespace is not accepted, and may say
    that. Those of others do not matter, as they replace nothing of it."""
    owner = chain[-1].namespace
    if any(target.namespace == owner and attachments.why_closed(target) for target in chain):
        return None
    return _callers(combined, attachments)


def _asks_for_keys(combined: Combined) -> bool:
    authentication = combined.policies.authentication
    return authentication is not None and authentication.mode is not table.AuthenticationMode.NONE


def _no_place(backend: Compiled, combined: Combined) -> str:
    """Why clients cannot show the gateway a credential beside the provider's, or nothing."""
    authentication = combined.policies.authentication
    if authentication is None or not backend.passthrough or not _asks_for_keys(combined):
        return ""
    where = authentication.location
    if where and where.name not in CLIENTS_OWN[where.kind]:
        return ""
    place = f".location: {where.name}" if where else ""
    return (
        f"spec.authentication{place}: provider {backend.passthrough} of Backend {backend.entry.name} is sent the "
        f"client's own credential (auth.passthrough), {'which is there' if where else 'and both would be in one place'}"
        ": say where the gateway's is, with authentication.location: {header: x-gateway-key}, or use auth.secretRef "
        "there, or mode: None here; requests are answered 500 until then"
    )


def _uncounted(attached: Attached) -> str:
    """What a Policy limits that only metered paths can count."""
    written = attached.blocks.limits
    kinds = {limit.kind for limit in written.limits} if written else set()
    return " and ".join(kind for kind in ("tokens", "spend") if kind in kinds)


def _unenforced(backend: Compiled, combined: Combined, callers: Known) -> Iterator[Unenforced]:
    if combined.authenticator and (message := _no_place(backend, combined)):
        yield Unenforced(combined.authenticator, LOCATION_NEEDED, message)
    for attached, block in combined.held:
        if attached.has_subjects and callers.namespace != attached.policy.namespace:
            message = (
                f"spec.subjects: nobody who reaches Backend {backend.entry.name} shows a key that a Policy of "
                f"namespace {attached.policy.namespace} knows, so this is for no one; add a Policy there with "
                "authentication.keys"
            )
            yield Unenforced(attached, "NoSuchCallers", message)
        if block == "limits" and backend.uninspected and (missed := _uncounted(attached)):
            message = (
                f"spec.limits: paths of type Passthrough ({', '.join(backend.uninspected)}) of Backend "
                f"{backend.entry.name} are relayed without reading what is used, so {missed} there count for nothing: "
                "remove those paths from spec.routes, or give them a type that is read"
            )
            yield Unenforced(attached, "PassthroughNotRead", message)
        if block == "guardrails":
            yield from _unseen(backend, attached, combined)
        if block == "models" and backend.uninspected:
            message = (
                f"spec.models: paths of type Passthrough ({', '.join(backend.uninspected)}) of Backend "
                f"{backend.entry.name} are relayed without reading the model, so callers can ask for any there: "
                "remove those paths from spec.routes, or give them a type that is read"
            )
            yield Unenforced(attached, "PassthroughNotRead", message)


def _unseen(backend: Compiled, attached: Attached, combined: Combined) -> Iterator[Unenforced]:
    """Where guardrails cannot see what is said."""
    if backend.uninspected:
        message = (
            f"spec.guardrails: paths of type Passthrough ({', '.join(backend.uninspected)}) of Backend "
            f"{backend.entry.name} are relayed without reading what is said, so nothing of it holds there: "
            "remove those paths from spec.routes, or give them a type that is read"
        )
        yield Unenforced(attached, "PassthroughNotRead", message)
    if backend.has_sessions and any(each.input for each in attached.guardrails):
        for allow in combined.policies.models:
            if not may_transcribe(backend.entry, allow):
                message = (
                    f"spec.guardrails: what users say aloud in sessions of Backend {backend.entry.name} is judged by "
                    f"its transcript, and Policy {allow.policy} allows no model that is known to transcribe, so that "
                    "Block refuses all of it, and others see nothing of it: add one to its spec.models.allow, such as "
                    "gpt-4o-mini-transcribe"
                )
                yield Unenforced(attached, "NotTranscribed", message)
