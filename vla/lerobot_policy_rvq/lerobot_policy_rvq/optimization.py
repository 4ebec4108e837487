"""Our optimizer and schedule as LeRobot's presets: the library's own, under its parser's names."""

from collections.abc import Mapping
from dataclasses import dataclass

from lerobot.optim.optimizers import OptimizerConfig
from lerobot.optim.schedulers import LRSchedulerConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vla.training.optimizers import OptimizerSettings, build_optimizer


@OptimizerConfig.register_subclass("rvq_vla")
@dataclass
class RvqVlaOptimizerConfig(OptimizerConfig):
    """See `OptimizerSettings`.

    Attributes:
        name: `adamw`, or `muon` for the experts' matrices.
        lr: Peak.
        vl_rate: The VL Expert's learning rate as a share of that; 0 leaves it as it is.
        weight_decay: Of matrices.
        betas: AdamW's; the first is Muon's momentum.
        grad_clip_norm: The largest norm of a gradient.
    """

    lr: float = 1e-4
    weight_decay: float = 0.01
    grad_clip_norm: float = 1.0
    name: str = "adamw"
    vl_rate: float = 1.0
    betas: tuple[float, float] = (0.9, 0.95)

    def build(self, params: Mapping[str, nn.Parameter]) -> Optimizer:
        """An optimizer of parameters by the names that the library gives them."""
        settings = OptimizerSettings(
            name=self.name,  # type: ignore[arg-type]
            learning_rate=self.lr,
            vl_rate=self.vl_rate,
            weight_decay=self.weight_decay,
            beta1=self.betas[0],
            beta2=self.betas[1],
        )
        return build_optimizer(params.items(), settings)


@LRSchedulerConfig.register_subclass("rvq_vla")
@dataclass
class RvqVlaSchedulerConfig(LRSchedulerConfig):
    """A linear rise, then half a cosine.

    Attributes:
        num_warmup_steps: Steps of the rise.
        last_rate: Where the cosine ends, as a share of the peak.
    """

    num_warmup_steps: int = 100
    last_rate: float = 0.0

    def build(self, optimizer: Optimizer, num_training_steps: int) -> LambdaLR:
        settings = OptimizerSettings(warmup_steps=self.num_warmup_steps, last_rate=self.last_rate)
        return LambdaLR(optimizer, lambda step: settings.rate(step, num_training_steps))
