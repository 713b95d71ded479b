"""Pages in the terminal. Only the commands that open one import this, since it loads textual."""
