"""Cells: what each person did in each project by hour, day, week and month.

Hour cells are exact at once, in the transaction that changed the events: an upload adds to them
(``count``), everything else counts them anew (``recount``). Larger windows follow from hour cells;
``refresh`` derives them where either left a mark, and leaves one where slices are to follow (``slicing``).

Cells outlive the events they were counted from. An hour that would need events from before
``Workspace.events_since`` is closed: nothing counts it anew, whoever asks.
"""

from devflow.rollups.adding import count
from devflow.rollups.calendars import in_force
from devflow.rollups.changing import advance, is_waiting, switch, want, wanted
from devflow.rollups.larger import refresh
from devflow.rollups.recounting import Touched, recount
from devflow.rollups.tallies import COMMITS, NOBODY, TYPE_NUMBER, Calendar, Tally, pack_files, unpack_files

__all__ = [
    "COMMITS",
    "NOBODY",
    "TYPE_NUMBER",
    "Calendar",
    "Tally",
    "Touched",
    "advance",
    "count",
    "in_force",
    "is_waiting",
    "pack_files",
    "recount",
    "refresh",
    "switch",
    "unpack_files",
    "want",
    "wanted",
]
