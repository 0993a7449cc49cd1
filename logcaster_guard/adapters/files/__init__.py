"""Trees of files on a Linux file system: see `logcaster_guard.file_trees`, which `trees.LocalTrees` implements.

Everything below the root of a tree is reached from the handle of its folder, by one name, and no link is followed.
"""
