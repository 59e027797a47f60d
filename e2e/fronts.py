"""nginx and HAProxy in front of a gateway: keep-alive and WebSockets as their documentation says, once with their own
strictness and once as lax as they can be made. Their logs say which requests they saw.

Both wait for nobody for long, so that every connection ends by itself.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import processes
from processes import Process

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

NGINX = """\
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log stderr crit;
events {}
http {
  log_format seen '$upstream_addr "$request"';
  access_log FOLDER/seen.log seen;
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  keepalive_timeout 300ms;
  client_header_timeout 300ms;
  client_body_timeout 300ms;
  lingering_close off;
  map $http_upgrade $connection_upgrade {
    default upgrade;
    '' '';
  }
  upstream gateway {
    server GATEWAY;
    keepalive 1;
  }
  server {
    listen 127.0.0.1:PORT;
    LAX
    location / {
      proxy_pass http://gateway;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_read_timeout 1s;
      proxy_next_upstream off;
    }
  }
}
"""
NGINX_LAX = """\
ignore_invalid_headers off;
    underscores_in_headers on;
    merge_slashes off;
    proxy_request_buffering off;
    proxy_set_header Host $http_host;
"""

HAPROXY = """\
global
  log stdout format raw local0
  nbthread 1
defaults
  mode http
  log global
  log-format "%s \\"%r\\""
  http-reuse always
  retries 0
  timeout connect 1s
  timeout client 500ms
  timeout server 2s
  timeout http-request 300ms
  timeout http-keep-alive 300ms
  timeout tunnel 1s
frontend clients
  bind 127.0.0.1:PORT
  LAX
  default_backend gateway
backend gateway
  server gateway GATEWAY pool-max-conn 1
"""
HAPROXY_LAX = "option accept-invalid-http-request"


@dataclass
class Front:
    """A running proxy."""

    process: Process
    port: int
    log: Path
    _read: int = 0

    def forwarded(self) -> list[str]:
        """Targets of the requests that it sent to the gateway since the last call, as its log has them."""
        text = self.log.read_text(errors="replace")
        new, self._read = text[self._read :], len(text)
        lines = re.findall(r'^(\S+) "\S+ +(\S+).*"$', new, re.MULTILINE)
        return [target for server, target in lines if server not in ("-", "<NOSRV>")]

    def stop(self) -> None:
        self.process.kill()


def nginx(folder: Path, gateway: str, *, lax: bool) -> Front:
    return _nginx(folder, gateway, NGINX.replace("LAX", NGINX_LAX if lax else ""))


def _nginx(folder: Path, gateway: str, text: str) -> Front:
    command, port = _found("nginx"), processes.free_port()
    config = folder / "nginx.conf"
    config.write_text(text.replace("FOLDER", str(folder)).replace("GATEWAY", gateway).replace("PORT", str(port)))
    process = processes.start("nginx", [command, "-p", folder, "-e", folder / "error.log", "-c", config], folder)
    return _ready(Front(process, port, folder / "seen.log"))


def haproxy(folder: Path, gateway: str, *, lax: bool) -> Front:
    return _haproxy(folder, gateway, HAPROXY.replace("LAX", HAPROXY_LAX if lax else ""))


def _haproxy(folder: Path, gateway: str, text: str) -> Front:
    command, port = _found("haproxy"), processes.free_port()
    config = folder / "haproxy.cfg"
    config.write_text(text.replace("GATEWAY", gateway).replace("PORT", str(port)))
    process = processes.start("haproxy", [command, "-db", "-f", config], folder)
    return _ready(Front(process, port, process.log))


def forwarding_nginx(folder: Path, gateway: str) -> Front:
    """Says in X-Forwarded-For whom it speaks for."""
    patience = "proxy_read_timeout 1s;"
    adds = f"{patience}\n      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    return _nginx(folder, gateway, NGINX.replace("LAX", "").replace(patience, adds))


def introducing_haproxy(folder: Path, gateway: str, option: str) -> Front:
    """Knows no HTTP, and says by the PROXY protocol whom it speaks for; `option` is `send-proxy` or `send-proxy-v2`."""
    text = HAPROXY.replace("mode http", "mode tcp").replace("LAX", "").replace("  http-reuse always\n", "")
    text = text.replace("pool-max-conn 1", option).replace('  log-format "%s \\"%r\\""\n', "")
    return _haproxy(folder, gateway, text)


def asking_haproxy(folder: Path, provider: str) -> Front:
    """Speaks TLS with clients that show a certificate, and hangs up on others: `server.pem`, `clients.pem`."""
    bind = f"PORT ssl crt {folder / 'server.pem'} ca-file {folder / 'clients.pem'} verify required"
    return _haproxy(
        folder, provider, HAPROXY.replace("LAX", "").replace("bind 127.0.0.1:PORT", f"bind 127.0.0.1:{bind}")
    )


def asking_nginx(folder: Path, provider: str) -> Front:
    """The same, which answers 400 to others."""
    files = {"certificate": "server", "certificate_key": "server", "client_certificate": "clients"}
    lines = [f"ssl_{name} {folder / file}.pem;" for name, file in files.items()]
    text = NGINX.replace("127.0.0.1:PORT;", "127.0.0.1:PORT ssl;").replace(
        "LAX", " ".join([*lines, "ssl_verify_client on;"])
    )
    return _nginx(folder, provider, text)


FRONTS = {
    "nginx": lambda folder, gateway: nginx(folder, gateway, lax=False),
    "nginx, lax": lambda folder, gateway: nginx(folder, gateway, lax=True),
    "HAProxy": lambda folder, gateway: haproxy(folder, gateway, lax=False),
    "HAProxy, lax": lambda folder, gateway: haproxy(folder, gateway, lax=True),
}


def _found(name: str) -> str:
    found = shutil.which(name, path=PATH)
    assert found, f"{name} is needed. On Debian: apt-get install {name}"
    return found


def _ready(front: Front) -> Front:
    front.process.wait_for(lambda: processes.listens(front.port))
    return front
