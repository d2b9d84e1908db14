"""Signatures of Standard Webhooks, against the standard's own example; secrets that are rotated."""

import base64

from pipeline.alerts.signature import headers, shown

# The example of the standard's reference libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # pragma: allowlist secret
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"  # pragma: allowlist secret
BODY = b'{"test": 2432232314}'


def test_the_example_of_the_standard() -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    assert shown(key) == SECRET
    assert headers(ID, 1_614_265_330, BODY, [key]) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",  # pragma: allowlist secret
    }


def test_each_good_secret_has_a_signature() -> None:
    both = headers("m", 1, BODY, [b"new" * 11, b"old" * 11])["webhook-signature"].split(" ")
    assert [headers("m", 1, BODY, [key])["webhook-signature"] for key in (b"new" * 11, b"old" * 11)] == both
