"""A laboratory on one machine: nodes are namespaces, sites are bridges, faults are real.

Nothing is created in the machine's own network namespace, and only processes that the laboratory started are ended.
"""
