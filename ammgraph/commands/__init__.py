"""The command line: a module for each verb, sessions at a terminal, trials, rehearsals."""
