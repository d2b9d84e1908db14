"""What is no anomaly is never billed: thirty thousand records here, ten million by `make test-free`."""

from tests.integration.not_anomalies import EVENTS, run
from tests.stack.providers import Server


def test_records_that_are_no_anomaly_make_no_unit_and_no_call(postgres: Server) -> None:
    found = run(postgres, 30_000)
    assert found.pop("records_per_second") > 0
    assert found == {
        "records": 30_000,
        "events": 30_000 * EVENTS,
        "units": 0,
        "entries": 0,
        "hours": 0,
        "calls_to_stripe": 0,
        "wrong": 0,
    }
