"""A trained model for other programs: MONAI bundle, ONNX, ``torch.export`` and safetensors."""

from wsseg.export.command import export

__all__ = ["export"]
