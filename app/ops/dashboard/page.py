"""Everything that the dashboard shows, and what its template needs for the first view. No I/O."""

from datetime import datetime
from typing import Any

from markupsafe import Markup

from app.ops.dashboard.account_rows import AccountRows, describe_accounts
from app.ops.dashboard.board import LANES, Snapshot
from app.ops.dashboard.call_rows import LaneRow, axis_marks, describe_lane
from app.ops.dashboard.completeness_rows import CompletenessRows, describe_completeness
from app.ops.dashboard.endpoint_rows import EndpointRow, describe_endpoints
from app.ops.dashboard.summary_rows import SummaryRows, describe_summary
from app.ops.dashboard.wording import milliseconds
from app.ops.figures.call_figures import BINS
from app.settings import Settings
from app.values.exact_json import write_json


class PageRows(SummaryRows):
    """The entries of the page. Each can be sent by itself when it has changed."""

    lanes: list[LaneRow]
    completeness: CompletenessRows
    accounts: AccountRows
    endpoints: list[EndpointRow]


def describe_page(snapshot: Snapshot, settings: Settings, *, unmasked: bool) -> PageRows:
    """Describe what a viewer sees."""
    return {
        "lanes": [describe_lane(lane, snapshot.at, unmasked=unmasked) for lane in snapshot.lanes],
        **describe_summary(snapshot.summary, settings, unmasked=unmasked),
        "completeness": describe_completeness(snapshot.completeness, snapshot.at),
        "accounts": describe_accounts(snapshot.summary),
        "endpoints": describe_endpoints(snapshot.summary.endpoints, snapshot.at),
    }


def template_values(rows: PageRows, now: datetime) -> dict[str, Any]:
    """Return the values of the template `dashboard.html`. `first` is the JSON that the script reads."""
    first = {"now": milliseconds(now), **rows}
    return {
        "board": rows,
        "now": first["now"],
        # Without `<` the JSON cannot end the script element that it is in.
        "first": Markup(write_json(first).decode().replace("<", "\\u003c")),  # noqa: S704
        "axis": axis_marks(rows["scale"]),
        "lanes": LANES,
        "bins": BINS,
    }
