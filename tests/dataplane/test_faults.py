"""What answers say of providers, and how long those want to be left alone."""

from __future__ import annotations

import pytest

from dataplane.errors import CATALOGUE, Refusal
from dataplane.faults import (
    CREDENTIAL,
    FORBIDDEN,
    LONGEST_REST,
    OF_CODE,
    RATE_LIMITED,
    REASONS,
    SERVER_ERROR,
    Fault,
    of_status,
    pause,
)

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "20"}, 20),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30),
        ({"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "9" * 400}, 0),
        ({"retry-after": "999999999"}, LONGEST_REST),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-reset-requests": "20ms"}, 0.02),
        ({"x-ratelimit-reset-tokens": "1h1m1s"}, LONGEST_REST),
        ({"x-ratelimit-reset-tokens": "12"}, 12),
        ({"x-ratelimit-reset-tokens": "1800000012"}, 12),
        ({"x-ratelimit-reset-tokens": "1700000000"}, 0),
        ({"x-ratelimit-reset-tokens": "tomorrow"}, 0),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6s"}, 1),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6s",
          "x-ratelimit-remaining-requests": "59", "x-ratelimit-remaining-tokens": "0"}, 6),
        ({"retry-after": "2", "x-ratelimit-reset-requests": "6m0s"}, 2),
    ],
)  # fmt: skip
def test_how_long_it_wants_to_be_left_alone(fields: dict[str, str], seconds: float) -> None:
    assert pause(fields, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize("status", [101, 200, 301, 400, 404, 408, 413, 422, 501])
def test_what_says_nothing_of_a_provider(status: int) -> None:
    assert of_status(status, [("Retry-After", "5")], NOW, own=True) is None


@pytest.mark.parametrize(("status", "fault"), [(401, CREDENTIAL), (403, FORBIDDEN)])
def test_a_credential_is_whoever_has_set_it(status: int, fault: Fault) -> None:
    assert of_status(status, [], NOW, own=True) == fault
    assert of_status(status, [], NOW, own=False) is None


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_what_a_provider_answers_that_is_broken(status: int) -> None:
    assert of_status(status, [], NOW, own=True) == SERVER_ERROR


def test_who_says_when_to_come_back_has_not_failed() -> None:
    wait = [("Retry-After", "5")]
    assert of_status(429, wait, NOW, own=True) == Fault("rate_limited", counts=False, rest=5.0)
    assert of_status(503, wait, NOW, own=True) == Fault("unavailable", counts=False, rest=5.0, whole=True)
    assert of_status(429, [], NOW, own=True) == RATE_LIMITED
    assert of_status(500, wait, NOW, own=True) == SERVER_ERROR
    assert of_status(429, wait, NOW, own=False) is None, "it is the client's limit"


def test_codes_and_reasons_are_known_ones() -> None:
    assert OF_CODE.keys() <= CATALOGUE.keys()
    assert {fault.reason for fault in OF_CODE.values()} <= REASONS.keys()


def test_a_refusal_says_what_its_code_does_unless_it_knows_better() -> None:
    assert Refusal("upstream_rate_limited", "full").fault == RATE_LIMITED
    assert Refusal("upstream_protocol_error", "500", fault=SERVER_ERROR).fault == SERVER_ERROR
    assert Refusal("limit_exceeded", "yours").fault is None
