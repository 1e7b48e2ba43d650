"""The clusters in a checkpoint of the first stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsseg.clustering import Clusters
from wsseg.clustering.clusters import view_names


def cluster_state(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the clustering callback has left in a checkpoint.

    Args:
        content: Content of the checkpoint.

    Returns:
        The state of the callback; empty if the run had none, or no refresh was due yet.

    Example:
        >>> cluster_state({"callbacks": {"Timer": {"elapsed": 3}}})
        {}
    """
    states = content.get("callbacks", {}).values()
    return next((one for one in states if isinstance(one, dict) and "clusters" in one), {})


def clusters_of(content: Mapping[str, Any], module: Any) -> Clusters | None:
    """Return the clusters of the last refresh.

    Args:
        content: Content of the checkpoint.
        module: Its module, which says what the clusters see beside the features.

    Returns:
        None if there are no clusters, if they are clusters within slices, of which nothing is kept,
        or if the run had views that are not those of the module.
    """
    found = cluster_state(content).get("clusters")
    views = getattr(module, "cluster_views", ())
    if not found or found["views"] != view_names(views):
        return None
    return Clusters.from_state(found, views)
