"""Made receiving times in ms, stationary or with a change, from a seed."""

from random import Random

START = 1_699_833_600_000
"""A Monday at midnight, UTC."""
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


def poisson(mean_ms: int, until: int, seed: int) -> list[int]:
    """Independent events, one every `mean_ms`."""
    random, at, out = Random(seed), 0.0, []
    while (at := at + random.expovariate(1 / mean_ms)) < until:
        out.append(START + int(at))
    return out


def heartbeat(every_ms: int, until: int, seed: int) -> list[int]:
    """Regular events, off by up to a twentieth."""
    random = Random(seed)
    return [START + at + random.randrange(every_ms // 20) for at in range(0, until, every_ms)]


def switching(calm_ms: int, busy_ms: int, calm_for: int, busy_for: int, until: int, seed: int) -> list[int]:
    """A Markov-modulated stream: calm and busy spells of exponential length, with one event every `calm_ms` or `busy_ms`."""
    random, at, out = Random(seed), 0.0, []
    busy, ends = False, 0.0
    while at < until:
        if at >= ends:
            busy = not busy
            ends = at + random.expovariate(1 / (busy_for if busy else calm_for))
        at += random.expovariate(1 / (busy_ms if busy else calm_ms))
        out.append(START + int(at))
    return out


def daily(day_ms: int, night_ms: int, until: int, seed: int) -> list[int]:
    """One event every `day_ms` from 8 to 20 o'clock on weekdays, every `night_ms` at other times."""
    random, at, out = Random(seed), 0.0, []
    while at < until:
        hour = int(at) // HOUR
        day = 8 <= hour % 24 < 20 and hour // 24 % 7 < 5
        step = random.expovariate(1 / (day_ms if day else night_ms))
        border = (hour + 1) * HOUR
        if at + step > border:  # memoryless: what is left of a step is drawn anew in the next hour
            at = float(border)
            continue
        at += step
        out.append(START + int(at))
    return out


def faster(times: list[int], start: int, end: int, factor: int, seed: int) -> list[int]:
    """Between start and end (ms since START) `factor` times as many events."""
    random = Random(seed)
    inside = [t for t in times if start <= t - START < end]
    more = [START + random.randrange(start, end) for _ in range(len(inside) * (factor - 1))]
    return sorted(times + more)


def slower(times: list[int], start: int, end: int, factor: int, seed: int) -> list[int]:
    """Between start and end (ms since START) one of `factor` events; none where it is 0."""
    random = Random(seed)
    return [t for t in times if not start <= t - START < end or (factor and random.randrange(factor) == 0)]
