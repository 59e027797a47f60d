"""What is measured: the direct way, relays that only relay, Tidegate, and the relay that one writes first.

Each takes the same load from the same generator, in one process on one core, with access logs off. The peers are in
bench/peers.py.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import HERE, OTHERS_CPU, RELAY_CPU, family, free_port, running
from bench.upstream import Upstream

KEY = "sk-bench-caller-0123456789"
"""What every client shows. It is Tidegate's caller key and LiteLLM's master key; the others do not ask for one."""
PROVIDER_KEY = "sk-bench-provider"
DIRECT, C_RELAY, NGINX, TIDEGATE, NAIVE = "direct", "C relay", "nginx", "Tidegate", "naive aiohttp"
TIDEGATE_TEXT, TIDEGATE_POOL = "Tidegate reading text", "Tidegate with ten providers"
TIDEGATE_GUARDED, TIDEGATE_WEBHOOK = "Tidegate with guardrails", "Tidegate with a webhook"


@dataclass(frozen=True)
class Place:
    """What a relay is started with. `folder` is its own, for its files."""

    port: int
    admin: int
    upstream: Upstream
    folder: Path
    generator: str
    webhook: int
    """Port of who judges, where somebody is asked."""


@dataclass(frozen=True)
class Relay:
    """How a relay is started. `command` may write files; `headers`: what clients send beside their key."""

    name: str
    command: Callable[[Place], list[str]]
    version: Callable[[], str] = lambda: ""
    headers: Callable[[Upstream], list[str]] = lambda _: []
    environment: Callable[[Place], dict[str, str]] = lambda _: {}
    seconds: float = 10.0
    metered: bool = False
    """Does it say at its admin port what was used?"""
    judges: bool = False
    """Does it judge text, so that messages differ at its ends?"""
    asks: bool = False
    """Does it ask a webhook?"""


@dataclass(frozen=True)
class Running:
    """A relay that runs. `port` is where clients connect; the direct way has no processes."""

    name: str
    port: int
    upstream: Upstream
    pids: list[int] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    metrics: str = ""
    """The URL of its metrics, if what it metered is to be compared."""
    judges: bool = False


@contextmanager
def started(relay: Relay, upstream: Upstream, folder: Path, generator: str) -> Iterator[Running]:
    """Start a relay on its core, and end it."""
    place = Place(free_port(), free_port(), upstream, folder, generator, free_port())
    folder.mkdir(parents=True, exist_ok=True)
    trust = {"SSL_CERT_FILE": str(upstream.ca)} if upstream.ca else {}
    environment = {**trust, **relay.environment(place)}
    command = relay.command(place)
    judge = [sys.executable, str(HERE / "webhook.py"), "--port", str(place.webhook)]
    with (
        running(judge, place.webhook, OTHERS_CPU) if relay.asks else nullcontext(),
        running(command, place.port, RELAY_CPU, environment=environment, seconds=relay.seconds) as pid,
    ):
        metrics = f"http://127.0.0.1:{place.admin}/metrics" if relay.metered else ""
        headers = [f"Authorization: Bearer {KEY}", *relay.headers(upstream)]
        yield Running(relay.name, place.port, upstream, family(pid), headers, metrics, relay.judges)


def direct(upstream: Upstream) -> Running:
    """No relay: what the load costs the generator and the upstream."""
    return Running(DIRECT, upstream.port, upstream, headers=[f"Authorization: Bearer {KEY}"])


# -- the C relay and nginx -----------------------------------------------------------------------------------------


def c_relay(place: Place) -> list[str]:
    return [place.generator, "relay", "--port", str(place.port), "--upstream-port", str(place.upstream.port)]


NGINX_CONFIG = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
worker_rlimit_nofile 20000;
events {{ worker_connections 10000; }}
http {{
  access_log off; keepalive_requests 100000000; default_type application/json;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream provider {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass {scheme}://provider; proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 600s;
      proxy_set_header Host 127.0.0.1; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      {tls}
    }}
  }}
}}
"""
NGINX_TLS = (
    "proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; proxy_ssl_name localhost; proxy_ssl_server_name on;"
)


def nginx(place: Place) -> list[str]:
    """One process (nobody restarts it, as a master would), which checks the upstream's certificate."""
    ca = place.upstream.ca
    config = place.folder / "nginx.conf"
    config.write_text(
        NGINX_CONFIG.format(
            folder=place.folder,
            port=place.port,
            upstream=place.upstream.port,
            scheme="https" if ca else "http",
            tls=NGINX_TLS.format(ca=ca) if ca else "",
        )
    )
    return [nginx_binary(), "-c", str(config), "-p", str(place.folder), "-e", str(place.folder / "error.log")]


def nginx_binary() -> str:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin") or ""


def nginx_version() -> str:
    said = subprocess.run([nginx_binary(), "-v"], capture_output=True, text=True, check=True).stderr
    return said.strip().rpartition("/")[2]


# -- Tidegate and the naive relay ----------------------------------------------------------------------------------

TIDEGATE_CONFIG = """
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {{name: bench}}
spec:
  providers: [{providers}]
  routes: {{/v1/realtime: Realtime, /v1/chat/completions: Completions}}
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {{name: callers}}
spec:
  targetRefs: [{{group: tidegate.dev, kind: Backend, name: bench}}]
  authentication: {{mode: Required, keys: [{{secretRef: {{name: callers}}, team: bench}}]}}
  {more}
---
apiVersion: v1
kind: Secret
metadata: {{name: callers}}
stringData: {{generator: {key}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bench}}
stringData: {{Authorization: {provider_key}}}
"""
PROVIDER = '{{name: upstream-{number}, custom: {{}}, url: "{url}/v1", auth: {{secretRef: {{name: bench}}}}}}'
TEXT_READ = "telemetry: {logEvents: [response.output_audio_transcript.delta]}"

GUARDED = """guardrails:
  - {name: no-secrets, pii: {}, action: Block}
  - {name: no-projects, keywords: {words: [bluebird, "project falcon"]}, action: Block}
  - {name: no-tickets, regex: {patterns: [{name: ticket, pattern: "[A-Z]{2,5}-[0-9]{1,6}"}]}, action: Mask}
"""
WEBHOOK = 'guardrails: [{{name: judge, webhook: {{url: "http://127.0.0.1:{port}/judge"}}, action: Block}}]'


def tidegate(place: Place, more: str = "", providers: int = 1) -> list[str]:
    config = place.folder / "tidegate.yaml"
    pool = ", ".join(PROVIDER.format(number=number, url=place.upstream.url) for number in range(providers))
    config.write_text(TIDEGATE_CONFIG.format(providers=pool, key=KEY, provider_key=PROVIDER_KEY, more=more))
    command = [sys.executable, "-m", "tidegate", "serve", "-f", str(config), "--listen", f"127.0.0.1:{place.port}"]
    return [*command, "--admin", f"127.0.0.1:{place.admin}", "--log-format", "json"]


def naive(place: Place) -> list[str]:
    return [sys.executable, str(HERE / "naive.py"), "--port", str(place.port), "--upstream", place.upstream.url]


RELAYS = {
    each.name: each
    for each in (
        Relay(C_RELAY, c_relay),
        Relay(NGINX, nginx, nginx_version),
        Relay(TIDEGATE, tidegate, metered=True),
        Relay(TIDEGATE_TEXT, lambda place: tidegate(place, TEXT_READ), metered=True),
        Relay(TIDEGATE_POOL, lambda place: tidegate(place, providers=10), metered=True),
        Relay(TIDEGATE_GUARDED, lambda place: tidegate(place, GUARDED), metered=True, judges=True),
        Relay(
            TIDEGATE_WEBHOOK,
            lambda place: tidegate(place, WEBHOOK.format(port=place.webhook)),
            metered=True,
            judges=True,
            asks=True,
        ),
        Relay(NAIVE, naive),
    )
}
