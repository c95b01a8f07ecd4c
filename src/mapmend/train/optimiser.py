"""AdamW over the parameters that learn: who decays, who learns at the head's rate."""

from torch import nn
from torch.optim import AdamW, Optimizer

from mapmend.core.errors import TrainError
from mapmend.methods.method import Method
from mapmend.train.config import LoopConfig

_POSITIONS = ("pos_embed", "cls_token", "reg_token", "relative_position_bias_table")


def learning(method: Method) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name, each once.

    Raises:
        TrainError: there are none.
    """
    found = {name: parameter for name, parameter in method.named_parameters() if parameter.requires_grad}
    if not found:
        raise TrainError(f"the networks of method '{method.name}' have no parameter that learns")
    return found


def make_optimiser(method: Method, config: LoopConfig) -> AdamW:
    """AdamW; its groups carry `factor`, what the schedule's rate is multiplied with.

    Vectors (norms, biases, scales) and position embeddings are not decayed.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in learning(method).items():
        factor = config.head_lr if method.in_head(name) else 1.0
        decays = parameter.ndim > 1 and name.rpartition(".")[2] not in _POSITIONS
        groups.setdefault((factor, config.weight_decay if decays else 0.0), []).append(parameter)
    return AdamW(
        [
            {"params": parameters, "factor": factor, "weight_decay": decay}
            for (factor, decay), parameters in groups.items()
        ],
        lr=config.lr,
    )


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Give every group its rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
