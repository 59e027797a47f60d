"""Credentials on their way into a Secret, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Key:
    """A credential as a Secret document holds it: `${NAME}`, or the text itself."""

    written: str = field(repr=False)

    @classmethod
    def variable(cls, name: str) -> Key:
        """What `serve` takes from the environment."""
        return cls(f"${{{name}}}")

    @classmethod
    def literal(cls, text: str) -> Key:
        return cls(text.replace("${", "$${"))
