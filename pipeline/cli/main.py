"""`driftlock`: registers the commands, and turns our errors into one line and an exit code."""

import sys
from importlib.metadata import entry_points, version

from cyclopts import App

from schemas.errors import DriftlockError

app = App(
    name="driftlock",
    help="Finds anomalies in telemetry by compression, explains each one in bits, and bills only for anomalies.",
    version=lambda: version("driftlock"),
)

# Each is imported when it is called, so that --help and scan start fast.
_COMMANDS = {
    "scan": "pipeline.cli.scan:scan",
    "demo": "pipeline.cli.demo:demo",
    "dev": "pipeline.cli.dev:dev",
    "worker": "pipeline.cli.worker:worker",
    "packer": "pipeline.cli.packer:packer",
    "generate": "pipeline.cli.generate:generate",
    "replay": "pipeline.cli.replay:replay",
    "backfill": "pipeline.cli.backfill:backfill",
    "verify": "pipeline.cli.evidence:verify",
    "explain": "pipeline.cli.explain:explain",
}
_GROUPS = {
    "sink": {
        "anomalies": "pipeline.cli.sink:anomalies",
        "usage": "pipeline.cli.sink:usage",
        "accept": "pipeline.cli.sink:accept",
    },
    "meter": {"run": "pipeline.cli.meter:run"},
    "billing": {
        "override": "pipeline.cli.billing:override",
        "cap": "pipeline.cli.billing:cap",
        "email": "pipeline.cli.billing:email",
        "credit": "pipeline.cli.billing:credit",
        "waive": "pipeline.cli.billing:waive",
        "correct": "pipeline.cli.billing:correct",
        "roll-periods": "pipeline.cli.billing:roll_periods",
        "reconcile": "pipeline.cli.reconcile:reconcile",
        "restored": "pipeline.cli.restored:restored",
        "unlock": "pipeline.cli.restored:unlock",
    },
    "jobs": {"run": "pipeline.cli.jobs:run"},
    "ledger": {
        "verify": "pipeline.cli.ledger:verify",
        "sign-heads": "pipeline.cli.ledger:sign_heads",
        "new-key": "pipeline.cli.ledger:new_key",
    },
    "audit": {"verify": "pipeline.cli.ledger:audit"},
    "usage": {"report": "pipeline.cli.invoice:report"},
    "invoice": {"preview": "pipeline.cli.invoice:preview", "episodes": "pipeline.cli.invoice:episodes"},
    "accounts": {"prune": "pipeline.cli.accounts:prune"},
    "alerts": {"run": "pipeline.cli.alerts:run"},
    "control": {"run": "pipeline.cli.control:run"},
    "webhooks": {"run": "pipeline.cli.webhooks:run"},
    "stripe": {
        "sync-prices": "pipeline.cli.stripe:sync_prices",
        "read-back": "pipeline.cli.stripe:read_back",
        "resync": "pipeline.cli.stripe_events:resync",
        "trigger": "pipeline.cli.stripe_trigger:trigger",
        "verify-assumptions": "pipeline.cli.stripe_assumptions:verify",
    },
    "stripe events": {"list": "pipeline.cli.stripe_events:show", "retry": "pipeline.cli.stripe_events:retry"},
    "api": {"run": "pipeline.cli.api:run"},
    "topics": {
        "apply": "pipeline.cli.topics:apply",
        "check": "pipeline.cli.topics:check",
        "grant": "pipeline.cli.topics:grant",
    },
    "db": {"migrate": "pipeline.cli.db:migrate"},
    "events": {"send": "pipeline.cli.events:send"},
    "evidence": {"export": "pipeline.cli.evidence:export", "keygen": "pipeline.cli.evidence:keygen"},
    "dlq": {
        "list": "pipeline.cli.dlq:show_all",
        "show": "pipeline.cli.dlq:show",
        "redrive": "pipeline.cli.dlq:redrive",
    },
}
_GROUP_HELP = {
    "sink": "Write a topic to PostgreSQL.",
    "meter": "Send hour totals to Stripe.",
    "billing": "What is agreed with tenants, credits, periods, reconciling, the sender's lock.",
    "jobs": "What billing does by the clock.",
    "ledger": "Whether the ledger is whole.",
    "audit": "Whether the audit trail is whole.",
    "usage": "What was used.",
    "invoice": "What it costs, and why.",
    "accounts": "Who somebody is.",
    "alerts": "E-mails about usage and money.",
    "control": "What tenants say to workers.",
    "webhooks": "Apply what Stripe's events say.",
    "stripe": "Plans' prices at Stripe, its totals beside ours, its events.",
    "stripe events": "Events of Stripe that were stored.",
    "api": "The HTTP API.",
    "console": "The web console.",
    "topics": "Kafka topics.",
    "db": "The database schema.",
    "events": "Telemetry events.",
    "evidence": "An anomaly in a signed file.",
    "dlq": "Dead letters: what could not become an event.",
}

# Layers above this one bring their commands by entry points named group.command, so that imports go one way.
for _entry in sorted(entry_points(group="driftlock.commands"), key=lambda e: e.name):
    _group, _, _name = _entry.name.partition(".")
    _GROUPS.setdefault(_group, {})[_name] = _entry.value

for _name, _where in _COMMANDS.items():
    app.command(_where, name=_name)
_apps = {"": app}
for _group, _members in _GROUPS.items():
    _above, _, _own = _group.rpartition(" ")
    _sub = App(name=_own, help=_GROUP_HELP.get(_group, ""))
    for _name, _where in _members.items():
        _sub.command(_where, name=_name)
    _apps[_group] = _sub
    _apps[_above].command(_sub)


def main() -> None:
    """Run the command of `sys.argv`."""
    try:
        sys.exit(app(sys.argv[1:], result_action="return_int_as_exit_code_else_zero"))
    except DriftlockError as error:
        sys.stderr.write(f"driftlock: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
