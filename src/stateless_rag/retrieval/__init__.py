"""The read path: a file per step (keywords, seeds, expand, fuse, budget, render), and what runs them."""
