"""Which route serves a request, and how its path is handled.

On the port of a Gateway a request belongs to one listener, the one whose hostname is the most specific, and to its
routes alone. Precedence is that of Gateway API's HTTPRoute: an exact host, then the longest wildcard, then any host; an
exact path, then the longest prefix, then a regular expression; a method; the number of header matches; the number of
query matches; the order of the table. What a request costs does not depend on the number of routes: hosts and exact
paths are looked up, prefixes are walked by segments. Only regular expressions are tried one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import NamedTuple
from urllib.parse import unquote

from dataplane.errors import Refusal
from dataplane.http import azure_paths, paths
from dataplane.http import query as queries
from dataplane.regular import matcher
from dataplane.slices import SLICE, Slices, at_once
from dataplane.table import Backend, Listener, Match, NameMatch, PathType, Route, RouteType

_RESPONSES = "/responses"
"""Where the Responses API is below whatever a Backend serves by `*`."""
_LONG = 256
_FOUND = 1024
_FEW = 16
"""Characters of a host and a path, pairs of them, and candidates of a pair, that are remembered."""
OWN_PORT = 0
"""Stands for the data plane's own port, which is no Gateway's."""
Test = Callable[[str | None], bool]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One match of one route, ready to be tried."""

    route: Route
    order: int
    method: str
    headers: tuple[tuple[str, Test], ...]
    query: tuple[tuple[str, Test], ...]
    path: Callable[[str], bool] | None = None

    @property
    def rank(self) -> tuple[bool, int, int, int]:
        """Sort key among candidates whose host and path match equally well; the lowest wins."""
        return (not self.method, -len(self.headers), -len(self.query), self.order)

    def holds(self, method: str, headers: Mapping[str, str], query: str) -> bool:
        return (
            (not self.method or self.method == method)
            and (not self.headers or all(test(headers.get(name)) for name, test in self.headers))
            and (not self.query or all(test(queries.get(query, name)) for name, test in self.query))
        )


@dataclass(slots=True)
class Paths:
    """The candidates of one host, by path."""

    exact: dict[str, list[Candidate]] = field(default_factory=dict)
    prefix: dict[str, list[Candidate]] = field(default_factory=dict)
    regex: list[Candidate] = field(default_factory=list)
    depth: int = 0
    """Segments of the longest prefix: deeper ones of a request need no look-up."""

    def add(self, match: Match, candidate: Candidate) -> None:
        if match.path_kind == "regex":
            self.regex.append(candidate)
            return
        path = "/" + "/".join(segment for segment in match.path.split("/") if segment)
        by_path = self.exact if match.path_kind == "exact" else self.prefix
        by_path.setdefault(path, []).append(candidate)
        if match.path_kind == "prefix":
            self.depth = max(self.depth, len(paths.segments_of(path)))

    def sort(self) -> None:
        for candidates in (*self.exact.values(), *self.prefix.values(), self.regex):
            if len(candidates) > 1:
                candidates.sort(key=lambda candidate: candidate.rank)

    def groups(self, path: str) -> Iterator[list[Candidate]]:
        """Candidates whose path matches, the best first."""
        yield self.exact.get(path, [])
        segments = path[1:].split("/", self.depth)[: self.depth] if self.depth and path != "/" else []
        for length in range(len(segments), -1, -1):
            yield self.prefix.get("/" + "/".join(segments[:length]), [])
        yield [candidate for candidate in self.regex if candidate.path and candidate.path(path)]


class Router:
    """All routes of a table. Raises ValueError for a regular expression that is none, naming the route."""

    def __init__(self, routes: Sequence[Route] = (), listeners: Sequence[Listener] = ()) -> None:
        self._listeners: dict[int, dict[str, Listener]] = {}
        """By port, and by hostname as in `_hosts`."""
        self._hosts: dict[str, dict[str, Paths]] = {}
        """By the listener's name, empty for the own port; then by exact host, by `.suffix` for a wildcard, by the empty
        string for any host."""
        self._found: dict[tuple[int, str, str], list[Candidate]] = {}
        """By port, and by host and path as clients wrote them."""
        at_once(self._take(routes, listeners))

    @classmethod
    def building(cls, routes: Sequence[Route], listeners: Sequence[Listener] = ()) -> Slices[Router]:
        """A router of these routes, in slices."""
        router = cls()
        yield from router._take(routes, listeners)
        return router

    def _take(self, routes: Sequence[Route], listeners: Sequence[Listener]) -> Slices[None]:
        for listener in listeners:
            self._listeners.setdefault(listener.port, {})[host_key(listener.hostname)] = listener
        order = count()
        for place, route in enumerate(routes, 1):
            for match in route.matches:
                candidate = _candidate(route, match, next(order))
                for listener_name, hostnames in _places(route):
                    hosts = self._hosts.setdefault(listener_name, {})
                    for hostname in hostnames or ("",):
                        hosts.setdefault(host_key(hostname), Paths()).add(match, candidate)
            if place % SLICE == 0:
                yield
        for place, by_path in enumerate(chain.from_iterable(map(dict.values, self._hosts.values())), 1):
            by_path.sort()
            if place % SLICE == 0:
                yield

    def match(
        self, host: str, path: str, method: str, headers: Mapping[str, str], query: str, port: int = OWN_PORT
    ) -> Route | None:
        """The route that serves a request, or None.

        `port`: of the listener where it came, or the data plane's own. `host` may have a port, `path` is raw, `query`
        is raw, `headers` are the first of each name (in lower case). Raises Refusal invalid_path."""
        for candidate in self._candidates(port, host, path):
            if candidate.holds(method, headers, query):
                return candidate.route
        return None

    def listener(self, port: int, host: str) -> Listener | None:
        """Of those of a port, the one that a host belongs to, or None."""
        by_host = self._listeners.get(port, {})
        return next((by_host[key] for key in host_keys(host) if key in by_host), None)

    def _candidates(self, port: int, host: str, path: str) -> Sequence[Candidate]:
        """Those for a host and a raw path, the best first; what is asked for again and again is looked up once."""
        found = self._found.get((port, host, path))
        if found is None:
            found = list(self._looked_up(port, host, paths.normalised(path)))
            if len(host) + len(path) < _LONG and len(found) <= _FEW:
                if len(self._found) >= _FOUND:
                    self._found.clear()
                self._found[port, host, path] = found
        return found

    def _looked_up(self, port: int, host: str, path: str) -> Iterator[Candidate]:
        listener = None if port == OWN_PORT else self.listener(port, host)
        hosts = self._hosts.get(listener.name if listener else "", {}) if listener or port == OWN_PORT else {}
        for key in host_keys(host):
            if by_path := hosts.get(key):
                for group in by_path.groups(path):
                    yield from group


_ELSEWHERE = (
    "/realtime/client_secrets",
    "/realtime/sessions",
    "/realtimeapi/sessions",
    "/realtime/transcription_sessions",
    "/realtime/translations/client_secrets",
    "/realtime/calls/*",
    "/auth_tokens",
)
"""Paths by which a conversation is begun that does not pass here."""


class Asked(NamedTuple):
    """What a request asks of a Backend, its prefix stripped: how it is handled, and by which path and query."""

    type: RouteType
    path: str
    query: str
    deployment: str = ""
    """The model that the path named; empty: it named none."""


def asked(backend: Backend, path: str, query: str, method: str = "GET") -> Asked:
    """What a request with this raw path and query asks for. One of Azure's shape is read as the OpenAI API has it,
    where the Backend serves that, and does not itself speak of `/openai`.

    Raises Refusal undeclared_path, path_not_allowed, invalid_path, invalid_value."""
    if (shape := azure_paths.plain(path, query)) and not _declares_azure(backend, path):
        kind = _declared(backend, paths.normalised(shape.path), method)
        if kind and not (kind is RouteType.PASSTHROUGH and shape.deployment):  # which must stay in the path
            return Asked(kind, *shape)
    return Asked(path_type(backend, path, method), path, query)


def _declares_azure(backend: Backend, path: str) -> bool:
    path = paths.normalised(path)
    return any(each.suffix.startswith("/openai/") and path.endswith(each.suffix) for each in backend.paths)


def path_type(backend: Backend, path: str, method: str = "GET") -> RouteType:
    """How the Backend handles a raw path (its prefix stripped).

    Raises Refusal undeclared_path, path_not_allowed, invalid_path."""
    path = paths.normalised(path)
    if kind := _declared(backend, path, method):
        return kind
    if (rest := _rest(backend)) is not None:
        _refuse_account_paths(backend, path)
        return rest
    known = ", ".join(f"{declared.suffix} ({declared.type})" for declared in backend.paths) or "none"
    raise Refusal(
        "undeclared_path",
        f"Backend {backend.name} does not serve {path}. It serves: {known}. Declare the path in spec.routes.",
    )


def beneath(declared: PathType, path: str) -> tuple[str, ...] | None:
    """The segments of a normalised path that follow a declared one, of the one type that has paths below its own; None
    where it is another path.

    >>> beneath(PathType(suffix="/v1/responses", type=RouteType.RESPONSES), "/v1/responses/resp_1/cancel")
    ('resp_1', 'cancel')
    """
    if declared.type is not RouteType.RESPONSES:
        return None
    suffix = _RESPONSES if declared.suffix == "*" else declared.suffix
    segments: list[str] = []
    while path:
        if path.endswith(suffix):
            return tuple(segments)
        path, _, last = path.rpartition("/")
        segments.insert(0, last)
    return None


def responses_below(backend: Backend, path: str) -> tuple[str, ...]:
    """What follows in a normalised path that is of type Responses."""
    return next((below for each in backend.paths if (below := beneath(each, path)) is not None), ())


def _declared(backend: Backend, path: str, method: str) -> RouteType | None:
    """How a normalised path is handled, where that is not left to `*`."""
    for declared in backend.paths:
        if declared.suffix != "*" and (path.endswith(declared.suffix) or beneath(declared, path)):
            return declared.type
    model = model_of(path)
    if model is None or (model and method == "POST" and _rest(backend)):  # which some vendors run a model by
        return None
    return RouteType.MODELS


def _rest(backend: Backend) -> RouteType | None:
    """How paths are handled that are not declared."""
    return next((declared.type for declared in backend.paths if declared.suffix == "*"), None)


def model_of(path: str) -> str | None:
    """The model that a normalised path asks about, `/v1/models/NAME`; empty for `/v1/models`, which asks for all of
    them; None for every other path. Without `/v1`, where that is in the provider's address."""
    segments = path.split("/")
    folded = [_folded(_decoded(segment).casefold()) for segment in segments]
    for place, segment in enumerate(folded):
        if segment == "models" and (folded[place - 1] == "v1" or place == 1):
            return "/".join(segments[place + 1 :])
    return None


def leads_around(backend: Backend, path: str, kind: RouteType) -> bool:
    """Would a normalised path, which is handled so, lead around what is read: by credentials that are made for others,
    by calls that go on elsewhere, or unread by another spelling of a path that is read?"""
    if any(_is_inside(path, pattern) for pattern in _ELSEWHERE):
        return True
    if kind is not RouteType.PASSTHROUGH:
        return False
    read = [each for each in backend.paths if each.type is not RouteType.PASSTHROUGH and each.suffix != "*"]
    spellings = [each.suffix.removeprefix("/v1") for each in read]
    below = [f"{each.suffix.removeprefix('/v1')}/*" for each in read if each.type is RouteType.RESPONSES]
    return any(_is_inside(path, pattern) for pattern in (*spellings, *below))


def _is_inside(path: str, pattern: str) -> bool:
    """Might a provider take the path for one of the pattern, a suffix or one with `/*`?"""
    folded, pattern = "/".join(map(_folded, _decoded(path).casefold().split("/"))), pattern.casefold()
    return folded.endswith(pattern) or (pattern.endswith("/*") and pattern.removesuffix("*") in folded + "/")


def _refuse_account_paths(backend: Backend, path: str) -> None:
    for refused in backend.refused:
        if _is_inside(path, refused):
            raise Refusal(
                "path_not_allowed",
                f"{path} mints credentials or touches the provider's account, and Backend {backend.name} injects "
                "its own credential. Name the path exactly in spec.routes if callers may use it.",
            )


def _decoded(path: str) -> str:
    """The path as a provider might read it that decodes again and again."""
    while (once := unquote(path)) != path:
        path = once
    return path


def _folded(segment: str) -> str:
    """A segment without what a lenient reader leaves out: parameters, a query or fragment, white space and dots at
    its ends, characters that cannot be seen."""
    return re.split(r"[;?#]", "".join(filter(str.isprintable, segment)))[0].strip(" .")


def _candidate(route: Route, match: Match, order: int) -> Candidate:
    try:
        return Candidate(
            route,
            order,
            match.method.upper(),
            tuple((test.name, _test(test)) for test in match.headers),
            tuple((test.name, _test(test)) for test in match.query),
            matcher(match.path) if match.path_kind == "regex" else None,
        )
    except ValueError as error:
        raise ValueError(f"route {route.name}: regular expression: {error}") from None


def _test(match: NameMatch) -> Test:
    if not match.regex:
        return lambda value: value == match.value
    matches = matcher(match.value)
    return lambda value: value is not None and matches(value)


def host_keys(host: str) -> Iterator[str]:
    """The host itself, its wildcards from the longest on (`.suffix`), then the empty string for any host."""
    name = host.lower()
    if not name.endswith("]"):
        name = re.sub(r":\d*$", "", name)
    name = name.rstrip(".")
    yield name
    while "." in name:
        name = name.partition(".")[2]
        yield "." + name
    yield ""


def host_key(hostname: str) -> str:
    """Of a hostname as tables have them, among `host_keys`."""
    return hostname.removeprefix("*").lower()


def _places(route: Route) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where a route is served: listener and hostnames."""
    if not route.attached:
        yield "", route.hostnames
    for attachment in route.attached:
        yield attachment.listener, attachment.hostnames
