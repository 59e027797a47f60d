"""The clocks of a session: never early, and late by no more than they say."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.realtime import endings
from dataplane.realtime.endings import Ending
from dataplane.realtime.watch import Pulse, Watch

PING, SILENCE, IDLE, DURATION = 20.0, 60.0, 300.0, 3600.0


def watch(*, idle: float = IDLE, duration: float = DURATION) -> Watch:
    return Watch(0.0, started=0.0, ping=PING, silence=SILENCE, idle=idle, duration=duration)


@dataclass
class Life:
    """A session, as its watch sees it; both legs do the same."""

    it: Watch
    now: float = 0.0
    received: int = 0
    messages: int = 0
    answers: bool = False
    excused: bool = False
    puts_pings: bool = True
    pings: int = 0
    first_ping: float | None = None

    def look(self) -> Ending | str | None:
        """Look when it is due; why it ends."""
        self.now = max(self.now, self.it.due)
        ending = self.it.look(self.now, self.messages)
        for pulse in (self.it.client, self.it.upstream):
            match pulse.look(self.now, self.received, excused=self.excused):
                case "dead":
                    return "dead"
                case "quiet" if self.puts_pings:
                    pulse.asked()
                    self.pings += 1
                    self.first_ping = self.first_ping or self.now
                    self.received += self.answers
        return ending

    def until(self, end: float) -> Ending | str | None:
        while self.it.due <= end:
            before = self.it.due
            if (ending := self.look()) is not None:
                return ending
            assert self.it.due > before
        self.now = end
        return None


def test_a_leg_that_says_nothing_is_asked_and_then_given_up() -> None:
    life = Life(watch())
    assert life.until(1e9) == "dead"
    assert (life.first_ping, life.now) == (PING, SILENCE)
    assert life.pings == 4  # at 20 and at 40 seconds, on both legs


def test_a_leg_that_answers_lives_until_the_session_is_idle() -> None:
    life = Life(watch(), answers=True)
    assert life.until(1e9) is endings.IDLE
    assert life.now == IDLE


def test_a_leg_that_sends_bytes_is_never_asked() -> None:
    life = Life(watch(idle=1e9))
    for second in range(0, 3000, 10):
        life.received += 1
        assert life.until(second) is None
    assert life.pings == 0


def test_messages_keep_a_session_from_being_idle_up_to_its_duration() -> None:
    life = Life(watch(), answers=True)
    for second in range(0, int(DURATION), 100):
        life.messages += 1
        assert life.until(second) is None
    assert life.until(DURATION + 1) is endings.DURATION
    assert life.now == DURATION


def test_a_leg_that_is_not_read_from_is_not_dead() -> None:
    life = Life(watch(idle=1e9), excused=True)
    assert life.until(DURATION - 1) is None
    assert life.pings == 0


def test_a_leg_that_no_ping_can_be_put_to_is_not_dead_until_one_was() -> None:
    life = Life(watch(idle=1e9), puts_pings=False)
    assert life.until(1000.0) is None
    life.puts_pings = True
    asked = life.it.due
    assert life.until(1e9) == "dead"
    assert life.now == asked + PING  # it had time to answer


def test_silence_that_is_shorter_than_ping_gives_time_to_answer() -> None:
    pulse = Pulse(0.0, ping=20.0, silence=5.0)
    assert pulse.due == 20.0
    assert pulse.look(20.0, 0, excused=False) == "quiet"
    pulse.asked()
    assert pulse.due == 40.0
    assert pulse.look(40.0, 0, excused=False) == "dead"


@pytest.mark.parametrize("asleep", [3.0, 30.0, 1000.0])
@pytest.mark.parametrize("silence", [25.0, 60.0])
def test_time_in_which_the_process_stood_still_counts_for_nobody(asleep: float, silence: float) -> None:
    life = Life(Watch(0.0, started=0.0, ping=PING, silence=silence, idle=IDLE, duration=1e9))
    assert life.until(silence - 1) is None
    life.now = silence + asleep  # since shortly after the last look, perhaps; what came in it is read after this look
    assert life.look() is None
    awake = life.now
    assert life.until(1e9) == "dead"
    assert awake + PING / 10 < life.now <= awake + PING
    life = Life(Watch(0.0, started=0.0, ping=PING, silence=silence, idle=IDLE, duration=1e9))
    life.until(silence - 1)
    life.now = silence + asleep
    life.look()
    life.answers = True
    life.received += 1
    assert life.until(1e9) is endings.IDLE
    assert life.now == IDLE + asleep


def test_who_is_asked_late_has_as_much_time_to_answer_as_others() -> None:
    life = Life(watch(), now=SILENCE - 1)  # the process slept over the first look
    assert life.look() is None
    assert life.first_ping == SILENCE - 1
    assert life.until(1e9) == "dead"
    assert life.now == SILENCE - 1 + SILENCE - PING


def test_duration_counts_from_the_beginning_and_needs_no_look_before() -> None:
    it = Watch(100.0, started=99.0, ping=PING, silence=SILENCE, idle=IDLE, duration=5.0)
    assert it.due == 104.0
    assert it.look(104.0, 7) is endings.DURATION


def test_it_is_over_at_once_where_its_time_is_up_before_it_began() -> None:
    it = Watch(100.0, started=0.0, ping=PING, silence=SILENCE, idle=IDLE, duration=5.0)
    assert it.due <= 100.0
    assert it.look(100.0, 0) is endings.DURATION


@given(
    st.lists(st.tuples(st.floats(0.1, 100), st.sampled_from(["byte", "message", "nothing"])), max_size=40),
    st.sampled_from([5.0, 30.0, 300.0]),
)
def test_nothing_is_early_and_nothing_later_than_it_says(events: list[tuple[float, str]], idle: float) -> None:
    life = Life(watch(idle=idle))
    last_byte = last_message = 0.0
    at = 0.0
    for gap, what in [*events, (1e6, "nothing")]:
        at += gap
        ending = life.until(at)
        if ending is not None:
            break
        if what != "nothing":
            life.received += 1
            last_byte = at
        if what == "message":
            life.messages += 1
            last_message = at
    slack = 1e-6
    if ending == "dead":
        assert SILENCE - slack <= life.now - last_byte <= SILENCE + PING + slack
    elif ending is endings.IDLE:
        assert idle - slack <= life.now - last_message <= idle + min(PING, idle) + slack
    else:
        assert ending is endings.DURATION
        assert life.now == DURATION
