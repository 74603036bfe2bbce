import json
from dataclasses import asdict

import pytest

from priors.recipe import RECIPES, Denoising, recipe_from

FIELDS = {"config": {"channels": 1}, "loss": "l1", "color": False, "sigma": [0.0, 0.1]}
FIELDS |= {"batch": 2, "patch": 16, "seed": 5}


@pytest.mark.parametrize("kind", ["denoiser", "gradient-step", "lpn", "ridge"])
def test_a_recipe_survives_being_written_down(kind):
    recipe = recipe_from({"kind": kind, **FIELDS})
    assert isinstance(recipe, Denoising) and recipe.sigma == (0.0, 0.1)
    assert recipe_from(json.loads(json.dumps(asdict(recipe)))) == recipe


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'magic' is no kind of training here: known are deblur, denoiser"):
        recipe_from({"kind": "magic", **FIELDS})


def test_another_field_is_another_training():
    """A state of another version must not be half understood."""
    with pytest.raises(TypeError, match="depth"):
        recipe_from({"kind": "denoiser", **FIELDS, "depth": 3})


def test_every_kind_has_its_command():
    from proxlab.recipes import KINDS

    assert set(KINDS) == set(RECIPES)
