"""Whose API is simulated."""

from typing import Literal

Kind = Literal["openai", "azure", "xai"]
KINDS: tuple[Kind, ...] = ("openai", "azure", "xai")
PREFIX: dict[Kind, str] = {"openai": "/v1", "azure": "/openai/v1", "xai": "/v1"}
"""Where it is served."""
TITLES: dict[Kind, str] = {"openai": "OpenAI", "azure": "Azure OpenAI", "xai": "xAI"}
