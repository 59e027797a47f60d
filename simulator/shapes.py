"""JSON as it comes: narrowing untrusted values to the shape that the reader needs.

JSON is `object` until somebody has looked. These look, and answer an empty value where the shape is another,
so that a simulator never fails on what a client sends.
"""

Json = dict[str, object]


def mapping(value: object) -> Json:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[object]:
    """The value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def count(value: object) -> int:
    """The value if it is a whole number (a boolean is none), else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
