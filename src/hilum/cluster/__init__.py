"""Cluster: films spread over many machines with Ray, from folders that all of them see or from object stores."""

from hilum.cluster.connecting import ClusterError, connected, workers
from hilum.cluster.running import finish_parts, part_rows_at, part_size, plan_at, put_folder, run_parts
from hilum.cluster.spreading import spread
from hilum.cluster.stores import Stored, stored_films

__all__ = [
    "ClusterError",
    "Stored",
    "connected",
    "finish_parts",
    "part_rows_at",
    "part_size",
    "plan_at",
    "put_folder",
    "run_parts",
    "spread",
    "stored_films",
    "workers",
]
