"""`proxlab train`: learn a prior or a whole reconstructor from folders of pictures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxlab.blur_recipe import LOSSES, add_deblur_options
from proxlab.cli.parser import add_output_flags
from proxlab.cli.values import count, levels, natural, positive, settings
from proxlab.errors import ConvergenceError, InputError, UsageError
from proxlab.recipes import (
    KINDS,
    TOP_SIGMA,
    UNROLLED_SIGMA,
    check_resumed,
    optimizer_of,
    precision_of,
    recipe_of,
)

if TYPE_CHECKING:
    from priors.recipe import Recipe
    from priors.session import Places, Session
    from priors.train import Plan

SIGMAS = f"noise levels, of the data range [0:{TOP_SIGMA:.4f}; unrolled 0:{UNROLLED_SIGMA:.4f}]"
LOSS = "loss; l1-level: l1 in units of the noise; pm: proximal matching [l1; deblur ln-mse]"

BESIDE = (
    "Beside OUT.safetensors lie OUT.training.safetensors, with which --resume goes on, a log, OUT.csv, and "
    "in OUT.events the same for TensorBoard where that is installed (pip install 'proxlab[tensorboard]')."
)


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "train",
        help="learn a prior from folders of pictures",
        description="Train a network on pictures and write one safetensors file that rebuilds it.",
        epilog=BESIDE,
    )
    parser.add_argument("kind", choices=list(KINDS), help="what to train")
    add_options(parser)
    add_output_flags(parser)
    parser.set_defaults(run=run)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of every kind of training; all default to None, so that --config can fill them in."""
    add = parser.add_argument
    add("--images", nargs="+", metavar="DIR", help="folders of training pictures (needed)")
    add("--val", nargs="+", metavar="DIR", help="folders of validation pictures [some of --images]")
    add("--out", metavar="FILE", help="the .safetensors file to write (needed)")
    add("--color", action="store_true", default=None, help="train on colour [grey]")
    add("--sigma", type=levels, metavar="A:B", help=SIGMAS)
    add("--steps", type=count, help="how many steps")
    add("--minutes", type=positive, help="how many minutes; turned into steps once, by measuring")
    add("--batch", type=count, help="patches a step, over all processes [16; unrolled 2]")
    add("--patch", type=count, help="side of a patch in pixels [64; unrolled 96]")
    add("--lr", type=positive, help="highest learning rate [0.001; ridge 0.01; unrolled 0.0001]")
    add("--hold", type=natural, help="steps at the highest rate before its cosine decay begins [0]")
    add("--loss", choices=["l1", "l2", "l1-level", "pm", *LOSSES], help=LOSS)
    add("--optimizer", choices=["adam", "muon"], help="how gradients become steps [muon for convolutions]")
    add("--reach", type=count, help="unrolled: greatest side of the random psfs in pixels, odd [27]")
    add("--checkpointing", action="store_true", default=None, help="unrolled: a third slower, little memory")
    add("--seed", type=natural, help="decides the first weights, the patches and the noise [0]")
    add("--net", type=settings, metavar="JSON", help='shape of the network, as {"widths": [32, 64, 128]}')
    add("--validate-every", type=count, metavar="N", help="steps between validations [a sixtieth of all]")
    add("--start", metavar="FILE", help="begin with the weights of this checkpoint, and its shape")
    add("--half", action="store_true", default=None, help="store float16 weights; the loss is measured")
    add("--resume", action="store_true", default=None, help="go on from the last checkpoint beside --out")
    add("--overwrite", action="store_true", default=None, help="begin anew where a training lies already")
    add("--precision", choices=["auto", "bf16", "fp32"], help="arithmetic of the convolutions [auto]")
    add("--device", help="cpu, cuda, cuda:1, ... [cpu]")
    add("--config", metavar="FILE", help="JSON file with any of these options; the command line wins")
    add_deblur_options(parser, levels)


def run(args: argparse.Namespace) -> int:
    """Train as asked; returns the exit code."""
    from priors import processes
    from priors.checkpoint import CheckpointError
    from priors.data import NoPicturesError
    from proxlab.model import choose_device

    args = with_config(args)
    args.device = str(choose_device(args.device or "cpu"))
    try:
        with processes.joined(args.device):
            return _train(args)
    except (CheckpointError, NoPicturesError, FileNotFoundError) as error:
        raise InputError(str(error)) from error
    except FloatingPointError as error:
        raise ConvergenceError(str(error)) from error
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error


def _train(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from priors.processes import rank
    from priors.session import Places, say

    if not args.images or not args.out:
        message = "say what to train on and where to write: --images DIR --out FILE.safetensors."
        raise UsageError(message)
    session = _session(args, Places(tuple(args.images), Path(args.out), tuple(args.val or ())))
    hidden = True if args.quiet or rank() else None  # None: hidden unless stderr is a terminal
    total, done = session.learner.plan.steps, session.learner.done
    try:
        with tqdm(total=total, initial=done, disable=hidden, unit="step") as bar:
            for step in session.steps():
                bar.update()
                shown: dict[str, Any] = dict(session.psnr)
                bar.set_postfix(loss=f"{step.loss:.4f}", refresh=False, **shown)
    except KeyboardInterrupt:
        if rank() == 0:
            session.save()
        say(f"stopped after {session.learner.done} of {total} steps; the same command with --resume goes on.")
        raise
    if args.half and not rank():
        session.store_half()
    say(f"{args.out}: {total} steps, " + ", ".join(f"{k} {v:.2f} dB" for k, v in session.psnr.items()))
    return 0


def _session(args: argparse.Namespace, places: Places) -> Session:
    from priors.processes import own_device
    from priors.session import begin, resume
    from priors.train import read_plan

    device = own_device(args.device)
    if args.resume:
        plan, notes = read_plan(places.state)
        check_resumed(args, {"optimizer": plan.optimizer, "start": notes.get("start"), **notes["recipe"]})
        return resume(places, device=device, change=plan_changes(args, device))
    if places.state.exists() and not args.overwrite:
        message = (
            f"a training lies at {str(places.state)!r}: --resume goes on with it, --overwrite begins anew."
        )
        raise UsageError(message)
    recipe, fresh = asked(args, device)
    return begin(places, recipe, fresh, device=device, minutes=args.minutes, start=args.start)


def asked(args: argparse.Namespace, device: str) -> tuple[Recipe, Plan]:
    """Recipe and plan of the arguments."""
    from priors.train import Plan

    if (args.steps is None) == (args.minutes is None):
        message = "say how long to train: either --steps N or --minutes M."
        raise UsageError(message)
    recipe = recipe_of(args)
    plan = Plan(
        steps=args.steps or 1,  # --minutes decides it later
        rate=args.lr or recipe.rate,
        period=args.validate_every or 0,
        hold=args.hold or 0,
        precision=precision_of(recipe, args.precision or "auto", device),
        optimizer=args.optimizer or optimizer_of(recipe),
    )
    return recipe, plan


def plan_changes(args: argparse.Namespace, device: str) -> dict[str, Any]:
    """Fields of the plan that the command line gives anew for a resumed training; the others stay."""
    given = {"steps": args.steps, "hold": args.hold, "rate": args.lr, "period": args.validate_every}
    if args.precision:
        given["precision"] = precision_of(recipe_of(args), args.precision, device)
    return {name: value for name, value in given.items() if value is not None}


def with_config(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments, with what they leave open taken from the file of --config."""
    if not args.config:
        return args
    try:
        options = json.loads(Path(args.config).read_text())
    except (OSError, ValueError) as error:
        message = f"cannot read the configuration {args.config!r}: {error}."
        raise InputError(message) from error
    if not isinstance(options, dict):
        message = f'the configuration {args.config!r} is no JSON object: write {{"lr": 0.001, ...}}.'
        raise InputError(message)
    parser = argparse.ArgumentParser(prog=str(args.config), add_help=False, allow_abbrev=False)
    add_options(parser)
    given = {k: v for k, v in vars(args).items() if v is not None}
    return argparse.Namespace(**(vars(args) | vars(parser.parse_args(_as_words(options))) | given))


def _as_words(options: dict[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in options.items():
        if value is False or value is None:
            continue
        words.append("--" + name.replace("_", "-"))
        if isinstance(value, list):
            words += map(str, value)
        elif value is not True:
            words.append(json.dumps(value) if isinstance(value, dict) else str(value))
    return words
