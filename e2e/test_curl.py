"""curl: what a person types first, and what a shell script does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from conftest import Stack
from processes import CLIENT_KEY, WRONG_KEY, assert_quiet

CHAT = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello in one word."}]}
BEARER = ["-H", f"Authorization: Bearer {CLIENT_KEY}"]
JSON = ["-H", "Content-Type: application/json"]


def curl(*arguments: str) -> tuple[int, str]:
    """Status and body."""
    command = ["curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def test_chat(stack: Stack) -> None:
    status, body = curl(f"{stack.base}/chat/completions", *BEARER, *JSON, "-d", json.dumps(CHAT))
    assert status == 200
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hello!"


def test_stream(stack: Stack) -> None:
    asked = json.dumps(CHAT | {"stream": True})
    status, body = curl("-N", f"{stack.base}/chat/completions", *BEARER, *JSON, "-d", asked)
    assert status == 200
    events = [line.removeprefix("data: ") for line in body.splitlines() if line]
    assert events[-1] == "[DONE]"
    assert all("usage" not in json.loads(event) or json.loads(event)["usage"] is None for event in events[:-1])


@pytest.mark.parametrize("expect", ["100-continue", ""])
def test_upload(stack: Stack, tmp_path: Path, expect: str) -> None:
    file = tmp_path / "upload"
    file.write_bytes(bytes(range(256)) * 20_000)
    answer = tmp_path / "answer"
    status, _ = curl(
        f"{stack.base}/echo", *BEARER, "-H", f"Expect: {expect}", "-T", str(file), "-o", str(answer), "--max-time", "30"
    )
    assert status == 200
    assert answer.read_bytes() == file.read_bytes()


def test_upload_in_chunks_of_unknown_length(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(b"0123456789" * 100_000)
    answer = tmp_path / "answer"
    status, _ = curl(
        f"{stack.base}/echo", *BEARER, "-H", "Transfer-Encoding: chunked", "-T", str(file), "-o", str(answer)
    )
    assert status == 200
    assert answer.read_bytes() == file.read_bytes()


def test_an_upload_that_is_refused_is_not_sent(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(bytes(5_000_000))
    headers = ["-H", f"Authorization: Bearer {WRONG_KEY}", "-H", "Expect: 100-continue", "--expect100-timeout", "5"]
    status, sent = curl(
        f"{stack.base}/echo", *headers, "-T", str(file), "-o", "/dev/null", "-w", "%{size_upload}\n%{http_code}"
    )
    assert (status, sent) == (401, "0")


def test_download(stack: Stack, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    status, _ = curl(f"{stack.base}/bytes/20000000", *BEARER, "-o", str(answer))
    assert status == 200
    assert answer.stat().st_size == 20_000_000


REFUSALS = {
    "no key": ([], "POST", "/v1/chat/completions", json.dumps(CHAT), 401, "credentials_required"),
    "wrong key": (
        ["-H", f"Authorization: Bearer {WRONG_KEY}"],
        "POST",
        "/v1/chat/completions",
        json.dumps(CHAT),
        401,
        "invalid_api_key",
    ),
    "no JSON": (BEARER, "POST", "/v1/chat/completions", '{"model": ', 400, "invalid_json"),
    "model not allowed": (BEARER, "POST", "/v1/chat/completions", '{"model": "gpt-4o"}', 403, "model_not_allowed"),
    "unknown model": (BEARER, "POST", "/v1/chat/completions", '{"model": "claude"}', 404, "model_not_found"),
    "unknown and not allowed": (BEARER, "POST", "/v1/chat/completions", '{"model": "llama"}', 403, "model_not_allowed"),
    "fallbacks": (
        BEARER,
        "POST",
        "/v1/chat/completions",
        '{"model": "gpt-5", "models": ["gpt-4o"]}',
        403,
        "model_not_allowed",
    ),
    "minting": (BEARER, "POST", "/v1/realtime/client_secrets", "{}", 403, "path_not_allowed"),
    "account": (BEARER, "GET", "/v1/organization/users", None, 403, "path_not_allowed"),
    "undeclared path": (BEARER, "GET", "/mock/v1/files", None, 404, "undeclared_path"),
    "realtime without upgrade": (BEARER, "GET", "/v1/realtime?model=gpt-realtime", None, 426, "upgrade_required"),
    "nobody listens": ([], "POST", "/mock/v1/chat/completions", '{"model": "m"}', 502, "upstream_unreachable"),
    "dot segments": (["--path-as-is"], "GET", "/v1/files/../models", None, 400, "invalid_path"),
    "long head": ([*BEARER, "-H", "x-long: " + "a" * 40_000], "GET", "/v1/models", None, 431, "head_too_large"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_says_what_to_do(stack: Stack, case: str) -> None:
    headers, method, path, body, expected, code = REFUSALS[case]
    data = ["-d", body, *JSON] if body is not None else []
    status, answer = curl(f"http://{stack.host}{path}", "-X", method, *headers, *data)
    assert status == expected, answer
    error = json.loads(answer)["error"]
    assert error["code"] == code
    assert error["type"]
    assert len(error["message"]) > 20
    assert_quiet(answer, "the refusal")


def test_a_connection_serves_again_after_a_refusal(stack: Stack) -> None:
    url = f"{stack.base}/models"
    command = ["curl", "-sS", "-w", "%{http_code} %{num_connects}\n", "-o", "/dev/null", url]
    again = ["--next", "-sS", "-w", "%{http_code} %{num_connects}\n", "-o", "/dev/null", *BEARER, url]
    done = subprocess.run([*command, *again], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.splitlines() == ["401 1", "200 0"]
