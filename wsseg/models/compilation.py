"""The callback that compiles the networks of a module before it trains."""

from __future__ import annotations

import pytorch_lightning as pl


class CompileNetworks(pl.Callback):
    """Compiles the networks that are trained by ``torch.compile``, in place.

    Checkpoints stay the same. The first steps take a minute or more, so that it pays in long
    trainings on GPUs; on a CPU we measured no gain.

    Example:
        >>> trainer = pl.Trainer(callbacks=[CompileNetworks(mode="max-autotune")], logger=False)
    """

    def __init__(self, backend: str = "inductor", mode: str | None = None) -> None:
        """Set how to compile.

        Args:
            backend: Argument of ``torch.compile``.
            mode: Argument of ``torch.compile``, such as "max-autotune".
        """
        super().__init__()
        self.backend = backend
        self.mode = mode

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compile every part of the module that has weights to train."""
        for part in pl_module.children():
            if any(parameter.requires_grad for parameter in part.parameters()):
                part.compile(backend=self.backend, mode=self.mode)
