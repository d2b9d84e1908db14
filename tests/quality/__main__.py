"""`make quality`: how well the detector finds labelled anomalies, beside the peers' and its own committed figures.

Always: our own judge on the everyday streams, and the verdict on the recording held out. Where ../shared is there (or where
DRIFTLOCK_SHARED says): the shared judge on its streams. Exit 1 where a figure is worse than the committed one by more than its
tolerance; --accept writes what was measured instead.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipeline.stack import recording
from schemas.errors import DriftlockError
from tests.quality import adversarial, everyday, figures, judge, shared
from tests.quality.calibration import SENSITIVITIES
from tests.quality.judge import Judged
from tests.quality.labelled import RECORDINGS, Labelled
from tests.recording import check, labels

DEFAULT = 0.5
OUT = judge.ROOT / ".driftlock" / "quality"


def own(names: list[str], known: figures.Figures) -> list[Judged]:
    """Measure the everyday streams; the table goes to standard output."""
    say(judge.heading("best peer's AP"))
    judged = []
    for name in names:
        one = judge.judge(everyday.stream(name))
        say(judge.line(name, one.row, figures.best_peer(known, name)))
        judged.append(one)
    for line in judge.pooled([one.false for one in judged]):
        say(line)
    return judged


def held_out() -> bool:
    """The verdict alone: who knew what was missed there would build for it."""
    folder = RECORDINGS / "held_out"
    lines, said = list(recording.read(folder)), labels.read(folder)
    verdict = check.judge(said, lines, check.offline(lines))
    say("recording held out: " + check.table(said, verdict).splitlines()[-1])
    return verdict.passed


def by_case() -> dict[str, str]:
    """What is seen of the adversarial cases; the table goes to standard output."""
    outcomes = [adversarial.run(case) for case in adversarial.CASES]
    say(adversarial.table(outcomes))
    return {outcome.case.name: outcome.verdict for outcome in outcomes}


def units(streams: Sequence[Labelled], judged: Sequence[Judged]) -> None:
    """False units per million quiet events at each sensitivity, with the default budget."""
    said = []
    for sensitivity in SENSITIVITIES:
        at = (
            judged
            if sensitivity == DEFAULT
            else [judge.judge(s, partial(judge.detector, sensitivity=sensitivity)) for s in streams]
        )
        false, quiet = judge.false_units(at)
        said.append(f"{sensitivity:g}: {1e6 * false / max(quiet, 1):.3g} ({false})")
    say(f"false units per million of {quiet:,} quiet events at sensitivity {', '.join(said)}")


def draw(judged: Sequence[Judged], file: Path) -> None:
    """Curves of these streams, as a picture."""
    from tests.quality import curves

    file.parent.mkdir(parents=True, exist_ok=True)
    curves.quality(judged, file)
    say(f"curves: {file}")


def say(line: str) -> None:
    """A line of the report, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """0 where every figure holds, 1 where one fell, 2 where it could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument(
        "--accept", action="store_true", help="write what was measured into figures.json and the README"
    )
    parser.add_argument(
        "--streams", default="", help="everyday streams, comma separated; default: all, and the shared ones"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="a folder for the curves")
    given = parser.parse_args()
    known = figures.read()
    names = [n for n in given.streams.split(",") if n]
    if unknown := [n for n in names if n not in everyday.STREAMS]:
        sys.stderr.write(f"quality: no such stream: {', '.join(unknown)}; there are {', '.join(everyday.STREAMS)}\n")
        return 2
    try:
        return measured(names, known, given.out, accept=given.accept)
    except DriftlockError as error:
        sys.stderr.write(f"quality: {error}\n")
        return error.exit_code


def measured(names: list[str], known: figures.Figures, out: Path, *, accept: bool) -> int:
    """Measure, compare or accept, draw."""
    judged = own(names or list(everyday.STREAMS), known)
    rows = {one.stream.name: one.row for one in judged}
    wrong = figures.worse(known["own"], rows)
    new = known | {"own": figures.accepted(known["own"], rows)}
    if not names:
        if not held_out():
            wrong.append("recording held out: below its mark")
        cases = by_case()
        wrong += adversarial.changed(known["adversarial"], cases)
        new["adversarial"] = cases
        units([one.stream for one in judged], judged)
        if shared.JUDGE.is_file():
            found = shared.rows(shared.run())
            wrong += figures.worse(known["shared"], found)
            new["shared"] = figures.accepted(known["shared"], found)
            ours = [judge.judge(stream) for stream in shared.streams(list(found))]
            wrong += shared.differing(found, ours)
            units([one.stream for one in ours], ours)
            draw(ours, out / "shared.png")
        else:
            say(f"the shared judge is not there ({shared.JUDGE.name}): its streams are not measured")
    draw(judged, out / "quality.png")
    if accept:
        figures.write(new)
        figures.put("average precision", figures.average_precisions(new))
        if not names:
            figures.put("adversarial", adversarial.table([adversarial.run(case) for case in adversarial.CASES]))
        say("accepted: tests/quality/figures.json")
        return 0
    for line in wrong:
        sys.stderr.write(f"fell: {line}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
