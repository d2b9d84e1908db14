"""Sign-up, login, tokens, passwords, members, keys: on a real database, as the roles that the processes have."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import jwt
import psycopg
import pytest

from pipeline.accounts import invitations, passwords, sessions, sign_up
from pipeline.accounts.errors import (
    BadCredentials,
    BadToken,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooManyAttempts,
)
from pipeline.accounts.roles import KEY_SCOPES, Principal
from pipeline.tenants import audit, keys, members
from pipeline.tenants import settings as tenant_settings
from tests.integration.accounts_world import KEY, NOW, PASSWORD, User, connect, joined, log_in, mailed, token_of
from tests.stack.database import Database

ANN, BOB = "ann@example.org", "bob@example.org"
ANOTHER, WRONG = "another password", "wrong password"


@pytest.fixture
def accounts(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with connect(database, "driftlock_accounts") as connection:
        yield connection


@pytest.fixture
def api(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with connect(database, "driftlock_api") as connection:
        yield connection


@pytest.fixture
def ann(database: Database) -> User:
    return joined(database, ANN)


def who(accounts: psycopg.Connection[Any], user: User) -> Principal:
    return sessions.authenticate(accounts, KEY, user.tokens.access, NOW)


def test_sign_up_makes_user_organization_and_books(
    database: Database, accounts: psycopg.Connection[Any], api: psycopg.Connection[Any], ann: User
) -> None:
    principal = who(accounts, ann)
    assert (principal.organization_id, principal.role) == (ann.verified.organization_id, "owner")
    said = tenant_settings.get_settings(api, principal.organization_id)
    assert (said.name, said.billing_email, said.cap_mode) == ("Acme", ANN, "soft")
    assert [a.action for a in audit.list_actions(api, principal.organization_id)] == ["period.start"]
    with pytest.raises(BadToken):  # the link is good once
        sign_up.verify_email(accounts, token_of(database, ANN), NOW)


def test_a_sign_up_that_is_not_confirmed_is_nobody(database: Database, accounts: psycopg.Connection[Any]) -> None:
    sign_up.sign_up(accounts, email=ANN, password=PASSWORD, name="Ann", organization="Acme", now=NOW)
    with pytest.raises(BadCredentials):
        log_in(accounts, ANN)
    with pytest.raises(BadToken):
        sign_up.verify_email(accounts, token_of(database, ANN), NOW + timedelta(hours=24))
    with pytest.raises(BadToken):
        sign_up.verify_email(accounts, "x" * 43, NOW)


def test_a_known_email_is_told_in_its_mailbox_alone(
    database: Database, accounts: psycopg.Connection[Any], ann: User
) -> None:
    later = NOW + timedelta(minutes=1)
    for email in (ANN, BOB):
        sign_up.sign_up(
            accounts,
            email=email,
            password=ANOTHER,
            name="X",
            organization="Y",
            now=later,
        )  # pragma: allowlist secret
        passwords.request_reset(accounts, email, later)
    assert [kind for kind, _ in mailed(database, ANN)] == ["account.verify", "account.exists", "account.reset"]
    assert [kind for kind, _ in mailed(database, BOB)] == ["account.verify"]
    with pytest.raises(BadCredentials):
        log_in(accounts, ANN, "another password")
    with psycopg.connect(database.url()) as root:  # what is written is as much for both
        assert root.execute("SELECT email, count(*) FROM sign_ups GROUP BY 1 ORDER BY 1").fetchall() == [
            (ANN, 2),
            (BOB, 1),
        ]
        assert root.execute("SELECT count(*) FROM password_resets").fetchone() == (2,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"email": "ann"},
        {"email": "a b@example.org"},
        {"email": "a@b\r\nBcc: c@d"},
        {"email": "a" * 250 + "@b.org"},
        {"email": "a..b@example.org"},
        {"password": "short"},  # pragma: allowlist secret
        {"password": "x" * 257},
        {"password": "\ud800" * 12},
        {"name": ""},
        {"name": "a\0b"},
        {"organization": "x" * 101},
        {"organization": "a\u2028b"},
    ],
)
def test_what_can_not_be_is_refused(accounts: psycopg.Connection[Any], wrong: dict[str, str]) -> None:
    given = {"email": ANN, "password": PASSWORD, "name": "Ann", "organization": "Acme"} | wrong
    with pytest.raises(Invalid) as refused:
        sign_up.sign_up(accounts, **given, now=NOW)
    assert "\n" not in str(refused.value)
    assert accounts.execute("SELECT count(*) FROM sign_ups").fetchone() == (0,)


def test_refresh_replaces_the_token_and_reuse_ends_the_session(accounts: psycopg.Connection[Any], ann: User) -> None:
    first = ann.tokens.refresh
    second = sessions.refresh(accounts, KEY, first, NOW + timedelta(minutes=1))
    again = sessions.refresh(accounts, KEY, first, NOW + timedelta(minutes=1, seconds=10))
    assert again.refresh == second.refresh != first  # two pages at once
    third = sessions.refresh(accounts, KEY, second.refresh, NOW + timedelta(minutes=2))
    with pytest.raises(BadToken, match="used before"):
        sessions.refresh(accounts, KEY, second.refresh, NOW + timedelta(minutes=2, seconds=11))
    for token in (first, second.refresh, third.refresh):
        with pytest.raises(BadToken):
            sessions.refresh(accounts, KEY, token, NOW + timedelta(minutes=3))
    with pytest.raises(BadToken):
        sessions.authenticate(accounts, KEY, third.access, NOW + timedelta(minutes=3))


def test_a_used_token_whose_successor_is_used_ends_the_session_at_once(
    accounts: psycopg.Connection[Any], ann: User
) -> None:
    second = sessions.refresh(accounts, KEY, ann.tokens.refresh, NOW)
    sessions.refresh(accounts, KEY, second.refresh, NOW)
    with pytest.raises(BadToken, match="used before"):
        sessions.refresh(accounts, KEY, ann.tokens.refresh, NOW)


def test_a_session_ends_after_thirty_days_whatever_is_refreshed(accounts: psycopg.Connection[Any], ann: User) -> None:
    tokens = sessions.refresh(accounts, KEY, ann.tokens.refresh, NOW + timedelta(days=29, hours=23, minutes=55))
    assert tokens.access_expires_at == NOW + timedelta(days=30)
    with pytest.raises(BadToken):
        sessions.refresh(accounts, KEY, tokens.refresh, NOW + timedelta(days=30))


def forged(ann: User, **changed: Any) -> dict[str, Any]:
    claims = jwt.decode(ann.tokens.access, options={"verify_signature": False})
    return {name: value for name, value in (claims | changed).items() if value is not None}


def test_access_tokens_that_are_not_ours(accounts: psycopg.Connection[Any], ann: User) -> None:
    good = forged(ann)
    exp = good["exp"]
    wrong = [
        "",
        "a.b.c",
        "\ud800",
        ann.tokens.access[:-2] + "AA",
        ann.tokens.access.rsplit(".", 1)[0] + ".",
        jwt.encode(good, b"x" * 32, "HS256"),
        jwt.encode(good, b"k" * 64, "HS512"),
        jwt.encode(good, "", "none"),
        *(
            jwt.encode(forged(ann, **change), KEY, "HS256")
            for change in (
                {"aud": "other"},
                {"iss": "other"},
                {"sub": str(uuid.uuid4())},
                {"org": str(uuid.uuid4())},
                {"sid": str(uuid.uuid4())},
                {"sid": "x"},
                {"sub": None},
                {"exp": None},
                {"exp": 10**30},
                {"exp": "soon"},
            )
        ),
    ]
    for token in wrong:
        with pytest.raises(BadToken):
            sessions.authenticate(accounts, KEY, token, NOW)
    assert who(accounts, ann).role == "owner"
    with pytest.raises(BadToken, match="expired"):
        sessions.authenticate(accounts, KEY, ann.tokens.access, datetime.fromtimestamp(exp, UTC))


def test_log_out_everywhere(accounts: psycopg.Connection[Any], ann: User) -> None:
    other = log_in(accounts, ANN)
    assert len(sessions.sessions(accounts, ann.verified.user_id, NOW)) == 2
    sessions.log_out(accounts, other.session_id, NOW)
    assert sessions.authenticate(accounts, KEY, ann.tokens.access, NOW).role == "owner"
    assert sessions.log_out_everywhere(accounts, ann.verified.user_id, NOW) == 1
    for tokens in (other, ann.tokens):
        with pytest.raises(BadToken):
            sessions.authenticate(accounts, KEY, tokens.access, NOW)
        with pytest.raises(BadToken):
            sessions.refresh(accounts, KEY, tokens.refresh, NOW)


def test_reset_sets_the_password_once_and_ends_sessions(
    database: Database, accounts: psycopg.Connection[Any], ann: User
) -> None:
    passwords.request_reset(accounts, ANN, NOW)
    old = token_of(database, ANN)
    passwords.request_reset(accounts, ANN, NOW + timedelta(seconds=1))
    token = token_of(database, ANN)
    with pytest.raises(Invalid):
        passwords.reset(accounts, token, "short", NOW)
    with pytest.raises(BadToken):
        passwords.reset(accounts, token, "a new password", NOW + timedelta(hours=2))
    assert passwords.reset(accounts, token, "a new password", NOW) == ann.verified.user_id
    for used in (token, old):
        with pytest.raises(BadToken):
            passwords.reset(accounts, used, "a third password", NOW)
    with pytest.raises(BadToken):
        who(accounts, ann)
    with pytest.raises(BadCredentials):
        log_in(accounts, ANN)
    log_in(accounts, ANN, "a new password")
    with pytest.raises(BadCredentials):
        passwords.change(accounts, ann.verified.user_id, old=PASSWORD, new="a third password", now=NOW)
    passwords.change(accounts, ann.verified.user_id, old="a new password", new=PASSWORD, now=NOW)
    log_in(accounts, ANN)


def test_login_is_throttled_the_same_for_who_is_unknown(accounts: psycopg.Connection[Any], ann: User) -> None:
    said = {}
    for email in (ANN, "nobody@example.org"):
        for _ in range(10):
            with pytest.raises(BadCredentials) as refused:
                log_in(accounts, email, "wrong password")
            said[email] = str(refused.value)
        with pytest.raises(TooManyAttempts) as throttled:
            log_in(accounts, email)
        assert 0 < throttled.value.retry_after <= 900
    assert len(set(said.values())) == 1
    log_in(accounts, ANN, address="another")  # a stranger does not lock a user out
    log_in(accounts, ANN, now=NOW + timedelta(minutes=15))


def test_mails_are_throttled(accounts: psycopg.Connection[Any]) -> None:
    for _ in range(5):
        passwords.request_reset(accounts, ANN, NOW)
    with pytest.raises(TooManyAttempts):
        passwords.request_reset(accounts, ANN, NOW)
    with pytest.raises(TooManyAttempts):
        sign_up.sign_up(accounts, email=ANN, password=PASSWORD, name="A", organization="B", now=NOW)


def invited(
    database: Database, accounts: psycopg.Connection[Any], api: psycopg.Connection[Any], by: Principal, role: Any
) -> Principal:
    members.invite(api, by, BOB, role, at=NOW)
    token = token_of(database, BOB)
    assert invitations.look(accounts, token, NOW).role == role
    invitations.accept(accounts, token, name="Bob", password=PASSWORD, now=NOW)
    with pytest.raises(BadToken):
        invitations.accept(accounts, token, name="Bob", password=PASSWORD, now=NOW)
    return sessions.authenticate(accounts, KEY, log_in(accounts, BOB).access, NOW)


def test_roles_bound_what_members_may_do(
    database: Database, accounts: psycopg.Connection[Any], api: psycopg.Connection[Any], ann: User
) -> None:
    owner = who(accounts, ann)
    assert owner.user_id is not None
    bob = invited(database, accounts, api, owner, "admin")
    assert bob.user_id is not None
    assert (bob.organization_id, bob.role) == (owner.organization_id, "admin")
    assert [(m.email, m.role) for m in members.list_members(api, owner.organization_id)] == [
        (ANN, "owner"),
        (BOB, "admin"),
    ]
    for refused in (
        lambda: members.set_role(api, bob, owner.user_id, "viewer", at=NOW),
        lambda: members.set_role(api, bob, bob.user_id, "owner", at=NOW),
        lambda: members.remove_member(api, bob, owner.user_id, at=NOW),
        lambda: members.invite(api, bob, "c@example.org", "owner", at=NOW),
    ):
        with pytest.raises(Forbidden):
            refused()
    with pytest.raises(Conflict):
        members.set_role(api, owner, owner.user_id, "admin", at=NOW)
    with pytest.raises(Conflict):
        members.remove_member(api, owner, owner.user_id, at=NOW)
    members.set_role(api, owner, bob.user_id, "viewer", at=NOW)
    viewer = sessions.authenticate(accounts, KEY, log_in(accounts, BOB).access, NOW)
    with pytest.raises(Forbidden):
        members.invite(api, viewer, "c@example.org", "viewer", at=NOW)
    members.remove_member(api, viewer, bob.user_id, at=NOW)  # anybody may leave
    with pytest.raises(Forbidden):
        log_in(accounts, BOB)
    with pytest.raises(NotFound):
        members.set_role(api, owner, bob.user_id, "viewer", at=NOW)
    members.invite(api, owner, BOB, "member", at=NOW + timedelta(seconds=1))  # and come back, with the same account
    with pytest.raises(BadCredentials):
        invitations.accept(
            accounts,
            token_of(database, BOB),
            name=None,
            password=WRONG,
            now=NOW,
        )  # pragma: allowlist secret
    invitations.accept(accounts, token_of(database, BOB), name=None, password=PASSWORD, now=NOW)
    assert log_in(accounts, BOB).organization_id == owner.organization_id


def test_invitations_can_be_withdrawn_and_replaced(
    database: Database, accounts: psycopg.Connection[Any], api: psycopg.Connection[Any], ann: User
) -> None:
    owner = who(accounts, ann)
    members.invite(api, owner, BOB, "member", at=NOW)
    first = token_of(database, BOB)
    second = members.invite(api, owner, BOB, "viewer", at=NOW + timedelta(seconds=1))
    assert [i.id for i in members.list_invitations(api, owner.organization_id, NOW)] == [second.id]
    members.withdraw(api, owner, second.id, at=NOW)
    with pytest.raises(NotFound):
        members.withdraw(api, owner, second.id, at=NOW)
    for token in (first, token_of(database, BOB)):
        with pytest.raises(BadToken):
            invitations.look(accounts, token, NOW)
    with pytest.raises(Conflict):
        members.invite(api, owner, ANN, "member", at=NOW)


def test_a_user_of_two_organizations_switches(
    database: Database, accounts: psycopg.Connection[Any], api: psycopg.Connection[Any], ann: User
) -> None:
    bob = joined(database, BOB, NOW + timedelta(minutes=1), "Bobs")
    members.invite(api, who(accounts, ann), BOB, "viewer", at=NOW + timedelta(minutes=2))
    invitations.accept(accounts, token_of(database, BOB), name=None, password=PASSWORD, now=NOW + timedelta(minutes=2))
    own = sessions.authenticate(accounts, KEY, bob.tokens.access, NOW)
    assert own.role == "owner"
    there = sessions.switch_organization(accounts, KEY, own, ann.verified.organization_id, NOW + timedelta(minutes=3))
    assert sessions.authenticate(accounts, KEY, there.access, NOW).role == "viewer"
    with pytest.raises(NotFound):
        sessions.switch_organization(accounts, KEY, own, uuid.uuid4(), NOW)


def test_keys_are_shown_once_scoped_rotated_and_revoked(
    database: Database, accounts: psycopg.Connection[Any], api: psycopg.Connection[Any], ann: User
) -> None:
    organization_id = ann.verified.organization_id
    made = keys.create_key(api, organization_id, "ci", ["events:write"], by="user/x", at=NOW)
    principal = keys.authenticate(accounts, made.text, NOW)
    assert (principal.organization_id, principal.scopes) == (organization_id, frozenset({"events:write"}))
    assert keys.list_keys(api, organization_id)[0].last_used_at == NOW
    new = keys.rotate_key(api, organization_id, made.key.id, overlap=timedelta(hours=1), by="user/x", at=NOW)
    assert (new.key.scopes, new.key.replaces) == (made.key.scopes, made.key.id)
    for text in (made.text, new.text):
        keys.authenticate(accounts, text, NOW + timedelta(minutes=59))
    with pytest.raises(BadToken):
        keys.authenticate(accounts, made.text, NOW + timedelta(hours=1))
    keys.revoke_key(api, organization_id, new.key.id, by="user/x", at=NOW)
    keys.revoke_key(api, organization_id, new.key.id, by="user/x", at=NOW)
    wrong = (new.text, made.text[:-1] + ("A" if made.text[-1] != "A" else "B"), made.text.upper(), "", "dlk_", "\ud800")
    for text in wrong:
        with pytest.raises(BadToken):
            keys.authenticate(accounts, text, NOW)
    for scopes in ([], ["keys:write"], ["members:write"], ["all"]):
        with pytest.raises(Invalid):
            keys.create_key(api, organization_id, "x", cast("Any", scopes), by="user/x", at=NOW)
    with pytest.raises(NotFound):
        keys.revoke_key(api, organization_id, "x' OR 1=1", by="user/x", at=NOW)
    assert [a.action for a in audit.list_actions(api, organization_id)] == [
        "key.revoke",
        "key.rotate",
        "key.create",
        "period.start",
    ]
    with psycopg.connect(database.url()) as root:
        secrets = [text.split(".")[1] for text in (made.text, new.text)]
        for row in root.execute("SELECT k::text FROM api_keys k UNION ALL SELECT b::text FROM billing_actions b"):
            assert not any(secret in row[0] for secret in secrets)


def test_no_key_makes_keys_or_members() -> None:
    assert not {"keys:write", "members:write", "billing:write"} & set(KEY_SCOPES)
