"""The run folder: what a study has finished, kept so that damage is noticed and nothing is lost."""
