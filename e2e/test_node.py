"""Clients from npm: the OpenAI SDK, `ws`, @openai/agents-realtime."""

from __future__ import annotations

import datetime
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Node, Stack, start_stack
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(addresses, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return files


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, dict[str, str]]]:
    """A gateway that speaks TLS, and the environment in which Node trusts it."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = make_certificate(folder)
    stack = start_stack(folder, "--tls-cert", certificate, "--tls-key", key)
    yield stack, {"NODE_EXTRA_CA_CERTS": str(certificate)}
    stack.close()


def read(line: str) -> dict:
    return json.loads(line)


def test_openai_sdk_chat(stack: Stack, node: Node) -> None:
    chat, stream, refused, models = map(read, node.run("chat.mjs", BASE=stack.base))
    assert chat == {"chat": "Hello!", "usage": True}
    assert stream == {"stream": "Hello!", "usage": 0}
    assert refused == {"error": "PermissionDeniedError", "status": 403, "code": "model_not_allowed"}
    assert models == {"models": ["voice", "gpt-5-mini"], "one": "voice"}


def test_openai_sdk_chat_over_tls(tls: tuple[Stack, dict[str, str]], node: Node) -> None:
    stack, trust = tls
    assert len(node.run("chat.mjs", BASE=f"https://{stack.host}/v1", **trust)) == 4


def test_openai_sdk_realtime_over_tls(tls: tuple[Stack, dict[str, str]], node: Node) -> None:
    stack, trust = tls
    created, said, done = map(read, node.run("realtime.mjs", BASE=f"https://{stack.host}/v1", **trust))
    assert created == {"model": "voice"}
    assert said == {"said": "Hello!"}
    assert done["tokens"]
    assert "error" not in done["events"]


def test_openai_sdk_responses(stack: Stack, node: Node) -> None:
    made, stream, thought, refused = map(read, node.run("responses.mjs", BASE=stack.base))
    assert made == {"said": "Hello!", "follows": True}
    assert stream == {"last": "response.completed", "tokens": True}
    assert thought == {"thought": "reasoning", "again": "completed"}
    assert refused == {"error": "NotFoundError", "status": 404, "code": "response_not_found"}


def test_openai_sdk_of_azure_over_tls(tls: tuple[Stack, dict[str, str]], node: Node) -> None:
    stack, trust = tls
    names = {"ENDPOINT": f"https://{stack.host}", "MODEL": "gpt-5-mini", "SPEAKS": "voice"}
    chat, response, spoken = map(read, node.run("azure.mjs", **names, **trust))
    assert chat == {"chat": "Hello!", "model": "gpt-5-mini"}
    assert response == {"response": "completed", "follows": True}
    assert spoken == {"realtime": "completed", "tokens": True}


def test_agents_sdk(stack: Stack, node: Node) -> None:
    (done,) = map(read, node.run("agents.mjs", URL=f"{stack.realtime}?model=voice"))
    assert done["errors"] == []
    assert done["status"] == "completed"
    assert {"session.updated", "response.output_text.delta"} <= set(done["events"])


def test_key_in_the_subprotocol(stack: Stack, node: Node) -> None:
    (seen,) = map(read, node.run("browser.mjs", URL=f"{stack.realtime}?model=gpt-realtime"))
    assert seen == {"type": "session.created", "protocol": "realtime"}
