"""What goes through a proxy and what does not, and how one is written."""

from __future__ import annotations

import pytest

from dataplane.upstreams.egress import PASSWORD, egress_proxy

URL = "http://proxy.example.com:3128"


@pytest.mark.parametrize(
    ("direct", "through", "directly"),
    [
        ((), "a.test 8.8.8.8 2001:db8::1 svc.a.test notlocalhost", "localhost LOCALHOST. a.localhost 127.0.0.1 ::1"),
        ((), "svc.test a.svcs", "vllm.ai.svc vllm.ai.svc.cluster.local kubernetes.default.svc"),
        (("a.test",), "ba.test a.test.b.test test", "a.test A.Test. b.a.test"),
        ((".a.test", "*.b.test"), "c.test", "a.test x.a.test b.test x.b.test"),
        (("10.0.0.0/8", "2001:db8::/32"), "11.0.0.1 2001:db9::1 a.test", "10.1.2.3 2001:db8::9"),
        (("10.0.0.1", "[fd00::1]"), "10.0.0.2", "10.0.0.1 fd00::1"),
        (("*",), "", "a.test 8.8.8.8"),
    ],
)
def test_what_goes_through_it(direct: tuple[str, ...], through: str, directly: str) -> None:
    proxy = egress_proxy(URL).sparing(direct)
    assert [host for host in through.split() if not proxy.leads_to(host)] == []
    assert [host for host in directly.split() if proxy.leads_to(host)] == []


def test_user_and_password_are_shown_to_it_and_to_nobody_else() -> None:
    proxy = egress_proxy("http://tide%40gate@[::1]:3128/", "pass:word")
    assert (proxy.host, proxy.port) == ("::1", 3128)
    assert proxy.authorization == "Basic dGlkZUBnYXRlOnBhc3M6d29yZA=="
    assert "dGlkZ" not in repr(proxy)
    assert egress_proxy("http://me@p:1").authorization == "Basic bWU6"
    assert egress_proxy(URL).authorization == ""


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://proxy:3128", "proxies are called by http://"),
        ("http://proxy", "write http://HOST:PORT"),
        ("proxy:3128", "write http://HOST:PORT"),
        ("socks5://proxy:1080", "write http://HOST:PORT"),
        ("http://proxy:3128/path", "write http://HOST:PORT"),
        ("http://proxy:3128?x", "write http://HOST:PORT"),
        ("http://proxy:99999", "write http://HOST:PORT"),
        ("http://proxy:0", "write http://HOST:PORT"),
        ("http://a..b:1", "write http://HOST:PORT"),
        ("http://[::1:3128", "write http://HOST:PORT"),
        ("http://me:S3CRET@proxy:3128", PASSWORD),
        ("http://m%3Ae@proxy:3128", "a colon"),
        ("http://m%0Ae@proxy:3128", "cannot be sent"),
    ],
)
def test_what_is_no_proxy_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        egress_proxy(url)
    assert "S3CRET" not in str(refused.value)


def test_a_password_needs_a_user() -> None:
    with pytest.raises(ValueError, match="no user"):
        egress_proxy(URL, "S3CRET")


@pytest.mark.parametrize("entry", ["a b", "*a", "http://a.test", "a.test:443", "a..b", "10.0.0.0/33", ""])
def test_what_is_neither_a_name_nor_a_network_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is neither a name"):
        egress_proxy(URL).sparing([entry])
