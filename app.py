"""WSGI entry: settings in, app out."""

import os

from devflow.config import Settings
from devflow.context import Context
from devflow.factory import create_app

app = create_app(Context.open(Settings.load(os.environ)))
