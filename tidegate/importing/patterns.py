"""Whether text is what a field of the API takes."""

from __future__ import annotations

from typing import Final

from pydantic import TypeAdapter, ValidationError

import crds.authentication
import crds.base
import crds.policy

EVENT_TYPE: Final = TypeAdapter[str](crds.policy.EventType)
AUDIENCE: Final = TypeAdapter[str](crds.authentication.Audience)
HEADER_NAME: Final = TypeAdapter[str](crds.base.HeaderName)
HEADER_TEXT: Final = TypeAdapter[str](crds.base.HeaderText)
ISSUER: Final = TypeAdapter[str](crds.authentication.Issuer)
LABEL: Final = TypeAdapter[str](crds.base.Label)
LOCATION_HEADER: Final = TypeAdapter[str](crds.authentication.LocationHeader)
LOCATION_PARAMETER: Final = TypeAdapter[str](crds.authentication.LocationParameter)
MODEL_NAME: Final = TypeAdapter[str](crds.base.ModelName)
MODEL_PATTERN: Final = TypeAdapter[str](crds.base.ModelPattern)
OBJECT_NAME: Final = TypeAdapter[str](crds.base.ObjectName)
PATH: Final = TypeAdapter[str](crds.base.Path)
URL: Final = TypeAdapter[str](crds.base.Url)


def fits(kind: TypeAdapter[str], text: str) -> bool:
    """Whether it is well written, as a field of this kind."""
    try:
        kind.validate_python(text)
    except ValidationError:
        return False
    return True
