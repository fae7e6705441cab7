"""Catalog of the published classical baselines of facial expression recognition on FER2013."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

from feredge.dataclass_io import nearest
from feredge.errors import RecipeError

Estimator: TypeAlias = Any
"""A scikit-learn estimator; scikit-learn has no annotations."""
Features = Literal["unit", "standard", "hog"]


@dataclass(frozen=True)
class Baseline:
    """A published classical baseline.

    Attributes:
        id: its name in feredge.
        study: whose protocol it was published under, a key of protocols.STUDY_PROTOCOLS.
        description: in one line.
        features: `unit`, pixels / 255; `standard`, pixels standardized by the global mean and standard deviation of the
            training images; `hog`, histograms of oriented gradients.
        build: returns the unfitted scikit-learn estimator, with fixed seeds.
        published: the study's accuracies: `train`, `test`, `cv` (mean of the folds), `cv_std`,
            `held_out`.
        seconds: approximate fitting time on one core; the longest is started first.
        folds: of the study's cross-validation; 0 for none.
        clusters: mapping of an unsupervised estimator's clusters to classes: `number` maps cluster 2 to class 2,
            `majority` each to the most frequent class of its training images.
    """

    id: str
    study: str
    description: str
    features: Features
    build: Callable[[], Estimator]
    published: dict[str, float] = field(default_factory=dict)
    seconds: int = 10
    folds: int = 0
    clusters: Literal["", "number", "majority"] = ""

    def recipe(self) -> dict[str, Any]:
        """Return everything but the data that determines the fitted model: part of the file and of the cache key."""
        estimator = " ".join(str(self.build()).split())
        return {
            "name": self.id,
            "features": self.features,
            "estimator": estimator,
            "folds": self.folds,
            "clusters": self.clusters,
        }


def _naive_bayes() -> Estimator:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB()


def _kmeans_logistic() -> Estimator:
    from sklearn.cluster import KMeans
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    # scikit-learn's default of n_init was 10 at the time of the study.
    return make_pipeline(KMeans(35, n_init=10, random_state=1), LogisticRegression(max_iter=10000))


def _pca_neighbours() -> Estimator:
    from sklearn.decomposition import PCA
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    grid = {"n_neighbors": [1, 3, 5, 7, 12, 15, 20]}
    return make_pipeline(PCA(100, random_state=1), GridSearchCV(KNeighborsClassifier(), grid, cv=5))


def _pca_svm() -> Estimator:
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    # Ties between pairwise votes are broken by distance, so that the class has the highest score; the larger cache
    # affects the speed only.
    return make_pipeline(PCA(50, random_state=1), SVC(break_ties=True, cache_size=1000))


def _forest(trees: int, depth: int | None, seed: int) -> Estimator:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(trees, max_depth=depth, random_state=seed)


def _mini_batch_kmeans() -> Estimator:
    from sklearn.cluster import MiniBatchKMeans

    return MiniBatchKMeans(6, batch_size=2048, random_state=1)


BASELINES = (
    Baseline(
        "study-2022-nb",
        "study-2022",
        "Gaussian naive Bayes",
        "standard",
        _naive_bayes,
        {"train": 0.2175, "test": 0.2173},
    ),
    Baseline(
        "study-2022-kmeans-lr",
        "study-2022",
        "distances to 35 k-means centres, logistic regression",
        "standard",
        _kmeans_logistic,
        {"train": 0.2910, "test": 0.3018},
        seconds=60,
    ),
    Baseline(
        "study-2022-pca-knn",
        "study-2022",
        "100 principal components, k nearest neighbours, k by grid search",
        "standard",
        _pca_neighbours,
        {"test": 0.3805, "cv": 0.3485},
        seconds=60,
    ),
    Baseline(
        "study-2022-rf",
        "study-2022",
        "random forest of depth 5",
        "standard",
        partial(_forest, 100, 5, 1),
        {"train": 0.3392, "test": 0.3262},
    ),
    Baseline(
        "study-2022-pca-svm",
        "study-2022",
        "50 principal components, support vector machine (RBF)",
        "standard",
        _pca_svm,
        {"train": 0.5280, "test": 0.4212},
        seconds=90,
    ),
    Baseline(
        "six-class-hog-rf",
        "six-class-2025",
        "histograms of oriented gradients, random forest of 1,000 trees of depth 5",
        "hog",
        partial(_forest, 1000, 5, 1),
        {"test": 0.3985},
        seconds=80,
    ),
    Baseline(
        "six-class-kmeans",
        "six-class-2025",
        "mini-batch k-means, cluster number taken for class number",
        "unit",
        _mini_batch_kmeans,
        {"test": 0.1681},
        clusters="number",
    ),
    Baseline(
        "six-class-kmeans-majority",
        "six-class-2025",
        "mini-batch k-means, each cluster named after most of its images",
        "unit",
        _mini_batch_kmeans,
        clusters="majority",
    ),
    Baseline(
        "course-rf",
        "course-2024",
        "random forest of 100 full-depth trees",
        "unit",
        partial(_forest, 100, None, 42),
        {"cv": 0.4384, "cv_std": 0.0070, "test": 0.4503, "held_out": 0.50},
        seconds=400,
        folds=5,
    ),
)
"""All published classical baselines, grouped by study."""

DEFAULT_BASELINES = ("study-2022-pca-svm", "course-rf")
"""Baselines of the benchmark: the most accurate of the published kernel machines and forests."""


def get_baseline(id: str) -> Baseline:
    """Return the baseline of an id; RecipeError suggests the nearest id for an unknown one."""
    baselines = {baseline.id: baseline for baseline in BASELINES}
    if id not in baselines:
        raise RecipeError(f"unknown baseline {id!r}{nearest(id, baselines)}")
    return baselines[id]
