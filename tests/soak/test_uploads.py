"""A minute of uploads from four PCs with two refreshers between them, on each database."""

from __future__ import annotations

from tests.build import World
from tests.crowd import assert_counted_once, work_for

SECONDS = 60


def test_after_a_minute_of_four_uploaders_and_two_refreshers_each_event_is_counted_once(
    world: World,
) -> None:
    acknowledged = work_for(world, SECONDS)
    assert acknowledged > SECONDS
    assert_counted_once(world, acknowledged)
