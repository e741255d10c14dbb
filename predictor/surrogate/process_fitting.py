"""The residual process of one adaptation, fitted: how much each opinion counts beforehand, how much room is left to likeness, and
what forests add.

Notation: S support architectures, F columns of a forest's row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from predictor.surrogate.hyperparameters import GPConfig, GPInputs
from predictor.surrogate.related_tasks import RelatedTasks, is_cost
from predictor.surrogate.residual_gp import ResidualGP
from predictor.surrogate.support_forests import (
    LOG_WIDTH_OF_OPINION,
    OPINION_SHARE,
    SupportForests,
    corrected_share,
    grown,
)
from predictor.tasks import Metric, Task

_MIN_FOR_SLOPE = 10
"""Observations from which on they tell how far the scale of a forecast is off."""

_LESS_ROOM = 0.5
"""By how much views that look for what holds in every space weigh less beside tasks of quality that can be relied on fully."""


@dataclass(frozen=True)
class Learned:
    """What was measured of a support set, standardised units."""

    targets: Tensor  # (S,)
    counts: Tensor  # (S,) of measurements
    known_variance: Tensor  # (S,) of their errors; 0 where nothing is known

    def select(self, rows: Tensor) -> Learned:
        """Of these observations."""
        return Learned(self.targets[rows], self.counts[rows], self.known_variance[rows])


def process_of(
    task: Task, support: GPInputs, learned: Learned, related: RelatedTasks | None, own_shares: tuple[float, ...]
) -> ResidualGP:
    """The process on these opinions and views, beside related tasks or without; own shares are of all opinions but those of related tasks,
    and add up to 1."""
    return _fitted(support, learned, _config(task, related, own_shares, ()))


def process_with_forests(
    task: Task,
    support: GPInputs,
    rows: Tensor,  # (S, F)
    learned: Learned,
    related: RelatedTasks | None,
    own_shares: tuple[float, ...],
) -> tuple[ResidualGP, SupportForests]:
    """The same with a forest's opinion as the last one, a share of the task's own, and what corrects the blend of all."""
    noise = learned.counts, learned.known_variance
    opinion, left_out = grown(rows, learned.targets, *noise)
    heard = replace(support, means=torch.cat([support.means, left_out[:, None]], dim=1))
    others = tuple((1.0 - OPINION_SHARE) * share for share in own_shares)
    config = _config(task, related, others, (OPINION_SHARE,))
    widths = *[GPConfig.log_width_of_shares] * support.means.shape[1], LOG_WIDTH_OF_OPINION
    process = _fitted(heard, learned, replace(config, log_widths_of_shares=widths))
    blend, missed, ordinary = process.blend(heard.means), process.missed(), process.is_ordinary
    correction, left_out = grown(rows, learned.targets - blend, *noise)
    apart = blend + left_out - (learned.targets - missed)
    return process, SupportForests(opinion, correction, corrected_share(missed[ordinary], apart[ordinary]))


def _config(
    task: Task, related: RelatedTasks | None, own_shares: tuple[float, ...], last: tuple[float, ...]
) -> GPConfig:
    """With own opinions before those of related tasks, and others after them."""
    if related is None:
        return GPConfig(shares=(*own_shares, *last))
    of_own, *of_related = related.shares
    first, last = (tuple(of_own * share for share in own) for own in (own_shares, last))
    return GPConfig(shares=(*first, *of_related, *last), room=_room(task.metric, related))


def _fitted(support: GPInputs, learned: Learned, config: GPConfig) -> ResidualGP:
    # few values go the other way by chance: they may not turn a forecast round
    slope = GPConfig.slope * min(1.0, len(learned.targets) / _MIN_FOR_SLOPE)
    return ResidualGP.fit(
        support, learned.targets, learned.counts, replace(config, slope=slope), learned.known_variance
    )


def _room(metric: Metric, related: RelatedTasks) -> tuple[float, ...]:
    """Of every view beside related tasks (`GPConfig.room`): the more these can be relied on, the less is left to embedding, statistics,
    neighbourhoods and counts. Where costs are forecast these tell what relatives on other hardware do not, and keep it all."""
    general = 1.0 if is_cost(metric) else 1.0 - _LESS_ROOM * related.trust
    decisions = opinions = 1.0
    return general, general, general, decisions, opinions, general
