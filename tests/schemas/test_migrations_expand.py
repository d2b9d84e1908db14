"""Migrations only add, so that the release before runs on: what takes away is a file of its own, `NNNN_contract_WHAT.sql`, for the release after."""

import re

import pytest

from schemas.migrations import Migration, migrations

TAKES_AWAY = {
    "DROP TABLE, COLUMN, TYPE, FUNCTION, VIEW or SCHEMA": r"\bDROP\s+(TABLE|COLUMN|TYPE|FUNCTION|VIEW|SCHEMA|SEQUENCE|ROLE)\b",
    "RENAME": r"\bRENAME\b",
    "a column's type": r"\bALTER\s+COLUMN\s+\w+\s+(SET\s+DATA\s+)?TYPE\b",
    "SET NOT NULL, or a default taken away": r"\b(SET\s+NOT\s+NULL|DROP\s+DEFAULT)\b",
    "a column that must be given": r"\bADD\s+(COLUMN\s+)?(?!CONSTRAINT|CHECK|PRIMARY|FOREIGN|UNIQUE)\w+\s+[^,;]*\bNOT\s+NULL\b(?![^,;]*\b(DEFAULT|GENERATED)\b)",
    "REVOKE from a role": r"\bREVOKE\b(?!.*\bFROM\s+PUBLIC\b)",
    "TRUNCATE": r"\bTRUNCATE\s+(?!ON\b)(TABLE\s+)?\w+\s*[;,]",
}
BEFORE_THE_FIRST_RELEASE = {"0008_prune.sql": 2}
"""How much was taken away there: pruning moved from one role to another, when nobody ran the release before."""


def plain(text: str) -> str:
    """Without comments, literals and the bodies of functions: those run later, or not at all."""
    return re.sub(r"--[^\n]*|\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'", " '' ", text, flags=re.DOTALL)


def taken_away(migration: Migration) -> list[str]:
    """What an expanding migration must not do, and this one does."""
    found = []
    for statement in plain(migration.text).split(";"):
        for what, pattern in TAKES_AWAY.items():
            for one in re.finditer(pattern, f"{statement};", re.IGNORECASE | re.DOTALL):
                has_default = what == "a column that must be given" and "DEFAULT" in one[0].upper()
                if not has_default:
                    found.append(f"{migration.name}: {what}: {' '.join(one[0].split())}")
    return found


@pytest.mark.parametrize("migration", migrations(), ids=lambda one: one.name)
def test_a_migration_takes_nothing_away(migration: Migration) -> None:
    found = taken_away(migration)
    assert "contract" in migration.name or len(found) == BEFORE_THE_FIRST_RELEASE.get(migration.name, 0), found


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE a DROP COLUMN b",
        "DROP TABLE a",
        "drop\n function f(int)",
        "ALTER TABLE a RENAME COLUMN b TO c",
        "ALTER TABLE a RENAME TO c",
        "ALTER TABLE a ALTER COLUMN b TYPE bigint",
        "ALTER TABLE a ALTER COLUMN b SET NOT NULL",
        "ALTER TABLE a ALTER b SET NOT NULL",
        "ALTER TABLE a ADD COLUMN b int NOT NULL",
        "ALTER TABLE a ADD b text NOT NULL CHECK (b <> '')",
        "ALTER TABLE a ADD COLUMN c int NOT NULL DEFAULT 1, ADD COLUMN b int NOT NULL",
        "ALTER TABLE a ALTER COLUMN b DROP DEFAULT",
        "REVOKE SELECT ON a FROM b",
        "ALTER TABLE a\n  ADD COLUMN b int\n  NOT NULL",
        "TRUNCATE a",
    ],
)
def test_what_takes_away_is_seen(statement: str) -> None:
    assert taken_away(Migration("0009_x.sql", f"SELECT 1; {statement};"))


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE a ADD COLUMN b int",
        "ALTER TABLE a ADD COLUMN b int NOT NULL DEFAULT 0, ADD COLUMN c jsonb DEFAULT '[]' NOT NULL",
        "ALTER TABLE a ADD COLUMN b bigint NOT NULL GENERATED ALWAYS AS IDENTITY",
        "CREATE TABLE a (b int NOT NULL)",
        "-- DROP TABLE a",
        "COMMENT ON TABLE a IS 'RENAME; DROP TABLE b'",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE b; END $$",
        "DROP POLICY p ON a",
        "REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC",
        "CREATE TRIGGER t BEFORE TRUNCATE ON a EXECUTE FUNCTION f()",
    ],
)
def test_what_adds_is_let_through(statement: str) -> None:
    assert taken_away(Migration("0009_x.sql", f"{statement};")) == []
