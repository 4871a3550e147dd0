"""The rules of sessions: ownership, the last session, lists, labels, forks, the trash."""
