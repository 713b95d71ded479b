"""What the pages show, read from cells only: the cost follows the windows shown, not the events."""

from devflow.activity.focus import Focus
from devflow.activity.helping import Helping, helping
from devflow.activity.overviews import TREND_DAYS, Day, Overview, ProjectRow, overview
from devflow.activity.people import PersonActivity, PersonPeriod, ProjectPart, person
from devflow.activity.periods import MAX_PERIODS, Step, step_for
from devflow.activity.projects import Period, ProjectActivity, project
from devflow.activity.sums import Numbers
from devflow.activity.teams import Spread, TeamActivity, TeamPeriod, TeamProject, team
from devflow.activity.timelines import PersonDay, Timeline, Week, timeline

__all__ = [
    "MAX_PERIODS",
    "TREND_DAYS",
    "Day",
    "Focus",
    "Helping",
    "Numbers",
    "Overview",
    "Period",
    "PersonActivity",
    "PersonDay",
    "PersonPeriod",
    "ProjectActivity",
    "ProjectPart",
    "ProjectRow",
    "Spread",
    "Step",
    "TeamActivity",
    "TeamPeriod",
    "TeamProject",
    "Timeline",
    "Week",
    "helping",
    "overview",
    "person",
    "project",
    "step_for",
    "team",
    "timeline",
]
