"""Frames as products of matrices, against torch's convolutions."""

import pytest
import torch
from torch.nn import functional

from priors.windows import analysis, synthesis


@pytest.fixture(params=[(1, 1, 9, 8), (3, 2, 5, 11), (2, 3, 4, 4)], ids=str)
def case(request):
    picture = torch.randn(request.param, dtype=torch.float64)
    return picture, torch.randn(5, request.param[1], 4, 4, dtype=torch.float64)


def test_analysis_is_a_convolution(case):
    picture, filters = case
    assert torch.allclose(analysis(picture, filters), functional.conv2d(picture, filters), atol=1e-12)
    turned = picture.transpose(2, 3)  # not contiguous
    assert torch.allclose(analysis(turned, filters), functional.conv2d(turned, filters), atol=1e-12)


def test_synthesis_is_its_transpose(case):
    picture, filters = case
    responses = torch.randn_like(functional.conv2d(picture, filters))
    back = synthesis(responses, filters)
    assert torch.allclose(back, functional.conv_transpose2d(responses, filters), atol=1e-12)
    assert torch.allclose((back * picture).sum(), (responses * analysis(picture, filters)).sum())


def test_derivatives(case):
    picture, filters = (v.requires_grad_() for v in case)
    assert torch.autograd.gradcheck(analysis, (picture, filters))
    responses = analysis(picture, filters).detach().requires_grad_()
    assert torch.autograd.gradcheck(synthesis, (responses, filters))


def test_nothing_is_computed_that_nobody_asked_for(case):
    picture, filters = case
    only = filters.requires_grad_()
    analysis(picture, only).sum().backward()
    assert picture.grad is None
    assert torch.allclose(only.grad[0], only.grad[1])
