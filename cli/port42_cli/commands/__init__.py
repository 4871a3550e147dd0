"""Commands, a module per group, imported when it is typed.

Views, and with them rich and the protocol's types, are not imported where --json prints plain values.
"""
