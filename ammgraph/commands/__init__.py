"""The command line: arguments, sessions at a terminal, trials, rehearsals."""
