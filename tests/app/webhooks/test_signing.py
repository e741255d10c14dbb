"""Signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac

from app.webhooks import signing


def test_a_signature_is_that_of_the_published_example_of_standard_webhooks() -> None:
    found = signing.headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )

    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_every_secret_is_another_and_a_receiver_can_check_with_it() -> None:
    one, other = signing.new_secret(), signing.new_secret()
    found = signing.headers(one, "msg_1", 7, b"{}")

    key = base64.b64decode(one.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, b"msg_1.7.{}", hashlib.sha256).digest()).decode()
    assert one != other
    assert len(key) == 32
    assert found == {"webhook-id": "msg_1", "webhook-timestamp": "7", "webhook-signature": f"v1,{expected}"}
