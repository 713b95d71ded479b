"""What the pages show, read from cells only: the cost follows the windows shown, not the events."""

from devflow.activity.branches import Ref, Refs, refs
from devflow.activity.cuts import FEW, Cut, Cuts, cuts
from devflow.activity.files import HotFile, hot_files
from devflow.activity.focus import Focus
from devflow.activity.helping import Helping, helping
from devflow.activity.hours import Hours, hours
from devflow.activity.overviews import TREND_DAYS, Day, Overview, PersonWeek, ProjectRow, overview
from devflow.activity.people import PersonActivity, PersonPeriod, ProjectPart, person
from devflow.activity.periods import MAX_PERIODS, Step, step_for
from devflow.activity.projects import Period, ProjectActivity, project, reach
from devflow.activity.seen import Seen, in_project, of_projects
from devflow.activity.shared import FEWEST, check_days
from devflow.activity.sums import NOTHING, Numbers
from devflow.activity.teams import Spread, TeamActivity, TeamPeriod, TeamProject, team
from devflow.activity.timelines import PersonDay, Timeline, Week, timeline

__all__ = [
    "FEW",
    "FEWEST",
    "MAX_PERIODS",
    "NOTHING",
    "TREND_DAYS",
    "Cut",
    "Cuts",
    "Day",
    "Focus",
    "Helping",
    "HotFile",
    "Hours",
    "Numbers",
    "Overview",
    "Period",
    "PersonActivity",
    "PersonDay",
    "PersonPeriod",
    "PersonWeek",
    "ProjectActivity",
    "ProjectPart",
    "ProjectRow",
    "Ref",
    "Refs",
    "Seen",
    "Spread",
    "Step",
    "TeamActivity",
    "TeamPeriod",
    "TeamProject",
    "Timeline",
    "Week",
    "check_days",
    "cuts",
    "helping",
    "hot_files",
    "hours",
    "in_project",
    "of_projects",
    "overview",
    "person",
    "project",
    "reach",
    "refs",
    "step_for",
    "team",
    "timeline",
]
