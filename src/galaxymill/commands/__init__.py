"""The command line, by subject: what each module adds to the one program."""
