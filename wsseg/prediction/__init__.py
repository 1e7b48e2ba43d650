"""From a checkpoint and raw volumes to masks on the volumes' own grid."""

from wsseg.prediction.command import predict

__all__ = ["predict"]
