"""Priors: denoisers and learned proximal networks, their training, their files; names resolve on use."""

from imaging.lazy import lazy_names

_HOME = {
    "available": "base",
    "load": "base",
    "DenoiserPrior": "base",
    "Fixed": "base",
    "Weighted": "weighted",
    "PerChannel": "weighted",
    "Denoiser": "denoiser",
    "DenoiserConfig": "denoiser",
    "LPN": "lpn",
    "LPNConfig": "lpn",
    "Claims": "claims",
    "read_value": "potential",
    "value_at_output": "potential",
    "Ridge": "ridge",
    "RidgeConfig": "ridge",
    "GradientStep": "gradient_step",
    "L1": "analytic",
    "Box": "analytic",
    "Tikhonov": "analytic",
    "TotalVariation": "analytic",
    "ProximalMatching": "losses",
    "Plan": "train",
    "Learner": "train",
    "training": "train",
    "CheckpointError": "checkpoint",
    "load_network": "checkpoint",
    "save_network": "checkpoint",
    "store_half": "checkpoint",
    "Deblurring": "deblurring",
    "chain_of": "deblurring",
}
__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names(__name__, _HOME)
