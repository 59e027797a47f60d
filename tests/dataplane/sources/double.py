"""A controller that is none: it speaks the protocol on a TLS port of its own, and does what a test says."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from dataplane.sources.dialling import Credentials, Name
from dataplane.table import Secrets, Table, bundle, delta, messages
from dataplane.table.messages import FromDataPlane, Hello, Offer, Want
from dataplane.table.watermark import Watermark

TOKEN = "projected-token-77"
PATIENCE = 20.0


def authority(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """A file with a CA, and the context of a server that has a certificate of it for loopback and these names."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tidegate-ca")])
    ca = _signed(ca_name, ca_name, ca_key, ca_key, x509.BasicConstraints(ca=True, path_length=None))
    wanted = [x509.IPAddress(ip_address(f"127.0.0.{last}")) for last in (1, 2)] + [x509.DNSName(each) for each in names]
    leaf = _signed(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "controller")]),
        ca_name,
        key,
        ca_key,
        x509.BasicConstraints(ca=False, path_length=None),
        x509.SubjectAlternativeName(wanted),
    )
    folder.mkdir(exist_ok=True)
    (folder / "ca.crt").write_bytes(ca)
    (folder / "tls.pem").write_bytes(
        leaf
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "tls.pem")
    return folder / "ca.crt", context


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    *extensions: x509.ExtensionType,
) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    is_ca = key is issuer_key
    usage = x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
    for extension in (*extensions, usage):
        builder = builder.add_extension(extension, critical=not isinstance(extension, x509.SubjectAlternativeName))
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass
class Published:
    """A table as it is offered."""

    offer: Offer
    parts: delta.Parts
    secrets: Secrets

    @property
    def table(self) -> str:
        return self.offer.table

    def answers(self, want: Want) -> Iterator[str]:
        parts = {name: self.parts[name] for name in want.parts}
        secrets = {name: self.secrets[name] for name in want.secrets}
        return messages.in_pieces(want.table, delta.written(parts), secrets)


def published(table: Table, secrets: Secrets, version: int, epoch: int = 1) -> Published:
    """At this version of the cluster's history."""
    outline, parts = delta.outlined(table)
    watermark = Watermark(epoch=epoch, versions={"backends": version})
    offer = Offer(
        schema_number=outline.schema_number, table=delta.table_hash(outline), watermark=watermark, outline=outline
    )
    return Published(offer, parts, secrets)


def saved(folder: Path, publication: Published) -> None:
    """As a snapshot."""
    folder.mkdir(exist_ok=True)
    assert publication.offer.outline
    files = bundle.packed(
        publication.offer.outline,
        delta.written(publication.parts),
        publication.secrets,
        publication.offer.watermark,
    )
    for name, data in files.items():
        (folder / name).write_bytes(data)


@dataclass
class Double:
    """One replica. `door`: the status that dials are answered with; `says`: the texts that a `want` is answered with,
    instead of what was wanted."""

    credentials: Credentials
    door: int = 101
    says: list[str | bytes] | None = None
    silent: bool = False
    """Does it leave wants without an answer?"""
    publication: Published | None = None
    heard: list[FromDataPlane] = field(default_factory=list)
    dials: int = 0
    tokens: list[str] = field(default_factory=list)
    _server: Server | None = None
    _connections: set[ServerConnection] = field(default_factory=set)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def name(self) -> Name:
        assert self._server
        return Name("127.0.0.1", next(iter(self._server.sockets)).getsockname()[1])

    async def publish(self, publication: Published) -> None:
        """To all that are connected, and to those who come."""
        self.publication = publication
        for connection in self._connections:
            await connection.send(messages.encode(publication.offer))

    async def said(self, *wanted: FromDataPlane | type[FromDataPlane]) -> FromDataPlane:
        """Wait until the data plane has said something like this, and forget what was said up to then."""
        async with asyncio.timeout(PATIENCE), self._changed:
            while not (found := self._found(wanted)):
                await self._changed.wait()
            return found

    async def dialled(self, times: int) -> None:
        """Wait until it was, so many times in all."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self.dials >= times)

    async def cut(self) -> None:
        """All connections."""
        for connection in list(self._connections):
            connection.transport.abort()

    def _found(self, wanted: tuple[object, ...]) -> FromDataPlane | None:
        for place, message in enumerate(self.heard):
            if message in wanted or type(message) in wanted:
                del self.heard[: place + 1]
                return message
        return None

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _at_the_door(self, connection: ServerConnection, request: Request) -> Response | None:
        self.dials += 1
        self.tokens.append(request.headers.get("Authorization", ""))
        await self._notify()
        assert request.path == "/v1/tables"
        return None if self.door == 101 else connection.respond(self.door, "for this reason\n")

    async def _talk(self, connection: ServerConnection) -> None:
        self._connections.add(connection)
        try:
            async for text in connection:
                message = messages.read_by_controller(text)
                self.heard.append(message)
                await self._notify()
                await self._answer(connection, message)
        except ConnectionClosed:
            pass
        finally:
            self._connections.discard(connection)

    async def _answer(self, connection: ServerConnection, message: FromDataPlane) -> None:
        if self.publication is None:
            return
        if isinstance(message, Hello):
            same = message.table == self.publication.table
            offer = self.publication.offer
            await connection.send(messages.encode(offer.model_copy(update={"outline": None}) if same else offer))
        elif isinstance(message, Want) and not self.silent:
            for text in self.publication.answers(message) if self.says is None else self.says:
                await connection.send(text)


@asynccontextmanager
async def replica(
    credentials: Credentials, context: ssl.SSLContext, port: int = 0, address: str = "127.0.0.1"
) -> AsyncIterator[Double]:
    """A controller that listens on loopback."""
    double = Double(credentials)
    server = await serve(
        double._talk, address, port, ssl=context, process_request=double._at_the_door, compression=None
    )
    double._server = server
    try:
        yield double
    finally:
        server.close(close_connections=False)
        for connection in list(double._connections):
            connection.transport.abort()
        await server.wait_closed()
