"""Lease tokens: the number of the lease and a random secret. Only a hash is stored; every lease has a token of its own."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from app.errors import ForbiddenError, LeaseLostError
from app.tables import TrialRecord

_SECRET_BYTES = 24
_FORM = re.compile(r"([1-9][0-9]{0,8})\.([A-Za-z0-9_-]{32})")


def new_token(lease_number: int) -> str:
    """The token of a new lease."""
    return f"{lease_number}.{secrets.token_urlsafe(_SECRET_BYTES)}"


def hashed(token: str) -> str:
    """What is stored of a token. It has 192 random bits, so that a plain hash cannot be searched."""
    return hashlib.sha256(token.encode()).hexdigest()


def check(trial: TrialRecord, token: str | None) -> None:
    """Makes sure that the caller had the trial's last lease.

    Raises:
        LeaseLostError: if it is the token of an earlier lease, or the trial was never leased.
        ForbiddenError: if there is none, or it is no token of this trial.
    """
    if token is None:
        raise ForbiddenError(f"expected the lease_token that came with trial {trial.id}, got none")
    found = _FORM.fullmatch(token)
    if found is None:
        raise ForbiddenError(f"expected the lease_token that came with trial {trial.id}, got a text of another form")
    if trial.token_hash is None:
        raise LeaseLostError(f"expected a trial that was handed out, got {trial.id}, which is {trial.state}")
    if int(found[1]) < trial.lease_number:
        raise LeaseLostError(
            f"expected the token of lease {trial.lease_number} of trial {trial.id}, got that of lease {found[1]}: the trial "
            f"was handed out again, to worker {trial.worker_id!r}",
            lease_number=trial.lease_number,
            state=trial.state,
        )
    if not hmac.compare_digest(hashed(token), trial.token_hash):
        raise ForbiddenError(f"expected the lease_token that came with trial {trial.id}, got a wrong one")
