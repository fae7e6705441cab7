"""The recipe `auto`: settings chosen from the data, logged with their reasons."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from feredge.api.datasets import load_dataset, without_rows
from feredge.errors import DataError
from feredge.inference import model_zoo
from feredge.progress import Progress, quiet

if TYPE_CHECKING:
    from feredge.api.datasets import DataSource
    from feredge.api.training import TrainOptions
    from feredge.recipes.schema import Recipe
    from feredge.train.auto import Choice

logger = logging.getLogger(__name__)
AUTO_RECIPE = "auto"


def choose_recipe(
    data: DataSource, settings: Sequence[str], options: TrainOptions, *, progress: Progress = quiet
) -> Recipe:
    """Return the recipe `auto` for a data set; `settings`, as in `--set`, are not chosen.

    Raises:
        RecipeError: an invalid setting.
        DataError: not a data set, or one without training images.
    """
    from feredge.data import split
    from feredge.recipes import load as load_recipe
    from feredge.train import auto

    fixed = {text.partition("=")[0].strip() for text in settings}
    choices: list[Choice] = []

    def choose(more: Sequence[Choice]) -> Recipe:
        choices.extend(choice for choice in more if choice.key not in fixed)
        return load_recipe(AUTO_RECIPE, overrides=[*(choice.override for choice in choices), *settings])

    recipe = choose(())  # before the slow reading of the data
    recipe = choose(auto.choose_data(load_dataset(data, skip_bad_rows=options.skip_bad_rows)))
    view = recipe.data
    dataset = load_dataset(data, size=view.size, channels=view.channels, skip_bad_rows=options.skip_bad_rows)
    splits = split(without_rows(dataset, options.leave_out), view)
    if not len(splits.train):
        raise DataError(f"{dataset.source}: expected training images, found none")
    transfer = options.start_from is None and not any(key.startswith("network.") for key in fixed)
    transfer = transfer and auto.fits_face_model(view, splits.train.classes) and _has_face_model()
    recipe = choose(auto.choose_training(splits.train, transfer=transfer))
    if "augmentation.flip" not in fixed:
        recipe = choose([auto.choose_flip(recipe, splits, progress)])
    for choice in choices:
        logger.info("%s  (%s)", choice.override, choice.reason)
    return recipe


def start_model(recipe: Recipe) -> str | None:
    """Return the name of the reference model that a chosen recipe starts from; None to start from random weights."""
    from feredge.train.auto import FACE_MODEL, has_face_network

    return FACE_MODEL if recipe.name == AUTO_RECIPE and has_face_network(recipe) and _has_face_model() else None


def _has_face_model() -> bool:
    from feredge.train.auto import FACE_MODEL

    folder = model_zoo.models().get(FACE_MODEL)
    return folder is not None and folder.is_dir()  # the single file in the package has no trainable weights
