"""Keys, projects and the audit log in the HTTP client."""

from __future__ import annotations

from typing import Any

from app.client_calls import AnswerT, ItemsT, Requests


class AccessRequests(Requests[AnswerT, ItemsT]):
    """What admins do."""

    def caller(self) -> AnswerT:
        """Who calls, as the service sees it."""
        return self._call("GET", "/v1/caller")

    def create_key(self, name: str, role: str, **optional: Any) -> AnswerT:
        """A new key, with the key itself this once; `optional` may have project, expires_at and requests_per_minute."""
        return self._create("/v1/api-keys", {"name": name, "role": role, **optional})

    def api_keys(self) -> ItemsT:
        """All keys, without the keys themselves."""
        return self._items("/v1/api-keys")

    def revoke_key(self, key_id: int) -> AnswerT:
        """Ends a key for good."""
        return self._create(f"/v1/api-keys/{key_id}:revoke")

    def create_project(self, name: str, is_learned_from: bool = True) -> AnswerT:
        """A new project."""
        return self._create("/v1/projects", {"name": name, "is_learned_from": is_learned_from})

    def projects(self) -> ItemsT:
        """The projects that the key may see."""
        return self._items("/v1/projects")

    def change_project(self, name: str, **changes: Any) -> AnswerT:
        """The project with another `name` or `is_learned_from`."""
        return self._call("PATCH", f"/v1/projects/{name}", changes)

    def changes(self, **query: Any) -> ItemsT:
        """The audit log, the newest first; `query` may have caller, operation, request_id, since and until."""
        return self._items("/v1/audit", query)
