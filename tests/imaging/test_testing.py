"""The shipped checks themselves; that each of them can fail is in tests/test_controls.py."""

import inspect

import torch

from imaging import testing
from imaging.masks import Identity, Inpainting
from imaging.testing import dense, function_checks, operator_checks


def test_dense_is_the_matrix():
    mask = torch.tensor([[[[True, False], [True, True]]], [[[False, True], [True, True]]]])
    op = Inpainting(mask, (1, 2, 2))
    expected = torch.diag_embed(mask.flatten(1).double())
    assert torch.equal(dense(op.A, op.img_size, 2), expected)


def test_every_check_is_handed_out_and_says_what_it_asks():
    written = {f for name, f in inspect.getmembers(testing, inspect.isfunction) if name.startswith("check_")}
    assert written == set(operator_checks()) | set(function_checks())
    assert all(check.__doc__ for check in written)


def test_a_function_need_not_have_everything():
    class ValueOnly:
        def value(self, x):
            return x.square().flatten(1).sum(1)

    for check in function_checks():
        check(ValueOnly(), torch.rand(2, 1, 3, 4, dtype=torch.float64))
    assert not hasattr(ValueOnly(), "grad")


def test_checks_leave_the_random_state_alone():
    before = torch.get_rng_state()
    for check in operator_checks():
        check(Identity((1, 3, 4)))
    assert torch.equal(torch.get_rng_state(), before)
