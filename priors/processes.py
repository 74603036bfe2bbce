"""Several processes, started by torchrun: who am I, what is my share, and one number for all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the other processes if torchrun started us (gloo, or nccl on GPUs), and leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def own_device(device: str) -> str:
    """This process's device: of several processes on "cuda", each has the GPU of its own number there.

    >>> own_device("cpu")
    'cpu'
    """
    number = os.environ.get("LOCAL_RANK")
    return f"cuda:{number}" if device == "cuda" and number is not None else device


def rank() -> int:
    """The number of this process, 0 without torchrun."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def world() -> int:
    """How many processes there are, 1 without torchrun."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def share_of(batch: int) -> int:
    """This process's part of a batch; raises ValueError if it cannot be shared evenly."""
    if batch % world():
        message = f"a batch of {batch} cannot be shared by {world()} processes: make it a multiple."
        raise ValueError(message)
    return batch // world()


def agree(number: int) -> int:
    """The first process's number, in every process."""
    if world() == 1:
        return number
    box = torch.tensor([number])
    if distributed.get_backend() == "nccl":
        box = box.cuda()
    distributed.broadcast(box, src=0)
    return int(box)


def wrapper() -> Callable[[nn.Module], nn.Module] | None:
    """What averages the gradients over the processes, or None where there is one."""
    return nn.parallel.DistributedDataParallel if world() > 1 else None
