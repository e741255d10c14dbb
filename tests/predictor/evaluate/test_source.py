"""Exported sources run by themselves and compute what the module computes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from predictor.architecture import Architecture, Operation
from predictor.errors import UnbuildableError
from predictor.evaluate.network import NetworkConfig, build_network, num_parameters
from predictor.evaluate.source import pytorch_source
from predictor.search_spaces.registry import built_in_search_spaces, search_space

SIZES: dict[str, dict[str, int]] = {
    "nasbench201": {"stem_channels": 4, "cells_per_stage": 2},
    "nasbench101": {"stem_channels": 16, "cells_per_stage": 1},
    "transnas_micro": {"stem_channels": 4, "cells_per_stage": 1},
    "darts": {"channels": 4, "num_cells": 3},
    "autoformer": {"patch_size": 4},
}
BUILT = [name for name in built_in_search_spaces() if name != "nasbench_graph"]

DRIVER = """
import importlib.util, sys
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file
torch.set_num_threads(1)
for path in sorted(Path(sys.argv[1]).glob("*.py")):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    given = load_file(path.with_suffix(".safetensors"))
    images = given.pop("images")
    network = module.Network().eval()
    network.load_state_dict(given)
    with torch.no_grad():
        save_file({"scores": network(images)}, path.with_suffix(".out"))
assert "predictor" not in sys.modules
"""


def written(folder: Path, name: str) -> torch.Tensor:
    """One architecture's source and weights; what the module itself makes of the images."""
    space = search_space(name)
    architecture = space.sample(np.random.default_rng(7))
    config = NetworkConfig((3, 16, 16), 5, SIZES.get(name, {}), resolution=20)
    network = build_network(architecture, space, config, torch.Generator().manual_seed(3)).eval()
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(4))
    (folder / f"{name}.py").write_text(pytorch_source(architecture, space, config))
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file({**weights, "images": images}, folder / f"{name}.safetensors")
    with torch.no_grad():
        return network(images)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-P", *arguments], capture_output=True, text=True, timeout=900, check=False)


def test_in_a_process_of_its_own_every_source_computes_what_the_module_computes(tmp_path: Path) -> None:
    expected = {name: written(tmp_path, name) for name in BUILT}
    (tmp_path / "driver").write_text(DRIVER)

    ended = run(str(tmp_path / "driver"), str(tmp_path))

    assert ended.returncode == 0, ended.stderr
    for name, scores in expected.items():
        torch.testing.assert_close(load_file(tmp_path / f"{name}.out")["scores"], scores, msg=name)


def test_a_source_is_a_program_that_says_what_it_makes(tmp_path: Path, space: Any) -> None:
    cell = space.sample(np.random.default_rng(1))
    config = NetworkConfig((1, 8, 8), 10, {"stem_channels": 4, "cells_per_stage": 1})
    source = pytorch_source(cell, space, config)
    (tmp_path / "network.py").write_text(source)

    ended = run(str(tmp_path / "network.py"))

    params = num_parameters(build_network(cell, space, config))
    assert (ended.returncode, ended.stdout) == (0, f"(2, 10) {params} parameters\n"), ended.stderr
    assert cell.hash in source
    assert str(cell.genotype) in source
    imported = [line for line in source.splitlines() if line.startswith(("import", "from"))]
    assert all("torch" in line or "__future__" in line for line in imported)


def test_text_of_users_cannot_leave_the_comment_that_it_is_in(tmp_path: Path) -> None:
    graph = Architecture.build(
        [
            Operation.of("input"),
            Operation.of("conv", channels=4, note='"""\nraise SystemExit(9)\n"""\\'),
            Operation.of("output"),
        ],
        [(0, 1), (1, 2)],
        genotype='"""\nraise SystemExit(9)\n"""\\',
    )
    (tmp_path / "network.py").write_text(pytorch_source(graph, search_space("graph"), NetworkConfig((1, 8, 8), 3)))

    ended = run(str(tmp_path / "network.py"))

    assert ended.returncode == 0, ended.stderr


def test_what_cannot_be_built_has_no_source() -> None:
    graph = Architecture.build(
        [Operation.of("input"), Operation.of("recurrent"), Operation.of("output")], [(0, 1), (1, 2)]
    )

    with pytest.raises(UnbuildableError, match="'recurrent', which cannot be built"):
        pytorch_source(graph, search_space("graph"), NetworkConfig((1, 8, 8), 3))
