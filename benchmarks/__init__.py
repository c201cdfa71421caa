"""What the server is measured by. Each module is one measurement: `scripts/bench NAME`."""
