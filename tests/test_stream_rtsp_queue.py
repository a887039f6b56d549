"""A viewer's queue, the media clock and the rate limit, as laws."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from kinemacolor.stream.rtsp.limits import TokenBucket
from kinemacolor.stream.rtsp.tracks import AUDIO, VIDEO, Timeline, Unit
from kinemacolor.stream.rtsp.unit_queue import UnitQueue

# What happens to a queue: a unit comes (track, key, size), or one is taken (None).
EVENTS = st.lists(
    st.one_of(
        st.none(),
        st.tuples(st.sampled_from([VIDEO, VIDEO, AUDIO]), st.booleans(), st.integers(1, 40)),
    ),
    max_size=120,
)


def feed(queue: UnitQueue, events: list[tuple[int, bool, int] | None]) -> list[Unit]:
    """Run events against a queue; the units it gave out, in order. media_seconds is the index."""
    taken = []
    for index, event in enumerate(events):
        if event is None:
            unit = queue.get()
            if unit is not None:
                taken.append(unit)
        else:
            track, is_key, size = event
            queue.put(Unit(track, [], float(index), is_key or track == AUDIO, size))
        assert len(queue) <= 6
        assert queue.bytes <= 100 or len(queue) == 1
    while (unit := queue.get()) is not None:
        taken.append(unit)
    return taken


@given(EVENTS)
def test_every_leap_over_video_ends_at_a_key_frame(
    events: list[tuple[int, bool, int] | None],
) -> None:
    taken = feed(UnitQueue(max_units=6, max_bytes=100), events)
    video = [unit for unit in taken if unit.track == VIDEO]
    offered = [i for i, event in enumerate(events) if event is not None and event[0] == VIDEO]
    order = [offered.index(int(unit.media_seconds)) for unit in video]
    assert order == sorted(order)
    for before, unit, position in zip([-2, *order], video, order, strict=False):
        assert unit.is_key or position == before + 1


@given(EVENTS)
def test_every_unit_is_given_out_or_counted_or_comes_before_the_first_key(
    events: list[tuple[int, bool, int] | None],
) -> None:
    queue = UnitQueue(max_units=6, max_bytes=100)
    taken = feed(queue, events)
    units = [event for event in events if event is not None]
    first = next((i for i, (track, key, _) in enumerate(units) if key and track == VIDEO), None)
    expected = 0 if first is None else len(units) - first
    assert len(taken) + queue.dropped == expected


def test_sound_alone_waits_for_no_key_frame() -> None:
    queue = UnitQueue(max_units=6, max_bytes=100, needs_key=False)
    queue.put(Unit(AUDIO, [], 0.0, True, 10))
    assert queue.get() is not None


@given(
    st.floats(0, 1e6),
    st.lists(st.floats(0.001, 0.5), min_size=2, max_size=50),
    st.lists(st.sampled_from([VIDEO, AUDIO]), min_size=50, max_size=50),
)
def test_a_steady_publisher_keeps_its_distances(
    start: float, steps: list[float], tracks: list[int]
) -> None:
    timeline, pts = Timeline(), start
    previous = timeline.place(VIDEO, pts)
    assert previous == 0
    for step, track in zip(steps, tracks, strict=False):
        pts += step
        now = timeline.place(track, pts)
        assert abs(now - previous - step) < 1e-6
        previous = now
    assert timeline.jumps == 0


@given(st.lists(st.tuples(st.sampled_from([VIDEO, AUDIO]), st.floats(-1e6, 1e6)), max_size=60))
def test_no_leap_of_the_source_reaches_the_viewers(units: list[tuple[int, float]]) -> None:
    timeline, last = Timeline(), 0.0
    for track, pts in units:
        media = timeline.place(track, pts)
        assert abs(media - last) <= 2 * Timeline.FORWARD_SECONDS
        last = media


@given(st.lists(st.floats(0, 3), max_size=60))
def test_a_bucket_never_lets_more_through_than_burst_and_rate(gaps: list[float]) -> None:
    bucket, now, taken = TokenBucket(2.0, 5), 100.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now)
        assert taken <= 5 + 2.0 * (now - 100.0) + 1e-6
