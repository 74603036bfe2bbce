"""What is refused before any work, by its message."""

import pytest

from proxlab.errors import UsageError
from proxlab.front import request_of
from proxlab.methods.base import Noise
from proxlab.request import parse_noise, same_treatment


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "idenitty"}, "unknown method 'idenitty': did you mean 'identity'"),
        ({"method": "xyzzy"}, r"unknown method 'xyzzy': There are '"),
        (
            {"boundary": "mirror"},
            "unknown boundary 'mirror': .*'unknown', 'circular', 'reflect', 'edge' and 'zero'",
        ),
        ({"boundary": "circullar"}, "did you mean 'circular'"),
        ({"noise": "gausian"}, "unknown noise 'gausian': did you mean 'gaussian'"),
        (
            {"noise": "poisson:many"},
            "noise is 'poisson:many': wanted 'gaussian', 'poisson' or 'poisson:PEAK'",
        ),
        ({"noise": "poisson:-3"}, "noise is 'poisson:-3'"),
        ({"noise": "gaussian:3"}, "noise is 'gaussian:3'"),
        ({"noise": "poisson:30", "sigma": 0.1}, "fixes the noise level already: leave sigma out"),
        ({"sigma": -0.1}, "sigma is -0.1: give the noise as a fraction of the data range"),
        ({"sigma": float("nan")}, "sigma is nan"),
        ({"sigma": 2.55}, "sigma is 2.55, more than the whole range: as a fraction of 255 it is 0.01"),
        ({"lam": 0.0}, "lam is 0.0: give a positive number, larger is smoother"),
        ({"num_iter": 0}, "num_iter is 0: give a whole number from 1"),
        ({"seed": -1}, "seed is -1: give a whole number from 0"),
        ({"scale": 2.0}, "scale is 2.0: give a whole number from 1"),
        ({"scale": 1.5}, "scale is 1.5: give a whole number from 1"),
        ({"origin": (1, 2, 3)}, "origin is .*: give the row and the column"),
        ({"cluster": "lokal:2"}, "cluster='lokal:2' is no cluster: give 'local:N'"),
        ({"cluster": "local:0"}, "cluster='local:0' is no cluster"),
        ({"max_memory": "much"}, "max_memory is 'much': give bytes"),
    ],
)
def test_impossible_options_get_one_sentence(options, message):
    with pytest.raises(UsageError, match=message):
        request_of(options)


def test_every_refusal_is_a_value_error_with_exit_code_two():
    with pytest.raises(ValueError, match="sigma") as caught:
        request_of({"sigma": -1})
    assert caught.value.exit_code == 2


def test_noise_texts():
    assert parse_noise("poisson:12.5") == Noise("poisson", 12.5)
    assert parse_noise("poisson") == Noise("poisson", None)
    assert parse_noise("gaussian") == Noise("gaussian", None)


def test_same_treatment_takes_what_the_method_can_be_given(spy):
    info = {"method": "spy", "sigma": 0.02, "lam": 0.3, "num_iter": 7, "noise": "gaussian"}
    assert same_treatment(info) == {
        "method": "spy",
        "sigma": 0.02,
        "lam": 0.3,
        "num_iter": 7,
        "noise": "gaussian",
    }
    assert same_treatment({**info, "method": "identity"}) == {
        "method": "identity",
        "sigma": 0.02,
        "noise": "gaussian",
    }
    assert "sigma" not in same_treatment({**info, "noise": "poisson:50"})


def test_same_treatment_takes_the_level_that_was_used(spy):
    """An estimate that a method raised is not raised again, and not forgotten to be."""
    info = {
        "method": "pnp",
        "sigma": 0.02,
        "lam": 1e-4,
        "noise": "gaussian",
        "details": {"sigma_used": 0.021},
    }
    assert same_treatment(info)["sigma"] == 0.021
    assert same_treatment({**info, "details": {}})["sigma"] == 0.02
    counted = same_treatment({**info, "noise": "poisson:100"})  # sigma^2 = mean / peak
    assert float(str(counted["noise"]).partition(":")[2]) == pytest.approx(100 * (0.02 / 0.021) ** 2)
