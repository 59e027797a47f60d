"""Plain text in YAML and what kubectl takes it for: e2e/test_validation.py asks kubectl itself."""

from tidegate.yaml_scalars import Scalar

_MEANINGS: list[tuple[Scalar, str]] = [
    (None, "~ null Null NULL"),
    (True, "true True TRUE yes Yes YES on On ON y Y"),
    (False, "false False FALSE no No NO off Off OFF n N"),
    (0, "0 -0 00 +0x0"),
    (1, "1 +1 01 1_ 0b1 0B1"),
    (-1, "-1 -01 -0x1"),
    (15, "15 017 0_17 0o17 0O17 0xf 0XF 0b1111 1_5 +15"),
    (1000, "1000 1_000 1__000"),
    (0.5, "0.5 .5 +.5 5e-1 5E-1"),
    (8.0, "8.0 8. 08 8e0 0.8e+1"),
    (1000.0, "1e3 1E3 1.e3 1e+03 1_0e2"),
]
_TEXT = (
    "a nULL tRUE yEs yeah none 0x 0b12 0o8 1e e1 _1 . + 1.2.3 1-2 5s 24Mi gpt-5 = << ٣ "
    "1:30 12:30:45 1:30.5 2026-01-31 2026-01-31T12:00:00Z"
)
SCALARS: dict[str, Scalar] = {
    **{text: value for value, texts in _MEANINGS for text in texts.split()},
    **{text: text for text in _TEXT.split()},
}
