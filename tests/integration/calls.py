"""A gateway that serves objects as people write them, and calls of every kind with what came of each.

The objects go through files, the loader, the compiler and the data plane; the calls are made by real clients; what
the provider got is what the simulator received.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket as sockets
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence, Set
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import structlog
import yaml
from prometheus_client.parser import text_string_to_metric_families
from structlog.typing import EventDict
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from dataplane.upstreams.egress import EgressProxy
from simulator.kinds import Kind
from simulator.server import Simulator
from simulator.state import Received
from tidegate.addresses import Address
from tidegate.assembly import Settings
from tidegate.documents import Documents
from tidegate.standalone import Options, Standalone

Json = dict[str, object]
CLIENT_KEY = "sk-client"
"""What clients show unless a test says otherwise. The simulator takes it too, where it passes through."""
UPSTREAM_KEYS = {"Authorization": "sk-simulator", "other": "Bearer sk-other"}
FREE = Address("127.0.0.1", 0)

WAYS = ("chat", "realtime", "passthrough", "tunnel")
"""A chat completion, a realtime session of one turn, a relayed request, a relayed WebSocket."""
PATHS = {
    "chat": "/v1/chat/completions",
    "realtime": "/v1/realtime",
    "passthrough": "/v1/echo",
    "tunnel": "/v1/echo/ws",
}


@dataclass(frozen=True)
class Objects:
    """What is served: a Backend behind an HTTPRoute, Policies, Secrets. Only what a test is about need be said."""

    backend: Mapping[str, object] = field(default_factory=dict)
    """Fields of its spec that are not as usual."""
    policies: Sequence[Mapping[str, object]] = ()
    """Their specs; without `targetRefs` they are attached to the Backend."""
    keys: Mapping[str, str] = field(default_factory=lambda: {"ci-bot": CLIENT_KEY})
    """Entries of the Secret `callers`."""
    route: Mapping[str, object] = field(default_factory=dict)
    """Fields of the HTTPRoute's spec that are not as usual."""
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Further ones, with their entries."""

    def documents(self, url: str, hole: str = "") -> list[Json]:
        """As they are written: `$URL` is the simulator's, `$HOLE` is a host and port where nobody ever answers, `$SOON`
        is in two seconds."""
        backend = {
            "providers": [provider("one")],
            "routes": {PATHS["chat"]: "Completions", PATHS["realtime"]: "Realtime", "*": "Passthrough"},
            **self.backend,
        }
        route = {"rules": [{"name": "all", "backendRefs": [to("voice")]}], **self.route}
        documents = [
            _document("tidegate.dev/v1alpha1", "Backend", "voice", spec=backend),
            _document("tidegate.dev/v1alpha1", "Backend", "spare", spec={"providers": [provider("spare")]}),
            _document("gateway.networking.k8s.io/v1", "HTTPRoute", "front", spec=route),
            _document("v1", "Secret", "upstream", stringData=UPSTREAM_KEYS),
            _document("v1", "Secret", "upstream-two", stringData={"Authorization": "sk-two"}),
            _labelled(_document("v1", "Secret", "callers", stringData=dict(self.keys)), tier="silver"),
            _document("v1", "Secret", "strangers", stringData={"nobody": "another-key"}),
        ]
        documents += [_document("v1", "Secret", name, stringData=dict(all_)) for name, all_ in self.secrets.items()]
        for number, policy in enumerate(self.policies):
            spec = {"targetRefs": [at("Backend", "voice")], **policy}
            documents.append(_document("tidegate.dev/v1alpha1", "Policy", f"p{number}", spec=spec))
        meant = {"$URL": url, "$HOLE": hole, "$SOON": (datetime.now(UTC) + timedelta(seconds=2)).isoformat()}
        text = json.dumps(documents)
        for name, value in meant.items():
            text = text.replace(name, value)
        filled: list[Json] = json.loads(text)
        return filled


def provider(name: str, **fields: object) -> Json:
    """A provider that is the simulator, under a credential of ours."""
    return {
        "name": name,
        "custom": {},
        "url": "$URL/v1",
        "auth": {"secretRef": {"name": "upstream"}},
        **fields,
    }


def at(kind: str, name: str, section: str = "") -> Json:
    """A Policy's target."""
    group = {"Backend": "tidegate.dev", "HTTPRoute": "gateway.networking.k8s.io"}[kind]
    return {"group": group, "kind": kind, "name": name, **({"sectionName": section} if section else {})}


def to(backend: str, weight: int = 1) -> Json:
    """A backendRef."""
    return {"group": "tidegate.dev", "kind": "Backend", "name": backend, "weight": weight}


def _document(version: str, kind: str, name: str, **rest: object) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "ai"}, **rest}


def _labelled(document: Json, **labels: str) -> Json:
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    return {**document, "metadata": {**metadata, "labels": labels}}


Talk = Callable[[ClientConnection], Awaitable[str]]
"""What a client does on a WebSocket, and what it has to tell of it."""


@dataclass(frozen=True)
class Call:
    """What a client asks."""

    model: str = "gpt-realtime"
    path: str = ""
    """Empty: the usual one of the way."""
    query: str = ""
    said: str = "Hello"
    """What a chat completion asks."""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {CLIENT_KEY}"})
    method: str = "POST"
    stream: bool = False
    talk: Talk | None = None
    """Absent: one turn, or one message."""
    beside: bool = False
    """While the client has another session open."""
    patience: float = 10.0
    """Seconds that the client waits for a WebSocket to be opened."""

    def keyed(self, key: str) -> Call:
        """With another key, or without one."""
        return replace(self, headers={"Authorization": f"Bearer {key}"} if key else {})


@dataclass(frozen=True)
class Seen:
    """What came of a call."""

    status: int
    """0: the client's patience came to its end first."""
    answer: Sequence[tuple[str, str]]
    """Header fields of the answer, names in lower case."""
    code: str
    """Of the refusal; empty where there is none."""
    message: str
    received: Sequence[Received]
    """What the provider got."""
    ledger: Sequence[Mapping[str, object]]
    lines: Sequence[EventDict]
    """What the gateway logged."""
    counted: Set[tuple[str, str]] = frozenset()
    """Team and key of whom turns were counted for, since the gateway started."""
    shown: str = ""
    """What the client has to tell: of a usual session, the model that `session.created` names to it; of an answer that
    was cut off, `cut`."""

    def answered(self, name: str) -> list[str]:
        return [value for key, value in self.answer if key == name]

    def sent(self, name: str) -> list[str]:
        """Values of a header that the provider got."""
        return [value for key, value in self.received[-1].headers if key.lower() == name]

    def logged(self, name: str) -> list[object]:
        """A field of every turn's log line."""
        return [line[name] for line in self.lines if line["event"] == "turn"]

    @property
    def events(self) -> list[object]:
        """Types of the realtime events that were logged."""
        return [line["type"] for line in self.lines if line["event"] == "event"]

    @property
    def path(self) -> str:
        """The path that the provider was asked for; empty where it was not asked."""
        return self.received[-1].path.partition("?")[0] if self.received else ""

    @property
    def model(self) -> str:
        """The model that the provider billed."""
        return str(self.ledger[-1]["model"]) if self.ledger else ""


@dataclass
class Stand:
    simulator: Simulator
    gateway: Standalone
    file: Path
    hole: str

    def write(self, objects: Objects) -> None:
        self.file.write_text(yaml.safe_dump_all(objects.documents(self.simulator.url, self.hole)))

    async def serve(self, objects: Objects) -> None:
        """Serve these objects from now on."""
        self.write(objects)
        await self.gateway.load()

    async def call(self, way: str, call: Call) -> Seen:
        """Make a call and look at all that came of it."""
        async with AsyncExitStack() as others:
            if call.beside:
                await self._no_session_is_left()
                other = await others.enter_async_context(self._connection("realtime", Call()))
                await other.recv()
            make = self._http if way in ("chat", "passthrough") else self._socket
            return await self._look(make(way, call))

    async def converse(self, model: str) -> Seen:
        """Hold a session of two turns, in which tokens of every modality are heard, remembered and said."""
        return await self._look(self._socket("realtime", Call(model=model, talk=_conversation)))

    async def hold(self, call: Call) -> Seen:
        """Hold a session, and look at what came of it once it is over at the gateway, too."""
        return await self._look(self._held(call))

    async def _held(self, call: Call) -> tuple[int, list[tuple[str, str]], Json, str]:
        made = await self._socket("realtime", call)
        await self._no_session_is_left()
        return made

    async def _no_session_is_left(self) -> None:
        async with asyncio.timeout(10):
            while self.gateway.gateway.sessions():
                await asyncio.sleep(0.01)

    async def _look(self, making: Coroutine[None, None, tuple[int, list[tuple[str, str]], Json, str]]) -> Seen:
        self.simulator.requests.clear()
        self.simulator.ledger.clear()
        with structlog.testing.capture_logs() as lines:
            status, fields, body, shown = await making
        error = body.get("error")
        error = error if isinstance(error, dict) else {}
        return Seen(
            status,
            [(name.lower(), value) for name, value in fields],
            str(error.get("code", "")),
            str(error.get("message", "")),
            list(self.simulator.requests),
            self.simulator.ledger.turns,
            lines,
            self._counted(),
            shown,
        )

    def _counted(self) -> Set[tuple[str, str]]:
        exposition = self.gateway.assembly.telemetry.exposition().decode()
        return {
            (sample.labels.get("tidegate_caller_team", ""), sample.labels.get("tidegate_caller_key", ""))
            for family in text_string_to_metric_families(exposition)
            for sample in family.samples
            if sample.name == "tidegate_turns_total"
        }

    async def _http(self, way: str, call: Call) -> tuple[int, list[tuple[str, str]], Json, str]:
        url = f"http://{self.gateway.address}{call.path or PATHS[way]}{call.query and '?'}{call.query}"
        asked: Json = {"messages": [{"role": "user", "content": call.said}]}
        if call.model:
            asked["model"] = call.model
        if call.stream:
            asked["stream"] = True
        async with (
            aiohttp.ClientSession() as http,
            http.request(call.method, url, json=asked, headers=dict(call.headers)) as reply,
        ):
            try:
                body, shown = await reply.read(), ""
            except aiohttp.ClientPayloadError:
                body, shown = b"", "cut"
            return reply.status, list(reply.headers.items()), _object(body), shown

    async def _socket(self, way: str, call: Call) -> tuple[int, list[tuple[str, str]], Json, str]:
        talk = call.talk or (_turn if way == "realtime" else _echo)
        try:
            async with self._connection(way, call) as socket:
                assert socket.response is not None
                fields = list(socket.response.headers.raw_items())
                return 101, fields, {}, await talk(socket)
        except InvalidStatus as refused:
            response = refused.response
            return response.status_code, list(response.headers.raw_items()), _object(bytes(response.body or b"")), ""
        except TimeoutError:
            return 0, [], {}, ""

    def _connection(self, way: str, call: Call) -> connect:
        wanted = [call.query, f"model={call.model}" if call.model and way == "realtime" else ""]
        query = "&".join(filter(None, wanted))
        headers = dict(call.headers)
        address = self.gateway.address
        return connect(
            f"ws://{headers.pop('Host', address)}{call.path or PATHS[way]}{query and '?'}{query}",
            host=address.host,
            port=address.port,
            additional_headers=headers,
            user_agent_header=None,
            proxy=None,
            open_timeout=call.patience,
        )


async def _turn(socket: ClientConnection) -> str:
    """Hold one turn; the model that the session is said to have."""
    shown = json.loads(await socket.recv())["session"]["model"]
    await _respond(socket, "text")
    return str(shown)


async def _conversation(socket: ClientConnection) -> str:
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_audio", "audio": base64.b64encode(bytes(48_000)).decode()},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
    ]
    for modality in ("audio", "text"):
        item = {"type": "message", "role": "user", "content": content}
        await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await _respond(socket, modality)
    return ""


async def _respond(socket: ClientConnection, modality: str) -> None:
    """Ask for an answer and wait for its end."""
    await socket.send(json.dumps({"type": "response.create", "response": {"output_modalities": [modality]}}))
    while json.loads(await socket.recv())["type"] != "response.done":
        pass


async def _echo(socket: ClientConnection) -> str:
    await socket.send("hello")
    assert await socket.recv() == "hello"
    return ""


def _object(body: bytes) -> Json:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


@asynccontextmanager
async def standing(
    folder: Path,
    objects: Objects,
    tls: ssl.SSLContext | None = None,
    egress: EgressProxy | None = None,
    kind: Kind = "openai",
) -> AsyncIterator[Stand]:
    """`tls`: the simulator's. `egress`: what the gateway calls it through."""
    keys = frozenset({"sk-simulator", "sk-other", "sk-two", CLIENT_KEY})
    file = folder / "objects.yaml"
    # The kernel takes connections to a port on which somebody listens, be it that nobody ever looks at them.
    with sockets.create_server(("127.0.0.1", 0)) as hole:
        simulator = Simulator(kind=kind, keys=keys)
        await simulator.start(ssl=tls)
        gateway = Standalone(Options([file], FREE, FREE, settings=Settings(egress=egress)), Documents({}))
        stand = Stand(simulator, gateway, file, "{}:{}".format(*hole.getsockname()))
        stand.write(objects)
        try:
            await gateway.start()
            try:
                yield stand
            finally:
                await gateway.stop()
        finally:
            await simulator.stop()
