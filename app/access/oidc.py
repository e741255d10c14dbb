"""Tokens of an OpenID Connect issuer: who is meant, and what the claims say they may do."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

import jwt
from starlette.concurrency import run_in_threadpool

from app.access import repository
from app.access.callers import Caller
from app.access.signing_keys import SigningKeys
from app.database import Database
from app.errors import ForbiddenError, InvalidTokenError
from app.guarded_routes import Role
from app.inference.caches import BoundedCache
from app.settings import Settings
from app.tables import DEFAULT_PROJECT_ID

_REMEMBERED_SECONDS = 60.0
_LEEWAY_SECONDS = 30.0
_MAX_REMEMBERED = 10_000
_ASYMMETRIC = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})


class TokenVerifier:
    """Belongs to the event loop. A token that was verified is remembered for a minute, or until it expires.

    Raises:
        ValueError: if a setting is wrong.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._algorithms = [name.strip() for name in settings.oidc_algorithms.split(",")]
        unknown = sorted(set(self._algorithms) - _ASYMMETRIC)
        if unknown:
            raise ValueError(f"expected oidc_algorithms among {', '.join(sorted(_ASYMMETRIC))}, got {unknown[0]!r}")
        self._roles = {value: _role(label) for value, label in settings.oidc_roles.items()}
        self._keys = SigningKeys(settings.oidc_issuer, settings.oidc_jwks_url)
        self._remembered: BoundedCache[bytes, tuple[float, Caller]] = BoundedCache(_MAX_REMEMBERED)

    async def caller(self, token: str) -> Caller:
        """Who is meant.

        Raises:
            InvalidTokenError: if the token is not valid here and now.
            ForbiddenError: if it is, and its claims allow nothing.
            RetryableError: if the issuer's keys cannot be read.
        """
        place = hashlib.sha256(token.encode()).digest()
        until, remembered = self._remembered.get(place) or (0.0, None)
        if remembered is not None and time.time() < until:
            return remembered
        claims = await self._verified(token)
        caller = await run_in_threadpool(self._caller, claims)
        until = min(time.time() + _REMEMBERED_SECONDS, float(claims["exp"]) + _LEEWAY_SECONDS)
        self._remembered.put(place, (until, caller))
        return caller

    async def _verified(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in self._algorithms:
                raise _invalid(f"a signature by one of {', '.join(self._algorithms)}", f"{header.get('alg')!r:.40}")
            if not isinstance(header.get("kid"), str):
                raise _invalid("the name of the key (kid) in the header", "none")
            claims: dict[str, Any] = jwt.decode(
                token,
                await self._keys.find(header["kid"]),
                algorithms=self._algorithms,
                audience=self._settings.oidc_audience,
                issuer=self._settings.oidc_issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise _invalid("a token that is valid", f"one that is not: {error}") from error
        return claims

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        role = self._role_of(claims)
        project_id = None if role >= Role.OPERATOR else self._project_of(claims)
        identity = hashlib.sha256(f"{claims['iss']}\n{claims['sub']}".encode()).hexdigest()[:32]
        name = next((claims[one] for one in ("email", "preferred_username") if one in claims), claims["sub"])
        return Caller(f"oidc:{identity}", str(name)[:256], role, project_id, self._settings.requests_per_minute)

    def _role_of(self, claims: Mapping[str, Any]) -> Role:
        values = _values(claims, self._settings.oidc_role_claim)
        known = self._roles or {role.label: role for role in Role}
        roles = [known[value] for value in values if value in known]
        if not roles:
            raise ForbiddenError(
                f"expected the claim {self._settings.oidc_role_claim!r} to hold one of {', '.join(sorted(known))}, got "
                f"{', '.join(values)[:200] or 'none'}"
            )
        return max(roles)

    def _project_of(self, claims: Mapping[str, Any]) -> int:
        claim = self._settings.oidc_project_claim
        if not claim:
            return DEFAULT_PROJECT_ID
        values, known = _values(claims, claim), self._settings.oidc_projects
        names = [known[value] for value in values if value in known] if known else values
        with self._database.read() as session:
            for name in names:
                project = repository.project_by_name(session, name) if "\0" not in name else None
                if project is not None:
                    return project.id
        raise ForbiddenError(f"expected the claim {claim!r} to name a project, got {', '.join(values)[:200] or 'none'}")


def _values(claims: Mapping[str, Any], path: str) -> list[str]:
    """What the claim holds, as texts; a name with dots may be one claim, or lead into objects."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return [found]
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _role(label: str) -> Role:
    try:
        return Role.of(label)
    except KeyError:
        raise ValueError(f"expected oidc_roles to name reader, contributor, operator or admin, got {label!r}") from None


def _invalid(expected: str, got: str) -> InvalidTokenError:
    return InvalidTokenError(f"expected {expected}, got {got}")
