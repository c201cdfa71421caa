"""The MuseTalk renderer: official weights, one device shared by all sessions."""
