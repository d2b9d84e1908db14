"""The fake as a server: keys, strict parameters, idempotency, faults, the clock."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from pipeline.embedded.stripe_fake import idempotency
from tests.stack.stripe import FakeStripe


def test_a_request_without_a_test_key_is_refused(fake_stripe: FakeStripe) -> None:
    for key in ("", "Bearer sk_live_x", "Bearer nonsense"):
        answer = fake_stripe.http.get("/v1/customers", headers={"Authorization": key})
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path", "data", "status", "code"),
    [
        ("POST", "/v1/customers", "nme=x", 400, "parameter_unknown"),
        ("POST", "/v1/customers", "metadata[a][b]=x", 400, None),
        ("POST", "/v1/products", "description=x", 400, "parameter_missing"),
        ("POST", "/v1/prices", "currency=usd&product=prod_x&unit_amount=1", 400, "resource_missing"),
        ("POST", "/v1/prices", "currency=usd&product=x&unit_amount=1.5", 400, "parameter_invalid_integer"),
        ("POST", "/v1/subscriptions", "customer=cus_x&items[1][price]=p", 400, None),
        ("GET", "/v1/customers/cus_x", "", 404, "resource_missing"),
        ("GET", "/v1/nothing", "", 404, None),
        ("GET", "/v1/customers?limit=101", "", 400, "parameter_invalid_integer"),
        ("DELETE", "/v1/products/prod_x", "", 404, None),
    ],
)
def test_what_stripe_does_not_know_is_refused(
    fake_stripe: FakeStripe, method: str, path: str, data: str, status: int, code: str | None
) -> None:
    answer = fake_stripe.form(method, path, data)
    assert (answer.status_code, answer.json()["error"].get("code")) == (status, code)


def test_lists_come_in_pages_newest_first(fake_stripe: FakeStripe) -> None:
    made = [fake_stripe.form("POST", "/v1/customers", f"name={n}").json()["id"] for n in range(5)]
    newest = made[::-1]
    first = fake_stripe.form("GET", "/v1/customers?limit=2").json()
    assert ([c["id"] for c in first["data"]], first["has_more"]) == (newest[:2], True)
    rest = fake_stripe.form("GET", f"/v1/customers?limit=3&starting_after={newest[1]}").json()
    assert ([c["id"] for c in rest["data"]], rest["has_more"]) == (newest[2:], False)
    back = fake_stripe.form("GET", f"/v1/customers?limit=1&ending_before={newest[2]}").json()
    assert ([c["id"] for c in back["data"]], back["has_more"]) == ([newest[1]], True)


def customers(fake_stripe: FakeStripe) -> int:
    return len(fake_stripe.box.objects.get("customer", {}))


def test_an_idempotency_key_gives_the_first_answer_again(fake_stripe: FakeStripe) -> None:
    key = {"Idempotency-Key": "k1"}
    first = fake_stripe.form("POST", "/v1/customers", "name=a", **key)
    again = fake_stripe.form("POST", "/v1/customers", "name=a", **key)
    assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true")
    other = fake_stripe.form("POST", "/v1/customers", "name=b", **key)
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    assert customers(fake_stripe) == 1
    fake_stripe.say("clock", {"by": 86_400})
    assert fake_stripe.form("POST", "/v1/customers", "name=a", **key).json()["id"] != first.json()["id"]


def test_a_saved_500_is_given_again_and_a_failed_validation_is_not(fake_stripe: FakeStripe) -> None:
    fake_stripe.fail("error", left=1)
    assert fake_stripe.form("POST", "/v1/customers", "name=a", **{"Idempotency-Key": "k"}).status_code == 500
    assert fake_stripe.form("POST", "/v1/customers", "name=a", **{"Idempotency-Key": "k"}).status_code == 500
    assert customers(fake_stripe) == 0
    assert fake_stripe.form("POST", "/v1/customers", "nme=a", **{"Idempotency-Key": "v"}).status_code == 400
    assert fake_stripe.form("POST", "/v1/customers", "name=a", **{"Idempotency-Key": "v"}).status_code == 200


def test_idempotency_keys_take_bounded_memory(fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MOST_KEYS", 3)
    for n in range(5):
        fake_stripe.form("POST", "/v1/customers", "name=a", **{"Idempotency-Key": str(n)})
    assert list(fake_stripe.box.keys.saved) == ["2", "3", "4"]


@pytest.mark.parametrize(
    ("kind", "made"), [("drop", 0), ("drop_applied", 1), ("error", 0), ("error_applied", 1), ("rate_limit", 0)]
)
def test_each_fault_applies_or_not_as_it_says(fake_stripe: FakeStripe, kind: str, made: int) -> None:
    fake_stripe.fail(kind, left=1)
    if kind.startswith("drop"):
        with pytest.raises(httpx.TransportError):
            fake_stripe.form("POST", "/v1/customers", "name=a")
    else:
        assert fake_stripe.form("POST", "/v1/customers", "name=a").status_code == (429 if kind == "rate_limit" else 500)
    assert customers(fake_stripe) == made
    assert fake_stripe.form("POST", "/v1/customers", "name=b").status_code == 200


def test_faults_strike_by_path_by_chance_and_until_a_time(fake_stripe: FakeStripe) -> None:
    fake_stripe.fail("error", path="/v1/products")
    assert fake_stripe.form("POST", "/v1/customers", "name=a").status_code == 200
    assert fake_stripe.form("POST", "/v1/products", "name=a").status_code == 500
    fake_stripe.fail("error", until=fake_stripe.box.clock.now() + 60)
    assert fake_stripe.form("GET", "/v1/customers").status_code == 500
    fake_stripe.say("clock", {"by": 60})
    assert fake_stripe.form("GET", "/v1/customers").status_code == 200
    fake_stripe.say("faults", {"rules": [{"kind": "error", "chance": 0.5}], "seed": 7})
    statuses = [fake_stripe.form("GET", "/v1/customers").status_code for _ in range(60)]
    assert 15 < statuses.count(500) < 45


def test_a_misspelt_fault_is_refused(fake_stripe: FakeStripe) -> None:
    for rule in ({"kind": "explode"}, {"kind": "drop", "odds": 1}, {"kind": "drop", "chance": 2}):
        assert fake_stripe.http.post("/_fake/faults", json={"rules": [rule]}).status_code == 400
    assert fake_stripe.http.post("/_fake/clock", json={"now": 1}).status_code == 400
    assert fake_stripe.http.post("/_fake/clock", content=b"[]").status_code == 400
    assert fake_stripe.http.post("/_fake/nothing", json={}).status_code == 404


def test_the_clock_flows_freezes_and_moves(fake_stripe: FakeStripe) -> None:
    clock = fake_stripe.box.clock
    fake_stripe.say("clock", {"to": 1_700_000_000})
    assert clock.now() == 1_700_000_000
    fake_stripe.say("clock", {"by": -60, "frozen": False})
    deadline = time.monotonic() + 10
    while clock.now() == 1_699_999_940 and time.monotonic() < deadline:
        pass
    assert 1_699_999_940 < clock.now() < 1_699_999_960


def test_requests_from_many_threads_are_atomic(fake_stripe: FakeStripe) -> None:
    def create(n: int) -> int:
        return fake_stripe.form("POST", "/v1/products", "name=x&id=same").status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(16))) == [200] + [400] * 15
