"""Guardrails that ask somebody, and what their texts are part of."""

from __future__ import annotations

from dataplane.judges.about import About
from dataplane.metering.usage import Caller
from dataplane.table import Guardrail, Moderation, Webhook

ABOUT = About("r-1", "ai/voice", "ai/voice", Caller("ai", "ci-bot", "support"), "gpt-realtime")
TEXT = "Say nothing of Bluebird."


def asks_webhook(url: str = "http://guard.test/judge", **fields: object) -> Guardrail:
    """Fields of the webhook, and of the guardrail."""
    own = {name: fields.pop(name) for name in list(fields) if name in Webhook.model_fields}
    webhook = Webhook.model_validate({"url": url, **own})
    given = {"policy": "ai/guards", "name": "ours", "action": "block", "webhook": webhook, **fields}
    return Guardrail.model_validate(given)


def asks_moderation(url: str = "http://api.test/v1", *categories: str, **fields: object) -> Guardrail:
    moderation = Moderation(url=url, secret="key", model="omni-moderation-latest", categories=categories)
    given = {"policy": "ai/guards", "name": "clean", "action": "block", "moderation": moderation, **fields}
    return Guardrail.model_validate(given)
