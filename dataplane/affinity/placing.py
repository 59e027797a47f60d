"""Which of a Backend's providers may be asked for what carries hints. Pure.

What one domain made is of use there alone, and only to the caller for whom it was made. Nothing else is ever tried: not
where the domain is gone, and not where none of its providers is well.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataplane import models
from dataplane.affinity.hints import NOBODY, Keys, Signed, Signer
from dataplane.errors import Refusal
from dataplane.metering.usage import Caller
from dataplane.table import Backend, Provider


def domain_of(backend: Backend, provider: Provider) -> str:
    """The name of what shares a vendor's stored state with this provider: of its namespace, or itself alone."""
    namespace = backend.name.partition("/")[0]
    return f"{namespace}\0{provider.domain or f'{backend.name}/{provider.name}'}"


def signer(keys: Keys, backend: Backend, provider: Provider, caller: Caller) -> Signer:
    """What signs the answers of a provider to a caller."""
    return keys.signer(domain_of(backend, provider), "" if _passes(provider) else _name(caller))


def within(backend: Backend, signed: Sequence[Signed], caller: Caller) -> Backend:
    """The Backend with those providers alone that may be sent all of this.

    Raises Refusal response_not_found, invalid_encrypted_content, domain_gone, several_domains."""
    if not signed:
        return backend
    left = backend.providers
    for each in signed:
        there = _owners(backend, each, caller)
        left = tuple(provider for provider in left if provider in there)
        if not left:
            raise Refusal(
                "several_domains",
                "What this request refers to was made by different providers, and none of them can read all of it. "
                "Send what one conversation was answered, and leave out the rest.",
            )
    return backend if len(left) == len(backend.providers) else backend.model_copy(update={"providers": left})


def check_model(backend: Backend, within: Backend, name: str) -> None:
    """Whether those that are left serve the model. Raises Refusal several_domains."""
    found = models.find(backend.models, name) if within is not backend else None
    left = {provider.name for provider in within.providers}
    if found and not any(target.provider in left for target in found[0].targets):
        raise Refusal(
            "several_domains",
            f"The model {name!r} is served by other providers than what this request refers to was made by, and they "
            "cannot read it. Name a model that was used before, or send the conversation in full, in `input`.",
            param="model",
        )


def only(backend: Backend, within: Backend, provider: Provider, name: str) -> Backend:
    """The Backend with this provider alone, which a connection is with, if it is among those that may be asked and
    serves the model. Raises Refusal other_provider."""
    if provider.name not in {each.name for each in within.providers}:
        raise Refusal(
            "other_provider",
            "What this request refers to was made by another provider than the one that this connection is with, which "
            "cannot read it. Open another connection for it.",
        )
    found = models.find(backend.models, name)
    if found and not any(target.provider == provider.name and target.weight for target in found[0].targets):
        raise Refusal(
            "other_provider",
            f"The model {name!r} is served by another provider than the one that this connection is with. Open another "
            "connection for it.",
            param="model",
        )
    return backend.model_copy(update={"providers": (provider,)})


def unplaced(param: str) -> Refusal:
    """What is answered to a stored item that is named by its id alone, where there are several domains."""
    return Refusal(
        "several_domains",
        "An item is named by its id alone, which does not tell which provider has it. Send previous_response_id with "
        'it, or the item itself: reasoning with its encrypted_content, by include: ["reasoning.encrypted_content"].',
        param=param,
    )


def one_domain(backend: Backend) -> bool:
    """Do all of its providers share their state?"""
    return len({domain_of(backend, provider) for provider in backend.providers}) == 1


def unknown(*, encrypted: bool, param: str | None = None) -> Refusal:
    """What is answered to an id or a content that this caller has not got here, whatever the reason: it may be
    another's."""
    if encrypted:
        return Refusal(
            "invalid_encrypted_content",
            "This encrypted content was not made here for this caller, or was changed. Send it exactly as this gateway "
            "answered it, with the same key, or leave the item out.",
            param=param,
        )
    return Refusal(
        "response_not_found",
        "No response of this id was made here for this caller. Send the id exactly as this gateway answered it, with "
        "the same key; what was made elsewhere must be sent in full, in `input`.",
        param=param,
    )


def _owners(backend: Backend, signed: Signed, caller: Caller) -> list[Provider]:
    """Those of the domain, which show it the same credential that it was made with: ours, or the client's own."""
    unowned = signed.caller == NOBODY
    if not unowned and not signed.of_caller(_name(caller)):
        raise unknown(encrypted=signed.encrypted)
    there = [provider for provider in backend.providers if signed.of_domain(domain_of(backend, provider))]
    if not there:
        raise Refusal(
            "domain_gone",
            f"The providers that this was made by are no longer among those of Backend {backend.name}, or have another "
            "name or domain now, and no other can read it. Begin anew: send the conversation in full, in `input`, "
            "without encrypted content.",
        )
    owners = [provider for provider in there if _passes(provider) is unowned]
    if not owners:
        raise unknown(encrypted=signed.encrypted)
    return owners


def _passes(provider: Provider) -> bool:
    return provider.credential.kind == "passthrough"


def _name(caller: Caller) -> str:
    return f"{caller.namespace}\0{caller.key}"
