"""CAM networks, the reconstruction network and the LightningModule that trains them."""

from wsseg.models.cam_module import CamModule
from wsseg.models.cam_network import CamNetwork, CamOutput
from wsseg.models.compilation import CompileNetworks
from wsseg.models.encoders import ENCODERS, Encoder, ResNetEncoder, UNetEncoder
from wsseg.models.reconstruction import ReconstructionNetwork

__all__ = [
    "ENCODERS",
    "CamModule",
    "CamNetwork",
    "CamOutput",
    "CompileNetworks",
    "Encoder",
    "ReconstructionNetwork",
    "ResNetEncoder",
    "UNetEncoder",
]
