"""How fast the server takes events: beside its database alone, beside itself, and beside others.

    python -m bench.ingestion [PART...] [--rows N] [--rounds N] [--postgres] [--aw-python PATH]

Each part is a module that says in its first lines what it measures and in ``ASKED`` what is asked for.
What is measured runs as it does for a team: one gunicorn worker that is spoken to over HTTP, with
tokens, each batch answered after COMMIT with FULL durability, its files on the disk of this folder.
The PCs are processes of their own that send what was made before. Times in us are the worker's
processor time an event, of all its threads.
"""
