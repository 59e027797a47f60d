"""Frameworks for voice agents, unmodified: LiveKit Agents and Pipecat, each with its own realtime client."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from conftest import Stack
from processes import CACHE, CLIENT_KEY, ROOT


def run(script: str, *arguments: str) -> dict[str, Any]:
    """What the script says, in the environment of the frameworks."""
    done = subprocess.run(
        [CACHE / "voice" / "bin" / "python", ROOT / "e2e" / "voice" / script, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "KEY": CLIENT_KEY},
    )
    assert done.returncode == 0, f"{script} failed:\n{done.stdout}\n{done.stderr}"
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def test_livekit(stack: Stack) -> None:
    heard = run("livekit_turns.py", "openai", stack.base, "voice", "Say one.", "Say two.")
    assert heard["errors"] == []
    assert [("one" in turn["said"], "two" in turn["said"]) for turn in heard["turns"]] == [(True, False), (False, True)]
    assert all(turn["samples"] for turn in heard["turns"])


def test_pipecat(stack: Stack) -> None:
    heard = run("pipecat_turns.py", "openai", stack.realtime, "voice", "Say one.")
    assert heard["errors"] == []
    assert ["one" in turn["said"] for turn in heard["turns"]] == [True]
    assert all(turn["samples"] for turn in heard["turns"])
