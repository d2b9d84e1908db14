"""All figures of `make bench`, in the order in which they are measured."""

from collections.abc import Callable
from pathlib import Path
from statistics import median

from pipeline.embedded.broker import Broker
from schemas.settings import Settings
from tests.benchmarks import ground
from tests.benchmarks.figures import Figure
from tests.benchmarks.runs import Bench, Sizes, Way

STREAMS = 100
"""Over which every figure is taken that does not say otherwise."""

LEAST_OF_FAUST = 2_000.0
QUICK = Sizes(
    lines=100_000,
    passes=1,
    rounds=1,
    warm=5_000,
    warm_faust=500,
    long_cpu=1.5,
    short_cpu=1.0,
    checkpoint_bytes=1 << 20,
    others=(),
)
PEERS = {
    "reader": "confluent-kafka consume(1000) + orjson",
    "faust": "plain Faust agent, table write and send an event",
    "zstd": "zstd level 3, line by line",
}
RATE, BYTES = "events/CPU-s", "bytes"

Say = Callable[[str], None]


def measure(broker: Broker, folder: Path, sizes: Sizes, say: Say) -> list[Figure]:
    """All figures, on a running broker that nothing else uses; its topics are deleted."""
    bench = Bench(Settings(kafka_brokers=broker.bootstrap), folder, sizes)
    taken: dict[str, list[float]] = {}
    ways: list[Way] = []

    def take(name: str, value: float) -> None:
        taken.setdefault(name, []).append(value)
        say(f"{name}: {value:,.0f} {RATE}")

    say(f"publishing {sizes.total:,} lines of {STREAMS} streams")
    ground.fill(bench.settings, sizes.lines, sizes.passes, STREAMS)
    for number in range(sizes.rounds):
        say(f"round {number + 1} of {sizes.rounds}")
        take("zstd", bench.scorer("zstd"))
        take("detector", bench.scorer("detector"))
        take("reader", bench.reader())
        rate, packed = bench.packer()
        take("packer", rate)
        take("worker", bench.worker(packed))
        take("faust", bench.faust(number))
        ways.append(bench.whole())
        take("whole", ways[-1].rate)
        worker, packer = ways[-1].parts
        say(f"  of it worker {worker:,.0f}, packer {packer:,.0f}; {ways[-1].anomalies} revisions of anomalies")
    others = {streams: _whole_at(bench, streams, say) for streams in sizes.others}
    return _figures(taken, ways, others)


def _whole_at(bench: Bench, streams: int, say: Say) -> Way:
    say(f"publishing {bench.sizes.total:,} lines of {_streams(streams)}")
    ground.fill(bench.settings, bench.sizes.lines, bench.sizes.passes, streams)
    way = bench.whole(slow=streams > STREAMS)
    worker, packer = way.parts
    say(f"whole way at {_streams(streams)}: {way.rate:,.0f} {RATE}, of it worker {worker:,.0f}, packer {packer:,.0f}")
    return way


def _figures(taken: dict[str, list[float]], ways: list[Way], others: dict[int, Way]) -> list[Figure]:
    whole, faust = _middle(taken["whole"], taken["faust"])
    void = f"the plain Faust agent makes only {faust:,.0f} events a CPU-second" if faust < LEAST_OF_FAUST else ""
    usual = median(taken["whole"])
    most = max(ways, key=lambda w: w.saved / (w.scored or 1))
    return [
        Figure("packer", *_beside(taken, "packer", "reader"), mark=0.333),
        Figure("detector", *_beside(taken, "detector", "zstd")),
        Figure("worker", *_beside(taken, "worker", "reader")),
        Figure("whole way", whole, RATE, PEERS["faust"], faust, mark=10, void=void),
        Figure("whole way beside reading", *_beside(taken, "whole", "reader")),
        *(Figure(f"whole way, {_streams(n)}", w.rate, RATE, _streams(STREAMS), usual) for n, w in others.items()),
        *(_changelog(n, way) for n, way in sorted({**others, STREAMS: most}.items())),
    ]


def _beside(taken: dict[str, list[float]], name: str, peer: str) -> tuple[float, str, str, float]:
    value, peer_value = _middle(taken[name], taken[peer])
    return value, RATE, PEERS[peer], peer_value


def _middle(values: list[float], peers: list[float]) -> tuple[float, float]:
    """Value and peer of the round with the median ratio: the machine may be faster in one round than in the next."""
    pairs = sorted(zip(values, peers, strict=True), key=lambda pair: pair[0] / pair[1])
    return pairs[len(pairs) // 2]


def _streams(count: int) -> str:
    return f"{count:,} stream{'s' * (count > 1)}"


def _changelog(streams: int, way: Way) -> Figure:
    void = "" if way.saved else "no state was saved"
    mark = 0.3 if streams <= STREAMS else None
    return Figure(
        f"changelog, {_streams(streams)}",
        way.saved,
        BYTES,
        "events scored",
        way.scored or 1,
        mark,
        at_most=True,
        void=void,
    )
