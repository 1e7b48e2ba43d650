"""Which modalities the channels of an image file are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wsseg.data.layouts.cases import ImageFile
from wsseg.data.readers import COLOURS, Header, read_header
from wsseg.utils.errors import InputError, attempt


def channels_of(images: Iterable[ImageFile], wanted: Sequence[str] | None) -> dict[str, int | None]:
    """Return the modalities of image files of one kind, by the first that can be read.

    Args:
        images: The files; those that cannot be read are left to later checks.
        wanted: Names of the modalities that somebody asks for, if it is known.

    Returns:
        For each modality its channel: red, green and blue of colour pictures; these and features
        of grids; ``image``, or the only one that is wanted, of grey ones; channel_0, channel_1, ...
        of other files.
    """
    headers = (attempt(read_header, image.path, "") for image in images)
    header = next((header for header in headers if not isinstance(header, InputError)), None)
    colours: dict[str, int | None] = {name: number for number, name in enumerate(COLOURS)}
    if wanted is not None and set(wanted) <= set(colours):
        return colours  # which a grey picture has, too
    if wanted is not None and len(wanted) == 1 and _may_be_grey(header):
        return {wanted[0]: None}
    if header is None or header.channels == 1:
        return {"image": None}
    names = header.names or [f"channel_{n}" for n in range(header.channels)]
    return {name: number for number, name in enumerate(names)}


def _may_be_grey(header: Header | None) -> bool:
    """Tell whether an image can serve as one channel; colours may prove to be equal."""
    return header is None or header.channels == 1 or bool(header.names)
