"""Recipe (+ baseline checkpoint) to checkpoint.

Read first: `recipe` (everything that decides a run), then `run.start` (what happens in which
order), `engine` (one epoch, one evaluation), `loader` and `transforms` (what the network sees).
"""
