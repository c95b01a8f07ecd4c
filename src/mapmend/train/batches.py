"""What every batch goes through before a method or a metric sees it."""

import torch

from mapmend.methods.method import Batch


def settle(batch: Batch, device: torch.device) -> Batch:
    """Bring a batch to the device in its stored types; the mask becomes 255 wherever any modality is invalid.

    So does the change where either date is. This is the one place that keeps invalid pixels out of all losses and
    metrics.
    """
    moved = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
    invalid = ~moved["valid"].all(2)
    settled = {**moved, "mask": moved["mask"].masked_fill(invalid, 255)}
    if "change" in moved:
        settled["change"] = moved["change"].masked_fill(invalid.any(1), 255)
    return settled
