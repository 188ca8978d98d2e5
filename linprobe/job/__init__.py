"""What a job is and where it runs: its file, its plan, environment, console and errors."""
