"""How often logs are read, and for how long: within Google's quota, whoever asks, and by one clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuages.cloud.errors import Transient
from nuages.cloud.logs import IN_LINE, KEPT, Looks, Turns

QUOTA, MINUTE = 60, 60.0  # cloud.google.com/logging/quotas
PAUSES = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.1, 1.0, 7.0, 90.0]), max_size=200)


def taken(pauses: list[float]) -> list[float]:
    """When each read that had a turn began, of those that were asked for with such pauses between them."""
    turns, now, began = Turns(), 1000.0, []
    for pause in pauses:
        now += pause
        try:
            began.append(now + turns.take(now))
        except Transient:
            continue
        assert began[-1] <= now + IN_LINE
    return began


@given(PAUSES)
def test_no_minute_has_more_reads_than_google_allows(pauses: list[float]) -> None:
    """In the order in which they were asked for, with some left for people."""
    began = taken(pauses)
    assert began == sorted(began)
    assert max((sum(start <= other < start + MINUTE for other in began) for start in began), default=0) < QUOTA


def test_a_few_reads_wait_for_nothing() -> None:
    """As many as begin at once, and those that come one after another."""
    assert taken([0.0] * 20) == [1000.0] * 20
    assert taken([2.0] * 100) == [1000.0 + 2.0 * number for number in range(1, 101)]


def test_what_would_wait_for_long_is_refused() -> None:
    """A pass is held up by a few seconds at most, and nobody's turn is later for those who gave up."""
    turns = Turns(burst=1, apart=IN_LINE)
    assert [turns.take(0.0), turns.take(0.0)] == [0.0, IN_LINE]
    for _ in range(3):
        with pytest.raises(Transient, match="Too many logs are read at once"):
            turns.take(0.0)
    assert turns.take(IN_LINE) == IN_LINE


def test_each_log_is_waited_for_since_its_own_first_look() -> None:
    """What nobody has looked for since long ago is not known any more: it would be kept for ever."""
    looks = Looks()
    assert [looks.waited(name, now) for name, now in [("a", 7.0), ("a", 9.0), ("b", 9.0), ("a", 70.0)]] == [0, 2, 0, 63]
    assert looks.waited("a", 7.0 + KEPT) == 0.0
