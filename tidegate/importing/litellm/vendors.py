"""Which provider a LiteLLM model is of, by what stands before its name, and what kind of provider that is here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["openai", "azure", "xai", "custom"]


@dataclass(frozen=True, slots=True)
class Vendor:
    """What LiteLLM calls a provider."""

    kind: Kind
    url: str = ""
    """Where LiteLLM finds it if nothing is written; "": the kind's own address, or none."""
    variable: str = ""
    """From which LiteLLM takes its key if none is written."""
    adapts: bool = False
    """Whether LiteLLM changes requests for it, though it speaks the OpenAI API."""


VENDORS: Mapping[str, Vendor] = {
    "openai": Vendor("openai", variable="OPENAI_API_KEY"),
    "azure": Vendor("azure", variable="AZURE_API_KEY"),
    "xai": Vendor("xai", variable="XAI_API_KEY"),
    **dict.fromkeys(["custom_openai", "hosted_vllm", "litellm_proxy", "llamafile", "lm_studio"], Vendor("custom")),
    **{
        name: Vendor("custom", url, variable, adapts=True)
        for name, url, variable in (
            ("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
            ("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
            ("fireworks_ai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
            ("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
            ("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
            ("nvidia_nim", "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
            ("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
            ("sambanova", "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
            ("together_ai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
        )
    },
}

_OPENAI = re.compile(r"(gpt-|chatgpt-|o[1-9](-|$)|codex-|computer-use-|text-embedding-|whisper-|tts-|dall-e-).*")
"""Names that OpenAI gives its models: LiteLLM knows them by a list."""
_PREFIX = re.compile("[a-z][a-z0-9_]{1,31}")


class Unknown(Exception):
    """No kind of provider here fits; the message says why, and what to do."""


def vendor_of(model: str, provider: str) -> tuple[str, Vendor, str]:
    """LiteLLM's name of the provider, what it is, and what the provider itself calls the model. `provider`: what
    `custom_llm_provider` says. Raises Unknown."""
    prefix, slash, rest = model.partition("/")
    if provider:
        name, model = provider, rest if slash and prefix == provider else model
    elif slash:
        name, model = prefix, rest
    elif _OPENAI.fullmatch(model):
        name = "openai"
    else:
        raise Unknown("LiteLLM finds its provider by a list of models: write the provider first, such as openai/MODEL")
    if name in VENDORS:
        return name, VENDORS[name], model
    whose = f"{name} has" if _PREFIX.fullmatch(name) else "what stands before the '/' has"
    raise Unknown(
        f"{whose} no kind of provider in Tidegate; where it speaks the OpenAI API, write openai/MODEL and api_base"
    )
