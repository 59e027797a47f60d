"""Whether text is what a field of the API takes."""

from __future__ import annotations

from typing import Final

from pydantic import TypeAdapter, ValidationError

import crds.base
import crds.policy

EVENT_TYPE: Final = TypeAdapter[str](crds.policy.EventType)
LABEL: Final = TypeAdapter[str](crds.base.Label)
MODEL_NAME: Final = TypeAdapter[str](crds.base.ModelName)
MODEL_PATTERN: Final = TypeAdapter[str](crds.base.ModelPattern)
URL: Final = TypeAdapter[str](crds.base.Url)


def fits(kind: TypeAdapter[str], text: str) -> bool:
    """Whether it is well written, as a field of this kind."""
    try:
        kind.validate_python(text)
    except ValidationError:
        return False
    return True
