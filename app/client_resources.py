"""What can be asked of a service, written once for both clients: one method for each thing to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic

from app.client_access import AccessRequests
from app.client_calls import AnswerT, Document, ItemsT
from app.client_formats import as_notations, with_notation
from app.client_operations import OperationRequests
from app.client_searches import SearchRequests
from app.client_trials import TrialRequests


class ResourceRequests(
    TrialRequests[AnswerT, ItemsT],
    AccessRequests[AnswerT, ItemsT],
    OperationRequests[AnswerT, ItemsT],
    SearchRequests[AnswerT, ItemsT],
):
    """What can be asked of a service. Every method raises ClientError when the service refuses or does not answer."""

    def create_task(
        self,
        name: str,
        search_space: str,
        dataset: str,
        metric: Mapping[str, str],
        **optional: Any,
    ) -> AnswerT:
        """Creates a task, or answers the one that is there; `metric` has name, unit and direction."""
        body = {"name": name, "search_space": search_space, "dataset": dataset, "metric": dict(metric), **optional}
        return self._create("/v1/tasks", body)

    def tasks(self, **query: Any) -> ItemsT:
        """All tasks; `query` may have sort, fields, search_space, since and before."""
        return self._items("/v1/tasks", query)

    def edit_task(self, task: str, metadata: Mapping[str, Any], seen: Document | None = None) -> AnswerT:
        """Changes a task's metadata; `seen`, what `task` answered: only if it is still like that."""
        return self._edit(f"/v1/tasks/{task}", {"metadata": dict(metadata)}, seen)

    def search_spaces(self, **query: Any) -> ItemsT:
        """All search spaces; `query` may have sort, fields and kind."""
        return self._items("/v1/search-spaces", query)

    def model_versions(self, **query: Any) -> ItemsT:
        """All model versions; `query` may have sort, fields, origin, since and before."""
        return self._items("/v1/model-versions", query)

    def jobs(self, kind: str | None = None, state: str | None = None, **query: Any) -> ItemsT:
        """All jobs, the newest first; of one kind or in one state where wanted. `query` may have sort, fields, since and
        before."""
        wanted = {"kind": kind, "state": state, **query}
        return self._items("/v1/jobs", {name: value for name, value in wanted.items() if value is not None})

    def declare_search_space(self, name: str, definition: Mapping[str, Any], description: str = "") -> AnswerT:
        """Registers a search space of one's own."""
        body = {"name": name, "definition": dict(definition), "description": description}
        return self._create("/v1/search-spaces", body)

    def post_observations(
        self,
        task: str,
        observations: Sequence[Mapping[str, Any]],
        idempotency_key: str | None = None,
        example_inputs: Any = None,
    ) -> AnswerT:
        """Posts measured values, with their `std_error` where it is known; all of them are recorded, or none. An
        `architecture` may be the path of an ONNX file, or a module, which is traced on `example_inputs`.

        Calls that have to be made again are recorded once. A key of one's own makes that true of a program that is started
        again, too.
        """
        body = {"observations": [with_notation(one, example_inputs) for one in observations]}
        return self._create(f"/v1/tasks/{task}/observations", body, idempotency_key)

    def observations(self, task: str, **query: Any) -> ItemsT:
        """All current observations of a task; `query` may have sort, fields, architecture, status, include_superseded,
        min_value, max_value, since, before and after_id."""
        return self._items(f"/v1/tasks/{task}/observations", query)

    def observation(self, task: str, observation_id: int) -> AnswerT:
        """One observation, whether it still counts or not."""
        return self._call("GET", f"/v1/tasks/{task}/observations/{observation_id}")

    def correct_observation(
        self, task: str, observation_id: int, reason: str, seen: Document | None = None, **members: Any
    ) -> AnswerT:
        """Puts another observation in the place of a wrong one; `members` has its value, and may have status and std_error.
        `seen`, what `observation` answered: only if it is still like that."""
        path = f"/v1/tasks/{task}/observations/{observation_id}/correction"
        return self._create(path, {"reason": reason, **members}, seen=seen)

    def retract_observation(self, task: str, observation_id: int, reason: str, seen: Document | None = None) -> AnswerT:
        """Has an observation ignored; `seen` as with corrections."""
        path = f"/v1/tasks/{task}/observations/{observation_id}/retraction"
        return self._create(path, {"reason": reason}, seen=seen)

    def predict(self, task: str, architectures: Any, example_inputs: Any = None) -> AnswerT:
        """Forecasts architectures: one or several, as notations, paths of ONNX files, or modules, which are traced on
        `example_inputs` (a tensor, a sequence of arguments or a mapping of them)."""
        notations = as_notations(architectures, example_inputs)
        return self._call("POST", f"/v1/tasks/{task}/predictions", {"architectures": notations})

    def explain(
        self, task: str, architectures: Any = (), method: str | None = None, example_inputs: Any = None, **members: Any
    ) -> AnswerT:
        """Which operations and edges forecasts hang on: one architecture or several, as `predict` takes them, by `swaps`, `shapley` or
        `integrated_gradients`. `members` may have options and, for what choices are worth on average, task_summary=True."""
        body = {"architectures": as_notations(architectures, example_inputs), "method": method, **members}
        return self._call("POST", f"/v1/tasks/{task}/explanations", body)

    def candidates(self, task: str, k: int = 10, **query: Any) -> AnswerT:
        """What to measure next; `query` may have acquisition, kappa, diversity, constraint (a list), pool and seed."""
        return self._call("GET", f"/v1/tasks/{task}/candidates", query={"k": k, **query})

    def best(self, task: str, k: int = 10) -> AnswerT:
        """The measured leaderboard."""
        return self._call("GET", f"/v1/tasks/{task}/best", query={"k": k})

    def start_fine_tune(
        self, reason: str, settings: Mapping[str, Any] | None = None, idempotency_key: str | None = None
    ) -> AnswerT:
        """Queues a fine-tune; one, however often the call has to be made."""
        return self._create("/v1/fine-tunes", {"reason": reason, "settings": dict(settings or {})}, idempotency_key)

    def fine_tune(self, fine_tune_id: int) -> AnswerT:
        """One fine-tune."""
        return self._call("GET", f"/v1/fine-tunes/{fine_tune_id}")

    def fine_tunes(self, **query: Any) -> ItemsT:
        """All fine-tunes, the newest first; `query` may have sort, fields, state, since and before."""
        return self._items("/v1/fine-tunes", query)

    def cancel_job(self, job_id: int) -> AnswerT:
        """Cancels a job."""
        return self._create(f"/v1/jobs/{job_id}:cancel")

    def pareto(self, tasks: Sequence[str]) -> AnswerT:
        """The measured architectures that no other beats in all of these tasks, which have one search space."""
        return self._call("GET", "/v1/pareto", query={"tasks": ",".join(tasks)})

    def search_space(self, name: str) -> AnswerT:
        """One search space."""
        return self._call("GET", f"/v1/search-spaces/{name}")

    def architecture(self, architecture_id: str) -> AnswerT:
        """One architecture, with its graph."""
        return self._call("GET", f"/v1/architectures/{architecture_id}")


class TaskRequests(Generic[AnswerT, ItemsT]):
    """What can be asked of one task, without naming it again. As `ResourceRequests` says, method by method."""

    def __init__(self, client: ResourceRequests[AnswerT, ItemsT], name: str) -> None:
        self._client, self._name = client, name

    def post_observations(
        self,
        observations: Sequence[Mapping[str, Any]],
        idempotency_key: str | None = None,
        example_inputs: Any = None,
    ) -> AnswerT:
        """Posts measured values."""
        return self._client.post_observations(self._name, observations, idempotency_key, example_inputs)

    def observations(self, **query: Any) -> ItemsT:
        """All current observations."""
        return self._client.observations(self._name, **query)

    def predict(self, architectures: Any, example_inputs: Any = None) -> AnswerT:
        """Forecasts architectures: notations, ONNX files or modules."""
        return self._client.predict(self._name, architectures, example_inputs)

    def explain(self, architectures: Any = (), method: str | None = None, **members: Any) -> AnswerT:
        """Which operations and edges forecasts hang on."""
        return self._client.explain(self._name, architectures, method, **members)

    def candidates(self, k: int = 10, **query: Any) -> AnswerT:
        """What to measure next."""
        return self._client.candidates(self._name, k, **query)

    def best(self, k: int = 10) -> AnswerT:
        """The measured leaderboard."""
        return self._client.best(self._name, k)

    def request_trials(self, architectures: Sequence[Any]) -> AnswerT:
        """Lets architectures wait for a worker."""
        return self._client.request_trials(self._name, architectures)

    def trials(self, **query: Any) -> ItemsT:
        """All trials."""
        return self._client.trials(self._name, **query)
