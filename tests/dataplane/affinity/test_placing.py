"""Where what one domain made may be sent: there, by whom it was made for, and nowhere else."""

from __future__ import annotations

from typing import Literal

import pytest

from dataplane.affinity import placing
from dataplane.affinity.hints import Keys, Signed
from dataplane.errors import Refusal
from dataplane.metering.usage import ANONYMOUS, Caller
from dataplane.table import Backend, Credential, Provider

KEYS = Keys(b"k" * 32)
BOT, OTHER = Caller("ai", "bot", "support"), Caller("ai", "other", "support")


def provider(name: str, domain: str = "", credential: Literal["secret", "passthrough"] = "secret") -> Provider:
    kind = Credential(kind=credential, secret="s")
    return Provider(name=name, kind="openai", url="https://a.example/v1", credential=kind, domain=domain)


def backend(*providers: Provider, name: str = "ai/voice") -> Backend:
    return Backend(name=name, providers=providers)


POOL = backend(provider("a", "org"), provider("b", "org"), provider("c"))


def made(by: str, caller: Caller = BOT, there: Backend = POOL, *, encrypted: bool = False) -> Signed:
    maker = next(each for each in there.providers if each.name == by)
    signer = placing.signer(KEYS, there, maker, caller)
    return KEYS.read_content(signer.content("gAAA")) if encrypted else KEYS.read_id(signer.id("resp_1"))


def names(found: Backend) -> list[str]:
    return [each.name for each in found.providers]


def refused(there: Backend, *signed: Signed, caller: Caller = BOT) -> str:
    with pytest.raises(Refusal) as raised:
        placing.within(there, signed, caller)
    return raised.value.code


def test_all_providers_where_nothing_is_said() -> None:
    assert placing.within(POOL, [], BOT) is POOL


def test_the_providers_of_a_domain() -> None:
    assert names(placing.within(POOL, [made("a")], BOT)) == ["a", "b"]
    assert names(placing.within(POOL, [made("c"), made("c", encrypted=True)], BOT)) == ["c"]


def test_two_domains_in_one_request() -> None:
    assert refused(POOL, made("a"), made("c", encrypted=True)) == "several_domains"


def test_another_callers() -> None:
    assert refused(POOL, made("a"), caller=OTHER) == "response_not_found"
    assert refused(POOL, made("a"), caller=ANONYMOUS) == "response_not_found"
    assert refused(POOL, made("a", encrypted=True), caller=OTHER) == "invalid_encrypted_content"
    assert refused(POOL, made("a"), caller=Caller("other", "bot")) == "response_not_found"


def test_a_team_is_no_caller_and_may_change() -> None:
    assert names(placing.within(POOL, [made("c")], Caller("ai", "bot", "sales"))) == ["c"]


def test_the_domain_is_gone() -> None:
    left = backend(provider("b", "other"), provider("d"))
    assert refused(left, made("a")) == "domain_gone"
    assert refused(left, made("c")) == "domain_gone"
    assert refused(left, made("a"), caller=OTHER) == "response_not_found"


def test_a_domain_is_one_namespaces_and_a_lone_provider_one_backends() -> None:
    assert refused(backend(provider("a", "org"), name="other/voice"), made("a")) == "domain_gone"
    assert names(placing.within(backend(provider("x", "org"), name="ai/chat"), [made("a")], BOT)) == ["x"]
    assert refused(backend(provider("c"), name="ai/chat"), made("c")) == "domain_gone"


def test_the_clients_own_credential_says_what_is_whose() -> None:
    own = backend(provider("a", "org", "passthrough"))
    assert names(placing.within(own, [made("a", ANONYMOUS, own)], BOT)) == ["a"]
    assert refused(POOL, made("a", ANONYMOUS, own)) == "response_not_found"
    assert refused(own, made("a")) == "response_not_found"


def test_one_domain() -> None:
    assert placing.one_domain(backend(provider("a", "org"), provider("b", "org")))
    assert not placing.one_domain(POOL)
