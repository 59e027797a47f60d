"""Configuration for tests: a Backend in front of a simulator."""

from __future__ import annotations

UPSTREAM_KEY = "sk-simulator"
CALLER_KEY = "caller-key-81b9f2c7d3"
"""What must be in no output."""

BACKEND = """\
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {{name: {name}, namespace: ai}}
spec:
  providers:
  - name: openai
    openai: {{}}
    url: {url}/v1
    auth: {{secretRef: {{name: openai}}}}
  routes:
    /v1/chat/completions: Completions
    /v1/realtime: Realtime
"""
SECRET = """\
---
apiVersion: v1
kind: Secret
metadata: {name: openai, namespace: ai}
stringData: {Authorization: "${OPENAI_API_KEY}"}
"""
KEYS = """\
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: callers, namespace: ai}
spec:
  targetRefs: [{group: tidegate.dev, kind: Backend, name: voice}]
  authentication: {keys: [{secretRef: {name: callers}, team: support}]}
---
apiVersion: v1
kind: Secret
metadata: {name: callers, namespace: ai}
stringData: {laptop: "${CALLER_KEY}"}
"""
ENVIRONMENT = {"OPENAI_API_KEY": UPSTREAM_KEY, "CALLER_KEY": CALLER_KEY}


def voice(url: str, *more: str, name: str = "voice") -> str:
    """A Backend with its Secret, and more documents."""
    return BACKEND.format(name=name, url=url) + SECRET + "".join(more)
