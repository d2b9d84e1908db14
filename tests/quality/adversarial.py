"""Ten cases in which a detector is misled, or must not be: what is reported of each, by the default settings.

`python -m tests.quality.adversarial` prints the table; `--write` puts it into README.md between its marks. A case is `seen` where
an episode is first reported within what was done, `quiet` where none is from there on, `elsewhere` where one is only later; `wanted` is what a person would want. An unwanted outcome is stated, not hidden.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from detectors.detector import BIT, Controls, EpisodeUpdate
from pipeline.scan.offline import Scan, batches, score_batch
from pipeline.scan.parse import DEFAULT_STREAM, Fields
from pipeline.scan.read import Line
from tests.quality import bases, figures, stationary
from tests.quality.bases import Rng
from tests.quality.labelled import Event

SEED = 6_007
N = 6000
AT = 4000
"""Events of most cases, and the one at which something is done."""


@dataclass(frozen=True)
class Made:
    """Events with times (s), and the half-open range of event numbers in which something is done."""

    events: list[Event]
    times: list[float]
    first: int
    last: int


@dataclass(frozen=True)
class Case:
    """A name, what is done, what is wanted of the detector (`seen` or `quiet`), why it is hard, and the stream."""

    name: str
    done: str
    wanted: str
    why: str
    make: Callable[[Rng], Made]


@dataclass(frozen=True)
class Outcome:
    """What was reported: episodes first told before, within and after what was done, and of the first one its delay and words."""

    case: Case
    before: int
    within: int
    after: int
    delay: int | None
    said: str
    highest: float

    @property
    def verdict(self) -> str:
        """seen, elsewhere or quiet."""
        return "seen" if self.within else "elsewhere" if self.after else "quiet"


def _web(rng: Rng, n: int = N) -> tuple[list[Event], list[float]]:
    return bases.web(rng, n), bases.times(rng, n)


def poisoning(rng: Rng) -> Made:
    """An attacker's request, usual from the start on in one of 500 events, then ever more often, until it is half of all."""
    events, times = _web(rng, 12_000)
    for i in range(12_000):
        share = 0.002 * 2 ** max(0.0, (i - 2000) / 1250)
        if rng.random() < min(share, 0.5):
            events[i] = '10.9.9.9 [00:00:00] "POST /login HTTP/1.1" 401 88 "Firefox/141.0 (X11; Linux)"'
    return Made(events, times, 2000, 12_000)


def imitation(rng: Rng) -> Made:
    """Forty log-ins tried a minute, spelt with words, pages and browsers that are all usual."""
    events, times = _web(rng)
    usual = [e for e in events[:AT] if isinstance(e, str) and '"POST /checkout' in e]
    for i in range(AT, AT + 400, 4):
        events[i] = usual[int(rng.integers(len(usual)))]
    return Made(events, times, AT, AT + 400)


def noise(rng: Rng) -> Made:
    """From one event on a field with a random identifier in each line, as a new tracing library adds it."""
    events, times = _web(rng, 8000)
    changed: list[Event] = [
        f"{e} trace={int(rng.integers(1 << 62)):016x}" if i >= AT else e for i, e in enumerate(events)
    ]
    return Made(changed, times, AT, AT + 64)


def huge(rng: Rng) -> Made:
    """One event of 60,000 bytes of random words."""
    events, times = _web(rng)
    words = rng.integers(97, 123, size=60_000).astype(np.uint8)
    words[rng.integers(60_000, size=8000)] = 32
    events[AT] = words.tobytes().decode("ascii")
    return Made(events, times, AT, AT + 1)


def reversal(rng: Rng) -> Made:
    """The clock goes back by an hour, the events stay as they are."""
    events, times = _web(rng)
    return Made(events, [t - 3600 if i >= AT else t for i, t in enumerate(times)], AT, AT + 64)


def schema(rng: Rng) -> Made:
    """Every object has its keys spelt another way from one event on."""
    events, times = bases.orders(rng, N), bases.times(rng, N)
    changed: list[Event] = [
        {f"{k}_v2": v for k, v in e.items()} if i >= AT and isinstance(e, dict) else e for i, e in enumerate(events)
    ]
    return Made(changed, times, AT, AT + 64)


def deploy(rng: Rng) -> Made:
    """A release: from one event on the version that every line ends with is another."""
    events, times = _web(rng)
    return Made([f"{e} v={'4.18.0' if i < AT else '4.19.0'}" for i, e in enumerate(events)], times, AT, AT + 64)


def weekly(rng: Rng) -> Made:
    """Five weeks: a batch of 60 lines each Monday, seen four times before; the fifth is what should stay quiet."""
    week, n = 2400, 12_000
    events, times = _web(rng, n)
    for start in range(0, n, week):
        for i in range(start, start + 60):
            events[i] = f"weekly report part {i - start} written, {int(rng.integers(100, 999))} rows"
    return Made(events, [times[0] + i * 252.0 for i in range(n)], 4 * week, 4 * week + 60)


def stopped(rng: Rng) -> Made:
    """The stream stops for two hours where two events a second were usual, then goes on."""
    events, times = _web(rng)
    return Made(events, [t + 7200 if i >= AT else t for i, t in enumerate(times)], AT, AT + 1)


def interleaved(rng: Rng) -> Made:
    """Two programs write into one stream; one of them prints 60 lines of an error among the other's lines."""
    web, _ = _web(rng, N // 2)
    other: list[Event] = [line.decode() for line in stationary.lines("bursty", N // 2, int(rng.integers(1000)))]
    events = [(web if rng.random() < 0.5 else other).pop() if web and other else (web or other).pop() for _ in range(N)]
    for i in range(AT, AT + 180, 3):
        events[i] = f"worker 3: volume {int(rng.integers(40))} refused: checksum does not match"
    return Made(events, bases.times(rng, N), AT, AT + 180)


CASES = (
    Case("slow poisoning", "a request that is 1 in 500 events doubles every 1,250, up to one in two", "seen", "each step is small beside the last: the baseline learns it", poisoning),
    Case("imitation", "100 requests in 400 events, each a copy of a usual one", "seen", "no token is new: only their number is", imitation),
    Case("high-cardinality noise", "a random identifier in every line from now on", "seen", "it must be told once, as a change, and not again for each value", noise),
    Case("one huge event", "60,000 bytes of random words, once", "seen", "work on it is bounded, so most of it is one hash", huge),
    Case("clock reversal", "the producer's clock goes back an hour", "quiet", "detector time never goes back; nothing in the events changed", reversal),
    Case("schema change", "every key renamed from now on", "seen", "once, then the new normal", schema),
    Case("deploy", "every line's version changes from now on", "seen", "a change of one token in all lines; a person wants one notice at most", deploy),
    Case("weekly pattern", "the fifth Monday's batch of 60 lines", "quiet", "usual for who remembers four weeks", weekly),
    Case("stream stops", "two hours without an event", "seen", "needs a clock: no event says it", stopped),
    Case("two programs in one stream", "60 lines of an error of one among 120 of both", "seen", "the other's lines thin the burst", interleaved),
)  # fmt: skip


def run(case: Case) -> Outcome:
    """Score the case's stream by default settings, as `driftlock scan` does."""
    made = case.make(np.random.default_rng([SEED, *case.name.encode()]))
    scan = Scan(Fields("event", None, "ts"), Controls())
    lines = [
        Line(case.name, i + 1, orjson.dumps({"ts": t, "event": e}))
        for i, (e, t) in enumerate(zip(made.events, made.times, strict=True))
    ]
    surprisal, told = [], list[tuple[int, int]]()
    for batch in batches(lines):
        before = scan.seen.get(DEFAULT_STREAM, 0)
        scored = score_batch(scan, batch)
        surprisal.append(scored.surprisal)
        known = {episode for _, episode in told}
        for i in np.flatnonzero(scored.reported).tolist():
            if (episode := int(scored.episode[i])) not in known:
                known.add(episode)
                told.append((before + i, episode))
    findings = sorted(scan.findings.values(), key=lambda f: f.number)
    within = [(i, n) for n, (i, _) in enumerate(told) if made.first <= i < made.last]
    after = [(i, n) for n, (i, _) in enumerate(told) if i >= made.last]
    named = (within or after)[:1]
    return Outcome(
        case=case,
        before=len(told) - len(within) - len(after),
        within=len(within),
        after=len(after),
        delay=within[0][0] - made.first if within else None,
        said=_told(findings[named[0][1]].update) if named else "",
        highest=float(np.concatenate(surprisal)[made.first : made.last].max() / BIT * np.log10(2)),
    )


def _told(update: EpisodeUpdate) -> str:
    return f"{update.kind}, {update.severity}, {update.count:,} events"


def changed(committed: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A line for each case whose outcome is not the committed one."""
    return [
        f"{case}: was {committed[case]}, is {verdict} (if that is better, `make quality-accept`)"
        for case, verdict in now.items()
        if case in committed and committed[case] != verdict
    ]


def table(outcomes: Sequence[Outcome]) -> str:
    """The cases as a table of Markdown."""
    rows = [
        "| case | what is done | wanted | outcome | reported before / within / after | first told, and after how many events | largest -log₁₀ p within | why it is hard |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for o in outcomes:
        verdict = o.verdict if o.verdict == o.case.wanted else f"**{o.verdict}**"
        told = f"{o.said}{'' if o.delay is None else f', +{o.delay}'}" or "-"
        rows.append(
            f"| {o.case.name} | {o.case.done} | {o.case.wanted} | {verdict} | {o.before} / {o.within} / {o.after} | {told} | {o.highest:.1f} | {o.case.why} |"
        )
    return "\n".join(rows)


def main() -> int:
    """Print the table, or write it into README.md."""
    parser = argparse.ArgumentParser(prog="python -m tests.quality.adversarial", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--write", action="store_true", help="into README.md")
    if parser.parse_args().write:
        figures.put("adversarial", table([run(case) for case in CASES]))
    else:
        sys.stdout.write(table([run(case) for case in CASES]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
