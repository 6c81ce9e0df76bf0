"""What launcher sets in the environment of every Ray it starts, on this machine or on the nodes of an allocation. Pure.

Ray's core reads these when it starts, so they are set before. Who starts Ray sets them: `orchestration.ray_cluster` for
a private one, `platforms.slurm_ray` for the nodes of a job.
"""

SETTINGS = {
    # The agent's children would inherit niceness 15 and lose every core to whatever else runs.
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_DEDUP_LOGS": "0",
    # A driver whose cluster is gone learns it in 5 s instead of 60.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
    # Batch systems and the kernel have memory limits of their own: two killers with two thresholds confuse.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
FOREIGN = ("RAY_ADDRESS", "RAY_NAMESPACE", "RAY_RUNTIME_ENV_HOOK", "RAY_TMPDIR", "RAY_AUTH_TOKEN")
"""Set by a surrounding Ray, or for one: any of them would redirect this one, and a token in the environment would be
taken instead of this Ray's own."""

ORDER = "launcher-order"
"""Label of a node that has a place among the others: ranks go from node to node in this order."""


def authentication(token: str) -> dict[str, str]:
    """Return what makes Ray ask everybody for the token in a file: without, any user of the machine could submit code.
    """
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token}
