"""Borders against numpy.pad, and their transposes against matrices."""

import numpy as np
import pytest
import torch

from imaging.borders import extend, fold

NUMPY = {"reflect": "reflect", "edge": "edge", "zero": "constant"}


@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize("borders", [((0, 0), (0, 0)), ((1, 3), (2, 0)), ((3, 3), (4, 4))])
def test_extend_is_numpy_pad_and_fold_its_transpose(mode, borders):
    eye = torch.eye(20, dtype=torch.float64).reshape(20, 1, 4, 5)
    wide = extend(eye, borders, mode)
    assert np.array_equal(wide, np.pad(eye, ((0, 0), (0, 0), *borders), mode=NUMPY[mode]))
    basis = torch.eye(wide[0].numel(), dtype=torch.float64).reshape(-1, *wide.shape[1:])
    assert torch.equal(fold(basis, borders, mode).flatten(1), wide.flatten(1).T)
