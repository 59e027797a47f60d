"""The demo's configuration, as a user would write it."""

from __future__ import annotations

from collections.abc import Mapping

PROVIDER_KEY = "sk-simulator"
CALLER_KEY = "demo-caller-key"
MODEL = "voice"

ENVIRONMENT: Mapping[str, str] = {"OPENAI_API_KEY": PROVIDER_KEY, "DEMO_KEY": CALLER_KEY}
"""Where the keys come from: none is in the files."""


def yaml(simulator: str) -> str:
    """The file, with the simulator's address in place of OpenAI's."""
    return f"""\
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {{name: voice, namespace: demo}}
spec:
  providers:
  - name: openai
    openai: {{}}
    url: {simulator}/v1   # the simulator; without this line, OpenAI
    auth: {{secretRef: {{name: openai}}}}
  models:
  - name: {MODEL}                     # what clients ask for
    targets: [{{provider: openai, model: gpt-realtime}}]
  routes:
    /v1/realtime: Realtime
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {{name: callers, namespace: demo}}
spec:
  targetRefs: [{{group: tidegate.dev, kind: Backend, name: voice}}]
  authentication: {{mode: Required, keys: [{{secretRef: {{name: callers}}, team: demo}}]}}
---
apiVersion: v1
kind: Secret
metadata: {{name: openai, namespace: demo}}
stringData: {{Authorization: "${{OPENAI_API_KEY}}"}}   # the provider's key; callers never see it
---
apiVersion: v1
kind: Secret
metadata: {{name: callers, namespace: demo}}
stringData: {{laptop: "${{DEMO_KEY}}"}}
"""
