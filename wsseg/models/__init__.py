"""The networks of the first stage, and the module that trains them on tags."""

from wsseg.models.cam_module import CamModule
from wsseg.models.cam_network import CamNetwork, CamOutput
from wsseg.models.compilation import CompileNetworks
from wsseg.models.encoders import ENCODERS, Encoder, ResNetEncoder, UNetEncoder
from wsseg.models.fixed_encoder import FixedEncoder
from wsseg.models.options import Finishing, Optimisation
from wsseg.models.reconstruction import ReconstructionNetwork

__all__ = [
    "ENCODERS",
    "CamModule",
    "CamNetwork",
    "CamOutput",
    "CompileNetworks",
    "Encoder",
    "Finishing",
    "FixedEncoder",
    "Optimisation",
    "ReconstructionNetwork",
    "ResNetEncoder",
    "UNetEncoder",
]
