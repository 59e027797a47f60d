"""Make the Autobahn test suite run on Python 3: `python build.py FOLDER`, with the suite installed in this Python.

The suite is Python 2 code. What the fuzzing client needs of it (the cases, and the loop that runs them) is converted
into FOLDER/autobahntestsuite by the standard library's lib2to3 and the edits below; the installed copy stays as it is.

Python 2's `str` are octets. Here they become Latin-1 text, one character per octet, everywhere in the suite, and are
encoded where they meet the WebSocket library (`fuzz.py`). That is why sources are read as Latin-1: a literal that is
written in UTF-8 keeps the octets that it had.
"""

import re
import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

warnings.filterwarnings("ignore", category=DeprecationWarning)
from lib2to3.refactor import RefactoringTool, get_fixers_from_package  # noqa: E402 (deprecated; gone in Python 3.13)

FILES = ("caseset.py", "fuzzing.py", "_version.py")
SKIPPED = ("case9_9_1.py",)  # an endless message, which the suite itself has taken off its list

# pattern → replacement, before the conversion
EDITS = (
    (r"\r\n", "\n"),
    (r"\bcoding[:=] *utf-8", "octets as Latin-1"),
    (r"(?s)from report import .*?JS_MASTER_REPORT\n", ""),  # for pages that are not made
    (r"(?m)^from case9_9_1 import .*$", ""),
    (r"\(object, Case, \)", "(Case,)"),  # a base before its own subclass
    (r"(?m)^import binascii$", "from autobahntestsuite import octets as binascii"),
    (r"len\(self\.payload\) / self\.p", "len(self.payload) // self.p"),
    (r"\.validate\(vss\[:i\]\)", '.validate(vss[:i].encode("latin-1"))'),
    (r"pickle\.dumps\((obj\d)\)", r"\1"),  # equal texts need not be pickled equally
)

PACKAGE = '"""Converted from Python 2 by build.py."""\n\nfrom ._version import __version__ as version\n'

OCTETS = '''"""What the suite uses of binascii, for octets that are Latin-1 text."""

import binascii


def b2a_hex(data):
    return binascii.b2a_hex(data.encode("latin-1") if isinstance(data, str) else data).decode()


hexlify = b2a_hex
'''


def main(folder: Path) -> None:
    source = installed()
    target = folder / "autobahntestsuite"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source / "testdata", target / "testdata")
    (target / "case").mkdir()
    (target / "__init__.py").write_text(PACKAGE)
    (target / "octets.py").write_text(OCTETS)
    # lib2to3 tells relative imports by what lies beside a file
    fixer = RefactoringTool(get_fixers_from_package("lib2to3.fixes"))
    files = [source / name for name in FILES] + sorted((source / "case").glob("*.py"))
    for file in files:
        if file.name not in SKIPPED:
            (target / file.relative_to(source)).write_text(converted(fixer, file))


def installed() -> Path:
    """Where pip has put the suite; it cannot be imported."""
    spec = find_spec("autobahntestsuite")
    if spec is None or spec.origin is None:
        raise SystemExit("build.py: autobahntestsuite is not installed in this Python")
    return Path(spec.origin).parent


def converted(fixer: RefactoringTool, file: Path) -> str:
    """The file's source for Python 3."""
    text = file.read_bytes().decode("latin-1")
    for pattern, replacement in EDITS:
        text = re.sub(pattern, replacement, text)
    return str(fixer.refactor_string(text if text.endswith("\n") else text + "\n", str(file)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
