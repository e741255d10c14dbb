"""What each strategy does that its source says it does."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from search_problems import (
    ACCURACY,
    CONDITIONAL,
    LATENCY,
    Oracle,
    additive,
    best_found,
    outcome_of,
    scattered,
    started,
)

from predictor.errors import SearchError
from predictor.search.adam import Adam, clipped
from predictor.search.base import Outcome, Proposal, SearchProblem
from predictor.search.controller import Controller, ControllerSettings, policy_loss
from predictor.search.evolution import EvolutionSettings, RegularizedEvolution
from predictor.search.fresh import FreshArchitectures
from predictor.search.generations import GenerationSettings
from predictor.search.genetic import GeneticAlgorithm, GeneticSettings
from predictor.search.hierarchical import HierarchicalSearch, HierarchicalSettings
from predictor.search.history import History
from predictor.search.levels import completed, levels_of, moved, sketch
from predictor.search.local_search import LocalSearch, LocalSearchSettings
from predictor.search.nsga2 import NSGA2
from predictor.search.pareto import hypervolume, non_dominated
from predictor.search.policy import Draw, Policy, tensors_as_text
from predictor.search.q_learning import QLearning, QLearningSettings
from predictor.search.registry import make_strategy
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.registry import declared_search_space, search_space
from predictor.search_spaces.stepwise import Stepwise

MACRO = search_space("nasbench_macro")
CELLS = search_space("nasbench201")
BANDIT = declared_search_space(
    "bandit", {"version": 1, "decisions": [{"name": "arm", "type": "categorical", "values": ["a", "b", "c"]}]}
)
TREE = declared_search_space(
    "tree",
    {
        "version": 1,
        "decisions": [
            {"name": "first", "type": "categorical", "values": ["left", "right"]},
            {"name": "second", "type": "categorical", "values": ["left", "right"]},
        ],
    },
)
LEAVES = {("left", "left"): 10.0, ("left", "right"): 20.0, ("right", "left"): 40.0, ("right", "right"): 30.0}


def steps_of(space: SearchSpace) -> Stepwise:
    steps = space.stepwise()
    assert steps is not None
    return steps


# Evolution


def test_the_oldest_dies_however_good_it_was() -> None:
    strategy = RegularizedEvolution(started(MACRO), EvolutionSettings(population=3, tournament=2), 0)
    proposals = [one.architecture for one in strategy.ask(4)]
    told = [Outcome(one, (value,)) for one, value in zip(proposals, (99.0, 1.0, 2.0, 0.0), strict=True)]
    strategy.tell(told[:3])
    assert strategy.alive == tuple(proposals[:3])

    strategy.tell(told[3:])

    assert strategy.alive == tuple(proposals[1:])


def test_of_what_was_measured_before_the_best_live() -> None:
    strategy = RegularizedEvolution(started(MACRO), EvolutionSettings(population=3, tournament=2), 0)
    told = [
        Outcome(MACRO.parse(f"000000{n // 3}{n % 3}"), (float(value),)) for n, value in enumerate((9, 1, 8, 2, 7, 3))
    ]

    strategy.tell(told)

    assert strategy.alive == (told[0].architecture, told[2].architecture, told[4].architecture)


def test_what_could_not_be_evaluated_never_lives() -> None:
    strategy = RegularizedEvolution(started(MACRO), EvolutionSettings(population=3), 0)

    strategy.tell([Outcome(MACRO.parse("00000000"), None), Outcome(MACRO.parse("11111111"), (1.0,), fidelity=0.5)])

    assert strategy.alive == ()


def test_with_everybody_in_the_tournament_the_best_is_mutated() -> None:
    strategy = RegularizedEvolution(started(MACRO), EvolutionSettings(population=4, tournament=4), 0)
    best = MACRO.parse("11111111")
    strategy.tell([Outcome(MACRO.parse(text), (1.0,)) for text in ("00000000", "22222222", "00001111")])
    strategy.tell([Outcome(best, (2.0,))])

    children = [proposal.architecture for proposal in strategy.ask(6)]

    assert all(child in MACRO.neighbours(best) for child in children)


def test_a_feasible_architecture_wins_against_a_better_one_that_violates() -> None:
    strategy = RegularizedEvolution(started(MACRO), EvolutionSettings(population=2, tournament=2), 0)
    feasible = MACRO.parse("11111111")
    strategy.tell([Outcome(MACRO.parse("22222222"), (99.0,), violation=0.5), Outcome(feasible, (1.0,))])

    assert strategy.ask(1)[0].architecture in MACRO.neighbours(feasible)


# Genetic algorithm


def test_children_of_two_parents_take_every_layer_from_one_of_them() -> None:
    settings = GeneticSettings(population=2, elites=2, crossover_rate=1.0, mutation_rate=0.0, tournament=1)
    strategy = GeneticAlgorithm(started(MACRO), settings, 0)
    strategy.tell([Outcome(MACRO.parse("00000000"), (1.0,)), Outcome(MACRO.parse("11111111"), (1.0,))])

    texts = [proposal.architecture.genotype for proposal in strategy.ask(8)]

    assert all(text is not None and set(text) <= {"0", "1"} for text in texts)


def test_the_elite_lives_on_and_children_replace_the_others() -> None:
    strategy = GeneticAlgorithm(started(MACRO), GeneticSettings(population=4, elites=1), 0)
    first = [Outcome(MACRO.parse(f"000000{n}0"), (float(n),)) for n in range(3)]
    strategy.tell([*first, Outcome(MACRO.parse("00000022"), (50.0,))])
    assert len(strategy.parents) == 4

    second = [Outcome(MACRO.parse(f"111111{n}1"), (float(n),)) for n in range(3)]
    strategy.tell([*second, Outcome(MACRO.parse("11111122"), None)])

    assert strategy.parents == (MACRO.parse("00000022"), *(one.architecture for one in reversed(second)))


def test_nobody_waits_for_a_generation_to_come_in() -> None:
    strategy = GeneticAlgorithm(started(CELLS), GeneticSettings(population=4), 0)

    proposals = strategy.ask(30)

    assert len({proposal.architecture for proposal in proposals}) == 30


# NSGA-II


def test_the_best_fronts_survive_and_the_crowded_die() -> None:
    strategy = NSGA2(started(MACRO, (ACCURACY, LATENCY)), GenerationSettings(population=3), 0)
    values = [(90.0, 9.0), (89.9, 8.9), (50.0, 5.0), (10.0, 1.0), (40.0, 6.0), (80.0, 0.5)]
    told = [Outcome(MACRO.parse(f"00000{n // 3}{n % 3}0"), value) for n, value in enumerate(values[:3])]
    strategy.tell(told)
    more = [Outcome(MACRO.parse(f"11111{n // 3}{n % 3}1"), value) for n, value in enumerate(values[3:])]
    strategy.tell(more)

    survivors = {one.values for one in [*told, *more] if one.architecture in strategy.parents}

    assert survivors == {(90.0, 9.0), (89.9, 8.9), (80.0, 0.5)}


def test_nsga2_finds_more_of_the_trade_off_than_random_search() -> None:
    """In 120 evaluations out of 9^22 networks. Runs are exactly repeatable; the margin is two standard deviations of what a
    single random search covers."""
    space = search_space("fbnet")
    accuracy, latency = additive(space, 1), additive(space, 2)
    problem = started(space, (ACCURACY, LATENCY))
    volumes: dict[str, list[float]] = {"nsga2": [], "random": []}
    for name, seed in itertools.product(volumes, range(4)):
        strategy = make_strategy(name, problem, {}, seed)
        told: list[Outcome] = []
        for _ in range(20):
            batch = [outcome_of(one, accuracy, latency) for one in strategy.ask(6)]
            strategy.tell(batch)
            told += batch
        volumes[name].append(hypervolume(problem, told, (-10.0, 10.0)))

    assert np.mean(volumes["nsga2"]) > np.mean(volumes["random"]) + 2.0 * np.std(volumes["random"])


# Local search


def test_a_climb_goes_on_from_the_best_and_restarts_where_no_neighbour_is_better() -> None:
    strategy = LocalSearch(started(MACRO), LocalSearchSettings(starts=1), 3)
    top = MACRO.parse("22222222")

    def height(architecture: object) -> float:
        return float(str(architecture).count("2"))

    proposals: list[Proposal] = []
    while not proposals or proposals[-1].architecture != top:
        (proposal,) = strategy.ask(1)
        strategy.tell([Outcome(proposal.architecture, (height(proposal.architecture.genotype),))])
        proposals.append(proposal)
        assert len(proposals) < 150
    origins = []
    for _ in range(len(MACRO.neighbours(top)) + 1):
        (proposal,) = strategy.ask(1)
        strategy.tell([Outcome(proposal.architecture, (height(proposal.architecture.genotype),))])
        origins.append(proposal.origin)

    assert all(proposal.origin.startswith("a neighbour of") for proposal in proposals[1:])
    assert "random" in origins


def test_while_all_neighbours_of_the_best_are_out_those_of_the_next_are_tried() -> None:
    strategy = LocalSearch(started(MACRO), LocalSearchSettings(starts=1), 0)
    best, next_best = MACRO.parse("00000000"), MACRO.parse("11111111")
    strategy.tell([Outcome(best, (2.0,)), Outcome(next_best, (1.0,))])

    proposals = strategy.ask(len(MACRO.neighbours(best)) + 3)

    around = [proposal.architecture for proposal in proposals]
    assert set(MACRO.neighbours(best)) == set(around[:-3])
    assert all(one in MACRO.neighbours(next_best) for one in around[-3:])


# Random search


def test_random_search_lists_a_space_to_its_end() -> None:
    strategy = make_strategy("random", started(TREE), {}, 0)

    assert len(strategy.ask(100)) == len(LEAVES)


def test_a_random_walk_on_graphs_stays_near_what_is_known() -> None:
    space = search_space("graph")
    history, rng = History(space), np.random.default_rng(0)
    root = space.sample(rng)
    history.propose(Proposal(root))

    drawn = [FreshArchitectures(space, history).draw(rng) for _ in range(20)]

    assert all(one is not None and abs(one.num_nodes - root.num_nodes) < 12 for one in drawn)
    assert any(one in space.neighbours(root) for one in drawn)


# Controller


def bandit_policy() -> Policy:
    return Policy(steps_of(BANDIT), 8, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("algorithm", ["ppo", "reinforce"])
@pytest.mark.parametrize("advantage", [1.0, -1.0])
def test_a_step_makes_what_was_better_than_expected_likelier(algorithm: str, advantage: float) -> None:
    policy, rng = bandit_policy(), np.random.default_rng(0)
    settings = ControllerSettings(algorithm=algorithm, entropy_bonus=0.0)
    draw = policy.draw(rng)
    before = policy.probabilities(())

    policy_loss(policy, [draw], torch.tensor([advantage]), settings).backward()
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad

    moved = policy.probabilities(()) - before
    assert moved[draw.path[0]] * advantage > 0.0
    assert sum(moved) == pytest.approx(0.0, abs=1e-6)


def test_reinforce_has_the_gradient_of_the_expected_reward() -> None:
    """The mean over all arms, weighted by their probability, of reward × ∇ log probability is ∇ of the mean reward."""
    policy = bandit_policy()
    rewards = torch.tensor([0.2, 0.9, 0.4])
    probabilities = policy.probabilities(())
    settings = ControllerSettings(algorithm="reinforce", entropy_bonus=0.0)

    now = policy([(arm,) for arm in range(3)])
    expected = torch.autograd.grad((now.log_probabilities.exp() * rewards).sum(), policy._heads.bias)[0]
    draws = [policy_draw(arm, probabilities[arm]) for arm in range(3)]
    weighted = torch.tensor(probabilities, dtype=torch.float32) * rewards * 3  # the loss is a mean over three
    found = torch.autograd.grad(policy_loss(policy, draws, weighted, settings), policy._heads.bias)[0]

    assert torch.allclose(found, -expected, atol=1e-6)


def policy_draw(arm: int, probability: float) -> Draw:
    return Draw((arm,), float(np.log(probability)))


def test_ppo_stops_where_the_ratio_leaves_the_clip() -> None:
    policy = bandit_policy()
    settings = ControllerSettings(clip=0.2, entropy_bonus=0.0)
    much_likelier_now = policy_draw(0, policy.probabilities(())[0] / 1.5)

    policy_loss(policy, [much_likelier_now], torch.tensor([1.0]), settings).backward()

    assert all(parameter.grad is None or not parameter.grad.any() for parameter in policy.parameters())


def test_the_first_steps_of_adam_are_as_long_as_its_learning_rate() -> None:
    parameter = torch.nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))
    optimizer = Adam([parameter], 0.1)
    for _ in range(3):
        optimizer.step([torch.tensor([5.0, -0.01, 0.0])])

    assert parameter.detach().tolist() == pytest.approx([0.7, 1.3, 1.0], abs=1e-5)


def test_gradients_are_shortened_together_and_only_where_they_are_long() -> None:
    assert torch.cat(clipped([torch.tensor([3.0]), torch.tensor([4.0])], 1.0)).tolist() == pytest.approx([0.6, 0.8])
    assert clipped([torch.tensor([0.3])], 1.0)[0].item() == pytest.approx(0.3)


@pytest.mark.parametrize("text", ["", "not base 64!", "AAAA", tensors_as_text({"other": torch.zeros(2)})])
def test_parameters_that_are_none_are_refused(text: str) -> None:
    strategy = Controller(started(BANDIT), ControllerSettings(), 0)
    state = strategy.state()

    for key in ("parameters", "moments"):
        with pytest.raises(SearchError, match="expected what its `state` returned"):
            strategy.restore({**state, "own": {**state["own"], key: text}})


def test_an_entropy_bonus_makes_a_policy_less_decided() -> None:
    policy = bandit_policy()
    settings = ControllerSettings(entropy_bonus=1.0, learning_rate=0.05)
    with torch.no_grad():
        policy._heads.bias[0] += 2.0
    before = policy.probabilities(()).max()
    draw = policy.draw(np.random.default_rng(0))

    policy_loss(policy, [draw], torch.tensor([0.0]), settings).backward()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter -= 0.1 * (parameter.grad if parameter.grad is not None else 0.0)

    assert policy.probabilities(()).max() < before


def test_draws_keep_to_open_options_and_know_their_probability() -> None:
    steps = steps_of(CONDITIONAL)
    policy, rng = Policy(steps, 8, torch.Generator().manual_seed(1)), np.random.default_rng(0)
    draws = [policy.draw(rng) for _ in range(10)]

    now = policy([draw.path for draw in draws]).log_probabilities

    assert torch.allclose(now, torch.tensor([draw.log_probability for draw in draws]), atol=1e-5)
    for draw in draws:
        assert all(draw.path[place] in steps.open_options(draw.path[:place]) for place in range(len(draw.path)))


def test_probabilities_of_a_step_add_up_and_closed_options_have_none() -> None:
    policy = Policy(steps_of(CONDITIONAL), 8, torch.Generator().manual_seed(1))
    first_width = [step.name for step in steps_of(CONDITIONAL).steps].index("width[0]")
    path = policy.draw(np.random.default_rng(0)).path
    beginning = (*path[: first_width - 1], 1)  # an operation that has no width

    assert policy.probabilities(()).sum() == pytest.approx(1.0)
    assert policy.probabilities(beginning).tolist() == pytest.approx([1.0, 0.0])


def test_the_controller_learns_which_arm_is_best() -> None:
    arms = declared_search_space(
        "arms", {"version": 1, "decisions": [{"name": "x", "type": "real", "low": 0.0, "high": 1.0}]}
    )
    strategy = Controller(started(arms), ControllerSettings(learning_rate=0.05), 0)
    before = strategy.policy.probabilities(())[-3:].sum()

    for _ in range(80):
        (proposal,) = strategy.ask(1)
        strategy.tell([outcome_of(proposal, lambda one: steps_of(arms).path_of(one)[0])])

    assert before == pytest.approx(0.25, abs=0.05)
    assert strategy.policy.probabilities(())[-3:].sum() > 0.6


# Q-learning


def test_values_of_a_small_tree_are_those_of_its_best_leaves() -> None:
    settings = QLearningSettings(window=10, trace=0.0, replay=50, learning_rate=0.2)
    strategy = QLearning(started(TREE), settings, 0)
    steps = steps_of(TREE)
    leaves = {key: TREE.parse({"first": key[0], "second": key[1]}) for key in LEAVES}

    for _ in range(4):
        strategy.tell([Outcome(leaves[key], (value,)) for key, value in LEAVES.items()])

    rewards = {steps.path_of(leaves[key]): (value - 10.0) / 30.0 for key, value in LEAVES.items()}
    for path, reward in rewards.items():
        assert strategy.value(path[:1], path[1]) == pytest.approx(reward, abs=0.01)
    for first in (0, 1):
        best = max(reward for path, reward in rewards.items() if path[0] == first)
        assert strategy.value((), first) == pytest.approx(best, abs=0.01)


def test_a_greedy_search_takes_the_best_decisions_that_it_knows() -> None:
    settings = QLearningSettings(exploration=0, decay=1, final_epsilon=0.0)
    strategy = QLearning(started(MACRO), settings, 0)
    rng = np.random.default_rng(0)
    drawn = {one.hash: one for one in (MACRO.sample(rng) for _ in range(150))}.values()
    strategy.tell([Outcome(one, (float(str(one.genotype).count("2")),)) for one in drawn])
    strategy.ask(1)  # from then on nothing is random

    (proposal,) = strategy.ask(1)

    assert strategy.epsilon == 0.0
    assert str(proposal.architecture.genotype).count("2") >= 6


def test_randomness_falls_on_its_schedule() -> None:
    settings = QLearningSettings(exploration=4, decay=10, final_epsilon=0.1)
    strategy = QLearning(started(MACRO), settings, 0)
    epsilons = []
    for _ in range(16):
        epsilons.append(strategy.epsilon)
        strategy.ask(1)

    assert epsilons[:5] == [1.0] * 5
    assert epsilons[9] == pytest.approx(0.55)
    assert epsilons[14:] == pytest.approx([0.1, 0.1])


def test_a_state_tells_no_more_than_the_last_decisions() -> None:
    strategy = QLearning(started(MACRO), QLearningSettings(window=1, replay=0, learning_rate=1.0), 0)
    strategy.tell([Outcome(MACRO.parse("00000000"), (0.0,)), Outcome(MACRO.parse("22222222"), (1.0,))])

    assert strategy.value((0, 2), 2) == strategy.value((1, 2), 2) == 1.0
    assert strategy.value((2, 1), 2) == 0.5


# Hierarchical search


def test_levels_go_from_the_whole_over_modules_to_single_decisions() -> None:
    assert [(level.name, len(level.knobs)) for level in levels_of(steps_of(search_space("fbnet")))] == [
        ("whole", 1),
        ("modules", 7),
        ("decisions", 22),
    ]
    ofa = levels_of(steps_of(search_space("ofa_mobilenetv3")))
    assert [len(level.knobs) for level in ofa] == [6 + 2, 6 + 10, 6 + 40]


def test_levels_that_say_the_same_are_one() -> None:
    assert [level.name for level in levels_of(steps_of(search_space("nasbench_graph")))] == ["whole", "decisions"]
    assert [level.name for level in levels_of(steps_of(TREE))] == ["decisions"]


def test_a_sketch_gives_all_decisions_of_a_kind_one_option() -> None:
    steps, rng = steps_of(search_space("fbnet")), np.random.default_rng(0)

    assert len(set(sketch(steps, levels_of(steps)[0], rng))) == 1


def test_a_move_turns_one_knob_and_leaves_the_rest() -> None:
    steps, rng = steps_of(search_space("fbnet")), np.random.default_rng(0)
    base = sketch(steps, levels_of(steps)[0], rng)
    for level in levels_of(steps):
        path, knob = moved(steps, level, base, rng)

        assert [number for number in range(len(path)) if path[number] != base[number]] == list(knob)


def test_layers_that_come_with_depth_take_after_the_last_one() -> None:
    steps = steps_of(CONDITIONAL)
    names = [step.name for step in steps.steps]
    shallow = steps.path_of(CONDITIONAL.parse({"depth": 1, "op": ["conv3x3"], "width": [32], "rate": 0.01}))
    wanted = {place: option for place, option in enumerate(shallow) if names[place] in ("rate", "op[0]", "width[0]")}

    path = completed(steps, {**wanted, names.index("depth"): 2}, np.random.default_rng(0))

    built = CONDITIONAL.format(steps.build(path, np.random.default_rng(0)))
    assert '"op":["conv3x3","conv3x3","conv3x3"]' in built
    assert '"width":[32,32,32]' in built


def test_sketches_come_first_then_modules_then_single_decisions() -> None:
    settings = HierarchicalSettings(sketches=3, modules=3, return_rate=0.0)
    strategy = HierarchicalSearch(started(search_space("fbnet")), settings, 0)
    origins = []
    for _ in range(9):
        (proposal,) = strategy.ask(1)
        strategy.tell([outcome_of(proposal)])
        origins.append(proposal.origin.partition(":")[0])

    assert origins == ["whole"] * 3 + ["modules"] * 3 + ["decisions"] * 3


def test_the_forecast_says_which_candidates_are_proposed() -> None:
    value = additive(CELLS, 3)
    problem = started(CELLS)
    guided = HierarchicalSearch(problem, HierarchicalSettings(), 0)
    oracle = Oracle([value], std=0.1)

    told = [outcome_of(one, value) for _ in range(8) for one in guided.ask(5, oracle)]

    rng = np.random.default_rng(0)
    drawn = sorted(value(CELLS.sample(rng)) for _ in range(200))
    assert np.mean([one.values[0] for one in told if one.values]) > drawn[150]


def test_what_is_forecast_to_violate_constraints_comes_last() -> None:
    def feasible(architecture: object) -> float:
        return float("nor_conv_3x3" not in str(getattr(architecture, "genotype", "")))

    settings = HierarchicalSettings(sketches=1, modules=0, return_rate=0.0)
    guided = HierarchicalSearch(started(CELLS), settings, 0)
    guided.tell([outcome_of(Proposal(CELLS.sample(np.random.default_rng(0))))])

    proposed = guided.ask(6, Oracle([scattered], feasibility=feasible))

    assert all("nor_conv_3x3" not in str(proposal.architecture.genotype) for proposal in proposed)


# Against random search

SEEDS, EVALUATIONS = range(5), 60


@pytest.fixture(scope="module")
def random_results() -> list[float]:
    value = additive(CELLS, 0)
    return [best_found("random", started(CELLS), value, seed, EVALUATIONS) for seed in range(20)]


@pytest.mark.parametrize("name", ["local", "evolution", "genetic", "nsga2", "controller", "q_learning", "has"])
def test_it_finds_better_cells_than_random_search(name: str, random_results: list[float]) -> None:
    """On a value that is known for all 15,625 cells. Runs are exactly repeatable; the margin is two standard errors of
    what random search finds, so that a strategy that draws at random would pass by chance once in about forty."""
    found = [best_found(name, started(CELLS), additive(CELLS, 0), seed, EVALUATIONS) for seed in SEEDS]

    error = np.std(random_results) / np.sqrt(len(SEEDS))
    assert np.mean(found) > np.mean(random_results) + 2.0 * error


def test_the_front_of_a_finished_search_is_what_nothing_else_of_it_dominates() -> None:
    problem = SearchProblem(MACRO, (ACCURACY, LATENCY))
    strategy = make_strategy("nsga2", problem, {"population": 8}, 0)
    told = [outcome_of(one, scattered, lambda one: float(str(one.genotype).count("2"))) for one in strategy.ask(30)]

    front = [one.values for one in non_dominated(problem, told) if one.values is not None]

    assert front
    for accuracy, latency in front:
        assert not any(
            better >= accuracy and sooner <= latency and (better, sooner) != (accuracy, latency)
            for better, sooner in (one.values for one in told if one.values is not None)
        )
