"""Which models a caller may use: what Policies allow, and what a Backend declares. Pure.

A name is compared with patterns, and with nothing else. There is no list of known models, which could be older than a
model: `anthropic/*` allows one that came out today.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from dataplane import patterns
from dataplane.table import Model, ModelAllow

_NAME = 256
_NAMES = 20
"""Characters of a name, and names, that a message repeats."""
_OWNER = "tidegate"

Allow = Sequence[ModelAllow]
"""What Policies say about one caller; all of it must hold. Empty: the caller may use every model."""


def refused(allow: Allow, name: str) -> str:
    """Why the caller may not use the model, for whoever asked; empty if it may. What it says is the same whether or not
    there is such a model, and it tells of no other that the caller may not use."""
    for each in allow:
        if not _matches(each, name):
            why = f"Policy {each.policy} does not allow the model {name[:_NAME]!r} to this caller."
            return f"{why} {alternatives(allow)}".rstrip()
    return ""


def alternatives(allow: Allow) -> str:
    """A sentence about what the caller may use; empty where that cannot be said in the words of the Policies."""
    names = [
        pattern for each in allow for pattern in each.patterns if not any(_denies(other, pattern) for other in allow)
    ]
    return f"Allowed: {_few(list(dict.fromkeys(names)))}." if names else ""


def find(models: Sequence[Model], name: str) -> tuple[Model, str] | None:
    """The declared model for a name and what its `*` stands for: exact first, then the longest pattern."""
    for model in models:
        if model.name == name:
            return model, ""
    found: tuple[Model, str] | None = None
    for model in models:
        star = patterns.matched(model.name, name)
        if star is not None and (found is None or len(model.name) > len(found[0].name)):
            found = model, star
    return found


def known_as(models: Sequence[Model], provider: str, name: str) -> str | None:
    """What one provider is sent for a name: of several targets there the first that has a weight. A name that is not
    declared is sent as it is; None where it is declared, and nothing at this provider serves it."""
    found = find(models, name)
    if found is None:
        return name
    model, star = found
    there = (target for target in model.targets if target.provider == provider and target.weight)
    return next((target.model.replace("*", star) or name for target in there), None)


def names(models: Sequence[Model], allow: Allow) -> list[str]:
    """The declared models that the caller may use, by exact names: the Backend's own, and those that Policies name and
    a pattern of the Backend's serves. A pattern is no name."""
    own = [model.name for model in models if "*" not in model.name]
    named = [name for each in allow for name in each.patterns if "*" not in name and find(models, name)]
    return [name for name in dict.fromkeys(own + named) if not refused(allow, name)]


# -- as clients read it: https://platform.openai.com/docs/api-reference/models --------------------------------------


def shown(name: str) -> dict[str, object]:
    """One model. When it was made is not known here."""
    return {"id": name, "object": "model", "created": 0, "owned_by": _OWNER}


def page(models: Sequence[object]) -> dict[str, object]:
    """All of them."""
    return {"object": "list", "data": models}


def kept(listing: bytes, allow: Allow) -> list[object]:
    """Of what a provider lists, the models that the caller may use, as they came.

    Raises ValueError where it is no list of models in OpenAI's shape."""
    try:
        body: object = orjson.loads(listing)
    except orjson.JSONDecodeError:
        body = None
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list):
        raise ValueError("no list of models")
    return [model for model in data if _named(model) and not refused(allow, _named(model))]


def _named(model: object) -> str:
    name = model.get("id") if isinstance(model, dict) else None
    return name if isinstance(name, str) else ""


# -- small things ---------------------------------------------------------------------------------------------------


def _matches(allow: ModelAllow, name: str) -> bool:
    return any(patterns.matched(pattern, name) is not None for pattern in allow.patterns)


def _denies(allow: ModelAllow, pattern: str) -> bool:
    """Whether some name of this pattern may be denied: it is not, if the pattern itself, as text, is allowed."""
    return not _matches(allow, pattern)


def _few(listed: Sequence[str]) -> str:
    return ", ".join(listed[:_NAMES]) + (", …" if len(listed) > _NAMES else "")
