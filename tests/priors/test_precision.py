import pytest
import torch

from priors import precision


def test_flags_decide(monkeypatch):
    for flags, wanted in [
        ({"avx2"}, "fp32"),
        ({"avx512f"}, "fp32"),
        ({"amx_bf16"}, "bf16"),
        ({"avx512_bf16"}, "bf16"),
    ]:
        monkeypatch.setattr(precision, "_cpu_flags", lambda flags=flags: frozenset(flags))
        assert precision.resolve("auto", "cpu") == wanted
        assert precision.resolve("fp32", "cpu") == "fp32"
        assert precision.resolve("bf16", "cpu") == "bf16"


def test_no_cpuinfo_means_float32(monkeypatch):
    monkeypatch.setattr(precision.Path, "read_text", lambda self: (_ for _ in ()).throw(OSError))
    assert precision._cpu_flags.__wrapped__() == frozenset()


def test_unknown_name():
    with pytest.raises(ValueError, match="precision is 'half': choose one of auto, bf16, fp32"):
        precision.resolve("half", "cpu")


def test_autocast_contexts():
    layer, x = torch.nn.Linear(3, 3), torch.rand(2, 3)
    with precision.autocast("bf16", "cpu"):
        assert layer(x).dtype == torch.bfloat16
    with precision.autocast("fp32", "cpu"):
        assert layer(x).dtype == torch.float32
