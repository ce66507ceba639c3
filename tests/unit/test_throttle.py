"""A worker pauses so that it does not exceed its rate."""

from messaging.rate_limit import RateLimit


def test_without_a_rate_there_is_no_limit():
    throttle = RateLimit(0)
    assert throttle.most(10_000) == 10_000
    assert throttle.pause(1_000_000, now=5.0) == 0


def test_a_batch_is_what_a_second_may_bring():
    assert RateLimit(500).most(10_000) == 500
    assert RateLimit(500).most(100) == 100
    assert RateLimit(0.5).most(100) == 1


def test_over_time_the_rate_is_kept_however_fast_records_come():
    throttle, now, taken = RateLimit(100), 50.0, 0
    while now < 60:
        taken += 70
        now += throttle.pause(70, now) + 0.01
    assert 1_000 <= taken <= 1_170  # the second before it began is free


def test_an_idle_time_gives_no_right_to_a_burst():
    throttle = RateLimit(100)
    throttle.pause(100, now=10.0)
    throttle.pause(100, now=1_000.0)
    assert throttle.pause(100, now=1_000.0) == 1.0
