"""Networks: timm's encoders under segmentation-models-pytorch's decoders, their weights, and model folders."""
