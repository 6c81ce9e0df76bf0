"""The cursor: the whole data state of a run. Order is arithmetic, so nothing else is needed to continue."""

from launcher.core.document import Document


class Cursor(Document):
    """How far the optimizer has consumed the plan."""

    step: int = 0
    """Steps done."""
    segment: int = 0
    """The segment of the next step."""
    rows: int = 0
    """Rows consumed over the whole run."""
