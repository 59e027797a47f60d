"""A real API server and Tidegate are of one mind about every document of the table in tests/crds: what is refused, in
which words and at which field, and what is stored of what is not."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

import api_words
import pytest
from cluster.access import Cluster
from cluster.programs import BIN, Program

from crds import parse
from tests.crds.table import Case, everything
from tests.tidegate.scalars import SCALARS

Cases = tuple[Case, ...]
every_group = pytest.mark.parametrize("cases", everything().values(), ids=everything())
PATHS = {"Backend": "backends", "Policy": "policies"}
STRICTLY = "dryRun=All&fieldValidation=Strict"
CREATED, BAD, UNPROCESSABLE = 201, 400, 422


class Server:
    """The API server, by way of `kubectl proxy`."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def create(self, case: Case, how: str = STRICTLY) -> tuple[int, dict[str, object]]:
        """The status, and the object as it is stored or what is wrong with it. Nothing is kept."""
        path = f"/apis/tidegate.dev/v1alpha1/namespaces/default/{PATHS[case.kind]}?{how}"
        self._connection.request("POST", path, json.dumps(case.document), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.fixture(scope="module")
def server(cluster: Cluster, tidegate_crds: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    command = [BIN / "kubectl", "--kubeconfig", cluster.kubeconfig, "proxy", "--port=0"]
    proxy = Program("proxy", command, tmp_path_factory.mktemp("proxy"))
    proxy.start()
    try:
        proxy.wait_for(lambda: _port(proxy.log), "does not listen")
        yield Server(int(_port(proxy.log)))
    finally:
        proxy.stop()


def _port(log: Path) -> str:
    found = re.search(r"Starting to serve on 127\.0\.0\.1:(\d+)\n", log.read_text())
    return found[1] if found else ""


@every_group
def test_both_say_the_same(cases: Cases, server: Server) -> None:
    differences = {}
    for case in cases:
        status, answer = server.create(case)
        if not case.errors or case.server_accepts:
            found = [] if status == CREATED else [f"only the API server refuses it: {answer['message']}"]
        elif status in (BAD, UNPROCESSABLE):
            found = api_words.differences(case.errors, api_words.refusal(answer))
        else:
            found = [f"only Tidegate refuses it: {case.errors}"]
        differences |= {str(case): found} if found else {}
    assert differences == {}


@every_group
def test_both_have_the_same_defaults(cases: Cases, server: Server) -> None:
    for case in cases:
        if case.errors:
            continue
        _, stored = server.create(case)
        assert parse({**case.document, "spec": stored["spec"]}) == parse(case.document), case
        if case.stored is not None:
            assert stored["spec"] == case.stored, case


@pytest.mark.parametrize("kind", PATHS)
def test_a_client_that_does_not_ask_for_strictness_has_unknown_fields_taken_out(kind: str, server: Server) -> None:
    """They are pruned, all the way down."""
    unknown = [
        case for cases in everything().values() for case in cases if case.kind == kind and case.value == "a field zzz"
    ]
    assert unknown
    for case in unknown:
        status, stored = server.create(case, "dryRun=All&fieldValidation=Warn")
        assert status == CREATED
        assert "zzz" not in json.dumps(stored["spec"])


def test_plain_text_in_yaml_means_what_it_means_to_kubectl(cluster: Cluster) -> None:
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n"
    document = head + "".join(f"  f{number}: {text}\n" for number, text in enumerate(SCALARS))
    printed = cluster.kubectl("create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-", input=document)
    read = [json.loads(printed)["data"][f"f{number}"] for number in range(len(SCALARS))]
    meant = [(text, isinstance(value, bool), value) for text, value in SCALARS.items()]
    assert [(text, isinstance(value, bool), value) for text, value in zip(SCALARS, read, strict=True)] == meant
