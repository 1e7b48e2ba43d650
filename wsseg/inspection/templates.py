"""The configuration that ``wsseg init`` writes: that of the quick start, with comments."""

from __future__ import annotations

from collections.abc import Sequence

CONFIGURATION = """\
# Written by `wsseg init`. From images and their tags to masks:
#
{steps}
#
# All options: wsseg fit --help
trainer:
  default_root_dir: RUN  # where everything about the training is written
  max_epochs: 16  # passes over all slices; more may help where images are few
  callbacks:
    - ClusterReSupervision
clustering:
  warmup_epochs: 4  # epochs that train on tags alone before clusters supervise
  every_n_epochs: 4  # epochs between two clusterings
data:
  root: STORE  # what `wsseg prepare` has written
  batch_size: 16  # slices at a time; fewer need less memory
"""


def configuration(commands: Sequence[str]) -> str:
    """Return a configuration for ``wsseg fit``.

    Args:
        commands: What to type, in this order, for the comments.

    Example:
        >>> configuration(["wsseg check tags.csv"]).splitlines()[2]
        '#   wsseg check tags.csv'
    """
    return CONFIGURATION.format(steps="\n".join(f"#   {command}" for command in commands))
