"""Nothing of a machine comes through."""

from pathlib import Path

from tests.recording.scrub import ROOT, scrub, scrubber

RULES = scrubber({Path("/srv/run-1"): "/var/lib/driftlock"}, {24_379: 9092}, ["hunter22"])


def test_folders_ports_addresses_and_secrets_have_fixed_names() -> None:
    line = f"read /srv/run-1/x and {ROOT}/y at 127.0.0.1:24379 with hunter22, from 127.44.3.9 and 124379"
    wanted = "read /var/lib/driftlock/x and /opt/driftlock/y at 10.0.0.1:9092 with ********, from 10.44.3.9 and 124379"
    assert scrub(RULES, line) == wanted


def test_an_object_stays_an_object() -> None:
    event = {"port": 24_379, "event": "at /srv/run-1", "n": 1.5}
    assert scrub(RULES, event) == {"port": 9092, "event": "at /var/lib/driftlock", "n": 1.5}


def test_what_only_looks_like_it_stays() -> None:
    line = "/usr/srv/run-1x and 1243790 and n-127"
    assert scrub(RULES, line) == line
