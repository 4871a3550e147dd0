"""The daemon as a service of this user: files shown, written, started, verified, taken back.

`supervisor` says what systemd and launchd must be able to do; `systemd` and `launchd` do it, on the text
that `unit` and `property_list` render; `install` and `uninstall` are the same for both.
"""
