"""The operator's commands on a real database: what they print, their exit codes, and that tampering is named."""

import csv
import io
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline import heads as folders
from pipeline.cli.main import main
from schemas.errors import SettingsError
from tests.integration.books import FIRST, Books, open_books
from tests.stack.providers import Server

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def books(postgres: Server) -> Iterator[Books]:
    with open_books(postgres) as opened:
        yield opened


@pytest.fixture
def run(books: Books) -> Run:
    """Run a command; exit code, standard output, standard error."""
    keys = _command({}, "ledger", "new-key")[1]
    environ = dict(line.split("=", 1) for line in keys.splitlines())
    environ |= {k: v for k, v in books.database.environ().items() if k == "DATABASE_URL_JOBS"}
    return lambda *words: _command(environ, *map(str, words))


def _command(environ: dict[str, str], *words: str) -> tuple[int, str, str]:
    """What the command's process would do, in this one: a process costs most of a second."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        for name in tuple(os.environ):
            if name.startswith(("DATABASE_URL", "LEDGER_")):
                patch.delenv(name)
        for name, value in environ.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["driftlock", *words])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as ended:
            main()
    code = ended.value.code
    assert isinstance(code, int)
    texts = []
    for stream in (out, err):
        stream.seek(0)
        texts.append(stream.read())
    return code, texts[0], texts[1]


def tamper(books: Books, query: str, o: uuid.UUID) -> None:
    with books.owner.transaction():
        books.owner.execute("SET LOCAL session_replication_role = replica")
        books.owner.execute(query.encode(), (o,))


CUT = (
    "WITH cut AS (DELETE FROM ledger WHERE organization_id = %s AND seq = 3 RETURNING organization_id, prev_hash)"
    " UPDATE ledger_heads SET seq = 2, hash = cut.prev_hash FROM cut WHERE ledger_heads.organization_id = cut.organization_id"
)


def test_verify_names_what_was_changed_removed_or_inserted(books: Books, run: Run) -> None:
    good, bad = books.subscribed(), books.subscribed()
    for o in (good, bad):
        for _ in range(3):
            books.use(o, 1)
    assert run("ledger", "verify") == (0, "ledger: 2 chains, 0 faults\n", "")
    tamper(books, "UPDATE ledger SET units = 0 WHERE organization_id = %s AND seq = 2", bad)
    assert run("ledger", "verify") == (
        1,
        f"organization {bad}: entry 2 was changed\nledger: 2 chains, 1 fault\n",
        "",
    )
    assert run("ledger", "verify", "--organization", good)[0] == 0
    tamper(books, "UPDATE billing_actions SET actor = 'x' WHERE organization_id = %s AND seq = 1", good)
    tamper(books, "DELETE FROM billing_actions WHERE organization_id = %s AND seq = 2", bad)
    code, said, _ = run("audit", "verify")
    assert code == 1
    assert set(said.splitlines()) == {
        f"organization {good}: action 1 was changed",
        f"organization {bad}: actions 2 to 2 were removed",
        "actions: 3 chains, 2 faults",  # the third is the installation's
    }


def test_a_cut_tail_shows_against_signed_heads_only(books: Books, run: Run, tmp_path: Path) -> None:
    o = books.subscribed()
    for _ in range(3):
        books.use(o, 1)
    code, said, _ = run("ledger", "sign-heads", "--to", tmp_path / "heads", "--at", "2026-03-05T00:00:00")
    assert (code, said) == (0, f"{tmp_path}/heads/heads-20260305T000000000000Z.json: 3 heads\n")
    assert run("ledger", "verify", "--heads", tmp_path / "heads")[0] == 0
    tamper(books, CUT, o)
    assert run("ledger", "verify") == (0, "ledger: 1 chains, 0 faults\n", "")
    gone = f"organization {o}: number 3 of ledger, signed at 2026-03-05T00:00:00Z, is gone: what follows the last row was cut off"
    assert run("ledger", "verify", "--heads", tmp_path / "heads")[:2] == (1, f"{gone}\nledger: 1 chains, 1 fault\n")
    # Somebody goes on with the cut chain, and signs it too: the older file still tells.
    books.use(o, 1)
    books.use(o, 1)
    assert run("ledger", "sign-heads", "--to", tmp_path / "heads", "--at", "2026-03-06T00:00:00")[0] == 0
    code, said, _ = run("ledger", "verify", "--heads", tmp_path / "heads")
    assert (code, "is another one now" in said) == (1, True)
    assert run("audit", "verify", "--heads", tmp_path / "heads")[0] == 0


def test_a_file_of_heads_that_was_changed_or_taken_away_is_named(books: Books, run: Run, tmp_path: Path) -> None:
    books.use(books.subscribed(), 1)
    for day in (5, 6, 7):
        assert run("ledger", "sign-heads", "--to", tmp_path, "--at", f"2026-03-{day:02}T00:00:00")[0] == 0
    code, _, said = run("ledger", "sign-heads", "--to", tmp_path, "--at", "2026-03-06T12:00:00")
    assert (code, "has a later file" in said) == (2, True)
    first, second, third = sorted(tmp_path.iterdir())
    content = second.read_bytes()
    second.write_bytes(content.replace(b'"v":1', b'"v":2'))
    code, said, _ = run("ledger", "verify", "--heads", tmp_path)
    assert code == 1
    assert f"{second.name}: its signature is not of this key, or it was changed" in said
    second.unlink()
    code, said, _ = run("ledger", "verify", "--heads", tmp_path)
    assert f"{third.name}: the file before it must be {second.name}, and is {first.name}" in said
    assert code == 1
    code, _, said = run("ledger", "verify", "--heads", tmp_path / "none")
    assert (code, "is no folder" in said) == (2, True)


def test_keys_that_are_none_are_refused(tmp_path: Path) -> None:
    for environ, said in (({}, "LEDGER_SIGNING_KEY is not set"), ({"LEDGER_SIGNING_KEY": "c2hvcnQ="}, "32 bytes")):
        code, _, told = _command(environ, "ledger", "sign-heads", "--to", str(tmp_path))
        assert (code, said in told) == (2, True)
    with pytest.raises(SettingsError, match="no folder"):
        folders.files(tmp_path / "none")


def test_reports_and_exports(books: Books, run: Run) -> None:
    o = books.subscribed()
    books.write([books.record(o, FIRST, stream="=cmd|calc")])
    books.use(o, 60_004, FIRST + timedelta(days=1))
    at = ("--at", "2026-03-04T12:00:00")
    code, said, _ = run("usage", "report", o, *at)
    assert code == 0
    assert "2026-03-03  59999" in said
    assert "on the bill: 60000" in said
    days = list(csv.DictReader(io.StringIO(run("usage", "report", o, *at, "--form", "csv")[1])))
    assert [(d["day"], d["billable"], d["capped"]) for d in days] == [
        ("2026-03-02", "1", "0"),
        ("2026-03-03", "59999", "5"),
    ]
    report = json.loads(run("usage", "report", o, *at, "--form", "json")[1])
    assert (report["used"], report["on_the_bill"], report["cap"], report["late"]) == (60_005, 60_000, 60_000, 0)
    code, said, _ = run("invoice", "preview", o, *at)
    assert code == 0
    assert "total $59.00: standard" in said
    assert "an anomaly costs 0.098333 cents (bill / units on the bill = $59.00 / 60,000)" in said
    assert "worst bill at the cap: $59.00" in said
    shown = json.loads(run("invoice", "preview", o, *at, "--form", "json")[1])
    assert [(line["name"], line["quantity"], line["unit_cents"], line["cents"]) for line in shown["lines"]] == [
        ("flat", 1, "4900", 4900), ("overage", 10_000, "0.1", 1000),
    ]  # fmt: skip
    included = run("invoice", "episodes", o, "included", *at, "--form", "csv")[1]
    rows = list(csv.DictReader(io.StringIO(included)))
    assert sum(int(row["units"]) for row in rows) == 50_000
    assert rows[0]["stream"] == "'=cmd|calc"  # a spreadsheet would run it
    over = [
        json.loads(line) for line in run("invoice", "episodes", o, "overage", *at, "--form", "json")[1].splitlines()
    ]
    assert sum(row["units"] for row in over) == 10_000
    code, _, said = run("usage", "report", uuid.uuid4())
    assert (code, "has no billing period" in said) == (2, True)


def test_agreements_credits_and_periods(books: Books, run: Run) -> None:
    now = datetime.now(UTC)
    o = books.subscribed(at=now - timedelta(days=2))
    usage, other = books.use(o, 10_001, now - timedelta(days=1))
    by = ("--by", "op@driftlock.test")
    assert run("billing", "override", o, "standard", "--cap-percent", 150, *by, "--reason", "ticket 1")[0] == 0
    assert run("billing", "cap", o, "allow", *by) == (0, f"cap setting 1 of organization {o}: allow\n", "")
    assert run("billing", "email", o, "ops@acme.test", *by)[0] == 0
    assert run("billing", "credit", o, usage, *by)[:2] == (0, f"anomaly {usage}: credited 1 unit in its hour\n")
    assert run("billing", "credit", o, usage, *by)[:2] == (0, f"anomaly {usage}: it was credited before\n")
    assert run("billing", "credit", o, uuid.uuid4(), *by)[0] == 1
    reason = ("--reason", "flood")
    correct = ("billing", "correct", o, usage, 9, "--reference", "t1", *by, *reason)
    assert run(*correct)[:2] == (0, f"usage {usage}: corrected 9 units\n")
    assert run(*correct)[:2] == (0, f"usage {usage}: done before\n")
    assert run("billing", "waive", o, other, *by, *reason)[:2] == (0, f"usage {other}: waived 1 units\n")
    assert run("billing", "waive", o, uuid.uuid4(), *by, *reason)[0] == 1
    assert run("billing", "roll-periods")[0] == 0
    for words, told in (
        (("override", o, "platinum", *by, *reason), "there is no plan 'platinum': developer, growth, standard"),
        (("override", o, "standard", "--overage-cents", "cheap", *by, *reason), "must be a number"),
        (("override", o, "standard", "--overage-cents", "NaN", *by, *reason), "must be a number"),
        (("cap", uuid.uuid4(), "soft", *by), "there is no organization"),
        (("email", o, "nobody", *by), "no e-mail address"),
    ):
        code, _, said = run("billing", *words)
        assert (code, told in said, said.count("\n")) == (2, True, 1), said
    acts = books.owner.execute(
        "SELECT action FROM billing_actions WHERE organization_id = %s AND actor = 'op@driftlock.test' ORDER BY seq",
        (o,),
    ).fetchall()
    assert [name for (name,) in acts] == [
        "override.set", "cap.set", "billing_email.set", "credit.add", "correction.add", "waive.add",
    ]  # fmt: skip
    assert run("audit", "verify", "--organization", o)[0] == 0
    books.sound(o)
