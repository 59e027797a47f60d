"""One request on its way: what was decided about it, for every stage that follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dataplane.callers import Proof, applying
from dataplane.errors import Refusal
from dataplane.guarding import holding
from dataplane.guardrails.judge import Guard
from dataplane.http import origins
from dataplane.http import query as queries
from dataplane.http.head import Headers
from dataplane.limits.budget import Budget
from dataplane.metering.usage import Caller
from dataplane.revocation import Access
from dataplane.snapshot import Snapshot
from dataplane.table import (
    Backend,
    Forward,
    ModelAllow,
    OnRevoke,
    PolicySet,
    Provider,
    Route,
    RouteType,
    SessionLimits,
    Telemetry,
    Transformation,
    Variable,
)
from dataplane.upstreams.target import BY_NAME, Reach

_TELEMETRY = Telemetry()
_SESSION = SessionLimits()
"""Where no Policy says anything; made once, since making one takes as long as some look-ups."""


@dataclass(slots=True)
class Exchange:
    """A request that was matched and authenticated. It keeps the snapshot that it began with."""

    id: str
    """Of this request; answered as `x-tidegate-request-id`."""
    snapshot: Snapshot
    route: Route
    forward: Forward
    backend: Backend
    caller: Caller
    proof: Proof
    """How the caller was let in; ask a newer snapshot's `callers.holds` whether it still would be."""
    type: RouteType
    method: str
    path: str
    """Raw, with the route's prefix stripped; one of Azure's shape as the OpenAI API has it."""
    query: str = field(repr=False)
    """Raw, without the client's credentials unless a provider of the Backend is to see them, without what was in
    `Authentication.location`, and without what is in `wanted`."""
    headers: Headers = field(repr=False)
    """The client's, as it sent them (credentials included, but for what was in `Authentication.location`: use
    `headers.upstream`)."""
    deployment: str = ""
    """The model that the client's path named, as Azure's paths do, whatever its body says; empty: it named none."""
    wanted: frozenset[str] = frozenset()
    """Names of guardrails that the client asked for."""
    budget: Budget | None = None
    """What limits the caller here."""

    @property
    def policies(self) -> PolicySet:
        return self.forward.policies

    def reach(self, provider: Provider) -> Reach:
        """How this provider of the Backend is reached."""
        if not (provider.endpoints or provider.tls or self.backend.networks):
            return BY_NAME
        networks, endpoints = self.backend.networks, None
        if provider.endpoints:
            networks, endpoints = (), self.snapshot.endpoints[provider.endpoints]
        if not provider.tls:
            return Reach(networks, endpoints)
        context = self.snapshot.contexts.get(provider.tls.ids)
        return Reach(networks, endpoints, context, provider.tls.server_name)

    def allowed(self) -> tuple[ModelAllow, ...]:
        """What Policies say about the models of the caller; all of it must hold. Empty: every model is allowed."""
        found = self.policies.models
        return tuple(applying(found, self.caller)) if found else ()

    def guards(self) -> tuple[Guard, ...]:
        """What judges what is said; all of it holds. Empty: everything may be said."""
        found = self.policies.guardrails
        known = self.snapshot.guards
        return tuple([known[id(each)] for each in holding(found, self.caller, self.wanted)]) if found else ()

    def telemetry(self) -> Telemetry:
        """What is recorded of the caller."""
        return next(applying(self.policies.telemetry, self.caller), _TELEMETRY)

    def session_limits(self) -> SessionLimits:
        """What a session of the caller may take."""
        return next(applying(self.policies.session, self.caller), _SESSION)

    def revocable(self) -> Access | None:
        """What the caller's connection rests on, where it is to end with that."""
        ends = self.session_limits().on_revoke is OnRevoke.END
        return Access(self.route.name, self.backend.name, self.proof) if ends else None

    def check_origin(self) -> None:
        """Raises Refusal origin_not_allowed where a page is not to open WebSockets here."""
        limits = self.session_limits()
        if limits.origins and (why := origins.refused(self.headers.all("origin"), limits.origins, limits.policy)):
            raise Refusal("origin_not_allowed", why)

    def transformations(self, extra: tuple[Transformation, ...] = ()) -> list[Transformation]:
        """Those that apply to the caller, from broad to narrow; `extra` are the provider's."""
        both = self.forward.policies.transformations + extra
        return list(applying(both, self.caller)) if both else []

    def resolver(self, *, model: str = "", provider: str = "") -> Callable[[Variable], str]:
        """Fills the variables of templates for this exchange; what it does not know is empty."""

        def resolve(variable: Variable) -> str:
            match variable.source:
                case "request.header":
                    return ", ".join(self.headers.all(variable.name))
                case "request.query":
                    return queries.get(self.query, variable.name) or ""
                case "request.path":
                    return self.path
                case "model":
                    return model
                case "provider":
                    return provider
                case "route":
                    return self.route.name
                case "backend":
                    return self.backend.name
                case "caller.key":
                    return self.caller.key
                case "caller.team":
                    return self.caller.team

        return resolve
