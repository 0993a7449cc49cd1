"""The inbox: what people said to the guard by annotations of the workload, and to what it applies.

Everybody else asks here. `annotations` names the annotations and holds what all of them share, `freezes` are freezes,
`commands` are all other operator commands and how they are written, `reading` tells whether a command applies.
"""
