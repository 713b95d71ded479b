"""``python -m devflow_agent`` is the same as ``devflow``."""

from devflow_agent.cli import main

main()
