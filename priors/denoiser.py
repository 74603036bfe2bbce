"""The convolutional denoiser: U-shaped, residual, conditioned on the noise level, smooth, for any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from priors.precision import autocast, resolve
from priors.strips import added_by_strips, by_strips


@dataclass(frozen=True)
class DenoiserConfig:
    """Shape of a `Denoiser`: picture channels, then width and number of residual blocks a scale (1/2, 1/4,
    ...).

    `bias=False` leaves out every additive constant, so that the residual is homogeneous of degree one up to
    the activation. `sharpness` is s in the activation x sigmoid(s x): smooth for every s, silu at 1, ReLU at
    infinity; the values inside are small, and silu is almost linear on them. `sigma` is the range of noise
    levels it was trained on, as fractions of the data range.
    """

    channels: int = 1
    widths: tuple[int, ...] = (32, 64, 128)
    blocks: tuple[int, ...] = (2, 2, 2)
    bias: bool = True
    sharpness: float = 8.0
    sigma: tuple[float, float] = (0.0, 55 / 255)

    def __post_init__(self) -> None:
        for name in ("widths", "blocks", "sigma"):  # JSON brings lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.widths) != len(self.blocks) or not self.widths:
            message = (
                f"{len(self.widths)} widths and {len(self.blocks)} block counts: give one of each a scale."
            )
            raise ValueError(message)

        if not 0 < self.sharpness < float("inf"):
            message = f"sharpness is {self.sharpness!r}: give a positive number."
            raise ValueError(message)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Block(nn.Module):
    """x + conv(act(conv(x))), 3x3, act(x) = x sigmoid(s x) = silu(s x) / s."""

    def __init__(self, width: int, *, bias: bool, sharpness: float):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=bias)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=bias)
        self.sharpness = sharpness
        with torch.no_grad():  # near the identity at the start: deep stacks then train at a high rate
            self.second.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """x + the two convolutions."""
        return by_strips(self._whole(), x, reach=2)

    def over(self, x: Tensor) -> Tensor:
        """The same where nobody needs x any more: without gradients large ones are written over."""
        return by_strips(self._whole(), x, reach=2, over=True)

    def _whole(self) -> Callable[[Tensor], Tensor]:
        s, bias = self.sharpness, self.first.bias
        scaled = (s * self.first.weight, None if bias is None else s * bias)  # cheaper than scaling pictures
        back = (self.second.weight / s, self.second.bias)
        fresh = not torch.is_grad_enabled()  # what lies between is nobody else's

        def whole(x: Tensor) -> Tensor:
            inner = functional.silu(functional.conv2d(x, *scaled, padding=1), inplace=fresh)
            change = functional.conv2d(inner, *back, padding=1)
            return x + change  # in place it takes twice as long: two streams that meet in the cache

        return whole


class Denoiser(nn.Module):
    """D(y, sigma) = y - sigma N(y, sigma), N a U-shaped convolutional network on 2x2 pixel-unshuffled input.

    y is (B, C, H, W) of any height and width, on [0, 1] plus noise; sigma is a float or a tensor of one level
    a sample, a fraction of the data range. The residual is scaled by sigma, so D(y, 0) = y exactly. Only
    smooth operations (convolutions, x sigmoid(s x)), so D is smooth in y (C infinity). Above the trained
    range, top = config.sigma[1], contrast is reduced to it:
    D(y, sigma) = 1/2 + (D(1/2 + c (y - 1/2), top) - 1/2) / c with c = top / sigma,
    which is what the formula becomes when N sees c (y - 1/2) and top.

    With `precision="auto"` a float32 picture without gradients runs in bfloat16 where the processor has it;
    "fp32" turns that off. float64 weights and input stay float64.

    The blocks follow Zhang et al., "Plug-and-Play Image Restoration with Deep Denoiser Prior" (2022), the
    unshuffled start and the noise map Zhang et al., "FFDNet" (2018).

    >>> net = Denoiser(DenoiserConfig(widths=(4, 8), blocks=(1, 1)))
    >>> net(torch.rand(2, 1, 9, 7), 0.1).shape
    torch.Size([2, 1, 9, 7])
    """

    kind: ClassVar[str] = "denoiser"
    optimizer: ClassVar[str] = "muon"  # in equal time 1.2 to 1.6 dB ahead of Adam after three minutes
    Config: ClassVar[type] = DenoiserConfig

    def __init__(self, config: DenoiserConfig, *, precision: str = "auto"):
        super().__init__()
        self.config, self.precision = config, precision
        widths, bias = config.widths, config.bias
        sharpness = config.sharpness
        self.head = nn.Conv2d(4 * config.channels + 1, widths[0], 3, padding=1, bias=bias)
        self.encoders = nn.ModuleList(
            _stack(w, n, bias, sharpness) for w, n in zip(widths[:-1], config.blocks[:-1], strict=True)
        )
        self.middle = _stack(widths[-1], config.blocks[-1], bias, sharpness)
        self.decoders = nn.ModuleList(
            _stack(w, n, bias, sharpness) for w, n in zip(widths[:-1], config.blocks[:-1], strict=True)
        )
        steps = list(pairwise(widths))
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2, bias=bias) for a, b in steps)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2, bias=bias) for a, b in steps)
        self.tail = nn.Conv2d(widths[0], 4 * config.channels, 3, padding=1, bias=bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """The denoised x, of the size and type of x."""
        _check_picture(x, self.config.channels)
        level = noise_levels(sigma, x)
        quiet = x.dtype == torch.float32 and not (torch.is_grad_enabled() and _wants_grad(self, x))
        with autocast(self.precision if quiet else "fp32", x.device):
            residual = self.residual(reflect_to_multiple(x, 2 ** len(self.config.widths)), level)
        height, width = x.shape[2:]
        return x - 2 * level * residual[..., :height, :width].to(x.dtype)

    @property
    def feature_maps(self) -> float:
        """About how many planes of the size of the picture it holds at one time, in float32.

        Where the decoder's last scale begins: what was kept, the scale below to be joined to it, the picture.
        """
        wide, below = (*self.config.widths, 0)[:2]
        maps = wide / 4 + below / 16  # a half and a quarter of the picture's side
        return 3.0 * self.config.channels + (maps / 2 if self.mixed else maps)

    @property
    def mixed(self) -> bool:
        """Whether a float32 picture without gradients runs in bfloat16 where the weights are."""
        return resolve(self.precision, self.head.weight.device) == "bf16"

    def residual(self, x: Tensor, level: Tensor) -> Tensor:
        """N(x, sigma) / 2 for x of a suitable size and level (B or 1, 1, 1, 1)."""
        known = level.clamp(max=self.config.sigma[1])
        contrast = known / level.clamp(min=torch.finfo(level.dtype).tiny)
        contrast = torch.where(known < level, contrast, torch.ones_like(level))
        z = functional.pixel_unshuffle(contrast * (x - 0.5), 2)
        z = self.head(torch.cat([z, (4 * known).expand(z.shape[0], 1, *z.shape[2:])], dim=1))
        skips = []
        for encode, down in zip(self.encoders, self.downs, strict=True):
            z = _through(encode, z)
            skips.append(z)
            z = down(z)
        z = _through(self.middle, z)
        for decode, up in zip(reversed(self.decoders), reversed(self.ups), strict=True):
            z = _through(decode, added_by_strips(up, z, skips.pop()))
        return functional.pixel_shuffle(self.tail(z), 2)


def _stack(width: int, count: int, bias: bool, sharpness: float) -> nn.Sequential:
    return nn.Sequential(*(Block(width, bias=bias, sharpness=sharpness) for _ in range(count)))


def _through(stack: Any, z: Tensor) -> Tensor:
    """stack(z) for a z that nobody needs any more."""
    for block in stack:
        z = block.over(z)
    return z


def _wants_grad(network: nn.Module, x: Tensor) -> bool:
    return x.requires_grad or any(p.requires_grad for p in network.parameters())


def _check_picture(x: Tensor, channels: int) -> None:
    if x.ndim != 4 or x.shape[1] != channels:
        message = f"the picture has shape {tuple(x.shape)}: this denoiser wants (B, {channels}, H, W)."
        raise ValueError(message)


def noise_levels(sigma: float | Tensor, x: Tensor) -> Tensor:
    """sigma as a tensor (1, 1, 1, 1) or (B, 1, 1, 1) like x; raises ValueError for a level that is negative
    or not finite, and for a misshapen one.

    >>> noise_levels(0.1, torch.zeros(3, 1, 4, 4)).shape
    torch.Size([1, 1, 1, 1])
    """
    level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1)
    if level.shape[0] not in (1, x.shape[0]):
        message = (
            f"sigma holds {level.shape[0]} levels for {x.shape[0]} pictures: give one level or one a picture."
        )
        raise ValueError(message)
    wrong = level[~((level >= 0) & (level < torch.inf))]
    if len(wrong):
        message = (
            f"sigma is {float(wrong[0]):g}: a noise level is a fraction of the data range, zero or positive."
        )
        raise ValueError(message)
    return level


def reflect_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Continue x (B, C, H, W) at its bottom and right by reflection to multiples of `multiple`, however small
    it is.

    >>> reflect_to_multiple(torch.arange(3.0).view(1, 1, 1, 3), 4)
    tensor([[[[0., 1., 2., 1.],
              [0., 1., 2., 1.],
              [0., 1., 2., 1.],
              [0., 1., 2., 1.]]]])
    """
    for dim in (2, 3):
        size = x.shape[dim]
        target = -(-size // multiple) * multiple
        if target > size:
            place = torch.arange(size, target, device=x.device) % max(1, 2 * size - 2)
            more = x.index_select(dim, torch.minimum(place, (2 * size - 2 - place).abs()))
            x = torch.cat([x, more], dim)
    return x
