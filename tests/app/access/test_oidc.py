"""Tokens of an OpenID Connect issuer, which here is a server of our own on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from app.access import signing_keys
from app.access.oidc import TokenVerifier
from app.settings import Settings

AUDIENCE = "archcast"


class Issuer:
    """An issuer: its address, its keys, and how often it was asked for them."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[Any, str]] = {}
        self.num_asked = 0
        self.is_away = False
        self.claimed: str | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = outer.answer(self.path)
                self.send_response(503 if outer.is_away else 200)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.add("first")

    def answer(self, path: str) -> Any:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.claimed or self.url, "jwks_uri": f"{self.url}/keys"}
        self.num_asked += 1
        return {"keys": [self._public(name) for name in self.keys]}

    def _public(self, name: str) -> Any:
        key, algorithm = self.keys[name]
        kind = jwt.algorithms.RSAAlgorithm if algorithm == "RS256" else jwt.algorithms.ECAlgorithm
        return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig", "alg": algorithm}

    def add(self, name: str, algorithm: str = "ES256") -> None:
        is_rsa = algorithm == "RS256"
        key = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        self.keys[name] = (key, algorithm)

    def token(self, key: str = "first", **claims: Any) -> str:
        whole = {
            "iss": self.url, "aud": AUDIENCE, "sub": "ada", "exp": time.time() + 600, "roles": ["reader"], **claims
        }  # fmt: skip
        return jwt.encode({k: v for k, v in whole.items() if v is not None}, *self.keys[key], headers={"kid": key})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    started = Issuer()
    thread = threading.Thread(target=started.server.serve_forever, daemon=True)
    thread.start()
    yield started
    started.server.shutdown()
    started.server.server_close()
    thread.join()


@pytest.fixture
def members(issuer: Issuer) -> dict[str, Any]:
    """The settings of a service that accepts the issuer's tokens."""
    return {"oidc_issuer": issuer.url, "oidc_audience": AUDIENCE}


def who(service: Any, token: str) -> Any:
    return service.call(token, "GET", "/v1/caller")


@pytest.mark.both_engines
def test_a_token_says_who_calls_and_what_they_may_do(start_service: Any, issuer: Issuer, members: Any) -> None:
    service = start_service(**members)

    shown = who(service, issuer.token(email="ada@example.org")).json()
    again = who(service, issuer.token(email="ada@example.org")).json()
    other = who(service, issuer.token(sub="grace")).json()

    assert (shown["name"], shown["role"], shown["project"]) == ("ada@example.org", "reader", "default")
    assert shown == again
    assert shown["id"].startswith("oidc:")
    assert shown["id"] != other["id"]
    assert service.call(issuer.token(), "POST", "/v1/projects", {"name": "x"}).status_code == 403
    assert service.call(issuer.token(roles="admin"), "POST", "/v1/projects", {"name": "x"}).status_code == 201


def test_keys_count_beside_tokens(start_service: Any, members: Any) -> None:
    service = start_service(**members)

    assert who(service, service.key("admin")).json()["id"] == "key:1"
    assert who(service, "archcast_nonsense").status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"exp": 1_000_000_000}, id="expired"),
        pytest.param({"exp": None}, id="without an end"),
        pytest.param({"nbf": 4_000_000_000}, id="not yet valid"),
        pytest.param({"aud": "another"}, id="for somebody else"),
        pytest.param({"aud": None}, id="for nobody"),
        pytest.param({"iss": "https://elsewhere.example"}, id="of another issuer"),
        pytest.param({"iss": None}, id="of nobody"),
        pytest.param({"sub": None}, id="about nobody"),
    ],
)
def test_a_token_that_is_not_valid_here_and_now_is_refused(
    start_service: Any, issuer: Issuer, members: Any, claims: dict[str, Any]
) -> None:
    answer = who(start_service(**members), issuer.token(**claims))

    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/invalid-token")


def test_a_signature_that_is_not_the_issuers_is_refused(start_service: Any, issuer: Issuer, members: Any) -> None:
    service = start_service(**members)
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "eve", "exp": time.time() + 60, "roles": "admin"}
    other = ec.generate_private_key(ec.SECP256R1())
    forged = {
        "another key": jwt.encode(claims, other, "ES256", headers={"kid": "first"}),
        "none": jwt.encode(claims, None, "none", headers={"kid": "first"}),
        "a shared secret": jwt.encode(claims, "s" * 64, "HS256", headers={"kid": "first"}),
        "without a name of a key": jwt.encode(claims, other, "ES256"),
        "changed": issuer.token()[:-6] + "AAAAAA",
        "no token": "a.b.c",
    }

    assert {name: who(service, token).status_code for name, token in forged.items()} == dict.fromkeys(forged, 401)


def test_an_algorithm_that_is_not_accepted_is_refused(start_service: Any, issuer: Issuer, members: Any) -> None:
    issuer.add("rsa", "RS256")

    assert who(start_service(**members), issuer.token("rsa")).status_code == 200
    answer = who(start_service(**members, oidc_algorithms="ES256"), issuer.token("rsa"))

    assert (answer.status_code, "ES256" in answer.json()["detail"]) == (401, True)


def test_a_new_key_of_the_issuer_is_found_but_made_up_ones_do_not_call_it(
    start_service: Any, issuer: Issuer, members: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = start_service(**members)
    for place in range(20):
        who(service, issuer.token(sub=f"user-{place}"))
    assert issuer.num_asked == 1
    monkeypatch.setattr(signing_keys, "_COOLDOWN_SECONDS", 0.0)
    issuer.add("second")

    assert who(service, issuer.token("second")).status_code == 200
    assert issuer.num_asked == 2
    monkeypatch.setattr(signing_keys, "_COOLDOWN_SECONDS", 3_600.0)
    issuer.add("third")
    assert {who(service, issuer.token("third", sub=str(place))).status_code for place in range(10)} == {401}
    assert issuer.num_asked == 2


def test_known_keys_outlive_the_issuer_and_unknown_ones_wait_for_it(
    start_service: Any, issuer: Issuer, members: Any
) -> None:
    known, waiting = start_service(**members), start_service(**members)
    assert who(known, issuer.token()).status_code == 200
    issuer.is_away = True

    assert who(known, issuer.token(sub="grace")).status_code == 200
    answer = who(waiting, issuer.token())
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


def test_a_configuration_that_names_another_issuer_is_not_believed(
    start_service: Any, issuer: Issuer, members: Any
) -> None:
    issuer.claimed = "https://elsewhere.example"

    assert who(start_service(**members), issuer.token()).status_code == 503


def test_claims_mean_what_the_settings_say(start_service: Any, issuer: Issuer, members: Any) -> None:
    service = start_service(
        **members,
        oidc_role_claim="realm.groups",
        oidc_roles={"ml": "contributor", "ops": "operator"},
        oidc_project_claim="https://example.org/team",
        oidc_projects={"team-7": "vision"},
    )
    service.project("vision")

    def caller(groups: Any, team: Any) -> tuple[int, Any, Any]:
        answer = who(service, issuer.token(roles=None, realm={"groups": groups}, **{"https://example.org/team": team}))
        return answer.status_code, answer.json().get("role"), answer.json().get("project")

    assert caller(["ml", "others"], ["team-1", "team-7"]) == (200, "contributor", "vision")
    assert caller(["ml", "ops"], None) == (200, "operator", None)
    assert caller(["others"], "team-7")[0] == 403
    assert caller("ml", "team-1")[0] == 403
    assert caller("ml", None)[0] == 403
    assert caller({"ml": True}, "team-7")[0] == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_issuer": "http://issuer.example"},
        {"oidc_jwks_url": "file:///etc/passwd"},
        {"oidc_algorithms": "HS256"},
        {"oidc_algorithms": "none"},
        {"oidc_roles": {"x": "owner"}},
    ],
)
def test_settings_that_would_be_unsafe_are_refused(
    settings: Settings, issuer: Issuer, members: Any, wrong: dict[str, Any], database: Any
) -> None:
    with pytest.raises(ValueError, match="expected"):
        TokenVerifier(settings.model_copy(update={**members, **wrong}), database)


def test_an_issuer_without_an_audience_is_refused(issuer: Issuer) -> None:
    with pytest.raises(ValueError, match="oidc_audience"):
        Settings(oidc_issuer=issuer.url)


def test_mappings_are_read_from_the_environment_and_written_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHCAST_OIDC_ROLES", '{"ml": "reader"}')

    settings = Settings()

    assert settings.oidc_roles == {"ml": "reader"}
    assert settings.as_environment()["ARCHCAST_OIDC_ROLES"] == '{"ml": "reader"}'
