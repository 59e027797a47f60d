"""What each field of tokens, selectors and locations does to live traffic: rows of test_every_field."""

from __future__ import annotations

from collections.abc import Mapping

from tests.dataplane.callers.issuers import AUDIENCE, ISSUER, claims, jwk, key_set, token
from tests.integration.calls import CLIENT_KEY, WAYS, Call, Objects
from tests.integration.rows import METERED, OK, POLICY, Row, caller, policies, refused, status

AUTHENTICATION = f"{POLICY}.authentication"
JWT = f"{AUTHENTICATION}.jwt[]"
SECRET = {"secretRef": {"name": "callers"}}
BEARER = Call().keyed(token(claims(email="a@example.com", department="sales")))
IN_HEADER = Call(headers={"X-Gateway-Key": CLIENT_KEY})
IN_QUERY = Call(headers={}, query=f"gw_key={CLIENT_KEY}")


def issuer(**fields: object) -> Objects:
    """With an issuer that is not as usual in these fields."""
    usual: Mapping[str, object] = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "jwks": {"inline": key_set(jwk("P-256", kid="a"))},
    }
    return policies({"authentication": {"jwt": [{**usual, **fields}]}})


def selected(**labels: str) -> Objects:
    return policies({"authentication": {"keys": [{"secretSelector": {"matchLabels": labels}}]}})


def located(**location: str) -> Objects:
    return policies({"authentication": {"keys": [SECRET], **({"location": location} if location else {})}})


NOT_ACCEPTED = refused(401, "invalid_token")
ROWS = [
    Row(f"{AUTHENTICATION}.keys[].secretSelector.matchLabels.*", selected(tier="gold"), selected(tier="silver"), status,
        refused(401, "invalid_api_key"), OK),
    Row("secretSelector: all labels", selected(tier="silver"), selected(tier="silver", other=""), status,
        OK, refused(401, "invalid_api_key")),
    Row(f"{JWT}.issuer", issuer(issuer="https://other.example.com"), issuer(), status, NOT_ACCEPTED, OK, WAYS, BEARER),
    Row(f"{JWT}.audiences[]", issuer(audiences=["other"]), issuer(audiences=["other", AUDIENCE]), status,
        NOT_ACCEPTED, OK, WAYS, BEARER),
    Row(f"{JWT}.jwks.inline", issuer(jwks={"inline": key_set(jwk("P-256", 1, kid="a"))}), issuer(), status,
        NOT_ACCEPTED, OK, WAYS, BEARER),
    Row(f"{JWT}.jwks.url", issuer(), issuer(jwks={"url": "$URL/no-keys-here"}), status,
        OK, refused(503, "issuer_keys_unavailable"), WAYS, BEARER),
    Row(f"{JWT}.claims.key", issuer(), issuer(claims={"key": "email"}), caller,
        [("ai", "alice", "")], [("ai", "a@example.com", "")], METERED, BEARER),
    Row(f"{JWT}.claims.team", issuer(), issuer(claims={"team": "department"}), caller,
        [("ai", "alice", "")], [("ai", "alice", "sales")], METERED, BEARER),
    Row(f"{JWT}.team", issuer(team="partners"), issuer(team="people"), caller,
        [("ai", "alice", "partners")], [("ai", "alice", "people")], METERED, BEARER),
    Row("subjects of tokens", policies(*issuer(team="people").policies,
        {"models": {"allow": ["gpt-5"]}, "subjects": [{"key": "bob"}, {"team": "partners"}]}),
        policies(*issuer(team="people").policies, {"models": {"allow": ["gpt-5"]}, "subjects": [{"key": "alice"}]}),
        status, OK, refused(403, "model_not_allowed"), METERED, BEARER),
    Row(f"{AUTHENTICATION}.location.header", located(), located(header="X-Gateway-Key"), status,
        refused(401, "credentials_required"), OK, WAYS, IN_HEADER),
    Row(f"{AUTHENTICATION}.location.query", located(), located(query="gw_key"), status,
        refused(401, "credentials_required"), OK, WAYS, IN_QUERY),
    Row("location: nowhere else", located(), located(header="x-gateway-key"), status,
        OK, refused(401, "credentials_required")),
]  # fmt: skip
