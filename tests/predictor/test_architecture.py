"""Architecture: a hash that is equal exactly for isomorphic graphs, and graphs that cannot be built wrongly."""

from __future__ import annotations

import itertools
import json
import random
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor import canonical_order
from predictor.architecture import Architecture, Operation
from predictor.errors import InvalidGraphError, TooSymmetricError
from predictor.search_spaces.nasbench201 import NASBench201

INPUT, OUTPUT = Operation.of("input"), Operation.of("output")
CONV, POOL = Operation.of("conv", kernel_size=3), Operation.of("max_pool", kernel_size=3)

Edges = Iterable[tuple[int, int]]


def as_networkx(architecture: Architecture) -> Any:
    graph = nx.DiGraph()
    graph.add_nodes_from((node, {"key": operation.key}) for node, operation in enumerate(architecture.operations))
    graph.add_edges_from(architecture.edges)
    return graph


def isomorphic(first: Architecture, second: Architecture) -> bool:
    """What networkx says, which knows nothing of our canonical form."""
    same_operation = nx.algorithms.isomorphism.categorical_node_match("key", None)
    return bool(nx.is_isomorphic(as_networkx(first), as_networkx(second), node_match=same_operation))


def relabelled(architecture: Architecture, seed: int) -> Architecture:
    shuffle = random.Random(seed)
    place = list(range(architecture.num_nodes))
    shuffle.shuffle(place)
    operations = [INPUT] * architecture.num_nodes
    for node, operation in enumerate(architecture.operations):
        operations[place[node]] = operation
    edges = [(place[source], place[target]) for source, target in architecture.edges]
    shuffle.shuffle(edges)
    return Architecture(tuple(operations), tuple(edges), architecture.global_attributes)


def incidence(graph: Any) -> Architecture:
    """An undirected graph as a DAG: every edge becomes a node that both its ends feed."""
    number = {node: place for place, node in enumerate(graph.nodes)}
    ends = [(number[u], number[v]) for u, v in graph.edges]
    edges = [(end, len(number) + place) for place, pair in enumerate(ends) for end in pair]
    return Architecture.build([CONV] * len(number) + [POOL] * len(ends), edges)


def shrikhande_graph() -> Any:
    steps = ((0, 1), (1, 0), (1, 1))
    return nx.Graph(
        ((x, y), ((x + dx) % 4, (y + dy) % 4)) for x, y in itertools.product(range(4), repeat=2) for dx, dy in steps
    )


def branches(lengths: Iterable[int]) -> Architecture:
    """Chains of convolutions between one input and one output."""
    operations, edges = [INPUT, OUTPUT], []
    for length in lengths:
        last = 0
        for _ in range(length):
            operations.append(CONV)
            edges.append((last, len(operations) - 1))
            last = len(operations) - 1
        edges.append((last, 1))
    return Architecture.build(operations, edges)


@st.composite
def dags(draw: st.DrawFn) -> Architecture:
    num_nodes = draw(st.integers(1, 9))
    operations = draw(st.lists(st.sampled_from([CONV, POOL]), min_size=num_nodes, max_size=num_nodes))
    pairs = list(itertools.combinations(range(num_nodes), 2))
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return Architecture.build(operations, edges)


class TestHashAndIsomorphism:
    def test_cells_of_nasbench201_are_equal_exactly_when_they_are_isomorphic(self) -> None:
        cells = list(NASBench201().enumerate())
        by_hash: dict[str, dict[Any, Architecture]] = defaultdict(dict)
        for cell in cells:
            by_hash[cell.hash][cell.operations, frozenset(cell.edges)] = cell
        representatives = [next(iter(group.values())) for group in by_hash.values()]
        look_alikes: dict[Any, list[Architecture]] = defaultdict(list)
        for cell in representatives:
            look_alikes[self.cheap_invariant(cell)].append(cell)

        assert len(cells) == 15_625
        for group in by_hash.values():  # equal hashes: one graph
            first, *others = group.values()
            assert all(isomorphic(first, other) for other in others)
        for suspects in look_alikes.values():  # different hashes: different graphs
            assert not any(isomorphic(*pair) for pair in itertools.combinations(suspects, 2))

    @staticmethod
    def cheap_invariant(cell: Architecture) -> Any:
        """Equal for isomorphic graphs, seldom for others; made without colour refinement."""
        graph = as_networkx(cell)
        reachable = {
            node: sorted(cell.operations[other].key for other in nx.descendants(graph, node)) for node in graph
        }
        around = sorted(
            (
                cell.operations[node].key,
                sorted(cell.operations[source].key for source in cell.predecessors[node]),
                sorted(cell.operations[target].key for target in cell.successors[node]),
                reachable[node],
            )
            for node in graph
        )
        return json.dumps(around)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(architecture=dags(), seed=st.integers(0, 2**32))
    def test_the_order_of_nodes_and_edges_does_not_matter(self, architecture: Architecture, seed: int) -> None:
        other = relabelled(architecture, seed)

        assert other == architecture
        assert hash(other) == hash(architecture)
        assert other.canonical().to_json() == architecture.canonical().to_json()

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(first=dags(), second=dags())
    def test_two_graphs_are_equal_exactly_when_they_are_isomorphic(
        self, first: Architecture, second: Architecture
    ) -> None:
        assert (first == second) == isomorphic(first, second)

    @pytest.mark.parametrize(("num_nodes", "num_classes"), [(3, 6), (4, 31), (5, 302)])  # OEIS A003087
    def test_all_graphs_fall_into_their_isomorphism_classes(self, num_nodes: int, num_classes: int) -> None:
        pairs = list(itertools.combinations(range(num_nodes), 2))
        graphs = [
            Architecture.build([CONV] * num_nodes, [pair for pair, kept in zip(pairs, present, strict=True) if kept])
            for present in itertools.product((0, 1), repeat=len(pairs))
        ]

        assert len({graph.hash for graph in graphs}) == num_classes

    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(architecture=dags(), data=st.data())
    def test_one_edge_more_is_another_graph(self, architecture: Architecture, data: st.DataObject) -> None:
        absent = sorted(set(itertools.combinations(range(architecture.num_nodes), 2)) - set(architecture.edges))
        if absent:
            added = data.draw(st.sampled_from(absent))

            assert Architecture(architecture.operations, (*architecture.edges, added)) != architecture

    def test_the_genotype_takes_no_part(self) -> None:
        assert Architecture((INPUT,), (), (), "one") == Architecture((INPUT,), (), (), "other")

    def test_an_architecture_is_equal_to_nothing_else(self) -> None:
        assert Architecture((INPUT,), ()) != "input"


class TestSymmetricGraphs:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (nx.cycle_graph(12), nx.disjoint_union(nx.cycle_graph(6), nx.cycle_graph(6))),
            (nx.cycle_graph(6), nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3))),
            (nx.circular_ladder_graph(5), nx.petersen_graph()),
            (nx.circular_ladder_graph(6), nx.circulant_graph(12, [1, 6])),
            (nx.circulant_graph(13, [1, 5]), nx.circulant_graph(13, [1, 2])),
            (nx.desargues_graph(), nx.dodecahedral_graph()),
            (shrikhande_graph(), nx.line_graph(nx.complete_bipartite_graph(4, 4))),
        ],
        ids=["cycles", "triangles", "prism and Petersen", "ladders", "circulants", "cubic", "strongly regular"],
    )
    def test_regular_look_alikes_are_told_apart(self, first: Any, second: Any) -> None:
        one, other = incidence(first), incidence(second)

        assert sorted(map(len, one.predecessors)) == sorted(map(len, other.predecessors))
        assert sorted(map(len, one.successors)) == sorted(map(len, other.successors))
        assert one != other

    @pytest.mark.parametrize(
        "graph",
        [
            nx.petersen_graph(),
            nx.hypercube_graph(4),
            nx.complete_graph(9),
            nx.cycle_graph(40),
            shrikhande_graph(),
            nx.disjoint_union_all([nx.cycle_graph(5)] * 8),
            nx.disjoint_union_all([nx.complete_bipartite_graph(3, 3), nx.circular_ladder_graph(3)] * 3),
        ],
        ids=["Petersen", "hypercube", "complete", "cycle", "Shrikhande", "many cycles", "mixed"],
    )
    def test_symmetric_graphs_hash_equal_whatever_their_node_order(self, graph: Any) -> None:
        architecture = incidence(graph)

        assert len({relabelled(architecture, seed).hash for seed in range(6)} | {architecture.hash}) == 1

    def test_components_that_differ_only_in_how_they_are_grouped_are_told_apart(self) -> None:
        one_long = branches([2, 2, 2, 3])
        crossed = Architecture.build(one_long.operations, [*one_long.edges, (2, 5)])
        straight = Architecture.build(one_long.operations, [*one_long.edges, (2, 9)])

        assert crossed != straight
        assert crossed == relabelled(crossed, 1)

    @pytest.mark.parametrize("length", [1, 2, 5])
    def test_many_equal_branches_are_no_trouble(self, length: int) -> None:
        architecture = branches([length] * 150)

        assert relabelled(architecture, 1) == architecture
        assert branches([length] * 149 + [length + 1]) != architecture

    def test_stages_of_equal_branches_are_no_trouble(self) -> None:
        stages = [list(range(start, start + 8)) for start in range(0, 80, 8)]
        dense = [edge for one, two in itertools.pairwise(stages) for edge in itertools.product(one, two)]
        sparse = dense[1:]

        assert relabelled(Architecture.build([CONV] * 80, dense), 1) == Architecture.build([CONV] * 80, dense)
        assert relabelled(Architecture.build([CONV] * 80, sparse), 1) == Architecture.build([CONV] * 80, sparse)
        assert Architecture.build([CONV] * 80, dense) != Architecture.build([CONV] * 80, sparse)

    def test_too_much_symmetry_is_refused_and_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(canonical_order, "MAX_WORK", 5_000)
        architecture = incidence(shrikhande_graph())

        with pytest.raises(TooSymmetricError, match=r"at most 5000 looks .* got one of 64 nodes"):
            _ = architecture.hash

    def test_a_projective_plane_is_beyond_the_limit(self) -> None:
        size = 7
        points = [(1, a, b) for a in range(size) for b in range(size)] + [(0, 1, a) for a in range(size)] + [(0, 0, 1)]
        on_line = [
            (place, len(points) + number)
            for place, point in enumerate(points)
            for number, line in enumerate(points)
            if sum(x * y for x, y in zip(point, line, strict=True)) % size == 0
        ]
        architecture = Architecture.build([CONV] * len(points) + [POOL] * len(points), on_line)

        with pytest.raises(TooSymmetricError, match="expected a graph whose canonical form takes at most"):
            _ = architecture.hash


class TestAttributes:
    def test_attributes_are_part_of_the_operation_in_any_order(self) -> None:
        one = Operation.of("conv", kernel_size=3, stride=1)

        assert one == Operation.of("conv", stride=1, kernel_size=3)
        assert one != Operation.of("conv", kernel_size=3, stride=2)
        assert one.get("stride") == 1
        assert one.get("groups", 1) == 1

    def test_a_whole_float_is_the_integer_it_means_and_a_truth_value_is_no_number(self) -> None:
        assert Operation.of("conv", rate=2.0) == Operation.of("conv", rate=2)
        assert Operation.of("conv", rate=2.5) != Operation.of("conv", rate=2)
        assert Operation.of("mbconv", se=True).key != Operation.of("mbconv", se=1).key
        assert Operation.of("mbconv", se="1").key != Operation.of("mbconv", se=1).key

    def test_a_name_cannot_pass_for_another_by_quoting(self) -> None:
        assert Operation.of('a","b').key != Operation.of("a", b="").key

    def test_known_parameters_and_flops_do_not_change_the_hash(self) -> None:
        plain = Architecture.build([INPUT, OUTPUT], [(0, 1)], {"resolution": 224})
        known = Architecture.build([INPUT, OUTPUT], [(0, 1)], {"resolution": 224, "params": 5_000_000, "flops": 3e8})

        assert plain == known
        assert dict(known.global_attributes)["params"] == 5_000_000

    def test_other_attributes_of_the_whole_change_the_hash(self) -> None:
        graphs = [Architecture.build([INPUT], [], attributes) for attributes in ({}, {"resolution": 1}, {"stem": 1})]

        assert len({graph.hash for graph in graphs}) == 3

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_what_is_not_finite_is_refused(self, value: float) -> None:
        with pytest.raises(InvalidGraphError, match="expected attribute 'rate' to be finite, got"):
            Operation.of("conv", rate=value)
        with pytest.raises(InvalidGraphError, match="global attributes: expected attribute 'params' to be finite"):
            Architecture.build([INPUT], [], {"params": value})
        with pytest.raises(InvalidGraphError, match="expected attribute 'rate' to be finite"):
            Architecture.from_json({"nodes": [{"kind": "conv", "attributes": {"rate": value}}], "edges": []})

    @pytest.mark.parametrize("value", [None, [1], {"a": 1}, 1j])
    def test_what_is_no_plain_value_is_refused(self, value: Any) -> None:
        with pytest.raises(InvalidGraphError, match="to be a number, text or a truth value, got"):
            Operation.of("conv", width=value)

    @pytest.mark.parametrize("kind", ["", None, 3])
    def test_a_kind_is_text(self, kind: Any) -> None:
        with pytest.raises(InvalidGraphError, match="kind to be non-empty text, got"):
            Operation.of(kind)


class TestValidation:
    @pytest.mark.parametrize(
        ("num_nodes", "edges", "complaint"),
        [
            (0, [], "expected at least one node, got none"),
            (2, [(0, 2)], "expected edges between nodes 0 to 1, got an edge from 0 to 2"),
            (2, [(-1, 1)], "expected edges between nodes 0 to 1, got an edge from -1 to 1"),
            (2, [(1, 1)], "expected no edge from a node to itself, got one at node 1"),
            (2, [(0, 1), (0, 1)], r"expected every edge once, got \[0, 1\] more than once"),
            (3, [(0, 1), (1, 2), (2, 1)], "expected a graph without cycles, got one through or before nodes"),
            (2, [(0, 1), (1, 0)], "expected a graph without cycles"),
        ],
    )
    def test_a_graph_that_is_no_dag_is_refused(self, num_nodes: int, edges: Edges, complaint: str) -> None:
        with pytest.raises(InvalidGraphError, match=complaint):
            Architecture.build([CONV] * num_nodes, edges)

    def test_topological_order_points_forward(self) -> None:
        architecture = relabelled(branches([3, 1, 2]), 4)
        place = {node: number for number, node in enumerate(architecture.topological_order)}

        assert all(place[source] < place[target] for source, target in architecture.edges)


class TestJSON:
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(architecture=dags())
    def test_what_was_written_is_read_back(self, architecture: Architecture) -> None:
        document = json.loads(json.dumps(architecture.to_json()))
        read = Architecture.from_json(document)

        assert (read.operations, read.edges) == (architecture.operations, architecture.edges)
        assert read == architecture

    def test_attributes_are_read_back_with_their_types(self) -> None:
        written = Architecture.build(
            [Operation.of("mbconv", se=True, rate=0.5, function="relu", channels=16)], [], {"resolution": 224}
        )

        assert Architecture.from_json(json.loads(json.dumps(written.to_json()))).to_json() == written.to_json()

    @pytest.mark.parametrize(
        ("document", "complaint"),
        [
            ([], "expected an object with nodes and edges, got list"),
            ({"nodes": []}, "expected edges to be a list, got NoneType|expected at least one node"),
            ({"nodes": [], "edges": []}, "expected at least one node, got none"),
            ({"nodes": {}, "edges": []}, "expected nodes to be a list, got dict"),
            ({"nodes": ["conv"], "edges": []}, "expected node 0 to be an object, got str"),
            ({"nodes": [{}], "edges": []}, "node 0: expected kind to be non-empty text, got None"),
            ({"nodes": [{"kind": "conv", "op": 1}], "edges": []}, r"keys kind and attributes, got also \['op'\]"),
            ({"nodes": [{"kind": "conv", "attributes": [1]}], "edges": []}, "to be an object, got list"),
            ({"nodes": [{"kind": "a"}], "edges": [], "weights": 1}, r"got also \['weights'\]"),
            ({"nodes": [{"kind": "a"}] * 2, "edges": [[0]]}, r"edge 0: expected two whole numbers .* got \[0\]"),
            ({"nodes": [{"kind": "a"}] * 2, "edges": [[0, 1.0]]}, "edge 0: expected two whole numbers"),
            ({"nodes": [{"kind": "a"}] * 2, "edges": [[False, True]]}, "edge 0: expected two whole numbers"),
            ({"nodes": [{"kind": "a"}] * 2, "edges": ["01"]}, "edge 0: expected two whole numbers"),
        ],
    )
    def test_a_wrong_document_is_told_what_is_wrong(self, document: Any, complaint: str) -> None:
        with pytest.raises(InvalidGraphError, match=complaint):
            Architecture.from_json(document)


def test_architectures_of_the_same_wiring_share_their_edges() -> None:
    first, second = (Architecture.build([INPUT, CONV, OUTPUT], [(0, 1), (1, 2)]) for _ in range(2))

    assert first.edges is second.edges
