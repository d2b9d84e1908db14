"""The plan on the console's billing page: its buttons, the way to Stripe, what is planned, and who sees no button."""

import html
import re
from collections.abc import Iterator

import pytest

from dashboards.console.security import POLICY
from tests.dashboards.console.visitor import Visitor
from tests.integration.console_world import World, console, organization, person
from tests.integration.stripe_world import StripeWorld, stripe_world
from tests.stack.database import Database
from tests.stack.stripe import FakeStripe


@pytest.fixture
def stripe(database: Database, fake_stripe: FakeStripe) -> Iterator[StripeWorld]:
    with stripe_world(database, fake_stripe) as made:
        yield made


@pytest.fixture
def world(database: Database, stripe: StripeWorld) -> Iterator[World]:
    with console(database, stripe.stripe) as made:
        yield made


def buttons(one: Visitor) -> list[str]:
    main = one.get("/billing").text.split("<main")[1]
    return [html.unescape(text) for text in re.findall(r"<button[^>]*>([^<]+)</button>", main)]


def order(one: Visitor, where: str, **fields: str) -> str:
    answer = one.post(f"/billing/{where}", data={**fields, "token": one.token("/billing")})
    assert answer.status_code in {200, 303}, answer.text
    return str(answer.headers.get("location", answer.text))


def test_checkout_portal_and_back(world: World, stripe: StripeWorld) -> None:
    ann = person(world, "ann@example.com")
    stripe.organization_id = organization(world)
    assert buttons(ann) == ["Check out", "Check out"]
    page = order(ann, "checkout", plan="standard", order="1")
    link = re.search(r'<a class="button primary" href="(https://checkout\.stripe\.example/[^"]+)"', page)
    assert link is not None, "a link, because the policy lets no form lead to another origin"
    assert "form-action 'self'" in POLICY
    assert link[0] in order(ann, "checkout", plan="standard", order="1")
    (session,) = stripe.fake.box.all("checkout.session")
    assert session["success_url"] == "https://console.test/billing?done=checkout"
    stripe.fake.say("checkout/complete", {"id": session["id"]})
    assert "as soon as Stripe says" in ann.get("/billing?done=checkout").text
    stripe.settle()
    assert buttons(ann) == ["Cancel at the period's end", "Upgrade now", "Cards and invoices at Stripe"]
    assert "https://billing.stripe.example/" in order(ann, "portal")
    assert order(ann, "plan", plan="developer") == "/billing?done=cancel"
    stripe.settle()
    assert "Developer begins on" in ann.get("/billing").text
    assert "Keep this plan" in buttons(ann)
    assert order(ann, "plan", plan="standard") == "/billing?done=keep"
    assert "<script>" not in ann.get("/billing?done=<script>").text


def test_what_is_refused_is_a_page(world: World, stripe: StripeWorld) -> None:
    ann = person(world, "ann@example.com")
    token = {"token": ann.token("/billing")}
    assert ann.post("/billing/checkout", data={**token, "plan": "gold"}).status_code == 422
    assert ann.post("/billing/portal", data=token).status_code == 409
    assert ann.post("/billing/portal", data={}).status_code == 403, "without the form's token"
    stripe.fake.fail("drop")
    away = ann.post("/billing/checkout", data={**token, "plan": "standard"})
    assert away.status_code == 503
    assert "Stripe does not answer" in away.text


def test_without_a_key_for_stripe_there_is_no_button(database: Database, world: World) -> None:
    with console(database) as lone:
        ann = person(lone, "ann@example.com")
        assert buttons(ann) == []
        assert "not connected to Stripe" in ann.get("/billing").text
        answer = ann.post("/billing/checkout", data={"plan": "standard", "token": ann.token("/settings")})
        assert answer.status_code == 409
