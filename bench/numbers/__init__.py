"""What it costs to keep numbers, and to answer with them, from ten million events on.

    python -m bench.numbers [PART...] [--rounds N] [--postgres]

``keeping`` is what hour cells cost in an upload, ``reading`` what pages and programs ask of many events and
of few, ``busy`` both at once. Exit code 1 if the median of a figure misses what is asked for.
"""
