"""What becomes of the answer to a CONNECT, and a driver for fuzzers: any bytes in; an exception is a finding."""

from __future__ import annotations

from dataplane.upstreams.tunnelling import MAX_HEAD, Tunnel, TunnelRefused


def told(answer: bytes, authorization: str = "", step: int = 0) -> str:
    """`open`, `more`, or what is said. `step`: bytes of the pieces in which it comes; 0: all at once."""
    tunnel = Tunnel("a.test", 443, authorization)
    pieces = [answer[at : at + step] for at in range(0, len(answer), step)] if step else [answer]
    try:
        return "open" if any(tunnel.receive(piece) for piece in pieces) else "more"
    except TunnelRefused as refused:
        return str(refused)


def fuzz_tunnel(data: bytes) -> None:
    """However an answer is cut, the same becomes of it, and a tunnel is there only behind a head that says so. The
    first byte says how it is cut."""
    step, answer = data[0] % 40 + 1 if data else 1, data[1:]
    whole, cut = told(answer), told(answer, step=step)
    if whole.startswith("sent something"):  # what comes behind a head may come when that was read
        assert cut in ("open", whole)
    else:
        assert cut == whole
    if "open" in (whole, cut):
        final = [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.") and line[9:10] == b"2"]
        assert final
    assert whole != "more" or len(answer) <= MAX_HEAD
