"""Every network to every target: exported, proven, and written down."""
