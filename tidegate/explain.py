"""What holds for one request, and who says so: the route, the Backend, the model's targets, and every Policy.

It asks the data plane's own code, so that it cannot say anything else than what would be served.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from multidict import CIMultiDict

from controller.compile import Compiled
from dataplane import guarding, models, routing
from dataplane.callers import applies, applying
from dataplane.errors import Refusal
from dataplane.http import paths
from dataplane.http import query as queries
from dataplane.http.responses import is_stored
from dataplane.limits.subjects import subject
from dataplane.limits.windows import written
from dataplane.metering.usage import ANONYMOUS, Caller
from dataplane.routing import Router, model_of, responses_below
from dataplane.table import (
    AuthenticationMode,
    Backend,
    Block,
    CallerLimits,
    CallerSet,
    Forward,
    Match,
    ModelAllow,
    PolicySet,
    Provider,
    Route,
    RouteType,
    SessionLimits,
    Timeouts,
    Transformation,
)
from dataplane.upstreams.choose import unusable
from tidegate import explain_limits, explain_models
from tidegate.explain_limits import Counted, counted_as, of_subject
from tidegate.explain_models import Candidate
from tidegate.explain_pools import Doing, balance_words, doing_words
from tidegate.wording import (
    budget_words,
    changes,
    credential_words,
    duration,
    guardrail_words,
    joined,
    left_words,
    limit_words,
    match_words,
    socket_words,
)

_HTTP = (RouteType.COMPLETIONS, RouteType.RESPONSES)
"""Types of paths without WebSockets."""
BlockT = TypeVar("BlockT", bound=Block)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client would ask for. `path` may have a query; `caller` is the name of a key ("": any caller)."""

    path: str
    method: str = "GET"
    host: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """For people, line by line. `served`: whether some provider would be asked."""

    text: str
    served: bool


def explain(
    compiled: Compiled, request: Request, counted: Counted | None = None, doing: Doing | None = None
) -> Explanation:
    """What would be done with a request, in the order in which it is done. `counted`, and how providers are `doing`: of
    a gateway that was asked."""
    lines = [f"{request.method} {request.path}" + (f" on {request.host}" if request.host else "")]
    try:
        route = _route(compiled, request, lines)
    except Refusal as refusal:
        return Explanation("\n".join([*lines, _answered(refusal)]), served=False)
    served = False
    for forward in route.forwards:
        share = _Share(compiled, request, route, forward, counted, doing or {})
        try:
            lines += ["", f"Backend {forward.backend}{_share_of(forward, route)}"]
            share.explain()
            served = served or bool(forward.weight)
        except Refusal as refusal:
            share.lines.append(_line("Answer", _answered(refusal)))
        lines += share.lines
    return Explanation("\n".join(lines), served)


def _route(compiled: Compiled, request: Request, lines: list[str]) -> Route:
    path, _, query = request.path.partition("?")
    headers = CIMultiDict(request.headers)
    routes = compiled.table.routes
    route = Router(routes).match(request.host, path, request.method, headers, query)
    if route is None:
        known = joined([route.name for route in routes]) or "none"
        raise Refusal("unknown_host", f"No route serves {request.host}{path}. There are: {known}.")
    single = (route.model_copy(update={"matches": (match,)}) for match in route.matches)
    met = [one.matches[0] for one in single if Router([one]).match(request.host, path, request.method, headers, query)]
    lines.append(f"Route {route.name}: {_why(route, met)}")
    if route.error:
        raise Refusal("configuration_error", route.error)
    return route


def _why(route: Route, met: Sequence[Match]) -> str:
    host = f"host {joined(route.hostnames)}" if route.hostnames else "any host"
    return f"{host}, {'; or '.join(map(match_words, met))}"


def _share_of(forward: Forward, route: Route) -> str:
    total = sum(each.weight for each in route.forwards)
    return f" ({forward.weight} of {total} requests)" if len(route.forwards) > 1 else ""


def _answered(refusal: Refusal) -> str:
    return f"{refusal.status} {refusal.code}: {refusal.message}"


def _line(label: str, text: str) -> str:
    return f"  {label:<15} {text}"


def _admitted(name: str, sets: Sequence[CallerSet]) -> tuple[Caller, str, bool]:
    """The caller of that name; how, unless it is by a key; whether the token alone tells the team.

    Raises Refusal invalid_api_key where nobody can be."""
    expired = 0.0
    for each in sets:
        for key in each.keys:
            if key.name == name and (key.expires is None or time.time() < key.expires):
                return Caller(each.namespace, name, each.team), "", False
            expired = (key.expires or 0.0) if key.name == name else expired
    for each in sets:
        if each.issuer:
            claim = each.issuer.team_claim
            team = f", whose claim {claim} names the team (it is not known here)" if claim else ""
            return Caller(each.namespace, name, each.team), f", by a token of {each.issuer.name}{team}", bool(claim)
    if expired:
        raise Refusal("invalid_api_key", f"The key {name} has expired: {written(int(expired))}.")
    names = joined([key.name for each in sets for key in each.keys]) or "none"
    raise Refusal("invalid_api_key", f"No key is called {name}; there are: {names}.")


class _Share:
    """One Backend of the route, explained line by line. Raises Refusal where a request would end."""

    def __init__(
        self,
        compiled: Compiled,
        request: Request,
        route: Route,
        forward: Forward,
        counted: Counted | None,
        doing: Doing,
    ) -> None:
        self.lines: list[str] = []
        self._compiled = compiled
        self._request = request
        self._route = route
        self._forward = forward
        self._counted = counted
        self._doing = doing
        raw, _, self._query = request.path.partition("?")
        self._path = paths.stripped(raw, route.strip_prefix)
        self._caller: Caller | None = None
        self._of_some_team = False
        """Is the caller's team in a token, which nobody has shown here?"""
        self._model = request.model or queries.get(self._query, "model") or ""

    @property
    def _policies(self) -> PolicySet:
        return self._forward.policies

    def explain(self) -> None:
        self._not_in_force()
        if self._forward.error:
            raise Refusal("configuration_error", self._forward.error)
        backend = next(each for each in self._compiled.table.backends if each.name == self._forward.backend)
        asked = routing.asked(backend, self._path, self._query, self._request.method)
        kind, self._path, self._query = asked.type, asked.path, asked.query
        self._model = self._model or asked.deployment or queries.get(asked.query, "model") or ""
        self._say("Path", f"{self._path} is {kind}")
        self._authentication()
        self._undecided()
        self._guardrails(kind)
        self._limits()
        if kind is RouteType.MODELS:
            self._room(kind, [])
            self._listed(backend)
            return
        self._cap(backend, kind)
        if kind is not RouteType.PASSTHROUGH:
            self._allowed(self._model)
        asks = self._asks(backend, kind)
        candidates, said = explain_models.candidates(backend, asks, self._model, self._query, self._allow)
        if said:
            self._say("Model", said)
        self._providers(candidates, kind, backend)
        self._room(asks, candidates)
        self._timeouts(backend, kind)
        self._transformations(self._policies.transformations, "")
        for candidate in candidates:
            self._transformations(candidate.provider.transformations, f"{candidate.provider.name}: ")
        if kind is RouteType.REALTIME:
            self._session_limits()
        elif kind is RouteType.PASSTHROUGH:
            self._sockets()
        self._telemetry()

    def _asks(self, backend: Backend, kind: RouteType) -> RouteType:
        """Like which type the path asks for models: what is asked of a stored response names none."""
        if kind is RouteType.RESPONSES and is_stored(responses_below(backend, paths.normalised(self._path))):
            self._say("Response", "it is asked of the domain that made it, and of no other")
            return RouteType.PASSTHROUGH
        return kind

    def _say(self, label: str, text: str) -> None:
        self.lines.append(_line(label, text))

    def _authentication(self) -> None:
        authentication = self._policies.authentication
        if authentication is None:
            message = "a credential is injected, and no Policy says how callers authenticate; see tidegate validate"
            raise Refusal("authentication_not_configured", message)
        if authentication.mode is AuthenticationMode.NONE:
            said = f"Policy {authentication.policy}" if authentication.policy else "no Policy asks for a key"
            self._say("Callers", f"everybody ({said})")
            self._caller = ANONYMOUS
            return
        sets = [each for each in self._compiled.table.callers if each.id in authentication.callers]
        names = joined([key.name for each in sets for key in each.keys])
        issuers = joined([each.issuer.name for each in sets if each.issuer])
        known = [f"keys: {names or 'none'}"] if names or not issuers else []
        known += [f"tokens of {issuers}"] if issuers else []
        needs = credential_words(authentication, sets)
        self._say("Callers", f"{needs} (Policy {authentication.policy}; {'; '.join(known)})")
        if not self._request.caller:
            self._say("Caller", "some caller whom this lets in; name a key with --key-name to ask about one")
            return
        self._caller, how, self._of_some_team = _admitted(self._request.caller, sets)
        team = f" of team {self._caller.team}" if self._caller.team else ""
        self._say("Caller", f"{self._caller.key}{team}, in namespace {self._caller.namespace}{how}")

    def _concerning(self, blocks: Iterable[BlockT]) -> Iterator[BlockT]:
        """Those that apply to the caller; while nobody is named, to some caller."""
        return applying(blocks, self._caller) if self._caller else iter(blocks)

    def _first(self, blocks: Iterable[BlockT]) -> Iterator[BlockT]:
        """The first that applies to the caller; while nobody is named, all that may be it."""
        for block in self._concerning(blocks):
            yield block
            if self._caller or not block.subjects:
                return

    def _undecided(self) -> None:
        """Policies that hold for callers of a team, where the caller's is not known."""
        if self._caller is None or not self._of_some_team:
            return
        held = self._policies
        blocks: list[Block] = [
            *held.models,
            *held.guardrails,
            *held.limits,
            *held.session,
            *held.transformations,
            *held.telemetry,
        ]
        for said_by, subjects in dict.fromkeys((self._said_by(block), block.subjects) for block in blocks):
            if any(each.team for each in subjects) and not applies(subjects, self._caller):
                self._say("Not decided", f"{said_by}: it holds as well if the token names such a team")

    def _said_by(self, block: Block) -> str:
        who = joined([f"key {each.key}" if each.key else f"team {each.team}" for each in block.subjects])
        return f"Policy {block.policy}" + (f", for {who}" if who else "")

    @property
    def _allow(self) -> tuple[ModelAllow, ...]:
        return tuple(self._concerning(self._policies.models))

    def _allowed(self, model: str) -> None:
        """What may be asked for, and inside a session named; whether `model` may, if one is named."""
        for allow in self._allow:
            self._say("Allowed models", f"{joined(allow.patterns)} ({self._said_by(allow)})")
        for allow in self._allow if model else ():
            if models.refused([allow], model):
                said_by = self._said_by(allow)
                raise Refusal("model_not_allowed", f"{said_by} does not allow the model {model}.")

    def _listed(self, backend: Backend) -> None:
        """What a request for the list of models is answered."""
        if self._request.method not in ("GET", "HEAD"):
            raise Refusal("method_not_allowed", "Models are listed by GET.")
        name = model_of(paths.normalised(self._path)) or ""
        self._allowed(name)
        others = "; fewer for a caller whom a Policy above limits" if self._unsure else ""
        if backend.models and name:
            explain_models.declared(backend, name)
            self._say("Answer", f"that there is {name}")
        elif backend.models:
            allow = [each for each in self._allow if not (self._unsure and each.subjects)]
            self._say("Answer", f"{joined(models.names(backend.models, allow)) or 'no model'}{others}")
        else:
            self._providers([Candidate(each) for each in backend.providers], RouteType.MODELS, backend)
            whole = (
                "as the provider says it" if name or not self._allow else "what is allowed of what the provider says"
            )
            self._say("Answer", whole)

    @property
    def _unsure(self) -> bool:
        """Whether nobody was named, and it matters who asks."""
        return self._caller is None and any(allow.subjects for allow in self._policies.models)

    def _guardrails(self, kind: RouteType) -> None:
        """What may be said; raises the Refusal of one that is asked for and is not there."""
        held = list(self._concerning(self._policies.guardrails))
        unseen = ", which sees nothing here, since the path is relayed unread" if kind is RouteType.PASSTHROUGH else ""
        for each in held:
            self._say("Guardrail", f"{guardrail_words(each)} ({self._said_by(each)}){unseen}")
        _, self._query = guarding.taken(self._query, held, kind)

    def _limits(self) -> None:
        for limits in self._concerning(self._policies.limits):
            self._say("Limits", f"{budget_words(limits)} ({self._said_by(limits)})")
            self._left(limits)

    def _left(self, limits: CallerLimits) -> None:
        """What the caller has left, where a gateway was asked and it is known whose use counts."""
        named = self._caller is not None or limits.counted_by in ("Backend", "Policy")
        if self._counted is None or not named:
            return
        itself = subject(limits, self._caller or ANONYMOUS, self._forward.backend)
        whose = counted_as(self._counted, limits.policy, itself)
        counted = of_subject(self._counted, limits.policy, whose)
        for limit in limits.limits:
            self._say("Left", left_words(limit, whose, counted.get(limit.name, {})))

    def _room(self, kind: RouteType, candidates: Sequence[Candidate]) -> None:
        """Raises the Refusal of the limits, where the caller is known and none of the candidates may be asked."""
        parts = list(self._concerning(self._policies.limits))
        if self._caller is None or not parts:
            return
        metered = kind in (RouteType.COMPLETIONS, RouteType.REALTIME, RouteType.RESPONSES)
        turns = [each.asked(kind) for each in candidates if not each.provider.error] if metered else [None]
        whose = (parts, self._caller, self._forward.backend)
        found = [explain_limits.refusal(*whose, turn, self._counted or []) for turn in turns]
        refused = [each for each in found if each]
        if refused and len(refused) == len(found):
            raise refused[0]

    def _providers(self, candidates: Sequence[Candidate], kind: RouteType, backend: Backend) -> None:
        usable = [each for each in candidates if each.weight and not each.provider.error]
        first = min((each.provider.priority for each in usable), default=0)
        for each in sorted(candidates, key=lambda each: each.provider.priority):
            provider = each.provider
            if provider.error:
                self._say("Provider", f"{provider.name} is never asked: {provider.error}")
                continue
            rank = provider.priority
            total = sum(other.weight for other in usable if other.provider.priority == rank)
            after = f", where none of priority {first} takes it" if rank > first else ""
            share = f" ({each.weight} of {total} requests{after})" if len(candidates) > 1 else ""
            named = f", as {each.upstream}" if each.upstream else ""
            self._say("Provider", f"{provider.name}{share}: {each.url(kind, self._path, self._query)}{named}")
            if doing := self._doing.get((backend.name, provider.name)):
                self._say("", f"{provider.name} is {doing_words(doing)}")
        if not usable:
            raise unusable(backend, [each.provider.name for each in candidates])
        if len(usable) > 1:
            self._say("Balance", balance_words(backend.balance, sessions=self._has_sessions(kind)))
        self._caps([each.provider for each in usable], kind)

    def _has_sessions(self, kind: RouteType) -> bool:
        upgrade = self._request.headers.get("Upgrade", self._request.headers.get("upgrade", ""))
        return kind is RouteType.REALTIME or (kind is RouteType.PASSTHROUGH and upgrade.lower() == "websocket")

    def _caps(self, providers: Sequence[Provider], kind: RouteType) -> None:
        if kind is RouteType.COMPLETIONS or kind is RouteType.MODELS:
            return
        what = "" if kind is RouteType.REALTIME else "WebSockets: "
        for provider in providers:
            if most := provider.max_sessions:
                said_by = f"maxSessions of the provider {provider.name}"
                self._say("Sessions", f"{what}at most {most} at a time in each gateway process ({said_by})")

    def _transformations(self, transformations: Sequence[Transformation], prefix: str) -> None:
        for each in self._concerning(transformations):
            said_by = self._said_by(each)
            for label, ops in (("Request", each.request), ("Response", each.response)):
                for text in changes(ops):
                    self._say(label, f"{prefix}{text} ({said_by})")

    def _cap(self, backend: Backend, kind: RouteType) -> None:
        if kind not in _HTTP and backend.max_sessions:
            what = "" if kind is RouteType.REALTIME else "WebSockets: "
            said_by = f"maxSessions of Backend {backend.name}"
            self._say("Sessions", f"{what}at most {backend.max_sessions} at a time in each gateway process ({said_by})")

    def _timeouts(self, backend: Backend, kind: RouteType) -> None:
        waits = backend.timeouts
        told = {
            "connect": waits.connect,
            "handshake": waits.handshake if kind not in _HTTP else None,
            "firstEvent": waits.first_event if kind is RouteType.REALTIME else None,
            "response": waits.response if kind is not RouteType.REALTIME else None,
            "idle": waits.idle if kind is not RouteType.REALTIME else None,
        }
        said_by = "the defaults" if waits == Timeouts() else f"timeouts of Backend {backend.name}"
        listed = (f"{name} {duration(seconds)}" for name, seconds in told.items() if seconds is not None)
        self._say("Timeouts", f"{', '.join(listed)} ({said_by})")

    def _session_limits(self) -> None:
        held = list(self._first(self._policies.session))
        for limits in held:
            self._say("Session limits", f"{limit_words(limits)} ({self._said_by(limits)})")
        if not held or (self._caller is None and held[-1].subjects):
            others = ", for the others" if held else ""
            self._say("Session limits", f"{limit_words(SessionLimits())} (the defaults{others})")

    def _sockets(self) -> None:
        """What holds for a WebSocket that is relayed as it is."""
        for limits in self._first(self._policies.session):
            if words := socket_words(limits):
                self._say("WebSockets", f"{words} ({self._said_by(limits)})")

    def _telemetry(self) -> None:
        for telemetry in self._first(self._policies.telemetry):
            said_by = self._said_by(telemetry)
            self._say("Logged events", f"{joined(telemetry.log_events) or 'none'} ({said_by})")
            if telemetry.caller_key:
                self._say("Metrics", f"by the caller's key, too ({said_by})")

    def _not_in_force(self) -> None:
        for lost in self._compiled.lost:
            if (lost.route, lost.backend) == (self._route.name, self._forward.backend):
                self._say("Replaced", f"{lost.block} of Policy {lost.policy} by {lost.winner}")
        for text in self._refused_policies():
            self._say("Not in force", text)

    def _refused_policies(self) -> Iterator[str]:
        here = {("Backend", self._forward.backend), ("HTTPRoute", self._route.name.partition("#")[0])}
        for status in self._compiled.statuses:
            for ancestor in status.ancestors:
                ref, accepted = ancestor.ref, ancestor.conditions[0]
                told = accepted.status == "True" or accepted.reason == "Conflicted"  # see Replaced
                if (ref.kind, f"{ref.namespace}/{ref.name}") in here and not told:
                    yield f"Policy {status.namespace}/{status.name}: {accepted.message}"
