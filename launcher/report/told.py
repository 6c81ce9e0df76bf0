"""What a tracker's own files say was told: one that begins again, in this command or the next, goes on there. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from launcher.core.settled import Sent


def later(sent: Sent, rows: Iterable[Mapping[str, Any]]) -> Sent:
    """Return how far a tracker has come that came so far before and has told these rows since; `report.tracked` makes
    them."""
    told = list(rows)
    back = max([sent.back, *(int(row.get("gone_back", 0)) for row in told)])
    # What a verdict dropped says nothing of how far the rows are that took its place.
    counted = [row for row in told if int(row.get("gone_back", 0)) == back]
    before = sent if sent.back == back else Sent()
    return Sent(max([before.step, *(int(row["step"]) for row in counted if "step" in row)]),
                max([before.evaluation, *(int(row["measured_step"]) for row in counted if "measured_step" in row)]),
                back)
