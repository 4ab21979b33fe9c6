"""What carries out the jobs of commands: blocks of several rooms, wired to units with streams of jobs and results."""
