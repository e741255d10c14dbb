"""`archcast explain`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.client import DEFAULT_URL, Client
from app.client_calls import Document
from app.console import JsonOption, UrlOption, notation, print_json, print_table, reported_errors


def explain(
    task: Annotated[str, typer.Argument(help="Name or id of the task.")],
    architectures: Annotated[
        list[str] | None, typer.Argument(help="Up to 20; leave out for what choices are worth in the task as a whole.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="swaps, shapley or integrated_gradients.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the sample; leave out for a new one.")] = None,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Explains which operations and edges a forecast hangs on."""
    with reported_errors(), Client(url) as client:
        options = {} if seed is None else {"seed": seed}
        given = [notation(one) for one in architectures or []]
        answer = client.explain(task, given, method, task_summary=not given, options=options)
        if as_json:
            print_json(answer)
            return
        for one in answer["explanations"]:
            _print_explanation(one, answer["unit"])
        if answer["summary"] is not None:
            _print_summary(answer["summary"], answer["unit"])


def _print_explanation(one: Document, unit: str) -> None:
    typer.echo(one["genotype"])
    base = "" if one["base"] is None else f", compared with {one['base']:.6g}"
    typer.echo(f"forecast {one['forecast']:.6g} {unit}{base}")
    if one["gradients"] is not None:
        _print_gradients(one["gradients"], unit)
        return
    rows: list[list[Any]] = []
    for part in one["parts"]:
        rows.append([part["name"], part["chosen"], _signed(part["value"]), part["std_error"]])
        rows += [["", f"→ {swap['choice']}", _signed(swap["effect"]), swap["std_error"]] for swap in part["swaps"]]
    print_table(("part", "chosen → instead", f"worth → effect [{unit}]", "standard error"), rows)


def _print_gradients(found: Document, unit: str) -> None:
    rows = [[f"node {one['node']}", one["operation"], _signed(one["share"])] for one in found["nodes"]]
    rows += [[f"edge {one['source']}→{one['target']}", "", _signed(one["share"])] for one in found["edges"]]
    rows += [[name, "decision", _signed(share)] for name, share in found["decisions"].items()]
    rows += [["the whole graph", "statistics", _signed(found["statistics"])]]
    rows += [["related tasks", "", _signed(found["related_tasks"])]]
    print_table(("what", "", f"share [{unit}]"), rows)
    typer.echo(f"{100.0 * found['coverage']:.0f} % of what moves the forecast falls on nodes and edges")


def _print_summary(found: Document, unit: str) -> None:
    for decision, spread in found["spreads"].items():
        typer.echo(f"{decision}: standard deviation of its choices {spread:.3g} {unit}")
        for one in found["effects"]:
            if one["decision"] == decision:
                typer.echo(f"  {one['sentence']}")


def _signed(value: float) -> str:
    return f"{value:+.4g}"
