"""`make verify`: the numbered integration checks, each executing something; a printed report. Exit code 1 where one fails.

The product page promises 26: structure 8, configuration 8, API 4, functions 4 (health, stripe-webhook, meter-usage,
send-alert-email), migrations 1, documentation 1. The rest is ours.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline import telemetry
from pipeline.stack import components, processes, supervisor
from schemas.settings import load
from tests.verify import checks_code as code
from tests.verify import checks_running as running
from tests.verify.ground import Ground, install, run_recording

Check = Callable[[Ground], str]
CHECKS: dict[str, tuple[Check, ...]] = {
    "structure": (
        code.says_its_version,
        code.scans,
        code.has_its_commands,
        code.has_its_layers,
        code.is_fresh,
        code.shuts_every_table,
        code.has_its_topics,
        code.is_up,
    ),
    "configuration": (
        code.loads_the_example,
        code.says_every_error,
        code.reads_a_secret_from_a_file,
        code.refuses_a_live_key,
        code.composes,
        code.watches,
        code.draws,
        code.proxies,
    ),
    "API": (running.says_what_runs, running.describes_itself, running.lets_nobody_in, running.answers_in_problems),
    "functions": (running.health, running.stripe_webhook, running.meter_usage, running.send_alert_email),
    "migrations": (code.migrates,),
    "documentation": (code.documents,),
    "the whole": (
        running.loses_nothing,
        running.bills_anomalies_alone,
        running.has_a_whole_ledger,
        running.agrees_with_stripe,
        running.shows_nothing_to_strangers,
        running.serves_its_console,
    ),
}


def main(given: Path | None) -> int:
    """Build, start, check, stop. `given`: an environment that has it installed already, instead of a new one."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="driftlock-verify-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        _say("using " + str(given) if given else "building the wheel, installing it into an empty environment ...")
        prefix = given or install(folder)
        telemetry.configure_logging(load({"LOG_LEVEL": "error"}), "verify")
        _say("starting broker, PostgreSQL, a fake Stripe and our processes; publishing a recording ...")
        parts = components.start(folder / "stack", "kafka", _say, create_time=["events"])
        watch = supervisor.Supervisor(lambda p: processes.start(p, parts.environ_of(p), parts.logs))
        try:
            failed = report(Ground(folder, prefix, parts, watch, *run_recording(parts, watch)))
        finally:
            supervisor.stop(watch)
            components.stop(parts)
    total = sum(map(len, CHECKS.values()))
    _say(f"\n{total - failed} of {total} checks passed in {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def report(ground: Ground) -> int:
    """Run every check and print a line for each; how many failed."""
    number = failed = 0
    for group, checks in CHECKS.items():
        _say(f"\n{group}")
        for check in checks:
            number += 1
            what = (check.__doc__ or "").strip().splitlines()[0]
            try:
                said, mark = check(ground), "ok  "
            except Exception as error:  # noqa: BLE001 whatever it is, the next check is made
                failed += 1
                said, mark = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", "FAIL"
            _say(f"{number:3}. {mark} {what}\n          {said}")
    return failed


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None))
