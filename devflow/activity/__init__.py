"""What the pages show, read from cells only: the cost follows the windows shown, not the events."""

from devflow.activity.overviews import TREND_DAYS, Day, Overview, ProjectRow, overview
from devflow.activity.people import PersonActivity, PersonPeriod, ProjectPart, person
from devflow.activity.periods import MAX_PERIODS, Step, step_for
from devflow.activity.projects import Period, ProjectActivity, project
from devflow.activity.sums import Numbers

__all__ = [
    "MAX_PERIODS",
    "TREND_DAYS",
    "Day",
    "Numbers",
    "Overview",
    "Period",
    "PersonActivity",
    "PersonPeriod",
    "ProjectActivity",
    "ProjectPart",
    "ProjectRow",
    "Step",
    "overview",
    "person",
    "project",
    "step_for",
]
