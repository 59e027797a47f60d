"""crds.parse beyond the table: which document, which paths, what reaches the reader, what the models are like."""

import copy
import datetime
import pickle
from collections.abc import Iterator

import pydantic
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import crds
from crds.authentication import AuthenticationMode
from crds.backend import Backend, BackendSpec, OpenAIProvider, Provider, RouteType
from crds.base import Metadata
from crds.errors import explain, path_of
from crds.policy import Policy
from crds.reference import EXAMPLES

BACKEND: dict[str, object] = {
    "apiVersion": "tidegate.dev/v1alpha1",
    "kind": "Backend",
    "metadata": {"name": "voice"},
    "spec": {"providers": [{"name": "openai", "openai": {}}]},
}
JARGON = ("input should", "inputs are", "extra inputs", "pydantic", "dict", "tuple", "str ", "NoneType", "instance of")


def errors_of(document: object) -> list[str]:
    with pytest.raises(crds.Invalid) as caught:
        crds.parse(document)  # type: ignore[arg-type]
    return [str(error) for error in caught.value.errors]


def test_kinds_are_told_apart() -> None:
    assert isinstance(crds.parse(yaml.safe_load(EXAMPLES["Backend"])), Backend)
    assert isinstance(crds.parse(yaml.safe_load(EXAMPLES["Policy"])), Policy)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"kind": "Backends"},
            ['kind: unknown kind "Backends"; did you mean "Backend"? use one of: Backend, Policy'],
        ),
        (
            {"apiVersion": "tidegate.dev/v1"},
            ['apiVersion: unknown apiVersion "tidegate.dev/v1"; did you mean "tidegate.dev/v1alpha1"?'],
        ),
        (
            {"kind": None, "apiVersion": 1},
            [
                "apiVersion: must be one of tidegate.dev/v1alpha1, but is a number",
                "kind: is missing; write Backend or Policy",
            ],
        ),
        ({"spec": None}, ["spec: is missing, and it is required"]),
        ({"metadata": {}}, ["metadata.name: is missing, and it is required"]),
        (
            {"metadata": {"name": "x", "nmaespace": "y"}},
            ['metadata.nmaespace: unknown field "nmaespace"; did you mean "namespace"?'],
        ),
        ({"sepc": {}}, ['sepc: unknown field "sepc"; did you mean "spec"?']),
        (
            {"metadata": {"name": "x", "creationTimestamp": "2026-01-31"}},
            ["metadata.creationTimestamp: write a time with its zone, such as 2026-01-31T12:00:00Z"],
        ),
        (
            {"spec": {1: 2}},
            ["spec.providers: is missing, and it is required", "spec[1]: is no field name: names of fields are text"],
        ),
    ],
)
def test_the_rest_of_the_document(change: dict[str, object], expected: list[str]) -> None:
    assert errors_of({**BACKEND, **change}) == expected


@pytest.mark.parametrize("document", [None, [], "text", 3])
def test_no_mapping_at_all(document: object) -> None:
    assert errors_of(document) == ["an object is a mapping with apiVersion, kind, metadata and spec"]


def test_paths() -> None:
    assert path_of(["spec", "providers", 0, "url"]) == "spec.providers[0].url"
    assert path_of(["spec", "routes", '/v1/"x"']) == 'spec.routes["/v1/\\"x\\""]'
    assert path_of([]) == ""


def test_too_many_entries_are_counted() -> None:
    providers = [{"name": f"p{number}", "openai": {}} for number in range(33)]
    routes = {f"/{number}": "Realtime" for number in range(65)}
    assert errors_of({**BACKEND, "spec": {"providers": providers, "routes": routes}}) == [
        "spec.providers: has 33 entries; at most 32 are allowed",
        "spec.routes: has 65 entries; at most 64 are allowed",
    ]


def test_what_a_cluster_adds_is_let_go() -> None:
    metadata = {
        "name": "voice",
        "namespace": "ai",
        "uid": "u-1",
        "generation": 3,
        "resourceVersion": "42",
        "creationTimestamp": "2026-01-31T12:00:00Z",
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "managedFields": [{}],
        "finalizers": [],
        "ownerReferences": [],
    }
    found = crds.parse({**BACKEND, "metadata": metadata, "status": {"conditions": "of another version"}})
    assert found.metadata == Metadata(
        name="voice",
        namespace="ai",
        uid="u-1",
        generation=3,
        resource_version="42",
        creation_timestamp=datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC),
    )


def test_models_are_made_by_name_compare_by_value_and_are_frozen() -> None:
    made = Backend(
        metadata=Metadata(name="voice"),
        spec=BackendSpec(providers=(Provider(name="openai", openai=OpenAIProvider()),)),
    )
    read = crds.parse(BACKEND)
    assert made == read
    assert pickle.loads(pickle.dumps(read)) == read
    with pytest.raises(pydantic.ValidationError):
        made.kind = "Policy"  # type: ignore[misc, assignment]
    assert made.metadata.namespace == "default"


def test_models_write_themselves_as_they_are_read() -> None:
    for example in EXAMPLES.values():
        read = crds.parse(yaml.safe_load(example))
        assert crds.parse(read.model_dump(mode="json", exclude_unset=True)) == read


def test_choices_are_members_and_text() -> None:
    backend = crds.parse(yaml.safe_load(EXAMPLES["Backend"]))
    policy = crds.parse(yaml.safe_load(EXAMPLES["Policy"]))
    assert isinstance(backend, Backend)
    assert isinstance(policy, Policy)
    assert backend.spec.routes["*"] is RouteType.PASSTHROUGH
    assert policy.spec.authentication is not None
    assert policy.spec.authentication.mode is AuthenticationMode.REQUIRED
    assert f"{RouteType.REALTIME}" == "Realtime"


def test_parsing_leaves_the_document_alone() -> None:
    document = yaml.safe_load(EXAMPLES["Policy"])
    before = copy.deepcopy(document)
    crds.parse(document)
    assert document == before


SECRET = "sk-do-not-show-9f2c"


@pytest.mark.parametrize(
    "spec",
    [
        {"providers": [{"name": "a", "openai": {}, "auth": SECRET}]},
        {"providers": [{"name": "a", "openai": {}, "auth": {"secretRef": SECRET}}]},
        {"providers": [{"name": "a", "openai": {}, "auth": {"secretRef": {"name": SECRET.upper()}}}]},
        {"providers": [{"name": "a", "openai": {}, "url": f"https://{SECRET}@h/"}]},
        {"providers": [{"name": "a", "openai": SECRET}]},
        {"providers": SECRET},
    ],
)
def test_a_credential_in_the_wrong_place_is_not_repeated(spec: object) -> None:
    with pytest.raises(crds.Invalid) as caught:
        crds.parse({**BACKEND, "spec": spec})
    assert SECRET.lower() not in f"{caught.value!r} {caught.value} {caught.value.__context__!r}".lower()


def test_a_header_value_is_in_no_repr() -> None:
    document = yaml.safe_load(EXAMPLES["Policy"])
    document["spec"]["transformation"]["request"]["set"] = [{"name": "x-key", "value": SECRET}]
    assert SECRET not in repr(crds.parse(document))


SCRAPS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["openai", "*", "/", "Required"])
    | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def places(document: object) -> Iterator[tuple[dict[object, object] | list[object], object]]:
    """Everything that can be replaced in a document, as container and key."""
    pairs = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in pairs:
        yield document, key  # type: ignore[misc]
        yield from places(value)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_is_told_in_plain_words(data: st.DataObject) -> None:
    document = yaml.safe_load(EXAMPLES[data.draw(st.sampled_from(sorted(EXAMPLES)))])
    container, key = data.draw(st.sampled_from(list(places(document))))
    container[key] = data.draw(SCRAPS)  # type: ignore[call-overload]
    for error in problems(document):
        assert not any(word in error.message.lower() for word in JARGON), error
        assert "this value is not valid" not in error.message, error


def problems(document: dict[str, object]) -> list[crds.FieldError]:
    try:
        crds.parse(document)
    except crds.Invalid as invalid:
        return invalid.errors
    return []


def test_an_error_type_without_words_gets_a_plain_sentence() -> None:
    details = pydantic.TypeAdapter(bytes).validate_python
    with pytest.raises(pydantic.ValidationError) as caught:
        details(3)
    said = explain(Backend, caught.value.errors()[0])
    assert said.message == "this value is not valid; kubectl explain says what is"
