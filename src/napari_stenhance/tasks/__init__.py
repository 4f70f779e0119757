"""One verb each: an options dataclass and a function `task(options, job)`.

Modules here import heavy libraries inside functions, because the command line and the widgets
read the options of every task before any of them runs.
"""
