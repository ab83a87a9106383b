"""The headness classifier that a person's labels train: logistic regression on the embeddings of crops."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import numpy as np

from figment.curate.review_desk import Desk

ENOUGH = 40
"""Labels before the first training."""
EACH_KIND = 4
"""Of these, at least so many heads and so many non-heads."""
AGAIN = 10
"""Further labels before the next training."""
RIDGES = (0.3, 1.0, 3.0, 10.0)
"""Weights of the penalty; cross-validation on the labels takes the best."""
FOLDS = 5
TRUSTED = 0.85
"""Share of the labels, the mean of both kinds, that cross-validation must get right before the classifier may judge."""
SURE = 0.95
"""How likely its answer must be before it judges."""


@dataclass(frozen=True)
class Lesson:
    """What the classifier learned from, and how well it does on labels that it did not see."""

    labels: int
    """Labels with an embedding."""
    right: float
    """Share of them that cross-validation got right, the mean of heads and non-heads, 0 to 1."""
    judged: int
    """Verdicts that it changed; 0 where it is not trusted yet."""
    trusted: bool
    """Whether it judges, or only orders what is left."""


class Classifier:
    """Is it a head? Learns from a desk's labels when there are enough, and orders what is left by its doubt."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.lesson: Lesson | None = None
        self.learned_at = 0  # labels at the last training
        self.head_ids, self.units = load_embeddings(desk)
        self.row_of = {int(head_id): row for row, head_id in enumerate(self.head_ids)}

    @property
    def usable(self) -> bool:
        """Whether the catalog has embeddings at all."""
        return len(self.head_ids) > 0

    def labels(self) -> dict[int, int]:
        """Head id -> 1 (kept by a person) or 0 (no head, by a person). Heads rejected for taste teach nothing."""
        with self.desk.lock:
            rows = self.desk.db.execute(
                "SELECT head_id, verdict = 'keep' FROM verdicts WHERE by = 'person'"
                " AND (verdict = 'keep' OR reason = 'not-a-head')"
            ).fetchall()
        return {row[0]: row[1] for row in rows}

    def due(self) -> bool:
        """Whether there are enough new labels for a training."""
        labels = {head_id: word for head_id, word in self.labels().items() if head_id in self.row_of}
        heads = sum(labels.values())
        wanted = ENOUGH if self.lesson is None else self.learned_at + AGAIN
        return len(labels) >= wanted and min(heads, len(labels) - heads) >= EACH_KIND

    def learn(self) -> Lesson:
        """Train on the labels, order what is left by doubt, and judge where the answer is sure enough."""
        labels = {head_id: word for head_id, word in self.labels().items() if head_id in self.row_of}
        rows = np.array([self.row_of[head_id] for head_id in labels])
        x = self.units[rows].astype(np.float64)  # [N, D]
        y = np.array(list(labels.values()), np.float64)  # [N]

        # The penalty that does best on labels left out; how well it does there decides whether it may judge.
        held_out = {ridge: cross_validate(x, y, ridge) for ridge in RIDGES}
        ridge = min(held_out, key=lambda each: log_loss(held_out[each], y))
        right = balanced_share(held_out[ridge], y)
        weights = fit(x, y, ridge)

        p = predict(self.units.astype(np.float32), weights.astype(np.float32))
        probabilities = {int(head_id): float(value) for head_id, value in zip(self.head_ids, p, strict=True)}
        sure = {}
        if right >= TRUSTED:
            sure = {
                head_id: (value > 0.5, f"model {value:.3f} {'>' if value > 0.5 else '<'} 0.5")
                for head_id, value in probabilities.items()
                if max(value, 1 - value) >= SURE and head_id not in labels
            }
        judged = self.desk.judge_by_model(sure, probabilities)
        self.learned_at = len(labels)
        self.lesson = Lesson(len(labels), round(right, 3), judged, right >= TRUSTED)
        return self.lesson


def load_embeddings(desk: Desk) -> tuple[np.ndarray, np.ndarray]:
    """The ids and embeddings of the heads that have one: int64 [N] and float16 [N, D]; damaged ones are left out."""
    with desk.lock:
        try:
            rows = desk.db.execute(
                "SELECT h.id, m.value FROM heads h JOIN measures m ON m.head_id = h.id AND m.name = 'embedding'"
            )
            found = [(row[0], _unhex(row[1])) for row in rows]
        except sqlite3.OperationalError:
            found = []
    width = next((len(unit) for _, unit in found if unit is not None), 0)
    usable = [(head_id, unit) for head_id, unit in found if unit is not None and len(unit) == width]
    if not usable:
        return np.zeros(0, np.int64), np.zeros((0, 0), np.float16)
    return np.array([head_id for head_id, _ in usable], np.int64), np.stack([unit for _, unit in usable])


def _unhex(text: object) -> np.ndarray | None:
    """The float16 numbers of a hex text, None where it is none."""
    try:
        unit = np.frombuffer(bytes.fromhex(str(text)), "<f2")
    except ValueError:
        return None
    return unit if len(unit) and bool(np.isfinite(unit).all()) else None


def fit(
    x: np.ndarray,  # float64 [N, D], rows of unit length
    y: np.ndarray,  # 1 or 0 [N]
    ridge: float,  # weight of the penalty on all but the constant
    steps: int = 25,
) -> np.ndarray:
    """Weights [D + 1] of a penalised logistic regression, the constant last, by Newton's method (IRLS).

    Both kinds weigh the same, however few there are of one: a reviewer labels what is doubtful, not a fair sample.
    """
    inputs = np.concatenate([x * np.sqrt(x.shape[1]), np.ones((len(x), 1))], 1)  # [N, D + 1]
    share = np.where(y == 1, 0.5 / max(y.mean(), 1e-9), 0.5 / max(1 - y.mean(), 1e-9))  # [N], mean 1
    penalty = np.full(inputs.shape[1], ridge)
    penalty[-1] = 1e-6
    weights = np.zeros(inputs.shape[1])
    for _ in range(steps):
        p = _sigmoid(inputs @ weights)
        slope = inputs.T @ (share * (p - y)) + penalty * weights
        curve = (inputs * (share * p * (1 - p))[:, None]).T @ inputs + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curve, slope)
        weights -= step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-9))  # no leap on separable labels
        if np.abs(step).max() < 1e-6:
            break
    return weights


def predict(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How likely each row of `x` [N, D] is a head, [N] in 0..1."""
    return _sigmoid(x @ (weights[:-1] * np.sqrt(x.shape[1]).astype(weights.dtype)) + weights[-1])


def cross_validate(x: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    """What each label is taken for by a classifier that did not see it nor the rest of its fold, [N]."""
    order = np.random.RandomState(0).permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]  # each fold gets its share of both kinds
    fold = np.empty(len(y), np.int64)
    fold[order] = np.arange(len(y)) % FOLDS
    p = np.empty(len(y))
    for each in range(FOLDS):
        p[fold == each] = predict(x[fold == each], fit(x[fold != each], y[fold != each], ridge))
    return p


def log_loss(p: np.ndarray, y: np.ndarray) -> float:
    """Mean negative log-likelihood of labels `y`, both kinds weighing the same."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return float(-(np.log(p[y == 1]).mean() + np.log(1 - p[y == 0]).mean()) / 2)


def balanced_share(p: np.ndarray, y: np.ndarray) -> float:
    """Share of labels that are told right, the mean of both kinds."""
    return float(((p[y == 1] > 0.5).mean() + (p[y == 0] <= 0.5).mean()) / 2)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -30, 30))))
