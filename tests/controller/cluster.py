"""Objects as an API server has them."""

from __future__ import annotations

from controller.kinds import Kind


def thing(
    kind: Kind, name: str, version: int, namespace: str = "ai", spec: object = None, **more: object
) -> dict[str, object]:
    """An object; `more` stands beside its spec, what `metadata` it has beside its name."""
    extra = more.pop("metadata", {})
    assert isinstance(extra, dict)
    metadata = {"name": name, "resourceVersion": str(version), "uid": f"{kind.name}-{name}", **extra}
    if kind.namespaced:
        metadata["namespace"] = namespace
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": metadata,
        **({} if spec is None else {"spec": spec}),
        **more,
    }
