"""The networks of MuseTalk in plain PyTorch, loadable with the official weights."""
