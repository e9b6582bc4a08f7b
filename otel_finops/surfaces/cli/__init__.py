"""The command line: commands made from the operations, and the few that stream or act on files."""
