"""Other projects, one file each: a `Case` that reads their format, and `write` and `read` where their writer is timed.

Modules but `environments` and `writing` run in the interpreter that has the project, and import nothing of this one.
"""
