"""News is delivered at least once, signed, by whichever replica comes first; nothing is told that did not happen."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from sqlalchemy import select, update

from app import clock, outbox, queue
from app.database import Database
from app.settings import Settings
from app.tables import WebhookDeliveryRecord, utc_now
from app.webhooks.sending import WebhookSender

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytestmark = pytest.mark.both_engines

ALL_DUE = timedelta(days=1)


@dataclass
class Receiver:
    """Takes deliveries on this machine; `status` is what it answers."""

    url: str = ""
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event = field(default_factory=threading.Event)
    holds: bool = False
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            if state.holds:
                state.hold.wait(30.0)
            self.send_response(state.status)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - named by the library

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - named by the library
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    yield state
    state.hold.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Webhooks on this machine are allowed, and delivered when a test says so."""
    changes = {"webhook_private_addresses": True, "webhook_poll_seconds": 3_600.0, "webhook_max_attempts": 3}
    return settings.model_copy(update=changes)


@pytest.fixture
def sender(settings: Settings, database: Database) -> WebhookSender:
    return WebhookSender(settings, database)


@pytest.fixture
def register(client: TestClient, receiver: Receiver) -> Callable[..., dict[str, Any]]:
    def post(*events: str, **changes: Any) -> dict[str, Any]:
        body = {"url": receiver.url, "events": list(events or ["drift.detected"]), **changes}
        answer = client.post("/v1/webhooks", json=body)
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        return document

    return post


def emitted(database: Database, event: outbox.Event = "drift.detected", **payload: Any) -> int:
    with database.write() as session:
        return outbox.emit(session, event, payload)


def make_due(database: Database) -> None:
    with database.write() as session:
        waiting = update(WebhookDeliveryRecord).where(WebhookDeliveryRecord.state == "waiting")
        session.execute(waiting.values(due_at=clock.now(session) - timedelta(seconds=1)))


def deliveries(client: TestClient, hook: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(f"/v1/webhooks/{hook['id']}/deliveries").json()["items"]
    return found


def test_a_delivery_is_signed_over_its_id_timestamp_and_body(
    register: Callable[..., dict[str, Any]], database: Database, sender: WebhookSender, receiver: Receiver
) -> None:
    hook = register()
    emitted(database, task="digits")

    assert sender.deliver_due() == 1

    ((path, headers, body),) = receiver.got
    key = base64.b64decode(hook["secret"].removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert (path, headers["webhook-signature"]) == ("/hook", f"v1,{expected}")
    document = orjson.loads(body)
    assert (document["type"], document["data"]) == ("drift.detected", {"task": "digits"})


def test_a_delivery_that_was_taken_is_not_made_again(
    client: TestClient,
    register: Callable[..., dict[str, Any]],
    database: Database,
    sender: WebhookSender,
    receiver: Receiver,
) -> None:
    hook = register()
    emitted(database)
    sender.deliver_due()

    assert sender.deliver_due() == 0

    (shown,) = deliveries(client, hook)
    assert (shown["state"], shown["attempts"], shown["status"], shown["reason"]) == ("delivered", 1, 204, None)
    assert (shown["next_attempt_at"], len(receiver.got)) == (None, 1)


def test_only_those_who_want_an_event_hear_of_it(
    client: TestClient, register: Callable[..., dict[str, Any]], database: Database
) -> None:
    one, other = register("drift.detected", "search.finished"), register("fine_tune.finished")

    assert emitted(database, "search.finished") == 1
    assert [len(deliveries(client, hook)) for hook in (one, other)] == [1, 0]


def test_what_was_rolled_back_is_never_told(
    register: Callable[..., dict[str, Any]], database: Database, sender: WebhookSender
) -> None:
    register()

    def failing() -> None:
        with database.write() as session:
            outbox.emit(session, "drift.detected", {})
            raise RuntimeError("no disk")

    with pytest.raises(RuntimeError):
        failing()

    assert sender.deliver_due() == 0


def test_a_failed_attempt_is_made_again_later_under_the_same_id_and_given_up_in_the_end(
    client: TestClient,
    register: Callable[..., dict[str, Any]],
    database: Database,
    sender: WebhookSender,
    receiver: Receiver,
) -> None:
    hook, receiver.status = register(), 503
    emitted(database)

    states = []
    for _ in range(3):
        assert sender.deliver_due() == 1
        assert sender.deliver_due() == 0  # not before its pause is over
        (shown,) = deliveries(client, hook)
        states.append((shown["state"], shown["attempts"], shown["status"]))
        make_due(database)

    assert states == [("waiting", 1, 503), ("waiting", 2, 503), ("given_up", 3, 503)]
    assert "503" in shown["reason"]
    assert sender.deliver_due() == 0
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1


def test_pauses_grow(
    client: TestClient,
    register: Callable[..., dict[str, Any]],
    database: Database,
    sender: WebhookSender,
    receiver: Receiver,
) -> None:
    register()
    receiver.status = 500
    emitted(database)
    pauses = []
    for _ in range(2):
        sender.deliver_due()
        with database.read() as session:
            pauses.append(session.scalars(select(WebhookDeliveryRecord.due_at)).one() - clock.now(session))
        make_due(database)

    assert pauses[1] > 2 * pauses[0]


@pytest.mark.parametrize(("status", "state"), [(410, "given_up"), (301, "waiting"), (400, "waiting")])
def test_gone_is_final_and_a_redirect_is_not_followed(
    client: TestClient,
    register: Callable[..., dict[str, Any]],
    database: Database,
    sender: WebhookSender,
    receiver: Receiver,
    status: int,
    state: str,
) -> None:
    hook, receiver.status, receiver.headers = register(), status, {"Location": receiver.url.replace("hook", "other")}
    emitted(database)

    sender.deliver_due()

    assert [one["state"] for one in deliveries(client, hook)] == [state]
    assert [path for path, _, _ in receiver.got] == ["/hook"]


def test_a_receiver_that_does_not_answer_costs_no_more_than_the_limit(
    client: TestClient,
    register: Callable[..., dict[str, Any]],
    database: Database,
    settings: Settings,
    receiver: Receiver,
) -> None:
    hook, receiver.holds = register(), True
    emitted(database)

    WebhookSender(settings.model_copy(update={"webhook_timeout_seconds": 0.2}), database).deliver_due()

    (shown,) = deliveries(client, hook)
    assert (shown["state"], shown["reason"]) == ("waiting", "expected an answer within 0.2 s, got none")


def test_a_receiver_that_is_not_there_is_tried_again(
    client: TestClient, register: Callable[..., dict[str, Any]], database: Database, sender: WebhookSender
) -> None:
    hook = register(url="http://127.0.0.1:9/nobody")
    emitted(database)

    sender.deliver_due()

    (shown,) = deliveries(client, hook)
    assert (shown["state"], shown["status"]) == ("waiting", None)
    assert "expected to reach the receiver" in shown["reason"]


def test_several_replicas_deliver_each_news_once(
    register: Callable[..., dict[str, Any]],
    database: Database,
    settings: Settings,
    reopened: Callable[[Database], Database],
    together: Callable[[Callable[[int], Any], int], list[Any]],
    receiver: Receiver,
) -> None:
    register()
    for number in range(40):
        emitted(database, number=number)
    senders = [WebhookSender(settings, reopened(database)) for _ in range(4)]

    def deliver(number: int) -> int:
        count = 0
        while done := senders[number].deliver_due():
            count += done
        return count

    counts = together(deliver, 4)

    told = sorted(orjson.loads(body)["data"]["number"] for _, _, body in receiver.got)
    assert (told, sum(counts)) == (list(range(40)), 40)


def test_another_replica_takes_over_when_the_lease_of_a_dead_one_ran_out(
    client: TestClient,
    register: Callable[..., dict[str, Any]],
    database: Database,
    sender: WebhookSender,
    receiver: Receiver,
) -> None:
    from app.webhooks import repository

    hook = register()
    emitted(database)
    with database.write() as session:
        (claimed,) = repository.claim(session, clock.now(session), timedelta(seconds=30), 5)
    assert sender.deliver_due() == 0
    make_due(database)

    assert sender.deliver_due() == 1

    with database.write() as session:  # the dead one comes back
        repository.note(session, claimed, state="given_up", reason="too late", due_at=utc_now(), ended_at=utc_now())
    (shown,) = deliveries(client, hook)
    assert (shown["state"], shown["attempts"], len(receiver.got)) == ("delivered", 2, 1)


def test_a_private_address_is_refused_when_it_is_registered_and_when_the_setting_has_changed(
    client: TestClient,
    register: Callable[..., dict[str, Any]],
    database: Database,
    settings: Settings,
    replace_state: Callable[[str, object], None],
    receiver: Receiver,
) -> None:
    hook = register()
    emitted(database)
    strict = settings.model_copy(update={"webhook_private_addresses": False})

    WebhookSender(strict, database).deliver_due()
    replace_state("settings", strict)
    refused = client.post("/v1/webhooks", json={"url": "https://127.0.0.1/", "events": ["drift.detected"]})

    (shown,) = deliveries(client, hook)
    assert (shown["state"], receiver.got) == ("given_up", [])
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["location"] == ["body", "url"]


def test_a_test_call_is_delivered_whatever_the_webhook_wants_to_hear_of(
    client: TestClient, register: Callable[..., dict[str, Any]], sender: WebhookSender, receiver: Receiver
) -> None:
    hook = register()

    answer = client.post(f"/v1/webhooks/{hook['id']}:test")
    sender.deliver_due()

    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
    assert orjson.loads(receiver.got[0][2])["type"] == "test"
    assert [one["state"] for one in deliveries(client, hook)] == ["delivered"]


def test_a_secret_is_shown_once(client: TestClient, register: Callable[..., dict[str, Any]]) -> None:
    hook = register()

    shown = [client.get(f"/v1/webhooks/{hook['id']}").text, client.get("/v1/webhooks").text]

    assert hook["secret"].startswith("whsec_")
    assert not [text for text in shown if hook["secret"] in text or "secret" in text]


def test_a_webhook_that_was_removed_hears_nothing_more(
    client: TestClient, register: Callable[..., dict[str, Any]], database: Database, sender: WebhookSender
) -> None:
    hook = register()
    emitted(database)

    assert client.delete(f"/v1/webhooks/{hook['id']}").status_code == 204

    assert (sender.deliver_due(), emitted(database)) == (0, 0)
    gone = [client.get(f"/v1/webhooks/{hook['id']}"), client.post(f"/v1/webhooks/{hook['id']}:test")]
    gone += [client.delete(f"/v1/webhooks/{hook['id']}"), client.get(f"/v1/webhooks/{hook['id']}/deliveries")]
    assert [one.status_code for one in gone] == [404] * 4


@pytest.mark.parametrize(
    "change",
    [{"events": []}, {"events": ["unknown"]}, {"url": ""}, {"url": 7}, {"extra": 1}, {"url": "http://[::1"}],
)
def test_a_body_that_is_no_webhook_is_refused(client: TestClient, change: dict[str, Any]) -> None:
    body = {"url": "https://example.org/hook", "events": ["drift.detected"], **change}

    assert client.post("/v1/webhooks", json=body).status_code == 422


def test_deliveries_that_ended_long_ago_are_removed(
    client: TestClient, register: Callable[..., dict[str, Any]], database: Database, sender: WebhookSender
) -> None:
    hook = register()
    emitted(database)
    sender.deliver_due()
    emitted(database)
    with database.write() as session:
        session.execute(update(WebhookDeliveryRecord).values(due_at=utc_now() - timedelta(days=31)))

    assert (sender.sweep(), sender.sweep()) == (1, 0)
    assert [one["state"] for one in deliveries(client, hook)] == ["waiting"]


def test_the_end_of_a_fine_tune_is_told_once(
    client: TestClient, register: Callable[..., dict[str, Any]], database: Database
) -> None:
    hook = register("fine_tune.finished")
    with database.write() as session:
        job_id = queue.enqueue(session, queue.FINE_TUNE, {"reason": "asked for", "settings": {}})
        queue.enqueue_adaptation(session, 1)

    for _ in range(2):
        assert client.post(f"/v1/jobs/{job_id}:cancel").status_code == 200

    (shown,) = deliveries(client, hook)
    assert orjson.loads(shown["body"])["data"]["state"] == "cancelled"
