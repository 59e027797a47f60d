"""How a session begins: dial the upstream, wait for its first event, then answer the client's upgrade.

OpenAI answers 101 to everything, a wrong key included, and says what is wrong in its first event. So the client's
101 waits for that event: a refusal reaches the client as an HTTP status, which every client and load balancer can
see. An upstream that says nothing for `first_event` seconds gets its 101 passed on.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson
from websockets.utils import accept_key

from dataplane import faults
from dataplane.dialects import openai
from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.http import client as http
from dataplane.http import headers
from dataplane.http import query as queries
from dataplane.http.handover import SWITCHED, take_over
from dataplane.http.head import Head, wants_websocket
from dataplane.http.message import Request
from dataplane.providers import KINDS
from dataplane.realtime.legs import Leg
from dataplane.realtime.listening import Refused
from dataplane.realtime.live import LiveSession
from dataplane.realtime.terms import Terms
from dataplane.services import Services
from dataplane.table import Timeouts
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.connect import dial
from dataplane.upstreams.opening import MAX_BODY, Answer, Opening, OpeningFailed
from dataplane.upstreams.pools import Tries
from dataplane.upstreams.request import address, bare_key, response_headers, subprotocols, upstream_headers
from dataplane.upstreams.send import keyless
from dataplane.upstreams.target import Reach
from dataplane.upstreams.tls_failures import lost_by

NOT_FOUND = HTTPStatus.NOT_FOUND.value
UNAUTHORIZED = HTTPStatus.UNAUTHORIZED.value
MAX_DETAIL = 500
"""Characters of an upstream's error message that are passed on."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The client's request for a WebSocket (RFC 6455, section 4.2.1)."""

    accept: str
    """`Sec-WebSocket-Accept` for its key."""
    offered: tuple[str, ...] = field(repr=False)
    """Subprotocols, keys among them."""

    @classmethod
    def of(cls, head: Head) -> Upgrade:
        """Raises Refusal upgrade_required, method_not_allowed, invalid_header."""
        fields = head.headers
        if head.method != "GET":
            raise Refusal("method_not_allowed", "A Realtime path takes GET with an upgrade.", headers={"allow": "GET"})
        if not wants_websocket(head):
            raise Refusal(
                "upgrade_required",
                "This path takes WebSocket connections. Connect with ws:// or wss://, or an SDK's realtime client.",
                headers={"upgrade": "websocket", "connection": "upgrade"},
            )
        if fields.all("sec-websocket-version") != ["13"]:
            raise Refusal(
                "upgrade_required",
                "Only version 13 of the WebSocket protocol is spoken here.",
                headers={"sec-websocket-version": "13"},
            )
        key = fields.first.get("sec-websocket-key", "").strip()
        if len(fields.all("sec-websocket-key")) != 1 or not _is_key(key):
            raise Refusal("invalid_header", "Sec-WebSocket-Key must be one base64 value of 16 bytes.")
        offered = ",".join(fields.all("sec-websocket-protocol"))
        return cls(accept_key(key), tuple(name.strip() for name in offered.split(",") if name.strip()))

    def head(self, fields: headers.Fields) -> bytes:
        """The 101. `realtime` is selected where it was offered; a key never is."""
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines.append(f"Sec-WebSocket-Accept: {self.accept}")
        if openai.SUBPROTOCOL in self.offered:
            lines.append(f"Sec-WebSocket-Protocol: {openai.SUBPROTOCOL}")
        lines += [f"{name}: {value}" for name, value in fields if not name.lower().startswith("sec-websocket-")]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


# -- where it goes -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Route:
    """Where one provider is asked for a session."""

    destination: Destination
    query: str = field(repr=False)
    """With the upstream's model name; it may hold the client's key."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was decided about a session before anything is dialled: which providers may be asked, and for what."""

    tries: Tries
    query: str = field(repr=False)
    """The client's."""
    named: str = ""
    """The model, as the query has it; empty: none, or it is written anew in any case."""

    def route(self, destination: Destination) -> Route:
        """For this provider: what it is sent is what was judged."""
        model = destination.upstream_model
        same = not model or model == self.named
        return Route(destination, self.query if same else queries.replaced(self.query, "model", model))


def asked(exchange: Exchange, services: Services) -> Asked:
    """Raises Refusal call_id_not_allowed, conversation_id_not_allowed, model_not_allowed, invalid_value, and those of
    `Pools.named`."""
    query, allow = exchange.query, exchange.allowed()
    if allow:
        _check_one_model(query)
    models = queries.getall(query, "model")
    if len(models) > 1:
        raise Refusal("invalid_value", "The query names the model more than once. Name it once.", param="model")
    _check_resumed(exchange)
    if queries.get(query, "call_id") is not None:
        return Asked(_for_call(exchange, services), query)
    if queries.get(query, "intent") == "transcription" and not models:
        return Asked(services.pools.any(exchange, session=True), query)
    name = models[0] if models else ""
    return Asked(services.pools.named(exchange, name, allow, session=True), query, "" if allow else name)


def _check_resumed(exchange: Exchange) -> None:
    """Raises Refusal conversation_id_not_allowed."""
    ours = [KINDS[each.kind].resumes for each in exchange.backend.providers if each.credential.kind == "secret"]
    for name in queries.names(exchange.query) if any(ours) else ():
        if any(name.casefold() in names for names in ours):
            raise Refusal(
                "conversation_id_not_allowed",
                f"Resuming a conversation by {name} is refused here: the gateway's credential would open every one of "
                "its account, whoever held it. Begin a new one, or use a Backend with auth.passthrough.",
                param=name,
            )


def _check_one_model(query: str) -> None:
    """For a caller who may not use every model: no parameter but `model` may name one, in no spelling, since some
    readers ignore case. `deployment` is what Azure's older API calls it. Raises Refusal model_not_allowed."""
    for name in queries.names(query):
        if name != "model" and name.casefold() in ("model", "deployment"):
            raise Refusal(
                "model_not_allowed",
                f"The parameter {name!r} can name another model, and a Policy limits which ones this caller may use. "
                "Leave it out, and name one in 'model'.",
                param=name,
            )


def _for_call(exchange: Exchange, services: Services) -> Tries:
    tries = services.pools.any(exchange, session=True)
    if any(each.credential.kind == "secret" for each in exchange.backend.providers):
        raise Refusal(
            "call_id_not_allowed",
            "Attaching to a call by call_id is refused here: the gateway's credential would open every call of its "
            "account, whoever made it. Connect to the provider yourself, or use a Backend with auth.passthrough.",
            param="call_id",
        )
    if allowed := exchange.allowed():
        raise Refusal(
            "model_not_allowed",
            f"Policy {allowed[0].policy} limits this caller's models, and nobody here knows that of a call. Open a "
            "session with ?model=.",
            param="call_id",
        )
    return tries


def terms(head: Head, upgrade: Upgrade, exchange: Exchange, destination: Destination) -> Terms:
    beta_header = "realtime=v1" in head.headers.first.get(openai.BETA_HEADER, "")
    telemetry, provider = exchange.telemetry(), destination.provider
    mends = KINDS[provider.kind].beta_is_mended and not provider.api_version  # before GA all of Azure was beta
    return Terms(
        id=exchange.id,
        route=exchange.route.name,
        backend=exchange.backend.name,
        caller=exchange.caller,
        provider=provider.name,
        provider_kind=provider.kind,
        public_model=destination.public_model,
        upstream_model=destination.upstream_model,
        any_model=bool(provider.model_override),
        beta=mends and (beta_header or openai.BETA_SUBPROTOCOL in upgrade.offered),
        mends=mends,
        bills_time=KINDS[provider.kind].bills_time,
        binary_audio=KINDS[provider.kind].binary_audio,
        log_events=frozenset(telemetry.log_events),
        by_key=telemetry.caller_key,
        allow=exchange.allowed(),
        models=exchange.backend.models,
        guards=exchange.guards(),
        admits=exchange.budget is not None and exchange.budget.limits_turns,
    )


# -- the upstream's half -----------------------------------------------------------------------------------------


async def open_upstream(live: LiveSession, exchange: Exchange, chosen: Route, services: Services) -> Answer:
    """Dial and upgrade; the upstream's bytes then go to `live`. Raises Refusal; then the connection is gone."""
    destination = chosen.destination
    url = address(destination.provider, exchange.path, chosen.query, destination.upstream_model)
    fields = [field for field in upstream_headers(exchange, destination) if field[0].lower() != openai.BETA_HEADER]
    live.dialled = asyncio.get_running_loop().time()
    return await upgraded(live.upstream, exchange, destination, url, fields, services)


async def upgraded(
    leg: Leg, exchange: Exchange, destination: Destination, url: str, fields: headers.Fields, services: Services
) -> Answer:
    """Dial and upgrade; the upstream's bytes then go to `leg`. Raises Refusal; then the connection is gone."""
    credential = destination.provider.credential.kind
    offered = exchange.headers.all("sec-websocket-protocol") if credential == "passthrough" else []
    names = [name for name in subprotocols(",".join(offered), credential=credential).split(", ") if name]
    try:
        reach = exchange.reach(destination.provider)
        answer = await _answer(leg, url, Opening(url, fields, names), services, exchange.backend.timeouts, reach)
        if answer.status != SWITCHED:
            raise _refusal(answer, exchange, destination, services.pools.now())
    except BaseException:
        leg.abort()  # it is no WebSocket: there is nothing to say to it
        raise
    return answer


class _Exchange:
    """Stands in for the session on the upstream's connection until the handshake is answered."""

    def __init__(self, leg: Leg, opening: Opening) -> None:
        self.answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._opening = opening
        self._leg = leg
        self._receive, self._lost = self._leg.receive, self._leg.lost
        self._leg.receive, self._leg.lost = self.take, self.gone

    def take(self, data: bytes) -> None:
        self._settle(lambda: self._opening.receive(data))

    def gone(self) -> None:
        self._settle(self._ended)
        self._lost()

    def _ended(self) -> Answer:
        if why := lost_by(self._leg.cause):
            raise OpeningFailed(f"it {why}")
        return self._opening.eof()

    def _settle(self, read: Callable[[], Answer | None]) -> None:
        if self.answered.done():
            return
        try:
            answer = read()
        except OpeningFailed as error:
            self.answered.set_exception(error)
            self.answered.exception()  # it may be that nobody waits for it any more
            return
        if answer is not None:
            self.answered.set_result(answer)
            if answer.status == SWITCHED:  # at once: the first event may be in the same packet
                self._leg.receive, self._leg.lost = self._receive, self._lost
                self._leg.count_from(len(answer.rest))
                if answer.rest:
                    self._receive(answer.rest)


async def _answer(leg: Leg, url: str, opening: Opening, services: Services, timeouts: Timeouts, reach: Reach) -> Answer:
    exchange = _Exchange(leg, opening)
    await dial(
        url,
        lambda: leg,
        reach=reach,
        rand=services.rand,
        addresses=services.addresses,
        files=services.files,
        timeout=timeouts.connect,
        tls=services.tls,
        egress=services.egress,
    )
    leg.write(opening.request())
    try:
        async with asyncio.timeout(timeouts.handshake):
            return await exchange.answered
    except TimeoutError:
        if opening.refusal is not None:
            return opening.refusal
        message = f"The provider did not answer the handshake within {timeouts.handshake:g} s."
        raise Refusal("upstream_timeout", message) from None
    except OpeningFailed as error:
        raise Refusal("upstream_protocol_error", f"The provider could not open a session: {error}.") from None


def _refusal(answer: Answer, exchange: Exchange, destination: Destination, now: float) -> Refusal:
    """What the client is told where the upstream answered its handshake with another status than 101."""
    name, status, credential = destination.provider.name, answer.status, destination.provider.credential
    detail = _quoted(_detail(answer.body), exchange, destination)
    fault = faults.of_status(status, answer.headers, now, own=credential.kind != "passthrough")
    if status == UNAUTHORIZED and credential.kind == "none":
        return Refusal("upstream_credential_rejected", keyless(name))
    if status in KINDS[destination.provider.kind].rejects and credential.kind == "secret":
        said = f" It said: {detail}" if detail and status not in (401, 403) else ""
        return Refusal(
            "upstream_credential_rejected",
            f"Provider {name} refused the gateway's credential ({status}). Renew the Secret that it uses.{said}",
            fault=fault or faults.FORBIDDEN,  # a client's own mistake may be answered 400, too
        )
    if 400 <= status < 500 or status == 503:
        as_it_came = status in (429, 503) and 0 < len(answer.body) < MAX_BODY
        fields = response_headers(exchange, destination, answer.headers)
        kept = fields if as_it_came else [field for field in fields if field[0].lower() == "retry-after"]
        return Refusal(
            "upstream_refused",
            detail or f"Provider {name} answered {status}.",
            status=status,
            headers={name: value for name, value in kept if not name.lower().startswith("sec-websocket-")},
            relayed=_without_key(answer.body, exchange, destination) if as_it_came else None,
            fault=faults.UNKNOWN_MODEL if status == NOT_FOUND else fault,
        )
    message = f"Provider {name} answered {status} instead of opening a session."
    return Refusal("upstream_protocol_error", message, fault=fault)


def _detail(body: bytes) -> str:
    """The message of a provider's JSON error, if it has one."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    return openai.text(found, "error", "message") or openai.text(found, "error")


def _quoted(message: str, exchange: Exchange, destination: Destination) -> str:
    """As much of a provider's message as the client is shown."""
    return _without_key(message.encode(), exchange, destination).decode()[:MAX_DETAIL]


def _without_key(body: bytes, exchange: Exchange, destination: Destination) -> bytes:
    """What a provider says, without the gateway's key, should it be in there."""
    credential = destination.provider.credential
    if credential.kind != "secret":
        return body
    key = bare_key(exchange.snapshot.secrets, credential.secret)
    return body.replace(key.encode(), b"***")


async def first_event(live: LiveSession, exchange: Exchange, destination: Destination, seconds: float) -> bool:
    """Wait for the upstream's first event; whether it came. Raises Refusal where it is an error, or where the upstream
    leaves."""
    try:
        async with asyncio.timeout(seconds):
            refused = await asyncio.shield(live.opened)
    except TimeoutError:
        opened = live.session.listening.opened
        refused = opened if isinstance(opened, Refused) else None
    if live.failed:
        raise Refusal("internal_error", f"The gateway failed. Its log has the details under {live.session.terms.id}.")
    if refused is not None:
        raise _unwelcome(refused, exchange, destination)
    return live.session.listening.opened is not None


def _unwelcome(refused: Refused, exchange: Exchange, destination: Destination) -> Refusal:
    code = openai.refusal_code(refused.code, refused.close_reason)
    own = destination.provider.credential.kind == "secret"
    name = destination.provider.name
    if code == "upstream_credential_rejected":
        if own:
            return Refusal(code, f"Provider {name} refused the gateway's credential. Renew the Secret that it uses.")
        if destination.provider.credential.kind == "none":
            return Refusal(code, keyless(name))
        return Refusal("invalid_api_key", f"Provider {name} refused the key that was sent, if any. Send a valid one.")
    message = _quoted(refused.message, exchange, destination) or f"Provider {name} ended the session before it began."
    fault = faults.UNKNOWN_MODEL if code == "model_not_found" else None
    if code == "upstream_refused" and not refused.clients:
        fault = faults.SERVER_ERROR
    refusal = Refusal(code, message, fault=fault)
    if code == "upstream_rate_limited" and destination.provider.credential.kind == "passthrough":
        refusal.fault = None  # a limit of the client's own account
    return refusal


def client_head(upgrade: Upgrade, exchange: Exchange, chosen: Route, answer: Answer) -> bytes:
    """The 101 for the client. Raises Refusal invalid_value."""
    fields = response_headers(exchange, chosen.destination, answer.headers)
    return upgrade.head([*fields, (http.REQUEST_ID, exchange.id)])


def answer_client(request: Request, head: bytes, live: LiveSession) -> http.Answer:
    """Send the 101 and give the connection to the session; return what is returned from here, at once.

    Raises ClientGone."""
    return take_over(request, head, live.attach())
