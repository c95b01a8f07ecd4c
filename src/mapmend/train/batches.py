"""What every batch goes through before a method or a metric sees it."""

import torch

from mapmend.methods.method import Batch


def settle(batch: Batch, device: torch.device) -> Batch:
    """Bring a batch to the device in its stored types, without labels where it is invalid."""
    return unseen_unlabelled({name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()})


def unseen_unlabelled(batch: Batch) -> Batch:
    """The batch with a mask of 255 wherever any modality is invalid, and a change of 255 where either date is.

    This keeps invalid pixels out of all losses and metrics. An augmentation may make others invalid.
    """
    invalid = ~batch["valid"].all(2)
    settled = {**batch, "mask": batch["mask"].masked_fill(invalid, 255)}
    if "change" in batch:
        settled["change"] = batch["change"].masked_fill(invalid.any(1), 255)
    return settled
