"""From files to documents: places, strictness, environment variables, versions of Secrets."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tidegate.documents import LIMIT, Documents, Loaded

SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {Authorization: %s}\n"
BACKEND = "apiVersion: tidegate.dev/v1alpha1\nkind: Backend\nmetadata: {name: %s}\nspec: {}\n"


KINDS = "Backend, Policy, HTTPRoute, ReferenceGrant and Secret"


def load(path: Path, **environ: str) -> Loaded:
    return Documents(environ).load([path])


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_folders_are_read_in_order_without_what_is_hidden_or_deeper(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.json", ".hidden.yaml", "notes.txt"):
        write(tmp_path, name, BACKEND % name[0].replace(".", "h"))
    (tmp_path / "deeper").mkdir()
    write(tmp_path / "deeper", "d.yaml", BACKEND % "d")
    assert [document.file for document in load(tmp_path).documents] == [
        str(tmp_path / name) for name in ("a.yml", "b.yaml", "c.json")
    ]


def test_a_path_that_is_given_twice_is_read_once(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", BACKEND % "a")
    assert len(Documents({}).load([path, str(path)]).documents) == 1


def test_stdin_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((BACKEND % "a").encode())))
    documents = Documents({})
    assert [document.place for document in documents.load(["-"]).documents] == ["stdin #1"]
    assert len(documents.load(["-"]).documents) == 1


def test_a_document_has_a_namespace_and_a_place(tmp_path: Path) -> None:
    path = write(tmp_path, "two.yaml", BACKEND % "a" + "---\n" + BACKEND % "b")
    second = load(path).documents[1]
    assert second.content["metadata"] == {"name": "b", "namespace": "default"}
    assert second.place == f"{path} #2"
    assert second.located("spec", "is empty") == f"{path} #2: spec: is empty (line 9)"
    assert second.located("", "is odd") == f"{path} #2: is odd (line 6)"


@pytest.mark.parametrize(
    ("path", "line"),
    [("spec.a[1].b", 7), ("spec.a[1].missing[3]", 7), ('spec["/v1"]', 8), ("spec.nowhere", 4), ("nowhere", 1)],
)
def test_the_line_of_a_field_or_of_the_nearest_above(tmp_path: Path, path: str, line: int) -> None:
    text = (BACKEND % "a").replace("spec: {}", "spec:\n  a:\n  - x\n  - b: 1\n  /v1: y")
    (document,) = load(write(tmp_path, "a.yaml", text)).documents
    assert document.line(path) == line


def test_lists_are_flattened(tmp_path: Path) -> None:
    items = "".join(
        f"- {{apiVersion: tidegate.dev/v1alpha1, kind: Backend, metadata: {{name: {name}}}}}\n" for name in "ab"
    )
    path = write(tmp_path, "list.yaml", f"apiVersion: v1\nkind: List\nitems:\n{items}")
    loaded = load(path)
    assert [document.place for document in loaded.documents] == [f"{path} #1 items[0]", f"{path} #1 items[1]"]
    assert loaded.documents[1].line("metadata.name") == 5


ERRORS = {
    "a: [": ":2:1: did not find expected node content",
    "- a": " #1: is no mapping; write apiVersion, kind, metadata and spec",
    "kind: Backend": " #1: apiVersion: is missing or no text; every document has apiVersion and kind",
    "apiVersion: v1\nkind: 5": " #1: kind: is missing or no text; every document has apiVersion and kind",
    BACKEND % "''": " #1: metadata.name: is missing or no text; every Backend has a name",
    "{apiVersion: v1, kind: Secret, metadata: s}": " #1: metadata.name: is missing or no text; every Secret has a name",
    "{apiVersion: tidegate.dev/v1alpha1, kind: Polcy}": " #1: Polcy of tidegate.dev/v1alpha1 is unknown; "
    "write apiVersion: tidegate.dev/v1alpha1 and kind: Backend or Policy",
    SECRET % "'${NOWHERE}'": " #1: stringData.Authorization: the environment variable NOWHERE is not set: "
    "set it, or write $${ for a plain ${ (line 4)",
}


@pytest.mark.parametrize(("text", "error"), ERRORS.items(), ids=range(len(ERRORS)))
def test_errors_have_their_place(tmp_path: Path, text: str, error: str) -> None:
    path = write(tmp_path, "a.yaml", text)
    assert load(path).errors == (f"{path}{error}",)


def test_files_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    loaded = Documents({}).load([tmp_path / "latin.yaml", tmp_path / "nowhere.yaml"])
    assert loaded.errors == (
        f"{tmp_path}/latin.yaml: is not UTF-8 text",
        f"{tmp_path}/nowhere.yaml: cannot be read: No such file or directory",
    )


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert load(tmp_path).errors == (f"{tmp_path}: cannot be read: Permission denied",)


def test_other_kinds_and_empty_folders_are_noted(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", "apiVersion: apps/v1\nkind: Deployment\n")
    (tmp_path / "empty").mkdir()
    loaded = Documents({}).load([path, tmp_path / "empty"])
    assert loaded.errors == ()
    assert loaded.notes == (
        f"{path} #1: Deployment of apps/v1 is skipped; Tidegate reads {KINDS}",
        f"{tmp_path}/empty: has no *.yaml, *.yml, *.json file",
    )


def test_variables_are_expanded_in_secrets_alone(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", SECRET % '"${KEY}-$${KEY}-${KEY}"' + "---\n" + BACKEND % "b" + "x: ${KEY}\n")
    secret, backend = load(path, KEY="k").documents
    assert secret.content["stringData"] == {"Authorization": "k-${KEY}-k"}
    assert backend.content["x"] == "${KEY}"


def test_values_that_are_no_text_are_left_to_the_compiler(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: 5}\ndata: x\n")
    assert load(path).documents[0].content["stringData"] == {"a": 5}


def test_a_secret_has_a_new_version_when_its_content_is_new(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml", SECRET % "one")
    documents = Documents({})

    def version() -> object:
        metadata = documents.load([path]).documents[0].content["metadata"]
        assert isinstance(metadata, dict)
        return metadata["resourceVersion"]

    assert [version(), version()] == ["1", "1"]
    path.write_text(SECRET % "two")
    assert version() == "2"
    path.write_text(SECRET % "one")
    assert version() == "3"
    path.write_text((SECRET % "one").replace("name: s", "name: s, resourceVersion: '77'"))
    assert version() == "77"


def test_json_may_be_indented_by_tabs(tmp_path: Path) -> None:
    text = '{\n\t"apiVersion": "tidegate.dev/v1alpha1",\n\t"kind": "Backend",\n\t"metadata": {"name": "a"}\n}\n'
    assert load(write(tmp_path, "a.json", text)).documents[0].identity.name == "a"


def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, "a.yaml", SECRET % "sk-secret"))
    assert "sk-secret" not in repr(loaded)


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """`-f <(sops -d secrets.yaml)`: a second read would find nothing, and a reload would serve nothing."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    documents = Documents({})
    with ThreadPoolExecutor(1) as writer:
        writer.submit(path.write_text, BACKEND % "a")
        first = documents.load([path])
    assert [document.identity.name for document in first.documents] == ["a"]
    assert documents.load([path]) == first


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", BACKEND % "a")
    (tmp_path / "b.yaml").symlink_to("gone.yaml")
    assert load(tmp_path).errors == (f"{tmp_path / 'b.yaml'}: cannot be read: No such file or directory",)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unheard:
        unheard.bind(str(path))


NO_FILES = [
    (make_pipe, "is a named pipe; one is read only where it is named when the command starts"),
    (make_device, "is a device; name a file"),
    (make_socket, "is a socket; name a file"),
]


@pytest.mark.parametrize(("make", "error"), NO_FILES)
def test_what_is_no_file_any_more_is_an_error(tmp_path: Path, make: Callable[[Path], None], error: str) -> None:
    """It would keep a reload waiting for good, or fill the memory."""
    path = write(tmp_path, "a.yaml", BACKEND % "a")
    documents = Documents({})
    assert documents.load([path]).errors == ()
    path.unlink()
    make(path)
    assert documents.load([path]).errors == (f"{path}: {error}",)


@pytest.mark.parametrize(("make", "error"), NO_FILES)
def test_what_is_no_file_in_a_folder_is_an_error(tmp_path: Path, make: Callable[[Path], None], error: str) -> None:
    """As a link is that leads nowhere: what was meant to be there must not be left out. Pipes are named themselves."""
    make(tmp_path / "a.yaml")
    assert load(tmp_path).errors == (f"{tmp_path / 'a.yaml'}: {error}",)


@pytest.mark.parametrize(("make", "error"), NO_FILES[1:])
def test_what_is_no_file_is_an_error_at_the_start(tmp_path: Path, make: Callable[[Path], None], error: str) -> None:
    make(tmp_path / "a.yaml")
    assert load(tmp_path / "a.yaml").errors == (f"{tmp_path / 'a.yaml'}: {error}",)


TOO_LARGE = "is larger than 16 MiB, which no configuration is; is it the right file?"


def test_a_file_without_end_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    with path.open("wb") as file:
        file.truncate(LIMIT + 1)
    assert load(path).errors == (f"{path}: {TOO_LARGE}",)


def test_a_pipe_without_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def yes() -> None:
        with suppress(BrokenPipeError), path.open("wb", 0) as pipe:
            while True:
                pipe.write(b"y\n" * 10_000)

    with ThreadPoolExecutor(1) as writer:
        writer.submit(yes)
        assert load(path).errors == (f"{path}: {TOO_LARGE}",)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"y" * (LIMIT + 1))))
    assert load(Path("-")).errors == (f"stdin: {TOO_LARGE}",)


def test_stdin_that_is_no_text_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a: \xe9"), "utf-8"))
    assert load(Path("-")).errors == ("stdin: is not UTF-8 text",)


def test_line_breaks_and_marks_of_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + (BACKEND % "a").replace("\n", "\r\n").encode())
    assert load(path).documents[0].identity.name == "a"
