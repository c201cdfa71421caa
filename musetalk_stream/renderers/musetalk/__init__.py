"""The MuseTalk renderer: official weights, one device shared by all sessions.

Nothing is imported here: boxes, masks and colours are also wanted where there is no torch.
"""
