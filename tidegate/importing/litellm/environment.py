"""What LiteLLM takes from the environment: `os.environ/NAME`, and the variables that the configuration sets itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tidegate.importing.fields import Fields
from tidegate.importing.keys import Key

_REFERENCE = "os.environ/"
_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_SENDABLE = re.compile(r"[\x20-\x7e]+")


@dataclass(slots=True)
class Environment:
    """Reads values that may stand in the environment."""

    process: Mapping[str, str] = field(repr=False)
    """Of the import itself."""
    blocks: Sequence[Fields] = ()
    """`environment_variables`, where the configuration sets some."""

    def key(self, fields: Fields, name: str) -> Key | None:
        """A credential. It is left where it is: what the environment has is not looked at."""
        value = fields.text(name)
        if value is None:
            return None
        if value.startswith(_REFERENCE):
            variable = self._variable(fields, name, value)
            own = self._own(variable)
            return Key.literal(own) if own is not None else Key.variable(variable) if variable else None
        if value.startswith("oidc/"):
            fields.drop(name, "LiteLLM fetches this token itself; Tidegate needs one in a Secret")
            return None
        if not _SENDABLE.fullmatch(value.strip()):
            fields.drop(name, "is empty, or has characters that no header can have: write the key itself")
            return None
        return Key.literal(value.strip())

    def implied(self, variable: str) -> Key:
        """The credential that LiteLLM takes from this variable where nothing is written."""
        own = self._own(variable)
        return Key.literal(own) if own is not None else Key.variable(variable)

    def plain(self, fields: Fields, name: str) -> str | None:
        """What is no credential: Backends hold no variables, so that its value is needed now."""
        value = fields.text(name)
        if value is None or not value.startswith(_REFERENCE):
            return value
        variable = self._variable(fields, name, value)
        if not variable:
            return None
        own = self._own(variable)
        known = own if own is not None else self.process.get(variable)
        if known is None:
            fields.drop(name, f"set the environment variable {variable} and import again: it is written here")
            return None
        return known

    def _variable(self, fields: Fields, name: str, value: str) -> str:
        variable = value.removeprefix(_REFERENCE)
        if _NAME.fullmatch(variable):
            return variable
        fields.drop(name, "what follows os.environ/ is no name of a variable: letters, digits and '_'")
        return ""

    def _own(self, variable: str) -> str | None:
        """What the configuration sets it to."""
        for block in self.blocks:
            value = block.content.get(variable)
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                block.take(variable)
                return str(value) if not str(value).startswith(_REFERENCE) else None
        return None
