"""The main job: from a trace to compared results and an output folder."""
