"""An agent of the Agent Client Protocol on stdin and stdout: an editor's way to the daemon's sessions."""
