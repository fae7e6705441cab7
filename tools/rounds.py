"""The training rounds of the networks in models/, by their rounds.toml."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import environment

MODELS_FOLDER = environment.ROOT / "models"
NETWORKS = ("base", "small", "nano")
ROUNDS_FILE = "rounds.toml"


@dataclasses.dataclass(frozen=True)
class Round:
    """A training round, as a model's rounds.toml describes it.

    Attributes:
        recipe: name of the recipe.
        reason: why it is trained.
        start: the round whose weights it begins with, or the most important channels of them.
        soft_labels: rounds whose networks' soft labels it learns from, with FER+'s votes.
        teachers: rounds whose networks it learns from by online distillation.
        changes: of its recipe, in the syntax of `--set`.
    """

    recipe: str
    reason: str
    start: str | None = None
    soft_labels: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def required(self) -> list[str]:
        """The rounds that must be trained before this one."""
        return [*self.soft_labels, *self.teachers, *([self.start] if self.start else [])]


def read_rounds(folder: Path) -> dict[str, Round]:
    """Return the rounds in a model's rounds.toml by name, in their order; the last has the model's name."""
    rounds: dict[str, Round] = {}
    for row in tomllib.loads((folder / ROUNDS_FILE).read_text(encoding="utf-8"))["rounds"]:
        name = row.pop("name")
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
        rounds[name] = Round(folder.name, **values)
    return rounds


ROUNDS = {name: item for network in NETWORKS for name, item in read_rounds(MODELS_FOLDER / network).items()}


def lineage(name: str) -> list[str]:
    """Return the rounds of a network up to `name`, each but the first beginning with the weights of the one before."""
    start, recipe = ROUNDS[name].start, ROUNDS[name].recipe
    return [*(lineage(start) if start and ROUNDS[start].recipe == recipe else ()), name]


def round_recipe(item: Round) -> Any:
    """Return the recipe of a round; its last epochs have full images only where its changes say so."""
    import feredge.recipes as recipes

    return recipes.load(
        item.recipe, overrides=["data.validation_is_test=true", "augmentation.full_image_epochs=0", *item.changes]
    )


def training_file(name: str) -> str:
    """Return the name of the file with the figures of a round's training; of the last round it is `training.json`."""
    return "training.json" if name == ROUNDS[name].recipe else f"training-{name}.json"
