"""Control messages: what is read can also be written into frames."""

import pytest

from pipeline.packer.control import parse
from schemas.models import OrganizationControl

ORGANIZATION = "00000000-0000-5000-8000-000000000001"


@pytest.mark.parametrize(("version", "fits"), [(0, True), ((1 << 63) - 1, True), (1 << 63, False), (10**30, False)])
def test_a_version_that_no_frame_can_hold_is_refused(version: int, fits: bool) -> None:
    parsed = parse(b'{"kind":"organization","id":"%s","version":%d}' % (ORGANIZATION.encode(), version))
    assert isinstance(parsed, OrganizationControl if fits else str)
    if isinstance(parsed, OrganizationControl):
        assert parsed.to_bytes()
