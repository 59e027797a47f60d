"""What is personal, what only looks like it, and what is shown in its place."""

from __future__ import annotations

import pytest

from dataplane.table.guardrails import PiiKind
from tests.dataplane.guardrails.guards import judge, pii

TOKEN = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\nq1w2e3==\n-----END RSA PRIVATE KEY-----"
FOUND: dict[PiiKind, dict[str, str]] = {
    "card": {
        "Pay 4111 1111 1111 1111.": "Pay [CARD].",
        "4111-1111-1111-1111": "[CARD]",
        "4111111111111111": "[CARD]",
        "378282246310005 or 3782 822463 10005": "[CARD] or [CARD]",
        "5555555555554444, 2223003122003222": "[CARD], [CARD]",
        "6011111111111117 3530111333300000": "[CARD] [CARD]",
        "30569309025904": "[CARD]",
        "4222222222222": "[CARD]",
        "6200000000000005": "[CARD]",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1": "[CARD]",
        "order 7 4111 1111 1111 1111 12/30": "order 7 [CARD] 12/30",
        "card4111111111111111x": "card[CARD]x",
        "4111\u00a01111\u20111111\u20131111": "[CARD]",
        "４１１１ １１１１ １１１１ １１１１": "[CARD]",
        "٤١١١١١١١١١١١١١١١": "[CARD]",
        "4111\u200b1111\u00ad11111111": "[CARD]",
        "4111  1111  1111  1111": "[CARD]",
        "4111.1111.1111.1111": "[CARD]",
        "4111\t1111\t1111\t1111": "[CARD]",
        "4111\n1111\n1111\n1111": "[CARD]",
        "3782 - 822463 - 10005.": "[CARD].",
        "4\ufe0f\u20e31\ufe0f\u20e31\ufe0f\u20e31\ufe0f\u20e3 1111 1111 1111": "[CARD]",
        "4111\u28001111\u28001111\u28001111": "[CARD]",
        "No.4111111111111111": "No.[CARD]",
    },
    "email": {
        "Write to bob.smith+x@mail.example.com.": "Write to [EMAIL].",
        "<a@b.co>": "<[EMAIL]>",
        "bob＠example.com": "[EMAIL]",
        "mailto:o'neil@example.org?x": "mailto:[EMAIL]?x",
        "jörg@bücher.example, почта@пример.рф": "[EMAIL], [EMAIL]",
        "ada@xn--bcher-kva.xn--p1ai.": "[EMAIL].",
        "邮箱ada@example.com谢谢": "邮箱[EMAIL]谢谢",
    },
    "phone": {
        "Call +49 30 901820 now": "Call [PHONE] now",
        "+14155550123": "[PHONE]",
        "tel:+14155550123": "tel:[PHONE]",
        "0049 (0)30 901820-12": "[PHONE]",
        "(212) 555-0123": "[PHONE]",
        "212-555-0123 and 212.555.0123": "[PHONE] and [PHONE]",
        "1 212 555 0123": "[PHONE]",
        "020 7946 0958": "[PHONE]",
        "030/901820": "[PHONE]",
        "01 23 45 67 89": "[PHONE]",
    },
    "iban": {
        "DE89 3704 0044 0532 0130 00 and more": "[IBAN] and more",
        "DE89370400440532013000": "[IBAN]",
        "gb82 west 1234 5698 7654 32": "[IBAN]",
        "NO93 8601 1117 947": "[IBAN]",
        "MT84MALT011000012345MTLCAST001S": "[IBAN]",
    },
    "ssn": {"My SSN: 123-45-6789!": "My SSN: [SSN]!", "123 45 6789": "[SSN]"},
    "key": {
        f"sk-{TOKEN}": "[KEY]",
        f"sk-ant-api03-{TOKEN}_-x.": "[KEY].",
        f"key=sk-proj-{TOKEN};": "key=[KEY];",
        f"xai-{TOKEN}": "[KEY]",
        "AKIAIOSFODNN7EXAMPLE": "[KEY]",
        "ASIAIOSFODNN7EXAMPLE": "[KEY]",
        f"ghp_{TOKEN} gho_{TOKEN}": "[KEY] [KEY]",
        f"github_pat_{TOKEN}": "[KEY]",
        "xoxb-123456789012-abcdef": "[KEY]",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv": "[KEY]",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.abc-_def": "[KEY]",
        f"my key:\n{PEM}\nthanks": "my key:\n[KEY]\nthanks",
        PEM.replace("\n", "\\n"): "[KEY]",
    },
}
NOT: dict[PiiKind, list[str]] = {
    "card": [
        "4111 1111 1111 1112",
        "1111 1111 1111 1117",
        "94111111111111111",
        "41111111111111110000000",
        "2026-11-22 19:03:38.123456",
        "0000000000000000",
        "2222222222222222",
        "411111111111111",
        "1.6449340668482264",
        "4\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1\n1",
        "4111\t1111\n1111\t1111",
    ],
    "email": ["user at example.com", "ada @ example.com", "@home", "a@b", "x@-y.com", "v1.2@latest"],
    "phone": [
        "2026-11-22",
        "22-11-2026 10:30",
        "01-02-2026",
        "01/02/2026 12:30",
        "1234567890",
        "10.0.0.1",
        "192.168.100.200",
        "3.14159265",
        "1,234,567.89",
        "12345678901234567890",
        "+12345",
        "1.212.555.01234",
        "Boston, MA 02110-1301, USA",
        "gtk+3.0 (3.24.38-2~deb12u3)",
        "C++14 20.8.2.2.4",
        "c48cf7e32ffa02ebdf00265543344c61",
        "doi:10.1007/s00453-007-9064-z",
        "<Buffer 01 02 03 04 05 06 07 08>",
    ],
    "iban": ["DE89 3704 0044 0532 0130 01", "XX89370400440532013000", "DE893704004405320130001", "ab12 is a word"],
    "ssn": ["000-12-3456", "666-12-3456", "912-12-3456", "123-00-4567", "123-45-0000", "1123-45-6789", "123-45-67890"],
    "key": [
        "task-management-for-everyone-in-2026",
        "sk-management-for-everyone",
        "sk-short",
        "AKIASHORT",
        "XAKIAIOSFODNN7EXAMPLE",
        "eyJ.eyJ.",
        "-----BEGIN PUBLIC KEY-----",
        "ghp_short",
    ],
}


@pytest.mark.parametrize(
    ("kind", "text", "shown"), [(kind, *case) for kind, cases in FOUND.items() for case in cases.items()]
)
def test_found(kind: PiiKind, text: str, shown: str) -> None:
    verdict = judge(pii(kind)).whole(text)
    assert verdict.text == shown
    assert {hit.rule for hit in verdict.hits} == {kind}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in NOT.items() for text in texts])
def test_not_found(kind: PiiKind, text: str) -> None:
    verdict = judge(pii(kind)).whole(text)
    assert verdict.text is None
    assert not verdict.hits


def test_where_two_overlap_one_label_lies_on_both() -> None:
    assert judge(pii("phone", "iban")).whole("IBAN DE89 3704 0044 0532 0130 00.").text == "IBAN [IBAN]."
