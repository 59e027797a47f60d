"""Changes to the headers of requests and responses: a block of a Policy."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from crds.base import ApiModel, HeaderName, HeaderText
from crds.rules import Rule, Unique, at_least_one, refuse


class HeaderValue(ApiModel):
    """A header and its value."""

    name: HeaderName = Field(description="Name of the header. Case does not matter.")
    value: HeaderText = Field(
        repr=False,  # people write credentials here
        description='Value of the header, on one line. It may hold variables, such as "${caller.team}".',
    )


def _set_once(headers: HeaderOps) -> bool:
    seen: set[str] = set()
    for index, header in enumerate(headers.set):
        if header.name.lower() in seen:
            raise refuse(f'"{header.name}" is set twice; keep one, or use add for a second value', "set", index)
        seen.add(header.name.lower())
    return True


def _removed_only(headers: HeaderOps) -> bool:
    written = {header.name.lower() for header in (*headers.set, *headers.add)}
    for index, name in enumerate(headers.remove):
        if name.lower() in written:
            raise refuse(f'"{name}" is also in set or add; set alone replaces a header', "remove", index)
    return True


class HeaderOps(ApiModel):
    """Changes to headers. A header that is removed is neither set nor added."""

    rules: ClassVar = (
        Rule(
            "!has(self.set) || self.set.all(h, self.set.exists_one(o, o.name.lowerAscii() == h.name.lowerAscii()))",
            "a header is set twice; keep one, or use add for a second value (case does not matter)",
            _set_once,
        ),
        Rule(
            "!has(self.remove) || self.remove.all(r, "
            "(!has(self.set) || !self.set.exists(h, h.name.lowerAscii() == r.lowerAscii())) && "
            "(!has(self.add) || !self.add.exists(h, h.name.lowerAscii() == r.lowerAscii())))",
            "a header in remove is also in set or add; set alone replaces a header (case does not matter)",
            _removed_only,
        ),
    )

    set: tuple[HeaderValue, ...] = Field(
        default=(), max_length=32, description="Headers to set. A value that the message already has is replaced."
    )
    add: tuple[HeaderValue, ...] = Field(
        default=(), max_length=32, description="Headers to add. Values that the message already has are kept."
    )
    remove: Annotated[tuple[HeaderName, ...], Unique()] = Field(
        default=(), max_length=32, description="Names of headers to remove."
    )


class Transformation(ApiModel):
    """Changes to the headers of requests and responses. At least one of the two."""

    rules: ClassVar = (at_least_one("request", "response"),)

    request: HeaderOps | None = Field(
        default=None, description="Changes to the headers of requests, before they go on to the provider."
    )
    response: HeaderOps | None = Field(
        default=None, description="Changes to the headers of responses, before they go back to the client."
    )
