"""Other gateways, each with the least configuration that serves the load: `make bench-peers` installs them.

They go to .cache/bench, in the versions below. agentgateway is a binary that one has: AGENTGATEWAY says where. A peer
that is not there is left out of `make bench`, and the page says so. Portkey relays chat completions that are not
streamed: it dials the vendor's own name for realtime sessions, whatever address it is given, and its streams fail.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.processes import CACHE, free_port
from bench.relays import KEY, Place, Relay
from bench.upstream import Upstream

VERSIONS = {"LiteLLM": "1.106.2", "SMG": "1.13.0", "Portkey": "1.15.2"}
"""LiteLLM's is the last for Python 3.11."""
LITELLM, SMG, PORTKEY, AGENTGATEWAY = "LiteLLM", "SMG", "Portkey", "agentgateway"
PORTKEY_SERVER = CACHE / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"


def install() -> None:
    """Into environments of their own, those that are not there yet."""
    for folder, requirement in (
        ("litellm", f"litellm[proxy]=={VERSIONS[LITELLM]}"),
        ("smg", f"smg=={VERSIONS[SMG]}"),
    ):
        if not (CACHE / folder / "bin" / folder).exists():
            print(f"installing {requirement}", flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", CACHE / folder], check=True)
            pip = [str(CACHE / folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*pip, requirement], check=True)
    if PORTKEY_SERVER.exists():
        return
    npm = shutil.which("npm")
    if not npm:
        print("Portkey needs npm and Node, which are not here.")
        return
    print(f"installing @portkey-ai/gateway@{VERSIONS[PORTKEY]}", flush=True)
    (CACHE / "portkey").mkdir(parents=True, exist_ok=True)
    package = f"@portkey-ai/gateway@{VERSIONS[PORTKEY]}"
    command = [
        npm,
        "install",
        "--no-audit",
        "--no-fund",
        "--loglevel",
        "error",
        "--prefix",
        str(CACHE / "portkey"),
        package,
    ]
    subprocess.run(command, check=True)


# -- LiteLLM -------------------------------------------------------------------------------------------------------

LITELLM_CONFIG = """
model_list:
- model_name: gpt-realtime
  litellm_params: {{model: openai/gpt-realtime, api_key: sk-bench-provider, api_base: "{url}/v1"}}
  model_info: {{mode: realtime}}
- model_name: gpt-4.1-mini
  litellm_params: {{model: openai/gpt-4.1-mini, api_key: sk-bench-provider, api_base: "{url}/v1"}}
general_settings: {{master_key: {key}}}
"""
LITELLM_LOGS = {"version": 1, "disable_existing_loggers": False, "loggers": {"uvicorn.access": {"level": "ERROR"}}}


def litellm(place: Place) -> list[str]:
    config, logs = place.folder / "litellm.yaml", place.folder / "logs.json"
    config.write_text(LITELLM_CONFIG.format(url=place.upstream.url, key=KEY))
    logs.write_text(json.dumps(LITELLM_LOGS))
    command = [str(CACHE / "litellm" / "bin" / "litellm"), "--config", str(config), "--log_config", str(logs)]
    return [*command, "--host", "127.0.0.1", "--port", str(place.port), "--num_workers", "1"]


# -- SMG -----------------------------------------------------------------------------------------------------------


def smg(place: Place) -> list[str]:
    command = [str(CACHE / "smg" / "bin" / "smg"), "launch", "--backend", "openai", "--log-level", "error"]
    command += ["--worker-urls", place.upstream.url, "--host", "127.0.0.1", "--port", str(place.port)]
    return [*command, "--prometheus-host", "127.0.0.1", "--prometheus-port", str(place.admin)]


# -- Portkey -------------------------------------------------------------------------------------------------------


def portkey(place: Place) -> list[str]:
    return [shutil.which("node") or "node", str(PORTKEY_SERVER), f"--port={place.port}", "--headless"]


def portkey_headers(upstream: Upstream) -> list[str]:
    return ["x-portkey-provider: openai", f"x-portkey-custom-host: {upstream.url}/v1"]


# -- agentgateway --------------------------------------------------------------------------------------------------

AGENTGATEWAY_CONFIG = """
config: {{adminAddr: "127.0.0.1:{admin}", statsAddr: "127.0.0.1:{stats}", readinessAddr: "127.0.0.1:{readiness}"}}
binds:
- port: {port}
  listeners:
  - routes:
    - backends:
      - ai: {{name: openai, hostOverride: "127.0.0.1:{upstream}", provider: {{openAI: {{}}}}}}
      policies:
        ai: {{routes: {{/v1/realtime: realtime, /v1/chat/completions: completions}}}}
        backendAuth: {{key: sk-bench-provider}}
        transformations: {{request: {{remove: [sec-websocket-extensions]}}}}
"""


def agentgateway_binary() -> str:
    return os.environ.get("AGENTGATEWAY") or shutil.which("agentgateway") or ""


def agentgateway(place: Place) -> list[str]:
    config = place.folder / "agentgateway.yaml"
    ports = {"admin": place.admin, "stats": free_port(), "readiness": free_port()}
    config.write_text(AGENTGATEWAY_CONFIG.format(port=place.port, upstream=place.upstream.port, **ports))
    return [agentgateway_binary(), "-f", str(config)]


def agentgateway_version() -> str:
    """The word with digits in the first lines of what it says of itself."""
    said = subprocess.run([agentgateway_binary(), "--version"], capture_output=True, text=True, check=False).stdout
    return next((word.strip('",') for word in said.split() if word.strip('",v')[:1].isdigit()), "")


PEERS = {
    each.name: each
    for each in (
        Relay(
            LITELLM,
            litellm,
            lambda: VERSIONS[LITELLM],
            environment=lambda _: {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
            seconds=90,
        ),
        Relay(SMG, smg, lambda: VERSIONS[SMG], seconds=30),
        Relay(PORTKEY, portkey, lambda: VERSIONS[PORTKEY], portkey_headers, seconds=30),
        Relay(
            AGENTGATEWAY, agentgateway, agentgateway_version, environment=lambda _: {"RUST_LOG": "error"}, seconds=30
        ),
    )
}
_THERE: dict[str, Callable[[], bool | str]] = {
    LITELLM: (CACHE / "litellm" / "bin" / "litellm").exists,
    SMG: (CACHE / "smg" / "bin" / "smg").exists,
    PORTKEY: lambda: PORTKEY_SERVER.exists() and bool(shutil.which("node")),
    AGENTGATEWAY: lambda: Path(agentgateway_binary()).is_file(),
}


def installed(name: str) -> bool:
    return bool(_THERE[name]())


if __name__ == "__main__":
    install()
